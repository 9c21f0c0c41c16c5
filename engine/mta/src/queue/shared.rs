//! What queue, dispatcher and jobs have in common: the schedule, the spool, the clock.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, mpsc};

use super::Route;
use super::destination::Destination;
use super::job::{Due, Job, Order, Ticket};
use super::schedule::{Behaviour, Ending, Entering, Pick, Schedule, Settings};
use crate::message::{Envelope, QueueId, Timestamp};
use crate::spool::{Body, Recovery, Spool, SpoolError, Standing, Stored, Unreadable};

/// Hears of a message that was set aside.
pub type Listener = Box<dyn Fn(&Unreadable) + Send + Sync>;

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Messages that are scheduled before the queue is open. The rest follows while the first are delivered.
const AT_ONCE: usize = 5000;
/// Messages that are scheduled between two looks whether the queue still is.
const PAGE: usize = 1000;

/// Envelopes kept for their first attempt; what is beyond is read back.
const FRESH: usize = 4096;

/// Destinations of which it is remembered what they said.
const TROUBLES: usize = 256;

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
    /// What operators ordered, on its way to whoever carries it out.
    pub orders: mpsc::Sender<Job>,
}

pub(super) struct State {
    pub schedule: Schedule,
    /// What was just received and was not tried yet.
    fresh: HashMap<QueueId, (Arc<Envelope>, Option<Body>)>,
    /// What was found to be unreadable, at the start and since.
    pub unreadable: Vec<Unreadable>,
    /// Of these the first ones were told of when the queue was opened.
    told: usize,
    /// Messages from before the start are still being scheduled.
    pub loading: bool,
    /// Destinations that took nothing when they were last asked: since when, and what was said.
    pub troubles: HashMap<Destination, (Timestamp, String)>,
    /// A flush was asked for meanwhile: those that follow are due at once.
    flushed: bool,
}

impl Shared {
    pub fn new(
        spool: Spool,
        settings: Settings,
        route: Route,
        clock: Clock,
        orders: mpsc::Sender<Job>,
    ) -> Self {
        let state = State {
            schedule: Schedule::new(settings),
            fresh: HashMap::new(),
            unreadable: Vec::new(),
            told: 0,
            loading: false,
            flushed: false,
            troubles: HashMap::new(),
        };
        let random = (RandomState::new(), AtomicU64::new(0));
        let (wake, listener) = (Notify::new(), OnceLock::new());
        Self { spool, wake, route, clock, random, state: Mutex::new(state), listener, orders }
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

    /// Schedules what the spool holds: the oldest at once, the rest on a thread of its own.
    pub fn take_up(self: &Arc<Self>, recovery: &mut Recovery) {
        let last = self.spool.last_id();
        let (after, found) = self.load(None, last, AT_ONCE);
        recovery.unreadable.extend(found);
        let mut state = self.state();
        state.unreadable = recovery.unreadable.clone();
        state.told = state.unreadable.len();
        state.loading = after < last;
        let loading = state.loading;
        drop(state);
        if loading {
            let shared = Arc::downgrade(self);
            let follow = move || follow(&shared, after, last);
            if std::thread::Builder::new().name("take-up".to_owned()).spawn(follow).is_err() {
                // No thread to be had: then the start takes longer.
                let (_, found) = self.load(after, last, usize::MAX);
                found.into_iter().for_each(|found| self.tell_of(found));
                self.state().loading = false;
            }
        }
    }

    /// Schedules at most `count` messages behind `after`, none behind `last`. Returns the name of the last one, and
    /// what cannot be read.
    fn load(
        &self,
        after: Option<QueueId>,
        last: Option<QueueId>,
        count: usize,
    ) -> (Option<QueueId>, Vec<Unreadable>) {
        let (mut reached, mut unreadable) = (after, Vec::new());
        let ids = self.spool.ids_after(after, count);
        for id in ids.into_iter().take_while(|id| Some(*id) <= last) {
            reached = Some(id);
            match self.spool.message(id) {
                Ok(stored) => self.schedule(stored),
                Err(SpoolError::Unknown(_)) => {}
                Err(error) => unreadable.push(Unreadable::message(id, &error)),
            }
        }
        (if reached == after { last } else { reached }, unreadable)
    }

    /// Makes all that waits due, what is not scheduled yet too.
    pub fn flush(&self) {
        let now = self.now();
        let mut state = self.state();
        state.flushed |= state.loading;
        state.schedule.flush(now);
    }

    fn schedule(&self, stored: Stored) {
        let mut entering = self.entering(&stored);
        let now = self.now();
        let (id, arrived, held) = (stored.id, stored.envelope.arrived, stored.progress.held);
        let mut state = self.state();
        if state.flushed {
            entering.iter_mut().for_each(|one| one.next = one.next.min(now));
        }
        state.schedule.add(now, id, arrived, held, entering);
    }

    /// Names who is told of what cannot go on, and tells of what was found since the start.
    pub fn listen(&self, listener: Listener) {
        let mut state = self.state();
        let listener = self.listener.get_or_init(|| listener);
        state.unreadable.iter().skip(state.told).for_each(listener);
        state.told = state.unreadable.len();
    }

    /// Keeps what cannot go on, and tells of it, now or once there is somebody to tell.
    fn tell_of(&self, found: Unreadable) {
        let mut state = self.state();
        state.unreadable.push(found.clone());
        if let Some(tell) = self.listener.get() {
            state.told = state.unreadable.len();
            tell(&found);
        }
    }

    fn entering(&self, stored: &Stored) -> Vec<Entering> {
        let recipients = stored.envelope.recipients.iter().enumerate();
        let waiting = recipients.filter_map(|(index, recipient)| {
            let (attempts, next) = match stored.progress.of(index) {
                Standing::Done => return None,
                Standing::Fresh => (0, stored.envelope.arrived),
                Standing::Deferred(wait) => (wait.attempts, wait.next),
            };
            let destination = (self.route)(recipient);
            Some(Entering { index: index as u32, destination, attempts, next })
        });
        waiting.collect()
    }

    /// Schedules a message that was just committed.
    pub fn enter(&self, id: QueueId, envelope: Arc<Envelope>, body: Option<Body>) {
        let route = |(index, recipient): (usize, &crate::message::Recipient)| Entering {
            index: index as u32,
            destination: (self.route)(recipient),
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

    /// Where a recipient goes.
    pub fn route(&self, recipient: &crate::message::Recipient) -> Destination {
        (self.route)(recipient)
    }

    /// Makes a job of what was picked. None: it cannot be read; damaged, it is held.
    pub async fn job(self: &Arc<Self>, pick: Pick, order: Option<Order>) -> Option<Job> {
        let mut ticket = Ticket::new(self.clone(), pick);
        match self.read(ticket.pick()).await {
            Ok((envelope, body, due)) if due.len() == ticket.pick().recipients.len() => {
                let Pick { id, destination, expired, .. } = ticket.pick().clone();
                let size = body.size();
                if order.is_none() {
                    ticket.begin();
                }
                Some(Job { id, envelope, size, destination, recipients: due, expired, order, body, ticket })
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
        drop(state);
        self.tell_of(found);
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
        let Some((pick, delivery)) = job.ticket.take() else { return false };
        let concluded = self.give_back(&pick, endings, behaviour);
        if let Some(delivery) = delivery {
            self.spool.end_delivery(delivery, concluded);
        }
        concluded
    }

    /// Remembers what a destination said that took nothing, and forgets it once it takes something.
    pub fn note_trouble(&self, destination: &Destination, behaviour: Behaviour, said: Option<String>) {
        let now = self.now();
        let mut state = self.state();
        match behaviour {
            Behaviour::Answered => drop(state.troubles.remove(destination)),
            Behaviour::Untried => {}
            Behaviour::Reluctant | Behaviour::Unreachable => {
                let Some(said) = said else { return };
                let since = state.troubles.get(destination).map_or(now, |(since, _)| *since);
                if state.troubles.len() < TROUBLES || state.troubles.contains_key(destination) {
                    state.troubles.insert(destination.clone(), (since, said));
                }
            }
        }
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

/// Schedules what [`Shared::take_up`] left, for as long as there is a queue.
fn follow(shared: &Weak<Shared>, mut after: Option<QueueId>, last: Option<QueueId>) {
    while after < last {
        let Some(shared) = shared.upgrade() else { return };
        let (reached, found) = shared.load(after, last, PAGE);
        found.into_iter().for_each(|found| shared.tell_of(found));
        after = reached;
        shared.wake.notify_one();
    }
    if let Some(shared) = shared.upgrade() {
        shared.state().loading = false;
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
