//! The spool as the rest of the MTA sees it.
//!
//! Owns: the way to the one committer. A session waits for its own answer. Must not know a schedule.

use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::body::{Body, Kept};
use super::change::{Change, Notice, Standing, Stored};
use super::committer::{Committer, Offered};
use super::disk::{Disk, RealDisk};
use super::error::SpoolError;
use super::index::{Claim, Shared, lock};
use super::log::{Log, Op, Options, Reply};
use super::record::{Accepted, Kind, Record};
use super::under_way::{self, Mark, Slot, UnderWay};
use super::{Recovery, Unreadable, read, scan};
use crate::message::{Envelope, Outcome, QueueId};
use crate::metrics::Histogram;

/// Octets up to which a message is one record.
pub const SMALL: usize = 64 * 1024;
/// Octets of the chunks that a larger message is written in; what a session holds of it in memory.
pub const CHUNK: usize = 128 * 1024;

/// An open spool. Clones are the same; the last one dropped closes it.
#[derive(Clone)]
pub struct Spool {
    committer: Arc<Committer>,
    /// Whoever asks waits for the answer, so that no more wait than there are sessions and deliveries.
    ops: mpsc::Sender<Option<Op>>,
    index: Shared,
    next_id: Arc<AtomicU64>,
    held: Arc<AtomicUsize>,
    memory: usize,
    under_way: Arc<UnderWay>,
    disk: Arc<dyn Disk>,
    syncs: Arc<Histogram>,
}

impl Spool {
    /// Opens the spool in `directory`, created where it is not there.
    /// Errors: [`SpoolError::InUse`], [`SpoolError::Version`], [`SpoolError::Io`], [`SpoolError::Full`].
    pub fn open(directory: &Path, options: Options) -> Result<(Spool, Recovery), SpoolError> {
        let name = directory.display().to_string();
        let disk = RealDisk::open(directory).map_err(|error| SpoolError::io("open", &name, error))?;
        Self::on(Arc::new(disk), options)
    }

    /// Opens the spool on a disk.
    pub fn on(disk: Arc<dyn Disk>, options: Options) -> Result<(Spool, Recovery), SpoolError> {
        let (log, mut recovery) = Log::open(disk, options)?;
        let under_way = take_over(&*log.disk, &log.index, &mut recovery);
        let (ops, received) = mpsc::channel();
        let (index, next_id, disk, syncs) =
            (log.index.clone(), log.next_id.clone(), log.disk.clone(), log.syncs.clone());
        let committer = Arc::new(Committer::new(log));
        let spool = Spool {
            committer: committer.clone(),
            ops,
            index,
            next_id,
            held: Arc::default(),
            memory: options.memory,
            under_way: under_way.clone(),
            disk,
            syncs,
        };
        let thread = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || committer.serve(&received, &under_way));
        thread.map_err(|error| SpoolError::io("start a thread for", "the spool", error))?;
        Ok((spool, recovery))
    }

    /// Begins to take a message in.
    pub fn begin(&self) -> Incoming {
        Incoming { spool: self.clone(), id: self.next_id(), size: 0, pending: Vec::new(), claims: Vec::new() }
    }

    /// Records changes; when this returns Ok they survive a power cut. A message whose recipients all are done
    /// leaves the spool. Errors: [`SpoolError::Unknown`], or the disk's; nothing is recorded then.
    pub async fn record(&self, id: QueueId, changes: Vec<Change>) -> Result<(), SpoolError> {
        self.ask(|reply| Op::Change { id, changes, durable: true, reply }).await
    }

    /// Records changes that a crash may undo: deferrals, and what a next hop or a mailbox took, which a power cut then
    /// makes arrive twice. They are written when this returns, so that a killed process loses none, and become durable
    /// with the next commit of anything, within a second at the latest.
    pub async fn note(&self, id: QueueId, changes: Vec<Change>) -> Result<(), SpoolError> {
        self.ask(|reply| Op::Change { id, changes, durable: false, reply }).await
    }

    /// Records outcomes and the notice about them, durably, all or nothing. [`Outcome::Failed`] without a notice
    /// gets this one. Errors: as [`Spool::record`], and [`SpoolError::TooLarge`].
    pub async fn conclude(
        &self,
        about: QueueId,
        mut changes: Vec<Change>,
        notice: Option<Notice>,
    ) -> Result<Option<QueueId>, SpoolError> {
        let Some(notice) = notice else { return self.record(about, changes).await.map(|()| None) };
        let id = self.next_id();
        for change in &mut changes {
            if let Change::Done { outcome: Outcome::Failed { notice, .. }, .. } = change {
                notice.get_or_insert(id);
            }
        }
        let notice = Box::new(notice);
        self.ask(|reply| Op::Notice { id, notice, about, changes, reply }).await?;
        Ok(Some(id))
    }

    /// How long each sync took, in seconds.
    pub fn syncs(&self) -> &Histogram {
        &self.syncs
    }

    /// Octets that are free on its file system. None: it does not say. May block on the disk.
    pub fn free(&self) -> Option<u64> {
        self.disk.free().ok()
    }

    /// The names of all queued messages, in the order in which they were given.
    pub fn ids(&self) -> Vec<QueueId> {
        lock(&self.index).messages.keys().copied().collect()
    }

    /// At most `limit` names behind `after`.
    pub fn ids_after(&self, after: Option<QueueId>, limit: usize) -> Vec<QueueId> {
        let from = after.map_or(0, |id| id.0.saturating_add(1));
        lock(&self.index).messages.range(QueueId(from)..).take(limit).map(|(id, _)| *id).collect()
    }

    /// Notes that recipients of a message are about to be delivered to.
    pub fn begin_delivery(&self, id: QueueId, recipients: &[u32]) -> Delivery {
        let (first, last) = (recipients.iter().min(), recipients.iter().max());
        let mark = first.zip(last).map(|(&first, &last)| Mark { id, first, last });
        Delivery(mark.and_then(|mark| self.under_way.begin(mark)))
    }

    /// Notes that a delivery is over and recorded; `is_gone`: the message left the spool with it.
    pub fn end_delivery(&self, Delivery(slot): Delivery, is_gone: bool) {
        if let Some(slot) = slot {
            self.under_way.end(slot, is_gone);
        }
    }

    /// The last name that is queued.
    pub fn last_id(&self) -> Option<QueueId> {
        lock(&self.index).messages.last_key_value().map(|(id, _)| *id)
    }

    /// Messages in the spool.
    pub fn count(&self) -> usize {
        lock(&self.index).messages.len()
    }

    /// Reads a message without its body. May block on the disk.
    /// Errors: [`SpoolError::Unknown`], [`SpoolError::Damaged`], [`SpoolError::Io`].
    pub fn message(&self, id: QueueId) -> Result<Stored, SpoolError> {
        read::stored(&self.index, id)
    }

    /// The octets of a message; stays readable when the message leaves the spool meanwhile.
    /// Errors: [`SpoolError::Unknown`].
    pub fn body(&self, id: QueueId) -> Result<Body, SpoolError> {
        read::body(&self.index, id)
    }

    /// Reads all of a message, and returns its octets, or what is wrong with it. None: it left the spool meanwhile.
    /// May block on the disk.
    pub fn check(&self, id: QueueId) -> Option<Result<u64, Unreadable>> {
        read::check(&self.index, id)
    }

    fn next_id(&self) -> QueueId {
        QueueId(self.next_id.fetch_add(1, Ordering::SeqCst))
    }

    async fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, SpoolError> {
        let (reply, answer) = oneshot::channel();
        let sent = match self.committer.offer(op(reply)) {
            Offered::Done => Ok(()),
            Offered::Wake => self.ops.send(None),
            Offered::Declined(op) => self.ops.send(Some(op)),
        };
        sent.map_err(|_| SpoolError::Closed)?;
        answer.await.map_err(|_| SpoolError::Closed)?
    }
}

/// A delivery that is under way. Dropped without [`Spool::end_delivery`] it stays noted: a next hop may have taken it.
#[derive(Debug)]
pub struct Delivery(Option<Slot>);

/// Says what was under way, and notes it anew from here on.
fn take_over(disk: &dyn Disk, index: &Shared, recovery: &mut Recovery) -> Arc<UnderWay> {
    match UnderWay::open(disk) {
        Ok((under_way, left)) => {
            recovery.went_down = left.went_down;
            recovery.under_way = left.marks.iter().filter_map(|mark| named(index, mark)).collect();
            Arc::new(under_way)
        }
        Err(error) => {
            let reason = format!("what may arrive twice after a crash cannot be noted: {error}");
            let file = under_way::FILE.to_owned();
            recovery.unreadable.push(Unreadable { file, offset: 0, id: None, reason });
            Arc::new(UnderWay::none())
        }
    }
}

/// The recipients of a mark that are still to be delivered to. None: there are none.
fn named(index: &Shared, mark: &Mark) -> Option<super::UnderWay> {
    let Stored { id, envelope, progress, .. } = read::stored(index, mark.id).ok()?;
    let open = |at: &usize| *progress.of(*at) != Standing::Done;
    let last = envelope.recipients.len().min(mark.last as usize + 1);
    let recipients = (mark.first as usize..last).filter(open);
    let recipients: Vec<_> = recipients.map(|at| envelope.recipients[at].address.clone()).collect();
    (!recipients.is_empty()).then_some(super::UnderWay { id, recipients })
}

/// A message that is coming in. At most [`CHUNK`] octets of it are in memory. Dropped, it is given up.
pub struct Incoming {
    spool: Spool,
    id: QueueId,
    size: u64,
    pending: Vec<u8>,
    claims: Vec<Claim>,
}

impl Incoming {
    /// The name that the message will have; never given again, whether it is committed or not.
    pub fn id(&self) -> QueueId {
        self.id
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds octets of header and body, CRLF. Errors: as [`Incoming::commit`]; the message cannot go on then.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), SpoolError> {
        self.size += octets.len() as u64;
        self.pending.extend_from_slice(octets);
        while self.pending.len() > CHUNK {
            let rest = self.pending.split_off(CHUNK);
            let chunk = mem::replace(&mut self.pending, rest);
            self.flush(chunk).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, octets: Vec<u8>) -> Result<(), SpoolError> {
        let id = self.id;
        let claim = self.spool.ask(|reply| Op::Chunk { id, octets, reply }).await?;
        self.claims.push(claim);
        Ok(())
    }

    /// Queues the message; when this returns Ok it survives a power cut.
    /// Errors: [`SpoolError::is_full`] is 452, everything else 451.
    pub async fn commit(self, envelope: Envelope) -> Result<QueueId, SpoolError> {
        self.commit_keeping(envelope).await.map(|(id, _)| id)
    }

    /// As [`Incoming::commit`]; returns the body too where it is small and memory allows.
    pub async fn commit_keeping(mut self, envelope: Envelope) -> Result<(QueueId, Option<Body>), SpoolError> {
        let id = self.id;
        if self.pending.len() > SMALL || !self.claims.is_empty() {
            let rest = mem::take(&mut self.pending);
            if !rest.is_empty() {
                self.flush(rest).await?;
            }
        }
        let chunks = self.claims.iter().map(|claim| claim.extent).collect();
        let recipients = envelope.recipients.len() as u32;
        let accepted = Accepted::new(envelope, self.size, chunks);
        let body = mem::take(&mut self.pending);
        let kept = if self.claims.is_empty() { self.keep(&body) } else { None };
        let record = Record::described(Kind::Accept, id, &accepted, body)?.with_recipients(recipients);
        let (claims, accepted) = (mem::take(&mut self.claims), Box::new(accepted));
        self.spool.ask(|reply| Op::Accept { record, accepted, claims, reply }).await?;
        Ok((id, kept))
    }

    fn keep(&self, body: &[u8]) -> Option<Body> {
        Kept::within(body.to_vec(), &self.spool.held, self.spool.memory).map(Body::memory)
    }
}

/// What lies in a spool that nobody has open: the messages, and what cannot be read. Nothing is changed.
/// Errors: [`SpoolError::InUse`], [`SpoolError::Io`], [`SpoolError::Version`].
pub fn inspect(directory: &Path) -> Result<(Vec<Stored>, Recovery), SpoolError> {
    let name = directory.display().to_string();
    let disk = RealDisk::read_only(directory).map_err(|error| SpoolError::io("open", &name, error))?;
    let Some(disk) = disk else { return Ok((Vec::new(), Recovery::default())) };
    let mut scan = scan::scan(&disk)?;
    let ids: Vec<QueueId> = scan.index.messages.keys().copied().collect();
    let index = std::sync::Mutex::new(scan.index);
    let unreadable = &mut scan.recovery.unreadable;
    // One that cannot be read hides no other.
    let read =
        |id| read::stored(&index, id).map_err(|error| unreadable.push(Unreadable::message(id, &error))).ok();
    let messages = ids.into_iter().filter_map(read).collect();
    Ok((messages, scan.recovery))
}
