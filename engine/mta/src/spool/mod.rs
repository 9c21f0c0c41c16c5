//! The spool.

mod body;
mod change;
mod disk;
mod error;
mod record;

pub use body::Body;
pub use change::{Change, MAX_DIAGNOSTIC, Notice, Progress, Standing, Stored, Wait, clip};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{Place, SpoolError};
pub use record::MAX_RECORD;

use crate::message::QueueId;

/// What was found when a spool was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Messages that are queued.
    pub messages: usize,
    /// Octets at the end of the log that no commit had made durable, cut off.
    pub torn: u64,
    /// What is on the disk and cannot be read. It is left there.
    pub unreadable: Vec<Unreadable>,
}

/// Something on the disk that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The file.
    pub file: String,
    /// Octets from its beginning.
    pub offset: u64,
    /// The message, where that much can be read.
    pub id: Option<QueueId>,
    /// What is wrong.
    pub reason: String,
}
