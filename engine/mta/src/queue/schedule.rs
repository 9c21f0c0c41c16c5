//! What is tried when: per-recipient retries, destinations that take turns, dead ones that wait as a whole.
//!
//! Owns: time, as an argument. Pure: holds no octet of a message, sees no clock and no randomness of its own.
//! Must not know a spool.

use std::collections::{BTreeSet, HashMap, VecDeque};

mod operate;

pub use operate::Claim;

use super::destination::Destination;
use crate::message::{QueueId, Timestamp};

/// Jobs at once to a destination that was not talked to yet; grows with each that it takes.
const FIRST_WINDOW: u32 = 4;
/// A destination that has jobs gets another while it has less than one part in so many of those that are left: what
/// is slow can then not take them all.
const SHARE: u32 = 4;
/// The highest power of two that a back-off grows by.
const MAX_DOUBLINGS: u32 = 30;

/// When is tried again, and how much at once. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The wait after the first attempt (`MinQueueAge`).
    pub first_retry: u64,
    /// The longest wait between attempts.
    pub longest_retry: u64,
    /// The age at which a message is given up (`Timeout.queuereturn`).
    pub lifetime: u64,
    /// Jobs at once to one destination.
    pub per_destination: u32,
    /// Jobs at once in all.
    pub jobs: u32,
}

impl Settings {
    /// The wait after so many failures: doubled each time, up to a fifth shorter by `random`.
    fn back_off(&self, failures: u32, random: u64) -> u64 {
        let doublings = failures.saturating_sub(1).min(MAX_DOUBLINGS);
        let wait = self.first_retry.saturating_mul(1 << doublings).min(self.longest_retry).max(1);
        wait - random % (wait / 5 + 1)
    }
}

/// One recipient of a message that comes in, or is found at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entering {
    /// Its place in the envelope.
    pub index: u32,
    /// Where it goes.
    pub destination: Destination,
    /// Attempts so far.
    pub attempts: u32,
    /// Not before then.
    pub next: Timestamp,
}

/// Work that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// The message.
    pub id: QueueId,
    /// Where the recipients go; of an expired message, where the first does.
    pub destination: Destination,
    /// Their places in the envelope.
    pub recipients: Vec<u32>,
    /// Nothing is to be tried any more.
    pub expired: bool,
    slot: usize,
}

/// How the attempt at one recipient ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has its final outcome.
    Done,
    /// To be tried again.
    Again {
        /// After so many attempts.
        attempts: u32,
        /// Not before then.
        next: Timestamp,
    },
    /// Kept, and not tried again before the next start.
    Held,
}

/// How the destination behaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// It took something, or said that it never will.
    Answered,
    /// It answered, and took nothing for now: it broke off, was too slow, or asked for patience.
    Reluctant,
    /// Nobody there could be talked to.
    Unreachable,
    /// Nothing was tried.
    Untried,
}

/// How much there is of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// When the oldest message was accepted; None: there is none.
    pub oldest: Option<Timestamp>,
    /// Recipients that wait for an attempt.
    pub waiting: u64,
    /// Recipients that are being tried.
    pub active: u64,
    /// Recipients that are held.
    pub held: u64,
}

/// All that is queued, as far as time matters. About 150 octets for each message and 24 for each recipient.
#[derive(Debug)]
pub struct Schedule {
    settings: Settings,
    messages: HashMap<QueueId, Message>,
    names: HashMap<Destination, usize>,
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    /// Destinations with something due and room for it, in the order of their turns.
    turns: VecDeque<usize>,
    timers: BTreeSet<(Timestamp, Timer)>,
    expired: VecDeque<QueueId>,
    jobs: u32,
}

#[derive(Debug)]
struct Message {
    arrived: Timestamp,
    held: bool,
    recipients: Box<[Waiting]>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    index: u32,
    slot: usize,
    attempts: u32,
    next: Timestamp,
    state: State,
    /// It had an attempt since it entered: what was queued before a start is tried once more before it expires.
    had_turn: bool,
    /// The operator asked for a flush during the attempt under way: if that fails, the next follows at once.
    flushed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waits,
    InFlight,
    Held,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Recipients of a message at a destination are due.
    Retry(QueueId, usize),
    /// A message is as old as it may be.
    Expiry(QueueId),
    /// A destination may be tried again.
    Probe(usize),
}

#[derive(Debug)]
struct Slot {
    name: Destination,
    due: VecDeque<QueueId>,
    listed: BTreeSet<QueueId>,
    /// Recipients that are not done: when there are none the slot is vacant.
    recipients: usize,
    active: u32,
    window: u32,
    failures: u32,
    closed_until: Timestamp,
    has_turn: bool,
}

impl Slot {
    fn new(name: Destination, window: u32) -> Self {
        Self {
            name,
            due: VecDeque::new(),
            listed: BTreeSet::new(),
            recipients: 0,
            active: 0,
            window,
            failures: 0,
            closed_until: Timestamp(0),
            has_turn: false,
        }
    }
}

impl Schedule {
    /// An empty schedule.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            messages: HashMap::new(),
            names: HashMap::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            turns: VecDeque::new(),
            timers: BTreeSet::new(),
            expired: VecDeque::new(),
            jobs: 0,
        }
    }

    /// Takes a message up. A name that is there already is ignored.
    pub fn add(&mut self, now: Timestamp, id: QueueId, arrived: Timestamp, held: bool, who: Vec<Entering>) {
        if self.messages.contains_key(&id) {
            return;
        }
        let waiting: Vec<Waiting> = who.into_iter().map(|entering| self.enter(now, entering)).collect();
        let message = Message { arrived, held, recipients: waiting.clone().into() };
        self.messages.insert(id, message);
        if held {
            return;
        }
        for recipient in waiting {
            self.wait(now, id, recipient.slot, recipient.next);
        }
        self.timer(plus(arrived, self.settings.lifetime), Timer::Expiry(id));
    }

    fn enter(&mut self, now: Timestamp, entering: Entering) -> Waiting {
        let slot = self.slot(entering.destination);
        self.slots[slot].recipients += 1;
        let Entering { index, attempts, next, .. } = entering;
        // Recorded before the clock was set back, it could be years away.
        let next = next.min(plus(now, self.settings.longest_retry));
        Waiting { index, slot, attempts, next, state: State::Waits, had_turn: false, flushed: false }
    }

    fn slot(&mut self, name: Destination) -> usize {
        if let Some(&slot) = self.names.get(&name) {
            return slot;
        }
        let window = FIRST_WINDOW.min(self.settings.per_destination).max(1);
        let fresh = Slot::new(name.clone(), window);
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.slots[slot] = fresh;
                slot
            }
            None => {
                self.slots.push(fresh);
                self.slots.len() - 1
            }
        };
        self.names.insert(name, slot);
        slot
    }

    fn timer(&mut self, at: Timestamp, timer: Timer) {
        self.timers.insert((at, timer));
    }

    fn wait(&mut self, now: Timestamp, id: QueueId, slot: usize, next: Timestamp) {
        if next > now {
            self.timer(next, Timer::Retry(id, slot));
        } else {
            self.make_due(now, id, slot);
        }
    }

    fn make_due(&mut self, now: Timestamp, id: QueueId, slot: usize) {
        if self.slots[slot].listed.insert(id) {
            self.slots[slot].due.push_back(id);
        }
        self.give_turn(now, slot);
    }

    fn give_turn(&mut self, now: Timestamp, number: usize) {
        let slot = &mut self.slots[number];
        let open = slot.closed_until <= now && slot.active < slot.window;
        if open && !slot.has_turn && !slot.due.is_empty() {
            slot.has_turn = true;
            self.turns.push_back(number);
        }
    }

    /// Returns work that is due, or None: nothing is, or enough is under way.
    pub fn next(&mut self, now: Timestamp) -> Option<Pick> {
        self.fire(now);
        if self.jobs >= self.settings.jobs {
            return None;
        }
        while let Some(id) = self.expired.pop_front() {
            if let Some(pick) = self.pick_expired(now, id) {
                return Some(pick);
            }
        }
        for _ in 0..self.turns.len() {
            let Some(number) = self.turns.pop_front() else { break };
            if !self.has_share(number) {
                self.turns.push_back(number);
                continue;
            }
            self.slots[number].has_turn = false;
            if let Some(pick) = self.pick_from(now, number) {
                self.give_turn(now, number);
                return Some(pick);
            }
        }
        None
    }

    fn has_share(&self, number: usize) -> bool {
        let active = self.slots[number].active;
        active == 0 || active.saturating_mul(SHARE) < self.settings.jobs.saturating_sub(self.jobs)
    }

    /// Returns when [`Schedule::next`] may have something without anything else happening.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn fire(&mut self, now: Timestamp) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Retry(id, slot) => self.make_due(now, id, slot),
                Timer::Expiry(id) => self.expired.push_back(id),
                Timer::Probe(slot) => self.give_turn(now, slot),
            }
        }
    }

    fn pick_from(&mut self, now: Timestamp, number: usize) -> Option<Pick> {
        let slot = self.slots.get_mut(number).filter(|slot| slot.closed_until <= now)?;
        while let Some(id) = slot.due.pop_front() {
            slot.listed.remove(&id);
            let Some(message) = self.messages.get_mut(&id).filter(|message| !message.held) else { continue };
            let due = |w: &Waiting| w.slot == number && w.state == State::Waits && w.next <= now;
            let recipients = take(message, due);
            if !recipients.is_empty() {
                slot.active += 1;
                self.jobs += 1;
                let destination = slot.name.clone();
                return Some(Pick { id, destination, recipients, expired: false, slot: number });
            }
        }
        None
    }

    /// What was tried, or could not be for a dead destination, is given up; what never had a turn gets it first.
    fn pick_expired(&mut self, now: Timestamp, id: QueueId) -> Option<Pick> {
        let message = self.messages.get_mut(&id).filter(|message| !message.held)?;
        if plus(message.arrived, self.settings.lifetime) > now {
            return None;
        }
        let slots = &self.slots;
        let tried = |w: &Waiting| w.state == State::Waits && (w.had_turn || slots[w.slot].failures > 0);
        let first = message.recipients.iter().find(|w| tried(w)).map(|w| w.slot)?;
        let recipients = take(message, tried);
        self.jobs += 1;
        self.slots[first].active += 1;
        let destination = self.slots[first].name.clone();
        Some(Pick { id, destination, recipients, expired: true, slot: first })
    }

    /// When a recipient is tried again that has now been tried so often.
    pub fn retry_at(&self, now: Timestamp, attempts: u32, random: u64) -> Timestamp {
        plus(now, self.settings.back_off(attempts, random))
    }

    /// Takes back what was picked. Returns whether the message is concluded, and forgotten.
    pub fn finish(
        &mut self,
        now: Timestamp,
        pick: &Pick,
        endings: &[(u32, Ending)],
        behaviour: Behaviour,
        random: u64,
    ) -> bool {
        self.jobs = self.jobs.saturating_sub(1);
        self.judge(now, pick.slot, behaviour, random);
        if self.was_flushed(pick) {
            self.slots[pick.slot].closed_until = now;
            self.give_turn(now, pick.slot);
        }
        for &index in &pick.recipients {
            let ending = endings.iter().find(|(i, _)| *i == index).map(|(_, ending)| *ending);
            let next = plus(now, self.settings.first_retry);
            self.end(now, pick.id, index, ending.unwrap_or(Ending::Again { attempts: 0, next }));
        }
        let concluded = self.forget_if_done(pick.id);
        if !concluded && pick.expired {
            // It could not be returned: its turn comes again, and not before that of all others.
            self.timer(plus(now, self.settings.first_retry), Timer::Expiry(pick.id));
        } else if !concluded {
            self.expire_if_old(now, pick.id);
        }
        self.vacate(pick.slot);
        concluded
    }

    fn was_flushed(&self, pick: &Pick) -> bool {
        let picked = |w: &&Waiting| pick.recipients.contains(&w.index);
        let message = self.messages.get(&pick.id);
        message.is_some_and(|message| message.recipients.iter().filter(picked).any(|w| w.flushed))
    }

    fn judge(&mut self, now: Timestamp, number: usize, behaviour: Behaviour, random: u64) {
        let settings = self.settings;
        let slot = &mut self.slots[number];
        slot.active = slot.active.saturating_sub(1);
        match behaviour {
            Behaviour::Answered => {
                slot.failures = 0;
                slot.window = (slot.window + 1).min(settings.per_destination).max(1);
            }
            Behaviour::Reluctant => {
                slot.failures = 0;
                slot.window = (slot.window / 2).max(1);
            }
            // Others that were under way when it closed say nothing new.
            Behaviour::Unreachable if slot.closed_until <= now => {
                slot.failures += 1;
                slot.window = 1;
                let until = plus(now, settings.back_off(slot.failures, random));
                slot.closed_until = until;
                self.timer(until, Timer::Probe(number));
                self.expire_old_at(now, number);
            }
            Behaviour::Unreachable | Behaviour::Untried => {}
        }
        self.give_turn(now, number);
    }

    fn end(&mut self, now: Timestamp, id: QueueId, index: u32, ending: Ending) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        let Some(waiting) = message.recipients.iter_mut().find(|waiting| waiting.index == index) else {
            return;
        };
        if waiting.state != State::InFlight {
            return;
        }
        let (slot, held) = (waiting.slot, message.held);
        match ending {
            Ending::Done => {
                waiting.state = State::Done;
                self.slots[slot].recipients = self.slots[slot].recipients.saturating_sub(1);
                self.vacate(slot);
            }
            Ending::Again { attempts, next } => {
                waiting.state = State::Waits;
                waiting.attempts = waiting.attempts.max(attempts);
                waiting.had_turn |= attempts > 0;
                let next = if std::mem::take(&mut waiting.flushed) { now } else { next };
                waiting.next = next;
                if !held {
                    self.wait(now, id, slot, next);
                }
            }
            Ending::Held => waiting.state = State::Held,
        }
    }

    fn forget_if_done(&mut self, id: QueueId) -> bool {
        let done = |message: &Message| message.recipients.iter().all(|w| w.state == State::Done);
        let concluded = self.messages.get(&id).is_some_and(done);
        if concluded && let Some(message) = self.messages.remove(&id) {
            let expiry = plus(message.arrived, self.settings.lifetime);
            self.cancel(expiry, Timer::Expiry(id));
        }
        concluded
    }

    fn cancel(&mut self, at: Timestamp, timer: Timer) {
        self.timers.remove(&(at, timer));
    }

    fn expire_if_old(&mut self, now: Timestamp, id: QueueId) {
        let expires = self.messages.get(&id).map(|message| plus(message.arrived, self.settings.lifetime));
        if expires.is_some_and(|at| at <= now) {
            self.expired.push_back(id);
        }
    }

    /// What is too old and had no turn yet waits for no probe of a dead destination.
    fn expire_old_at(&mut self, now: Timestamp, number: usize) {
        let due: Vec<QueueId> = self.slots[number].due.iter().copied().collect();
        for id in due {
            self.expire_if_old(now, id);
        }
    }

    /// A destination that nothing goes to is forgotten, once it is not in the way of a back-off.
    fn vacate(&mut self, number: usize) {
        let slot = &self.slots[number];
        let idle = slot.recipients == 0 && slot.active == 0 && slot.due.is_empty() && !slot.has_turn;
        if idle && self.names.get(&slot.name) == Some(&number) {
            let (name, until) = (slot.name.clone(), slot.closed_until);
            self.cancel(until, Timer::Probe(number));
            self.names.remove(&name);
            self.vacant.push(number);
        }
    }

    /// Makes all that waits due, and opens every destination. What is under way is not tried twice at once; if
    /// that attempt fails, the next follows it.
    pub fn flush(&mut self, now: Timestamp) {
        for slot in &mut self.slots {
            slot.closed_until = slot.closed_until.min(now);
        }
        let mut due = BTreeSet::new();
        for (id, message) in self.messages.iter_mut().filter(|(_, message)| !message.held) {
            let is_open = |w: &&mut Waiting| matches!(w.state, State::Waits | State::InFlight);
            for waiting in message.recipients.iter_mut().filter(is_open) {
                if waiting.state == State::InFlight {
                    waiting.flushed = true;
                    continue;
                }
                if waiting.next > now {
                    self.timers.remove(&(waiting.next, Timer::Retry(*id, waiting.slot)));
                }
                waiting.next = waiting.next.min(now);
                due.insert((*id, waiting.slot));
            }
        }
        for (id, slot) in due {
            self.make_due(now, id, slot);
        }
    }

    /// Tries nothing of a message any more: it cannot be read, or an operator said so.
    pub fn hold(&mut self, id: QueueId) {
        if let Some(message) = self.messages.get_mut(&id) {
            message.held = true;
        }
    }

    /// Messages.
    pub fn count(&self) -> usize {
        self.messages.len()
    }

    /// Jobs under way.
    pub fn jobs(&self) -> u32 {
        self.jobs
    }

    /// Recipients that are not done and go there.
    pub fn recipients_at(&self, destination: &Destination) -> usize {
        self.names.get(destination).and_then(|slot| self.slots.get(*slot)).map_or(0, |slot| slot.recipients)
    }

    /// How much there is of what.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for message in self.messages.values() {
            census.oldest = Some(census.oldest.map_or(message.arrived, |oldest| oldest.min(message.arrived)));
            for waiting in &message.recipients {
                match waiting.state {
                    State::InFlight => census.active += 1,
                    State::Held => census.held += 1,
                    State::Waits if message.held => census.held += 1,
                    State::Waits => census.waiting += 1,
                    State::Done => {}
                }
            }
        }
        census
    }

    /// The places of the recipients of a message that are being tried, and of those that are held.
    pub fn look(&self, id: QueueId) -> (Vec<u32>, Vec<u32>) {
        let Some(message) = self.messages.get(&id) else { return (Vec::new(), Vec::new()) };
        let all = message.recipients.iter();
        let active = all.clone().filter(|w| w.state == State::InFlight);
        let held = all.filter(|w| w.state == State::Held || (message.held && w.state == State::Waits));
        (active.map(|w| w.index).collect(), held.map(|w| w.index).collect())
    }
}

fn take(message: &mut Message, which: impl Fn(&Waiting) -> bool) -> Vec<u32> {
    let mut taken = Vec::new();
    for waiting in message.recipients.iter_mut() {
        if which(waiting) {
            waiting.state = State::InFlight;
            taken.push(waiting.index);
        }
    }
    taken
}

fn plus(at: Timestamp, milliseconds: u64) -> Timestamp {
    Timestamp(at.0.saturating_add(milliseconds))
}

#[cfg(test)]
mod tests;
