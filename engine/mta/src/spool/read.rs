//! Queued messages as they are read: envelope and body, by name.
//!
//! Owns: the way from an entry of the index to octets. The index is locked for a moment, never while a disk works.

use std::sync::{Arc, Mutex};

use super::Unreadable;
use super::body::{Body, Piece};
use super::change::Stored;
use super::disk::DiskFile;
use super::error::SpoolError;
use super::index::{Entry, Index, lock};
use super::record::{Accepted, Extent, file_name};
use super::scan;
use crate::message::QueueId;

/// A message without its body.
pub(super) fn stored(index: &Mutex<Index>, id: QueueId) -> Result<Stored, SpoolError> {
    let (entry, file) = located(&lock(index), id)?;
    let accepted = accepted(&*file, id, &entry.base)?;
    let progress = entry.progress;
    let is_importing = progress.held
        && progress.held_by.is_none()
        && accepted.imported.is_some_and(|imported| imported.release);
    Ok(Stored { id, envelope: accepted.envelope, size: entry.size, progress, is_importing })
}

/// The octets of a message; stays readable when the message leaves the spool meanwhile.
pub(super) fn body(index: &Mutex<Index>, id: QueueId) -> Result<Body, SpoolError> {
    let index = lock(index);
    let entry = index.messages.get(&id).ok_or(SpoolError::Unknown(id))?;
    let extents = if entry.chunks.is_empty() { std::slice::from_ref(&entry.base) } else { &entry.chunks };
    let piece = |extent: &Extent| {
        let file = index.segments.get(&extent.segment).map(|segment| segment.file.clone());
        let file = file.ok_or(SpoolError::Damaged(id, extent.place()))?;
        Ok(Piece { file, place: extent.place() })
    };
    let pieces: Result<Vec<Piece>, SpoolError> = extents.iter().map(piece).collect();
    Ok(Body::stored(id, entry.size, pieces?))
}

/// The description in the record of a message.
pub(super) fn accepted(file: &dyn DiskFile, id: QueueId, base: &Extent) -> Result<Accepted, SpoolError> {
    let read = scan::read_accepted(file, base.offset);
    let read = read.map_err(|error| SpoolError::io("read", &file_name(base.segment), error))?;
    read.map(|(_, accepted)| accepted).ok_or(SpoolError::Damaged(id, base.place()))
}

pub(super) fn located(index: &Index, id: QueueId) -> Result<(Entry, Arc<dyn DiskFile>), SpoolError> {
    let entry = index.messages.get(&id).ok_or(SpoolError::Unknown(id))?.clone();
    let segment = index.segments.get(&entry.base.segment);
    let segment = segment.ok_or(SpoolError::Damaged(id, entry.base.place()))?;
    Ok((entry, segment.file.clone()))
}

/// Reads all of a message. Returns its octets, or what is wrong; None: it left the spool meanwhile.
pub(super) fn check(index: &Mutex<Index>, id: QueueId) -> Option<Result<u64, Unreadable>> {
    let read = || -> Result<u64, SpoolError> {
        let size = stored(index, id)?.size;
        let (mut body, mut octets) = (body(index, id)?, 0);
        while let Some(chunk) = body.read_chunk()? {
            octets += chunk.len() as u64;
        }
        let (entry, _) = located(&lock(index), id)?;
        if octets == size { Ok(octets) } else { Err(SpoolError::Damaged(id, entry.base.place())) }
    };
    match read() {
        Err(SpoolError::Unknown(_)) => None,
        Err(error) => Some(Err(Unreadable::message(id, &error))),
        Ok(octets) => Some(Ok(octets)),
    }
}
