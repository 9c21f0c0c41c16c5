//! The octets of a queued message, read in pieces.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::disk::DiskFile;
use super::error::{Place, SpoolError};
use super::record;
use crate::message::QueueId;

/// Header and body of a message: in memory where it was just received and is small, else in the segments. Clones
/// begin at the beginning.
pub struct Body {
    size: u64,
    source: Source,
    next: usize,
}

#[derive(Clone)]
enum Source {
    Memory(Arc<Kept>),
    Stored { id: QueueId, pieces: Arc<[Piece]> },
}

/// One record that holds octets of a body.
#[derive(Clone)]
pub(super) struct Piece {
    pub file: Arc<dyn DiskFile>,
    pub place: Place,
}

/// Octets that are held in memory, and are accounted for.
pub(super) struct Kept {
    octets: Vec<u8>,
    account: Arc<AtomicUsize>,
}

impl Kept {
    /// Takes the octets into account, unless `limit` would be passed.
    pub fn within(octets: Vec<u8>, account: &Arc<AtomicUsize>, limit: usize) -> Option<Arc<Self>> {
        let before = account.fetch_add(octets.len(), Ordering::Relaxed);
        let kept = Self { octets, account: account.clone() };
        (before.saturating_add(kept.octets.len()) <= limit).then(|| Arc::new(kept))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.account.fetch_sub(self.octets.len(), Ordering::Relaxed);
    }
}

impl Clone for Body {
    fn clone(&self) -> Self {
        Self { size: self.size, source: self.source.clone(), next: 0 }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("size", &self.size).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Body {
    pub(super) fn memory(kept: Arc<Kept>) -> Self {
        Self { size: kept.octets.len() as u64, source: Source::Memory(kept), next: 0 }
    }

    pub(super) fn stored(id: QueueId, size: u64, pieces: Vec<Piece>) -> Self {
        Self { size, source: Source::Stored { id, pieces: pieces.into() }, next: 0 }
    }

    /// Octets in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Begins again.
    pub fn rewind(&mut self) {
        self.next = 0;
    }

    /// Returns the next octets, at most [`super::MAX_RECORD`]; None at the end.
    /// Errors: [`SpoolError::Damaged`], [`SpoolError::Io`].
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        let Source::Stored { id, pieces } = &self.source else { return self.read_chunk() };
        let Some(piece) = pieces.get(self.next).cloned() else { return Ok(None) };
        let id = *id;
        self.next += 1;
        let read = tokio::task::spawn_blocking(move || read(id, &piece)).await;
        read.map_err(|_| SpoolError::Closed)?.map(Some)
    }

    /// As [`Body::next_chunk`], for a thread that may block.
    pub fn read_chunk(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        let at = self.next;
        self.next += 1;
        match &self.source {
            Source::Memory(kept) => Ok((at == 0 && self.size > 0).then(|| kept.octets.clone())),
            Source::Stored { id, pieces } => pieces.get(at).map(|piece| read(*id, piece)).transpose(),
        }
    }

    /// The octets up to and with the first piece that reaches `limit`: a bounce needs no more.
    pub async fn beginning(&self, limit: usize) -> Result<Vec<u8>, SpoolError> {
        let (mut body, mut octets) = (self.clone(), Vec::new());
        while octets.len() < limit
            && let Some(chunk) = body.next_chunk().await?
        {
            octets.extend_from_slice(&chunk);
        }
        Ok(octets)
    }
}

fn read(id: QueueId, piece: &Piece) -> Result<Vec<u8>, SpoolError> {
    record::read_body(&*piece.file, piece.place)?.ok_or(SpoolError::Damaged(id, piece.place))
}
