//! Writes the queue of a spool that nobody serves into a directory.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use super::super::disk::RealDisk;
use super::super::error::SpoolError;
use super::super::{Unreadable, read, scan};
use super::envelope::{EnvelopeFile, VERSION};
use super::error::TransferError;
use super::files::{self, MANIFEST, Manifest};
use crate::message::QueueId;

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Messages.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// What could not be read, and is left out.
    pub unreadable: Vec<Unreadable>,
}

/// Writes all that is queued into `to`, which must be empty or not there. The spool is not changed. What cannot be
/// read is left out, and named. Errors: [`TransferError`]; what was written by then has no `export.json`.
pub fn export(spool: &Path, to: &Path) -> Result<Exported, TransferError> {
    let failed = |error| TransferError::spool(spool, error);
    let opened = RealDisk::read_only(spool);
    let disk = opened.map_err(|error| failed(SpoolError::io("open", &spool.display().to_string(), error)))?;
    let scan = disk.as_ref().map(|disk| scan::scan(disk)).transpose().map_err(failed)?.unwrap_or_default();
    files::make_directory(to)?;
    let source = scan.spool.map_or_else(|| "none".to_owned(), |name| format!("{name:032x}"));
    let mut exported = Exported { unreadable: scan.recovery.unreadable, ..Exported::default() };
    let ids: Vec<QueueId> = scan.index.messages.keys().copied().collect();
    let index = Mutex::new(scan.index);
    for id in ids {
        match read::check(&index, id) {
            Some(Ok(octets)) => {
                write(&index, id, &source, to).map_err(|failure| failure.at(spool))?;
                exported.messages += 1;
                exported.octets += octets;
            }
            Some(Err(unreadable)) => exported.unreadable.push(unreadable),
            None => {}
        }
    }
    conclude(to, Manifest { version: VERSION, source, messages: exported.messages })?;
    Ok(exported)
}

/// What went wrong with one message.
enum Failure {
    Spool(SpoolError),
    Transfer(TransferError),
}

impl Failure {
    fn at(self, spool: &Path) -> TransferError {
        match self {
            Self::Spool(error) => TransferError::spool(spool, error),
            Self::Transfer(error) => error,
        }
    }
}

fn write(
    index: &Mutex<super::super::index::Index>,
    id: QueueId,
    source: &str,
    to: &Path,
) -> Result<(), Failure> {
    let stored = read::stored(index, id).map_err(Failure::Spool)?;
    let mut body = read::body(index, id).map_err(Failure::Spool)?;
    let path = files::message_path(to, &id.to_string());
    let mut file = files::create(&path).map_err(Failure::Transfer)?;
    let mut crc = crc32fast::Hasher::new();
    while let Some(chunk) = body.read_chunk().map_err(Failure::Spool)? {
        crc.update(&chunk);
        let written = file.write_all(&chunk);
        written.map_err(|error| Failure::Transfer(TransferError::file("write", &path, error)))?;
    }
    let envelope = EnvelopeFile::of(stored, source, crc.finalize());
    let path = files::envelope_path(to, &id.to_string());
    files::write_json(&path, &envelope).map(drop).map_err(Failure::Transfer)
}

/// Makes all files durable, then the one that says that they are.
fn conclude(to: &Path, manifest: Manifest) -> Result<(), TransferError> {
    let failed = |error: std::io::Error| TransferError::file("sync", to, error);
    let directory = File::open(to).map_err(failed)?;
    nix::unistd::syncfs(&directory).map_err(|errno| failed(errno.into()))?;
    let path = to.join(MANIFEST);
    let file = files::write_json(&path, &manifest)?;
    file.sync_all().map_err(|error| TransferError::file("sync", &path, error))?;
    files::sync_directory(to)?;
    files::sync_directory(
        to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")),
    )
}
