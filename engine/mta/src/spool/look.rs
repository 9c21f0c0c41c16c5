//! A look at a spool that nobody serves: its messages and their octets.
//!
//! Takes no lock, so that an MTA may start meanwhile; what leaves the spool by then is not found. Must not write.

use std::path::Path;
use std::sync::Mutex;

use super::body::Body;
use super::change::Stored;
use super::disk::{Disk, RealDisk};
use super::error::SpoolError;
use super::index::{Index, lock};
use super::{Recovery, read, scan};
use crate::message::QueueId;

/// A spool as it lay on the disk.
pub struct Look {
    index: Mutex<Index>,
    /// What cannot be read, among others.
    pub recovery: Recovery,
}

impl Look {
    /// Reads where everything lies; of a spool that is not there, nothing.
    /// Errors: [`SpoolError::Io`], [`SpoolError::Version`].
    pub fn at(directory: &Path) -> Result<Self, SpoolError> {
        let name = directory.display().to_string();
        let opened = RealDisk::for_a_look(directory).map_err(|error| SpoolError::io("open", &name, error))?;
        let looked = opened.as_ref().map(|disk| Self::on(disk)).transpose()?;
        Ok(looked.unwrap_or_else(|| Self { index: Mutex::default(), recovery: Recovery::default() }))
    }

    /// The same of a disk.
    pub fn on(disk: &dyn Disk) -> Result<Self, SpoolError> {
        let scan = scan::scan(disk)?;
        Ok(Self { index: Mutex::new(scan.index), recovery: scan.recovery })
    }

    /// The names of all messages, in the order in which they were given.
    pub fn ids(&self) -> Vec<QueueId> {
        lock(&self.index).messages.keys().copied().collect()
    }

    /// A message without its body. Errors: [`SpoolError::Unknown`], [`SpoolError::Damaged`], [`SpoolError::Io`].
    pub fn message(&self, id: QueueId) -> Result<Stored, SpoolError> {
        read::stored(&self.index, id)
    }

    /// The octets of a message. Errors: [`SpoolError::Unknown`].
    pub fn body(&self, id: QueueId) -> Result<Body, SpoolError> {
        read::body(&self.index, id)
    }
}
