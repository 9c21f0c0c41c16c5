//! The spool: what is queued, on the disk, lost by no crash.
//!
//! Owns: the files below its directory, and the promise that what it acknowledged is there. Everything it does to
//! them goes through [`Disk`]. Must not know when anything is delivered, nor where to.
//!
//! # Format, version 1
//!
//! `lock` is locked by the one writer. `segments/NNNNNNNN.seg` are the log, in the order of their numbers; numbers
//! are not used again. Integers are little-endian, checksums CRC-32 (IEEE).
//!
//! A segment begins with 64 octets: `MSSPOOL\n`, version u32, its number u32, the spool's name u128, the octets of
//! the previous segment that count u64, the lowest queue id that was never given before u64, the number of the
//! previous segment u32 (0: none), an octet 1 where a write or sync of that one failed, so that it may have octets
//! behind those that count, zeros, CRC u32 of the 60 octets before. It is synced, with its directory entry,
//! before a record follows. The previous segment is synced before that; so only the last can be torn.
//!
//! A record is a frame of 36 octets, a description (JSON) and a body. The frame: kind in the low 8 bits and number
//! of recipients in the high 24 bits of a u32; octets of the description u32; of the body u32; queue id u64; CRC of
//! the description u32; of the body u32; the seed of its segment u32 (CRC of the spool's name and the segment's
//! number); CRC of the 32 octets before u32. Kinds:
//!
//! 1. chunk: octets of a message's body, not described. Counts once an accept names it.
//! 2. accept: envelope, size, and the chunks (segment, offset, length) unless the body follows.
//! 3. change: outcomes, deferrals, holds of a message, and the segment of its own record.
//! 4. moved: as accept, with the state of its recipients: copied from a segment about to be deleted, or imported.
//! 5. notice: as accept, with the changes of the message that it is about: both count, or neither.
//!
//! The last segment counts up to the first record that is not whole: what is behind it was never acknowledged. Zeros
//! behind its records were written ahead, so that a sync need not tell the journal of a longer file; they are cut off
//! when the segment is full.
//!
//! `segments/under-way` notes, unsynced, what is being delivered: a start after a kill tells from it what may arrive
//! twice. Nothing else depends on it; it may be removed.
//!
//! # What is given back
//!
//! A segment is deleted when no queued message needs a record in it and every older segment for whose messages it
//! holds outcomes is gone; one in which little lives is copied to the head first.

mod body;
mod change;
mod committer;
mod disk;
mod error;
mod handle;
mod index;
mod log;
mod look;
mod open;
mod read;
mod reclaim;
mod record;
mod scan;
pub mod transfer;
mod under_way;

pub use body::Body;
pub use change::{Change, MAX_DIAGNOSTIC, Notice, Progress, Standing, Stored, Wait, clip};
pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{Place, SpoolError};
pub use handle::{CHUNK, Delivery, Incoming, SMALL, Spool, inspect};
pub use log::Options;
pub use look::Look;
pub use record::MAX_RECORD;

use mailstack_smtp::address::Address;

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
    /// What was being delivered when the process before was killed: it may arrive twice.
    pub under_way: Vec<UnderWay>,
    /// The machine went down with that process: others may have been under way too.
    pub went_down: bool,
}

/// A message that was being delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Its name.
    pub id: QueueId,
    /// To whom; none of them is done.
    pub recipients: Vec<Address>,
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

impl Unreadable {
    /// A message that an error is about.
    pub fn message(id: QueueId, error: &SpoolError) -> Self {
        let (file, offset) = match error {
            SpoolError::Damaged(_, place) => (record::file_name(place.segment), place.offset),
            SpoolError::Io { file, .. } => (file.clone(), 0),
            _ => (String::new(), 0),
        };
        Self { file, offset, id: Some(id), reason: error.to_string() }
    }
}

#[cfg(test)]
pub(crate) mod tests;
