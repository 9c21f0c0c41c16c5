//! The thread behind the spool: what waits is one batch, and shares one sync.
//!
//! Owns: when a batch is closed. Sessions that share a sync get their 250 together and come back together: the first
//! of them would begin a sync for itself alone, and all others wait for that one and for their own. So a batch waits
//! until those of the last one are there again, at most half the time of a sync from when they got their answers. A lone
//! session has nobody to wait for. Must not know what a record means.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

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

/// Commits what comes in until all handles are gone.
pub(super) fn serve(mut log: Log, ops: Receiver<Op>, under_way: &UnderWay) {
    let (mut unsynced, mut company, mut batch) = (None, Company::default(), Batch::default());
    loop {
        if batch.ops.is_empty() {
            match next(&mut log, &ops, &mut unsynced) {
                Some(op) => batch.push(op),
                None => break,
            }
            batch.take_waiting(&ops);
        }
        company.gather(&ops, &mut batch);
        let (durable, begun) = (batch.durable, Instant::now());
        log.commit(batch.take());
        if durable > 0 {
            batch.take_waiting(&ops);
            company.leaves(durable + batch.durable, begun);
        }
        log.tidy();
        unsynced = log.has_unsynced().then(|| unsynced.unwrap_or_else(Instant::now));
    }
    // What was noted, and no commit came after.
    let _ = log.sync();
    under_way.close();
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

    fn take_waiting(&mut self, ops: &Receiver<Op>) {
        while !self.is_full()
            && let Ok(op) = ops.try_recv()
        {
            self.push(op);
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
    fn gather(&self, ops: &Receiver<Op>, batch: &mut Batch) {
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

    /// A sync that begun then has ended; so many had waited for it or for the next one.
    fn leaves(&mut self, size: usize, begun: Instant) {
        self.size = size;
        self.left = Instant::now();
        self.latency = (self.latency * 7 + self.left.saturating_duration_since(begun)) / 8;
    }
}

/// The next operation; None: all handles are gone. What was noted `unsynced` ago is synced when its time is over,
/// also where operations keep coming.
fn next(log: &mut Log, ops: &Receiver<Op>, unsynced: &mut Option<Instant>) -> Option<Op> {
    loop {
        let Some(since) = *unsynced else { return ops.recv().ok() };
        let left = UNSYNCED.saturating_sub(since.elapsed());
        let received = if left.is_zero() { Err(RecvTimeoutError::Timeout) } else { ops.recv_timeout(left) };
        match received {
            Ok(op) => return Some(op),
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                // What fails here is told to whoever writes next.
                let _ = log.sync();
                *unsynced = None;
            }
        }
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
        sender.send(op(true)).unwrap();
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
