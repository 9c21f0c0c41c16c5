//! What can go wrong with the spool, and whose fault it is.

use std::io;
use std::sync::Arc;

use crate::message::QueueId;

/// Why the spool did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SpoolError {
    /// Less is free than the reserve that outcomes of queued mail need. For now: `452 4.3.1`.
    #[error("no space for another message")]
    Full,
    /// The disk failed; nothing of what was asked is taken to be done. For now: `451 4.3.0`.
    #[error("cannot {operation} {file}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On which file of the spool.
        file: String,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process has the spool open.
    #[error("the spool is in use by another process")]
    InUse,
    /// The message is not queued here, or no longer.
    #[error("{0} is not queued")]
    Unknown(QueueId),
    /// What is on the disk is not what was written there.
    #[error("{0} cannot be read: damaged at {1}")]
    Damaged(QueueId, Place),
    /// A single record would be larger than [`super::MAX_RECORD`]: an envelope or notice beyond its limits.
    #[error("a record of {0} octets is over the limit")]
    TooLarge(u64),
    /// A writer of a newer version left this.
    #[error("format version {0} is not known here")]
    Version(u32),
    /// The committer is gone: the daemon is stopping, or it met a bug.
    #[error("the spool is closed")]
    Closed,
}

/// A place in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// Octets from its beginning.
    pub offset: u64,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "segment {:08} octet {}", self.segment, self.offset)
    }
}

impl SpoolError {
    pub(super) fn io(operation: &'static str, file: &str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            io::ErrorKind::WouldBlock => Self::InUse,
            _ => Self::Io { operation, file: file.to_owned(), source: Arc::new(source) },
        }
    }

    /// Whether space is what is missing (452), rather than a disk that works (451).
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full)
    }
}
