//! `mailstack queue verify | export | import`: the queue as it lies on the disk.

use std::path::{Path, PathBuf};

use anstream::eprintln;
use mailstack_mta::control::{Client, ControlError, Damaged};
use mailstack_mta::host::Root;
use mailstack_mta::spool::transfer::{self, Exported, Imported};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;

/// What `verify --json` prints.
#[derive(Serialize)]
struct Report {
    /// Messages that are whole.
    messages: u64,
    /// Their octets.
    octets: u64,
    /// Octets that no commit made durable; none where the MTA runs.
    torn: u64,
    damaged: Vec<Damaged>,
}

/// Reads all of the queue: the running MTA does, else this process.
pub fn verify(host: &HostTree, json: bool) -> Result<Exit, Failure> {
    let paths = host.live_paths()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    let root = Root::new(&host.root);
    let report = match Client::connect(&root, &paths) {
        Ok(mut client) => {
            let (messages, octets, damaged) = client.queue_verify()?;
            Report { messages, octets, torn: 0, damaged }
        }
        Err(ControlError::NotRunning { .. }) => {
            let found = transfer::verify(&root.path(&paths.spool))?;
            let damaged = found.unreadable.into_iter().map(Damaged::from).collect();
            Report { messages: found.messages, octets: found.octets, torn: found.torn, damaged }
        }
        Err(error) => return Err(error.into()),
    };
    if json {
        super::print_json(&report)?;
    } else {
        super::print(&format!("{} whole, {} octets\n", messages(report.messages), report.octets))?;
        if report.torn > 0 {
            let torn = report.torn;
            eprintln!("note: {torn} octets at the end are not whole, as a crash leaves them: never accepted");
        }
        report.damaged.iter().for_each(|found| eprintln!("damaged: {found}"));
    }
    Ok(if report.damaged.is_empty() { Exit::Done } else { Exit::Unable })
}

/// Writes the queue into a directory.
pub fn export(host: &HostTree, directory: &Path, json: bool) -> Result<Exit, Failure> {
    let Exported { messages: count, octets, unreadable } = transfer::export(&stopped(host)?, directory)?;
    let damaged: Vec<Damaged> = unreadable.into_iter().map(Damaged::from).collect();
    let exit = if damaged.is_empty() { Exit::Done } else { Exit::Unable };
    if json {
        let value = serde_json::json!({ "messages": count, "octets": octets, "damaged": damaged });
        super::print_json(&value)?;
    } else {
        super::print(&format!("{}, {octets} octets, are in {}\n", messages(count), directory.display()))?;
        damaged.iter().for_each(|found| eprintln!("left out: {found}"));
    }
    Ok(exit)
}

/// Takes an export into the queue.
pub fn import(host: &HostTree, directory: &Path, json: bool) -> Result<Exit, Failure> {
    let imported = transfer::import(&stopped(host)?, directory)?;
    if json {
        let Imported { messages, before, already, released } = imported;
        let value = serde_json::json!({
            "messages": messages, "before": before, "already": already, "released": released
        });
        return super::print_json(&value);
    }
    if imported.already {
        eprintln!("{} was imported before: nothing was taken in again", directory.display());
    }
    if imported.before > 0 {
        eprintln!("{} of an interrupted import were there", messages(imported.before));
    }
    super::print(&format!("{} imported\n", messages(imported.messages)))
}

/// The spool of a host whose MTA does not run: what changes while it is copied would be delivered twice.
fn stopped(host: &HostTree) -> Result<PathBuf, Failure> {
    let paths = host.live_paths()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    Ok(Root::new(&host.root).path(&paths.spool))
}

fn messages(count: u64) -> String {
    match count {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    }
}
