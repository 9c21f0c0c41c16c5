//! What lives where: the one table of queued messages and segments.
//!
//! Owns: the accounts by which a segment may go. Holds no octets of a message: about 100 octets each, and 40 to
//! 350 more for each recipient once one of them was deferred (`cargo bench -p mailstack --bench queue -- million` says
//! what that comes to with the schedule). Must not know how records are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::change::Progress;
use super::disk::DiskFile;
use super::record::{Accepted, Changed, Extent};
use crate::message::QueueId;

/// A sealed segment is copied when what lives in it is at most one part in so many.
const SPARSE: u64 = 4;

/// A queued message.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its own record: the latest that holds the envelope.
    pub base: Extent,
    pub recipients: u32,
    pub size: u64,
    /// The records of its body; none: it is in `base`.
    pub chunks: Box<[Extent]>,
    pub progress: Progress,
}

/// A segment that exists, or that may be there again after a crash.
pub(super) struct Segment {
    pub file: Arc<dyn DiskFile>,
    /// The octets of it that count.
    pub len: u64,
    /// Octets of records that queued messages need.
    pub live: u64,
    /// Octets of chunks of messages that are coming in.
    pub pending: u64,
    /// Octets of outcomes of messages whose own record is in another segment.
    pub outcomes: u64,
    /// Segments that must be gone, durably, before this one: else what was concluded here would come back.
    pub outlives: BTreeSet<u32>,
    /// Segments with former records of messages that were moved to here. While one is there this one is not copied:
    /// the outcomes of those messages are about this one, and would go with it.
    pub moved_from: BTreeSet<u32>,
    /// A segment that has octets which do not count, as this one alone says.
    pub seals: Option<u32>,
    /// Its name is removed, but not durably.
    pub unlinked: bool,
}

impl Segment {
    pub fn new(file: Arc<dyn DiskFile>, len: u64) -> Self {
        Self {
            file,
            len,
            live: 0,
            pending: 0,
            outcomes: 0,
            outlives: BTreeSet::new(),
            moved_from: BTreeSet::new(),
            seals: None,
            unlinked: false,
        }
    }
}

impl Segment {
    /// Whether little of it is needed: it is copied, or not even that, to have the rest back.
    pub fn is_sparse(&self) -> bool {
        (self.live + self.outcomes) * SPARSE <= self.len
    }
}

/// All messages and segments.
#[derive(Default)]
pub(super) struct Index {
    pub messages: BTreeMap<QueueId, Entry>,
    pub segments: BTreeMap<u32, Segment>,
}

/// The index, shared between the committer and its readers. Held for moments only, never while a disk works.
pub(super) type Shared = Arc<Mutex<Index>>;

/// Locks the index. It is whole even where a thread died with it: each change to it is one call.
pub(super) fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Index {
    /// Takes up a message, or the new place of one.
    pub fn put(&mut self, id: QueueId, entry: Entry) {
        self.forget(id);
        for extent in extents(&entry) {
            self.count(extent, |live, len| live + len);
        }
        self.messages.insert(id, entry);
    }

    /// Drops a message.
    pub fn forget(&mut self, id: QueueId) {
        if let Some(entry) = self.messages.remove(&id) {
            for extent in extents(&entry) {
                self.count(extent, u64::saturating_sub);
            }
        }
    }

    fn count(&mut self, extent: &Extent, with: impl Fn(u64, u64) -> u64) {
        if let Some(segment) = self.segments.get_mut(&extent.segment) {
            segment.live = with(segment.live, extent.len);
        }
    }

    /// Takes up a change that is recorded in `at`.
    pub fn change(&mut self, at: Extent, id: QueueId, changed: &Changed) {
        self.owe(at.segment, changed.base, at.len);
        let Some(entry) = self.messages.get_mut(&id) else { return };
        if let Some(progress) = &changed.progress {
            entry.progress = progress.clone();
        }
        for change in &changed.changes {
            entry.progress.apply(change, entry.recipients);
        }
        if changed.concluded || entry.progress.is_concluded(entry.recipients) {
            self.forget(id);
        }
    }

    /// Notes that `segment` must outlive `base`.
    pub fn owe(&mut self, segment: u32, base: u32, len: u64) {
        if segment != base
            && self.segments.contains_key(&base)
            && let Some(segment) = self.segments.get_mut(&segment)
        {
            segment.outlives.insert(base);
            segment.outcomes += len;
        }
    }

    /// Notes that `segment` holds a message whose former record is in `from`.
    pub fn owe_move(&mut self, segment: u32, from: u32, len: u64) {
        self.owe(segment, from, len);
        if segment != from
            && let Some(segment) = self.segments.get_mut(&segment)
        {
            segment.moved_from.insert(from);
        }
    }

    /// Segments that are gone need not be outlived any more; nor are outcomes kept for their sake.
    pub fn forgive(&mut self) {
        let there: BTreeSet<u32> = self.segments.keys().copied().collect();
        for segment in self.segments.values_mut() {
            segment.outlives.retain(|other| there.contains(other));
            if segment.outlives.is_empty() {
                segment.outcomes = 0;
            }
        }
    }

    /// Whether this segment may go.
    pub fn is_free(&self, number: u32) -> bool {
        let gone = |other: &u32| !self.segments.contains_key(other);
        self.segments.get(&number).is_some_and(|segment| {
            segment.live == 0
                && segment.pending == 0
                && segment.outlives.iter().all(gone)
                && segment.seals.as_ref().is_none_or(gone)
        })
    }

    /// Whether the octets of an extent are there and count.
    pub fn holds(&self, extent: &Extent) -> bool {
        let segment = self.segments.get(&extent.segment);
        segment.is_some_and(|segment| extent.offset.saturating_add(extent.len) <= segment.len)
    }
}

impl Entry {
    /// The entry of a message whose record is at `base`.
    pub fn new(base: Extent, recipients: u32, accepted: Accepted) -> Self {
        Self {
            base,
            recipients,
            size: accepted.size,
            chunks: accepted.chunks.into(),
            progress: accepted.progress.unwrap_or_default(),
        }
    }
}

fn extents(entry: &Entry) -> impl Iterator<Item = &Extent> {
    std::iter::once(&entry.base).chain(&entry.chunks)
}

/// Keeps a chunk of a message that is coming in. Must not be dropped while the index is locked.
pub(super) struct Claim {
    index: Shared,
    pub extent: Extent,
}

impl Claim {
    pub fn new(index: &Shared, extent: Extent) -> Self {
        if let Some(segment) = lock(index).segments.get_mut(&extent.segment) {
            segment.pending += extent.len;
        }
        Self { index: index.clone(), extent }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(segment) = lock(&self.index).segments.get_mut(&self.extent.segment) {
            segment.pending = segment.pending.saturating_sub(self.extent.len);
        }
    }
}
