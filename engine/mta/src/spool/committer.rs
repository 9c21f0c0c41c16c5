//! Who commits, and when: what waits is one batch, and shares one sync.
//!
//! Owns: when a batch is closed. Sessions that share a sync get their 250 together and come back together: the first
//! of them would begin a sync for itself alone, and all others wait for that one and for their own. So a batch waits
//! until those of the last one are there again, at most half the time of a sync from when they got their answers. A lone
//! session has nobody to wait for. Must not know what a record means.
//!
//! A thread commits. Only where one session is alone and the disk is fast does the caller do so itself: waking the thread
//! and being woken by it costs as much time as the sync. That blocks a worker of the runtime for less than a
//! millisecond, so there must be another one; a disk that is slower than that gets its thread back at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};

use super::log::{Log, Op};
use super::under_way::UnderWay;

/// Octets of bodies in one batch, about.
const BATCH: usize = 4 * 1024 * 1024;
/// How long what was only noted waits for a commit that makes it durable; then it is synced for its own sake.
const UNSYNCED: Duration = Duration::from_secs(1);
/// The longest that a batch waits for company, however slow the disk.
const PATIENCE: Duration = Duration::from_millis(10);
/// How often is looked for company in that time.
const LOOKS: u32 = 8;

/// The longest commit for which a worker of the runtime may be blocked.
const BRIEF: Duration = Duration::from_millis(1);

/// The log, and who may write to it.
pub(super) struct Committer {
    log: Mutex<Log>,
    /// One session is alone, and commits are [`BRIEF`].
    is_lone: AtomicBool,
    /// The thread sleeps until it is woken: all is durable and tidy.
    is_asleep: AtomicBool,
}

/// What became of an operation that its caller would have committed.
pub(super) enum Offered {
    /// Committed and answered.
    Done,
    /// As [`Offered::Done`], and the thread is to be woken, to look after what is noted only.
    Wake,
    /// It is for the thread.
    Declined(Op),
}

impl Committer {
    pub fn new(log: Log) -> Self {
        Self { log: Mutex::new(log), is_lone: AtomicBool::new(false), is_asleep: AtomicBool::new(false) }
    }

    /// Commits an operation on the caller's thread, where that is the better way.
    pub fn offer(&self, op: Op) -> Offered {
        if !self.is_lone.load(Ordering::Relaxed) || !may_block() {
            return Offered::Declined(op);
        }
        let mut log = match self.log.try_lock() {
            Ok(log) if log.is_tidy() => log,
            _ => return Offered::Declined(op),
        };
        let begun = Instant::now();
        log.commit(vec![op]);
        if begun.elapsed() > BRIEF {
            self.is_lone.store(false, Ordering::Relaxed);
        }
        // Under the lock, as the thread falls asleep.
        if self.is_asleep.swap(false, Ordering::Relaxed) { Offered::Wake } else { Offered::Done }
    }

    /// Commits what comes in until all handles are gone.
    pub fn serve(&self, ops: &Ops, under_way: &UnderWay) {
        // A commit that panicked has closed the spool: what it left half done is for the next start.
        if let Err(Closed) = self.serve_all(ops) {
            return;
        }
        under_way.close();
    }

    fn serve_all(&self, ops: &Ops) -> Result<(), Closed> {
        let (mut company, mut batch) = (Company::default(), Batch::default());
        loop {
            if batch.ops.is_empty() {
                match self.next(ops)? {
                    Some(op) => batch.push(op),
                    None => break,
                }
                batch.take_waiting(ops);
            }
            company.gather(ops, &mut batch);
            let mut log = self.lock()?;
            let (durable, begun) = (batch.durable, Instant::now());
            log.commit(batch.take());
            if durable > 0 {
                batch.take_waiting(ops);
                company.leaves(durable + batch.durable, begun);
                self.is_lone.store(company.is_lone(), Ordering::Relaxed);
            }
            log.tidy();
        }
        // What was noted, and no commit came after.
        let _ = self.lock()?.sync();
        Ok(())
    }

    /// The next operation; None: all handles are gone. What was noted is synced when its time is over, also where
    /// operations keep coming.
    fn next(&self, ops: &Ops) -> Result<Option<Op>, Closed> {
        let mut seen = None;
        loop {
            let received = match self.look(&mut seen)? {
                Some(wait) => ops.recv_timeout(wait),
                None => ops.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match received {
                Ok(Some(op)) => return Ok(Some(op)),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Ok(None) | Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Does what callers that commit leave to the thread, and says when to look again. None: all is done; the next
    /// caller that commits wakes the thread. `seen`: the commits up to the last look.
    fn look(&self, seen: &mut Option<u64>) -> Result<Option<Duration>, Closed> {
        let mut log = self.lock()?;
        let left = |log: &Log| log.unsynced_since.map(|since| UNSYNCED.saturating_sub(since.elapsed()));
        if left(&log).is_some_and(|left| left.is_zero()) {
            // What fails here is told to whoever writes next.
            let _ = log.sync();
        }
        let commits = log.commits;
        let was_used = seen.is_some_and(|seen| seen != commits);
        if was_used {
            log.tidy();
        }
        *seen = Some(commits);
        let wait = left(&log).or(was_used.then_some(UNSYNCED));
        self.is_asleep.store(wait.is_none(), Ordering::Relaxed);
        Ok(wait)
    }

    fn lock(&self) -> Result<MutexGuard<'_, Log>, Closed> {
        self.log.lock().map_err(|_| Closed)
    }
}

/// A commit has panicked.
struct Closed;

/// What the thread is sent; None wakes it for a look.
pub(super) type Ops = Receiver<Option<Op>>;

/// Whether a worker of the runtime may be blocked for a moment: there is another one.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|runtime| {
        runtime.runtime_flavor() == RuntimeFlavor::MultiThread && runtime.metrics().num_workers() > 1
    })
}

/// What is committed together.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    octets: usize,
    /// Operations that wait for a sync.
    durable: usize,
}

impl Batch {
    fn push(&mut self, op: Op) {
        self.octets += op.octets();
        self.durable += usize::from(op.is_durable());
        self.ops.push(op);
    }

    fn is_full(&self) -> bool {
        self.octets >= BATCH
    }

    fn take_waiting(&mut self, ops: &Ops) {
        while !self.is_full()
            && let Ok(op) = ops.try_recv()
        {
            op.into_iter().for_each(|op| self.push(op));
        }
    }

    fn take(&mut self) -> Vec<Op> {
        std::mem::take(self).ops
    }
}

/// Those who wait for syncs, again and again.
#[derive(Debug)]
struct Company {
    /// Those whom the last sync was for, and those who came while it ran.
    size: usize,
    /// When it ended.
    left: Instant,
    /// How long a sync takes, about.
    latency: Duration,
}

impl Default for Company {
    fn default() -> Self {
        Self { size: 0, left: Instant::now(), latency: Duration::ZERO }
    }
}

impl Company {
    /// Waits for those who are to come, where there are any and somebody waits for a sync. It looks for them now and
    /// then: woken by each, it would cost more than the sync that is spared.
    fn gather(&self, ops: &Ops, batch: &mut Batch) {
        let wait = (self.latency / 2).min(PATIENCE);
        while batch.durable > 0 && batch.durable < self.size && !batch.is_full() {
            let left = wait.saturating_sub(self.left.elapsed());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(wait / LOOKS));
            batch.take_waiting(ops);
        }
    }

    /// Whether one session at a time asks for syncs, and gets them at once.
    fn is_lone(&self) -> bool {
        self.size <= 1 && self.latency < BRIEF
    }

    /// A sync that begun then has ended; so many had waited for it or for the next one.
    fn leaves(&mut self, size: usize, begun: Instant) {
        self.size = size;
        self.left = Instant::now();
        let took = self.left.saturating_duration_since(begun);
        self.latency = if self.latency.is_zero() { took } else { (self.latency * 7 + took) / 8 };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::message::QueueId;

    fn op(durable: bool) -> Op {
        Op::Change { id: QueueId(1), changes: Vec::new(), durable, reply: oneshot::channel().0 }
    }

    /// How many are together once a batch that holds one operation is closed; another one comes in the meantime.
    fn gathers(company: &Company, durable: bool) -> (usize, Duration) {
        let (sender, ops) = mpsc::channel();
        let mut batch = Batch::default();
        batch.push(op(durable));
        sender.send(Some(op(true))).unwrap();
        let begun = Instant::now();
        company.gather(&ops, &mut batch);
        (batch.ops.len(), begun.elapsed())
    }

    #[test]
    fn a_batch_waits_for_those_who_were_answered_just_now() {
        let hour = Duration::from_secs(3600);
        let just_now = |size| Company { size, left: Instant::now(), latency: hour };
        assert_eq!(gathers(&just_now(2), true).0, 2);
        assert_eq!(gathers(&just_now(1), true).0, 1, "a lone session waits for nobody");
        assert_eq!(gathers(&just_now(2), false).0, 1, "nor does what needs no sync");
        let (together, waited) = gathers(&just_now(3), true);
        assert!(together == 2 && waited < hour, "{together} after {waited:?}: the wait has a limit");
        let long_ago = Company { left: Instant::now() - PATIENCE, ..just_now(2) };
        assert_eq!(gathers(&long_ago, true).0, 1, "whoever was to come would be there");
    }
}
