//! The one writer: batches of records go to the head segment, with one sync for all that need one.
//!
//! Owns: the head, the order of writes and syncs, and what a failed one means. Knows no thread and no channel: a
//! batch comes in, its answers go out. Must not know what a schedule is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::change::{Change, Notice};
use super::disk::{Disk, DiskFile};
use super::error::SpoolError;
use super::index::{Claim, Entry, Segment, Shared, lock};
use super::record::{
    Accepted, Changed, Extent, Kind, Record, SEGMENT_HEADER, SegmentHeader, file_name, seed,
};
use crate::message::QueueId;
use crate::metrics::Histogram;

/// What bounds the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Octets of a segment, about: it is full once a batch would pass it.
    pub segment_size: u64,
    /// Octets that must stay free for the outcomes of what is queued; below, no message is taken in.
    pub reserve: u64,
    /// Octets of messages held in memory for their first attempt, in all.
    pub memory: usize,
    /// Octets of zeros that are written ahead of small batches; 0: none.
    pub ahead: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_size: 64 * 1024 * 1024,
            reserve: 16 * 1024 * 1024,
            memory: 8 * 1024 * 1024,
            ahead: 256 * 1024,
        }
    }
}

/// Octets of a batch ahead of which zeros are written. What is larger is bound by how much the disk takes, not by how
/// often it syncs.
const SMALL_BATCH: u64 = 32 * 1024;
/// The operation that failed where records could not be appended.
const WRITE: &str = "write";

/// The answer to an operation.
pub(super) type Reply<T> = oneshot::Sender<Result<T, SpoolError>>;

/// What can be asked of the log.
pub(super) enum Op {
    /// Octets of a message that is coming in; not synced.
    Chunk { id: QueueId, octets: Vec<u8>, reply: Reply<Claim> },
    /// A message, its description in `record` as well.
    Accept { record: Record, accepted: Box<Accepted>, claims: Vec<Claim>, reply: Reply<()> },
    /// Changes; durable with the answer, or some time after it.
    Change { id: QueueId, changes: Vec<Change>, durable: bool, reply: Reply<()> },
    /// Changes, and the message that tells of them, all or nothing.
    Notice { id: QueueId, notice: Box<Notice>, about: QueueId, changes: Vec<Change>, reply: Reply<()> },
}

impl Op {
    /// Octets of the body in it.
    pub fn octets(&self) -> usize {
        match self {
            Op::Chunk { octets, .. } => octets.len(),
            Op::Accept { record, .. } => record.body.len(),
            Op::Change { .. } => 0,
            Op::Notice { notice, .. } => notice.octets.len(),
        }
    }

    /// Whether its answer waits for a sync.
    pub fn is_durable(&self) -> bool {
        match self {
            Op::Chunk { .. } => false,
            Op::Accept { .. } | Op::Notice { .. } => true,
            Op::Change { durable, .. } => *durable,
        }
    }
}

/// A record with what is true once it is written.
struct Prepared {
    record: Record,
    durable: bool,
    effect: Effect,
}

enum Effect {
    Chunk(Reply<Claim>),
    Accept(Box<Accepted>, Vec<Claim>, Reply<()>),
    Change(Changed, Reply<()>),
    Notice(Box<Accepted>, Reply<()>),
}

impl Effect {
    fn fail(self, error: SpoolError) {
        // A reply that nobody waits for any more is no fault.
        let _ = match self {
            Effect::Chunk(reply) => reply.send(Err(error)).is_ok(),
            Effect::Accept(_, _, reply) | Effect::Change(_, reply) | Effect::Notice(_, reply) => {
                reply.send(Err(error)).is_ok()
            }
        };
    }
}

/// The segment that is written to.
pub(super) struct Head {
    pub number: u32,
    pub file: Arc<dyn DiskFile>,
    seed: u32,
    written: u64,
    synced: u64,
    /// The end of the zeros that were written ahead.
    ahead: u64,
}

impl Head {
    /// Writes zeros behind what was written, where there are none: what is written over them changes neither the length
    /// of the file nor where it lies, so that a sync has nothing to tell the journal of the file system.
    fn write_ahead(&mut self, options: &Options) {
        let end = (self.written + options.ahead).min(options.segment_size);
        if self.written <= self.ahead || end <= self.written {
            return;
        }
        let zeros = vec![0; (end - self.written) as usize];
        // Without them it goes on, and pays the journal.
        let _ = self.file.append(self.written, &zeros);
        self.ahead = end;
    }
}

/// The one writer.
pub(super) struct Log {
    pub disk: Arc<dyn Disk>,
    pub options: Options,
    pub spool: u128,
    pub index: Shared,
    pub next_id: Arc<AtomicU64>,
    pub next_segment: u32,
    /// The last segment that was a head, and the octets of it that count; 0: none.
    pub last: (u32, u64),
    /// `last` has octets that do not count.
    pub voided: bool,
    pub head: Option<Head>,
    /// The head when space was last looked for.
    pub tidied: u32,
    /// The disk was too full for something since.
    pub pressed: bool,
    /// How long each sync took.
    pub syncs: Arc<Histogram>,
    /// When the first of what is not durable was written.
    pub unsynced_since: Option<Instant>,
    /// Batches committed.
    pub commits: u64,
}

impl Log {
    /// Writes a batch, syncs where one of it asks for it, and answers all of it.
    pub fn commit(&mut self, batch: Vec<Op>) {
        self.commits += 1;
        let room = self.room(&batch);
        self.pressed |= matches!(room, Err(SpoolError::Full));
        let batch: Vec<Prepared> = batch.into_iter().filter_map(|op| self.prepare(op, &room)).collect();
        if batch.is_empty() {
            return;
        }
        let records: Vec<&Record> = batch.iter().map(|prepared| &prepared.record).collect();
        let durable = batch.iter().any(|prepared| prepared.durable);
        match self.write(&records, durable) {
            Ok(extents) => self.settle(batch, &extents),
            Err(error) => batch.into_iter().for_each(|prepared| prepared.effect.fail(error.clone())),
        }
    }

    /// Whether messages may be taken in. Outcomes may be recorded from the reserve.
    fn room(&self, batch: &[Op]) -> Result<(), SpoolError> {
        if !batch.iter().any(|op| matches!(op, Op::Chunk { .. } | Op::Accept { .. })) {
            return Ok(());
        }
        match self.disk.free() {
            Ok(free) if free < self.options.reserve => Err(SpoolError::Full),
            Ok(_) => Ok(()),
            Err(error) => Err(SpoolError::io("measure", "segments", error)),
        }
    }

    /// Whether there is room for messages again.
    pub fn has_room(&self) -> bool {
        self.disk.free().is_ok_and(|free| free >= self.options.reserve)
    }

    fn prepare(&self, op: Op, room: &Result<(), SpoolError>) -> Option<Prepared> {
        let (record, durable, effect) = match op {
            Op::Chunk { id, octets, reply } => {
                let record = room.clone().and_then(|()| Record::new(Kind::Chunk, id, Vec::new(), octets));
                (record, false, Effect::Chunk(reply))
            }
            Op::Accept { record, accepted, claims, reply } => {
                let record = room.clone().and_then(|()| self.check(&accepted.chunks)).map(|()| record);
                (record, true, Effect::Accept(accepted, claims, reply))
            }
            Op::Change { id, changes, durable, reply } => {
                let changed = self.changed(id, changes);
                let record = changed
                    .as_ref()
                    .map_err(SpoolError::clone)
                    .and_then(|changed| Record::described(Kind::Change, id, changed, Vec::new()));
                let nothing = Changed { base: 0, changes: Vec::new(), progress: None, concluded: false };
                (record, durable, Effect::Change(changed.unwrap_or(nothing), reply))
            }
            Op::Notice { id, notice, about, changes, reply } => {
                let accepted = self.notice(*notice, about, changes);
                (accepted.0.and_then(|body| notice_record(id, &accepted.1, body)), true, {
                    Effect::Notice(Box::new(accepted.1), reply)
                })
            }
        };
        match record {
            Ok(record) => Some(Prepared { record, durable, effect }),
            Err(error) => {
                effect.fail(error);
                None
            }
        }
    }

    /// A chunk may have been lost with a segment that failed since.
    fn check(&self, chunks: &[Extent]) -> Result<(), SpoolError> {
        let index = lock(&self.index);
        match chunks.iter().find(|extent| !index.holds(extent)) {
            None => Ok(()),
            Some(lost) => {
                let error = io::Error::other("octets of the message were lost with a failed write");
                Err(SpoolError::io("commit", &file_name(lost.segment), error))
            }
        }
    }

    fn changed(&self, id: QueueId, changes: Vec<Change>) -> Result<Changed, SpoolError> {
        let index = lock(&self.index);
        let entry = index.messages.get(&id).ok_or(SpoolError::Unknown(id))?;
        Ok(Changed { base: entry.base.segment, changes, progress: None, concluded: false })
    }

    fn notice(
        &self,
        notice: Notice,
        about: QueueId,
        changes: Vec<Change>,
    ) -> (Result<Vec<u8>, SpoolError>, Accepted) {
        let changed = self.changed(about, changes);
        let (changed, octets) = match changed {
            Ok(changed) => (Some(changed), Ok(notice.octets)),
            Err(error) => (None, Err(error)),
        };
        let size = octets.as_ref().map_or(0, |octets| octets.len() as u64);
        let accepted = Accepted {
            concludes: changed.map(|changed| (about, changed)),
            ..Accepted::new(notice.envelope, size, Vec::new())
        };
        (octets, accepted)
    }

    /// Appends records; returns where they are. After an error none of them counts.
    pub fn write(&mut self, records: &[&Record], durable: bool) -> Result<Vec<Extent>, SpoolError> {
        let octets: u64 = records.iter().map(|record| record.frame.len()).sum();
        self.make_room(octets)?;
        let Some(head) = &mut self.head else { return Err(SpoolError::Closed) };
        let (mut buffer, mut extents) = (Vec::with_capacity(octets as usize), Vec::new());
        for record in records {
            let offset = head.written + buffer.len() as u64;
            extents.push(Extent { segment: head.number, offset, len: record.frame.len() });
            record.encode(head.seed, &mut buffer);
        }
        let appended = head.file.append(head.written, &buffer);
        if let Err(error) = appended {
            return Err(self.fail(WRITE, error));
        }
        head.written += octets;
        if octets <= SMALL_BATCH {
            head.write_ahead(&self.options);
        }
        self.unsynced_since.get_or_insert_with(Instant::now);
        let (number, written) = (head.number, head.written);
        if let Some(segment) = lock(&self.index).segments.get_mut(&number) {
            segment.len = written;
        }
        if durable {
            self.sync()?;
        }
        Ok(extents)
    }

    /// Makes all that was written durable.
    pub fn sync(&mut self) -> Result<(), SpoolError> {
        if self.head.as_ref().is_none_or(|head| head.synced == head.written) {
            return Ok(());
        }
        self.sync_head()
    }

    fn sync_head(&mut self) -> Result<(), SpoolError> {
        let Some(head) = &mut self.head else { return Ok(()) };
        let begun = Instant::now();
        match head.file.sync() {
            Ok(()) => {
                self.syncs.observe(begun.elapsed().as_secs_f64());
                head.synced = head.written;
                self.unsynced_since = None;
                Ok(())
            }
            Err(error) => Err(self.fail("sync", error)),
        }
    }

    /// Gives up the head: what was not synced does not count any more, and the next head says so. A sync that
    /// failed is never repeated: the pages that it was about may be marked clean.
    fn fail(&mut self, operation: &'static str, error: io::Error) -> SpoolError {
        let Some(head) = self.head.take() else { return SpoolError::Closed };
        self.unsynced_since = None;
        // What was noted before a write that failed is whole: it gets the sync that it waited for.
        let was_noted = operation == WRITE && head.synced < head.written;
        let len = if was_noted && head.file.sync().is_ok() { head.written } else { head.synced };
        if let Some(segment) = lock(&self.index).segments.get_mut(&head.number) {
            segment.len = len;
        }
        self.last = (head.number, len);
        // The header of the next segment, which outlives this one, says how much of it counts. The cut only spares
        // the next start some work, so it is not synced: nothing is asked of this file any more.
        let _ = head.file.truncate(len);
        self.voided = true;
        let error = SpoolError::io(operation, &file_name(head.number), error);
        self.pressed |= error.is_full();
        error
    }

    /// Gives up a head in which little lives, where space is short: only what is no head can be given back.
    pub fn relieve(&mut self) -> Result<(), SpoolError> {
        let Some(head) = &self.head else { return Ok(()) };
        let number = head.number;
        let is_worth_it = lock(&self.index).segments.get(&number).is_some_and(|segment| {
            segment.pending == 0 && head.written > SEGMENT_HEADER && segment.is_sparse()
        });
        if is_worth_it {
            self.leave_head()?;
            self.open_head()?;
        }
        Ok(())
    }

    /// Seals the head, durably, before a later segment exists: so the last one alone can be torn.
    fn leave_head(&mut self) -> Result<(), SpoolError> {
        let Some(head) = &self.head else { return Ok(()) };
        let has_zeros = head.ahead > head.written;
        let is_cut = !has_zeros || head.file.truncate(head.written).is_ok();
        if has_zeros {
            self.sync_head()?
        } else {
            self.sync()?
        }
        if let Some(head) = self.head.take() {
            self.last = (head.number, head.written);
            // Zeros that stay are octets that do not count, as after a write that failed.
            self.voided = !is_cut;
        }
        Ok(())
    }

    /// Opens a new head where there is none, or where the records would not fit.
    fn make_room(&mut self, octets: u64) -> Result<(), SpoolError> {
        if let Some(head) = &self.head {
            if head.written == SEGMENT_HEADER || head.written + octets <= self.options.segment_size {
                return Ok(());
            }
            self.leave_head()?;
        }
        self.open_head()
    }

    /// Creates the next segment, durable with its entry before anything in it is.
    pub fn open_head(&mut self) -> Result<(), SpoolError> {
        let number = self.next_segment;
        self.next_segment += 1;
        let name = file_name(number);
        let header = SegmentHeader {
            spool: self.spool,
            number,
            previous: self.last.0,
            previous_len: self.last.1,
            next_id: self.next_id.load(Ordering::SeqCst),
            voids: self.voided,
        };
        let file = match self.create(&name, &header.encode()) {
            Ok(file) => file,
            Err((operation, error)) => {
                // What is left of it says nothing, or nothing new; it is removed at the next start at the latest.
                let _ = self.disk.unlink(&name);
                return Err(SpoolError::io(operation, &name, error));
            }
        };
        let mut segment = Segment::new(file.clone(), SEGMENT_HEADER);
        segment.seals = self.voided.then_some(self.last.0);
        lock(&self.index).segments.insert(number, segment);
        let seed = seed(self.spool, number);
        self.head =
            Some(Head { number, file, seed, written: SEGMENT_HEADER, synced: SEGMENT_HEADER, ahead: 0 });
        Ok(())
    }

    fn create(&self, name: &str, header: &[u8]) -> Result<Arc<dyn DiskFile>, (&'static str, io::Error)> {
        let file = self.disk.create(name).map_err(|error| ("create", error))?;
        file.append(0, header).map_err(|error| ("write", error))?;
        file.sync().map_err(|error| ("sync", error))?;
        self.disk.sync_directory().map_err(|error| ("sync the directory of", error))?;
        let mut back = vec![0; header.len()];
        file.read_at(0, &mut back).map_err(|error| ("read back", error))?;
        if back != header {
            return Err(("verify", io::Error::other("what was written does not read back")));
        }
        Ok(file)
    }

    /// Makes true what was written, and says so.
    fn settle(&self, batch: Vec<Prepared>, extents: &[Extent]) {
        for (prepared, &at) in batch.into_iter().zip(extents) {
            let frame = prepared.record.frame;
            match prepared.effect {
                Effect::Chunk(reply) => drop(reply.send(Ok(Claim::new(&self.index, at)))),
                Effect::Accept(accepted, claims, reply) => {
                    lock(&self.index).put(frame.id, Entry::new(at, frame.recipients, *accepted));
                    drop(claims);
                    let _ = reply.send(Ok(()));
                }
                Effect::Change(changed, reply) => {
                    lock(&self.index).change(at, frame.id, &changed);
                    let _ = reply.send(Ok(()));
                }
                Effect::Notice(mut accepted, reply) => {
                    let mut index = lock(&self.index);
                    let concludes = accepted.concludes.take();
                    index.put(frame.id, Entry::new(at, frame.recipients, *accepted));
                    if let Some((about, changed)) = concludes {
                        index.change(at, about, &changed);
                    }
                    drop(index);
                    let _ = reply.send(Ok(()));
                }
            }
        }
    }
}

fn notice_record(id: QueueId, accepted: &Accepted, body: Vec<u8>) -> Result<Record, SpoolError> {
    let record = Record::described(Kind::Notice, id, accepted, body)?;
    Ok(record.with_recipients(accepted.envelope.recipients.len() as u32))
}
