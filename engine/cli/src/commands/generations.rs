//! `mailstack generations`: what the host can go back to.

use anstream::eprintln;
use mailstack_deploy::apply;
use mailstack_deploy::generation::{Digest, Stored};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::table::{table, time};

#[derive(Serialize)]
struct Row {
    current: bool,
    digest: Digest,
    /// Seconds since 1970.
    written: u64,
    role: String,
    hostname: Option<String>,
}

/// Lists the generations, the newest first.
pub fn generations(host: &HostTree, json: bool) -> Result<Exit, Failure> {
    let current = host.store.current();
    let row = |stored: Stored| Row {
        current: current.as_ref() == Some(stored.digest()),
        digest: stored.digest().clone(),
        written: stored.written,
        role: stored.manifest.role,
        hostname: stored.manifest.hostname,
    };
    let rows: Vec<Row> = host.store.list()?.into_iter().map(row).collect();
    if json {
        return super::print_json(&rows);
    }
    if rows.is_empty() {
        eprintln!("nothing was applied below {} yet", host.root.display());
        return Ok(Exit::Done);
    }
    let mut lines = vec![["", "GENERATION", "WRITTEN", "ROLE", "HOSTNAME"].map(str::to_owned).to_vec()];
    lines.extend(rows.iter().map(|row| {
        let marker = if row.current { "*" } else { "" };
        let hostname = row.hostname.as_deref().unwrap_or("-");
        vec![
            marker.to_owned(),
            row.digest.short().to_owned(),
            time(row.written),
            row.role.clone(),
            hostname.to_owned(),
        ]
    }));
    super::print(&table(&lines))
}

/// Removes old generations, and prints which.
pub fn collect(host: &HostTree, keep: usize, wait: bool, json: bool) -> Result<Exit, Failure> {
    let removed = apply::collect(&host.root, keep, wait)?;
    if json {
        return super::print_json(&removed);
    }
    if removed.is_empty() {
        eprintln!("nothing to remove");
    }
    super::print(&removed.iter().map(|digest| format!("{digest}\n")).collect::<String>())
}
