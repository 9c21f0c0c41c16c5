//! What queue, dispatcher and jobs have in common: the schedule, the spool, the clock.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;

use super::Route;
use super::job::{Due, Job, Ticket};
use super::schedule::{Behaviour, Ending, Entering, Pick, Schedule, Settings};
use crate::message::{Envelope, QueueId, Timestamp};
use crate::spool::{Body, Recovery, Spool, SpoolError, Standing, Stored, Unreadable};

/// Hears of a message that was set aside.
pub type Listener = Box<dyn Fn(&Unreadable) + Send + Sync>;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Envelopes kept for their first attempt; what is beyond is read back.
const FRESH: usize = 4096;

/// The host's clock.
pub fn wall_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

pub(super) struct Shared {
    pub spool: Spool,
    pub wake: Notify,
    route: Route,
    clock: Clock,
    random: (RandomState, AtomicU64),
    state: Mutex<State>,
    /// Who is told of what is set aside.
    pub listener: OnceLock<Listener>,
}

pub(super) struct State {
    pub schedule: Schedule,
    /// What was just received and was not tried yet.
    fresh: HashMap<QueueId, (Arc<Envelope>, Option<Body>)>,
    /// What was found to be unreadable, at the start and since.
    pub unreadable: Vec<Unreadable>,
}

impl Shared {
    pub fn new(spool: Spool, settings: Settings, route: Route, clock: Clock) -> Self {
        let state =
            State { schedule: Schedule::new(settings), fresh: HashMap::new(), unreadable: Vec::new() };
        let random = (RandomState::new(), AtomicU64::new(0));
        let (wake, listener) = (Notify::new(), OnceLock::new());
        Self { spool, wake, route, clock, random, state: Mutex::new(state), listener }
    }

    /// The state is whole even where a thread died with it: each change to it is one call.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// How long to wait for a time; at least a millisecond, so that no clock makes the dispatcher spin.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::from_millis(at.0.saturating_sub(self.now().0).max(1))
    }

    /// For jitter alone.
    fn random(&self) -> u64 {
        self.random.0.hash_one(self.random.1.fetch_add(1, Ordering::Relaxed))
    }

    pub fn retry_at(&self, attempts: u32) -> Timestamp {
        let (now, random) = (self.now(), self.random());
        self.state().schedule.retry_at(now, attempts, random)
    }

    /// Schedules all that the spool holds.
    pub fn take_up(&self, recovery: &mut Recovery) {
        for id in self.spool.ids() {
            match self.spool.message(id) {
                Ok(stored) => self.schedule(stored),
                Err(error) => recovery.unreadable.push(Unreadable::message(id, &error)),
            }
        }
        self.state().unreadable = recovery.unreadable.clone();
    }

    fn schedule(&self, stored: Stored) {
        let entering = self.entering(&stored);
        let now = self.now();
        let (id, arrived, held) = (stored.id, stored.envelope.arrived, stored.progress.held);
        self.state().schedule.add(now, id, arrived, held, entering);
    }

    fn entering(&self, stored: &Stored) -> Vec<Entering> {
        let recipients = stored.envelope.recipients.iter().enumerate();
        let waiting = recipients.filter_map(|(index, recipient)| {
            let (attempts, next) = match stored.progress.of(index) {
                Standing::Done => return None,
                Standing::Fresh => (0, stored.envelope.arrived),
                Standing::Deferred(wait) => (wait.attempts, wait.next),
            };
            let destination = (self.route)(&recipient.address);
            Some(Entering { index: index as u32, destination, attempts, next })
        });
        waiting.collect()
    }

    /// Schedules a message that was just committed.
    pub fn enter(&self, id: QueueId, envelope: Arc<Envelope>, body: Option<Body>) {
        let route = |(index, recipient): (usize, &crate::message::Recipient)| Entering {
            index: index as u32,
            destination: (self.route)(&recipient.address),
            attempts: 0,
            next: Timestamp(0),
        };
        let entering = envelope.recipients.iter().enumerate().map(route).collect();
        let now = self.now();
        let mut state = self.state();
        state.schedule.add(now, id, envelope.arrived, false, entering);
        if state.fresh.len() < FRESH {
            state.fresh.insert(id, (envelope, body));
        }
    }

    /// Makes a job of what was picked. None: it cannot be read; damaged, it is held.
    pub async fn job(self: &Arc<Self>, pick: Pick) -> Option<Job> {
        let ticket = Ticket::new(self.clone(), pick);
        match self.read(ticket.pick()).await {
            Ok((envelope, body, due)) if due.len() == ticket.pick().recipients.len() => {
                let Pick { id, destination, expired, .. } = ticket.pick().clone();
                let size = body.size();
                Some(Job { id, envelope, size, destination, recipients: due, expired, body, ticket })
            }
            // The disk may be better later; the ticket, dropped, sees to that.
            Err(SpoolError::Io { .. } | SpoolError::Closed) => None,
            Err(error) => {
                self.set_aside(ticket.pick().id, &error);
                None
            }
            Ok(_) => {
                self.set_aside(ticket.pick().id, &SpoolError::Unknown(ticket.pick().id));
                None
            }
        }
    }

    /// Holds a message that cannot go on, and says so.
    pub fn set_aside(&self, id: QueueId, error: &SpoolError) {
        let found = Unreadable::message(id, error);
        let mut state = self.state();
        state.schedule.hold(id);
        // Recipients at several destinations may find the same.
        if state.unreadable.iter().any(|known| known.id == Some(id)) {
            return;
        }
        state.unreadable.push(found.clone());
        drop(state);
        if let Some(tell) = self.listener.get() {
            tell(&found);
        }
    }

    async fn read(self: &Arc<Self>, pick: &Pick) -> Result<(Arc<Envelope>, Body, Vec<Due>), SpoolError> {
        let id = pick.id;
        let fresh = self.state().fresh.get(&id).cloned();
        if let Some((envelope, body)) = fresh {
            let body = body.map_or_else(|| self.spool.body(id), Ok)?;
            let due = due(&envelope, pick, |_| None);
            return Ok((envelope, body, due));
        }
        let spool = self.spool.clone();
        let stored = tokio::task::spawn_blocking(move || spool.message(id)).await;
        let stored = stored.map_err(|_| SpoolError::Closed)??;
        let last = |index| match stored.progress.of(index) {
            Standing::Deferred(wait) => Some(wait.clone()),
            _ => None,
        };
        let due = due(&stored.envelope, pick, last);
        Ok((Arc::new(stored.envelope), self.spool.body(id)?, due))
    }

    /// Takes a job back whose outcome is recorded. Returns whether the message is concluded.
    pub fn end(&self, mut job: Job, endings: &[(u32, Ending)], behaviour: Behaviour) -> bool {
        let Some(pick) = job.ticket.take() else { return false };
        self.give_back(&pick, endings, behaviour)
    }

    pub fn give_back(&self, pick: &Pick, endings: &[(u32, Ending)], behaviour: Behaviour) -> bool {
        let (now, random) = (self.now(), self.random());
        let mut state = self.state();
        let concluded = state.schedule.finish(now, pick, endings, behaviour, random);
        // From the second attempt on there is something to know that is in the spool alone.
        let again = endings.iter().any(|(_, ending)| *ending != Ending::Done);
        if concluded || again || endings.is_empty() {
            state.fresh.remove(&pick.id);
        }
        concluded
    }
}

fn due(envelope: &Envelope, pick: &Pick, last: impl Fn(usize) -> Option<crate::spool::Wait>) -> Vec<Due> {
    let due = pick.recipients.iter().filter_map(|&index| {
        let index = index as usize;
        let recipient = envelope.recipients.get(index)?.clone();
        Some(Due { index, recipient, last: last(index) })
    });
    due.collect()
}
