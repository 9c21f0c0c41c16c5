//! What an operator asks of single messages.

use std::collections::BTreeSet;

use super::{Message, Pick, Schedule, State, Timer, Waiting, plus, take};
use crate::message::{QueueId, Timestamp};
use crate::queue::destination::Destination;

/// What was taken out of turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The recipients that were free to be taken; None: there are none.
    pub pick: Option<Pick>,
    /// Those that are being tried at this moment, and are left to it.
    pub active: Vec<u32>,
}

fn is_free(waiting: &Waiting, which: &[u32]) -> bool {
    which.contains(&waiting.index) && matches!(waiting.state, State::Waits | State::Held)
}

impl Schedule {
    /// Takes recipients of a message for an operator, held or not; what is being tried is left. None: the message is
    /// not scheduled.
    pub fn claim(&mut self, id: QueueId, which: &[u32]) -> Option<Claim> {
        let message = self.messages.get_mut(&id)?;
        let active = message.recipients.iter().filter(|w| which.contains(&w.index));
        let active = active.filter(|w| w.state == State::InFlight).map(|w| w.index).collect();
        let first = message.recipients.iter().find(|w| is_free(w, which)).map(|w| w.slot);
        let Some(slot) = first else { return Some(Claim { pick: None, active }) };
        let recipients = take(message, |w| is_free(w, which));
        self.jobs += 1;
        self.slots[slot].active += 1;
        let destination = self.slots[slot].name.clone();
        Some(Claim { pick: Some(Pick { id, destination, recipients, expired: false, slot }), active })
    }

    /// Makes recipients of a message due, unless it is held, and opens their destinations. Those that are being tried
    /// are tried again at once if that fails. False: the message is not scheduled, or held.
    pub fn flush_some(&mut self, now: Timestamp, id: QueueId, which: &[u32]) -> bool {
        let Some(message) = self.messages.get_mut(&id).filter(|message| !message.held) else { return false };
        let mut due = BTreeSet::new();
        for waiting in message.recipients.iter_mut().filter(|w| which.contains(&w.index)) {
            match waiting.state {
                State::InFlight => waiting.flushed = true,
                State::Waits => {
                    self.timers.remove(&(waiting.next, Timer::Retry(id, waiting.slot)));
                    waiting.next = waiting.next.min(now);
                    due.insert(waiting.slot);
                }
                State::Held | State::Done => {}
            }
        }
        for slot in due {
            self.slots[slot].closed_until = self.slots[slot].closed_until.min(now);
            self.wait_for_others(now, id, slot);
            self.make_due(now, id, slot);
        }
        true
    }

    /// The timer of a message at a destination stands for all of its recipients there.
    fn wait_for_others(&mut self, now: Timestamp, id: QueueId, slot: usize) {
        let Some(message) = self.messages.get(&id) else { return };
        let later = message.recipients.iter().filter(|w| w.slot == slot && w.state == State::Waits);
        let later: BTreeSet<Timestamp> = later.map(|w| w.next).filter(|next| *next > now).collect();
        later.into_iter().for_each(|next| self.timer(next, Timer::Retry(id, slot)));
    }

    /// Sends recipients that wait, or were kept until somebody put something right, to where they go by now, at once
    /// unless the message is held. What is being tried is left.
    pub fn requeue(&mut self, now: Timestamp, id: QueueId, routes: Vec<(u32, Destination)>) {
        let mut left = BTreeSet::new();
        for (index, destination) in routes {
            let Some(was) = self.waiting(id, index).filter(|w| is_free(w, &[index])) else { continue };
            let slot = self.slot(destination);
            self.slots[slot].recipients += 1;
            self.slots[was.slot].recipients = self.slots[was.slot].recipients.saturating_sub(1);
            left.insert(was.slot);
            let waiting = self.messages.get_mut(&id).and_then(|message| at(message, index));
            if let Some(waiting) = waiting {
                (waiting.slot, waiting.state, waiting.next) = (slot, State::Waits, waiting.next.min(now));
            }
            self.timers.remove(&(was.next, Timer::Retry(id, was.slot)));
            self.flush_some(now, id, &[index]);
        }
        for slot in left {
            self.wait_for_others(now, id, slot);
            self.vacate(slot);
        }
    }

    fn waiting(&self, id: QueueId, index: u32) -> Option<Waiting> {
        self.messages.get(&id)?.recipients.iter().find(|w| w.index == index).copied()
    }

    /// Lets a message go on that was held, and recipients that were kept until somebody put something right. However
    /// old it is, each has an attempt before it expires.
    pub fn release(&mut self, now: Timestamp, id: QueueId) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        let was_held = std::mem::take(&mut message.held);
        let arrived = message.arrived;
        let mut waits = Vec::new();
        for waiting in message.recipients.iter_mut() {
            if waiting.state == State::Held {
                (waiting.state, waiting.next) = (State::Waits, now);
            } else if waiting.state != State::Waits || !was_held {
                continue;
            }
            waiting.had_turn = false;
            waits.push((waiting.slot, waiting.next));
        }
        for (slot, next) in waits {
            self.wait(now, id, slot, next);
        }
        if was_held {
            self.timer(plus(arrived, self.settings.lifetime), Timer::Expiry(id));
        }
    }
}

fn at(message: &mut Message, index: u32) -> Option<&mut Waiting> {
    message.recipients.iter_mut().find(|waiting| waiting.index == index)
}
