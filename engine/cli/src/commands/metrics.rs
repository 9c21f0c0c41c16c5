//! `mailstack metrics`: what the MTA counts, for Prometheus.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::queue;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;

/// Prints the metrics, or puts them into a file in one step: who reads it finds all of them, of one moment.
pub fn metrics(host: &HostTree, output: Option<&Path>) -> Result<Exit, Failure> {
    if queue::live(host)?.sendmail.is_some() {
        return Err(Failure::NotOfSendmail { what: "metric" });
    }
    let text = queue::connect(host)?.metrics()?;
    let Some(output) = output else { return super::print(&text) };
    replace(output, text.as_bytes())
        .map_err(|source| Failure::Written { path: output.to_owned(), source })?;
    Ok(Exit::Done)
}

fn replace(output: &Path, octets: &[u8]) -> io::Result<()> {
    // node_exporter reads what ends with .prom: a file that is not whole must not.
    let mut soon = output.as_os_str().to_owned();
    soon.push(format!(".{}", std::process::id()));
    let soon = Path::new(&soon);
    let written = File::create_new(soon).and_then(|mut file| {
        file.write_all(octets)?;
        file.set_permissions(Permissions::from_mode(0o644))?;
        fs::rename(soon, output)
    });
    if written.is_err() {
        let _ = fs::remove_file(soon);
    }
    written
}
