//! Reads all of a spool that nobody serves, and says what is not as it was written.

use std::path::Path;
use std::sync::Mutex;

use super::super::disk::RealDisk;
use super::super::error::SpoolError;
use super::super::{Unreadable, read, scan};
use super::error::TransferError;
use crate::message::QueueId;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Messages that are whole.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// Octets at the end that are not whole: the next start cuts them off. What a crash leaves there was never
    /// accepted; a disk that lost what it had synced looks the same.
    pub torn: u64,
    /// What cannot be read.
    pub unreadable: Vec<Unreadable>,
}

/// Reads every record, envelope and body; changes nothing. Errors: [`TransferError::Spool`]; damage is none.
pub fn verify(spool: &Path) -> Result<Verified, TransferError> {
    let failed = |error| TransferError::spool(spool, error);
    let opened = RealDisk::read_only(spool);
    let disk = opened.map_err(|error| failed(SpoolError::io("open", &spool.display().to_string(), error)))?;
    let Some(disk) = disk else { return Ok(Verified::default()) };
    let scan = scan::scan(&disk).map_err(failed)?;
    let mut verified =
        Verified { torn: scan.recovery.torn, unreadable: scan.recovery.unreadable, ..Verified::default() };
    let ids: Vec<QueueId> = scan.index.messages.keys().copied().collect();
    let index = Mutex::new(scan.index);
    for found in ids.into_iter().filter_map(|id| read::check(&index, id)) {
        match found {
            Ok(octets) => {
                verified.messages += 1;
                verified.octets += octets;
            }
            Err(unreadable) => verified.unreadable.push(unreadable),
        }
    }
    Ok(verified)
}
