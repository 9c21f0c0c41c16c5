//! A piece of work that was handed out, and what happens when it is dropped.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::destination::Destination;
use super::schedule::{Behaviour, Pick};
use super::shared::Shared;
use crate::message::{Envelope, QueueId, Recipient};
use crate::spool::{Body, Delivery, Wait};

/// Recipients of one message at one destination, to be tried now. Dropped without [`super::Queue::finish`], they
/// are tried again later.
pub struct Job {
    /// The message.
    pub id: QueueId,
    /// As accepted.
    pub envelope: Arc<Envelope>,
    /// Octets of header and body.
    pub size: u64,
    /// Where all of `recipients` go; of an expired job, where the first does.
    pub destination: Destination,
    /// Whom to try; never empty.
    pub recipients: Vec<Due>,
    /// The message is older than its lifetime and was tried: nothing is to be tried any more, and each recipient
    /// is to be finished as [`crate::message::Outcome::Failed`], with what was last said to it, in one notice.
    pub expired: bool,
    /// An operator's order about the recipients: nothing is tried.
    pub order: Option<Order>,
    /// Header and body.
    pub body: Body,
    pub(super) ticket: Ticket,
}

/// What an operator orders about recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// They are taken out, and nobody is told.
    Remove,
    /// They are returned to the sender.
    Bounce {
        /// Why, in the operator's words.
        reason: Option<String>,
    },
}

/// An operator's order.
pub struct Order {
    /// What.
    pub what: What,
    /// Who ordered it.
    pub uid: u32,
    pub(super) answer: oneshot::Sender<Result<(), String>>,
}

impl Order {
    /// Says that it is done, durably, or why it is not.
    pub fn answer(self, done: Result<(), String>) {
        // Whoever asked need not have waited.
        let _ = self.answer.send(done);
    }
}

/// A recipient to be tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its place in [`Envelope::recipients`].
    pub index: usize,
    /// Who.
    pub recipient: Recipient,
    /// How the attempts before ended; None: this is the first.
    pub last: Option<Wait>,
}

impl Job {
    pub(super) fn attempts_before(&self, index: usize) -> u32 {
        let due = self.recipients.iter().find(|due| due.index == index);
        due.and_then(|due| due.last.as_ref()).map_or(0, |last| last.attempts)
    }
}

/// Gives back to the schedule what was picked, unless it was finished.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    pick: Pick,
    delivery: Option<Delivery>,
    open: bool,
}

impl Ticket {
    pub fn new(shared: Arc<Shared>, pick: Pick) -> Self {
        Self { shared, pick, delivery: None, open: true }
    }

    pub fn pick(&self) -> &Pick {
        &self.pick
    }

    /// The job is handed out: from here on a next hop may have it.
    pub fn begin(&mut self) {
        if !self.pick.expired {
            let delivery = self.shared.spool.begin_delivery(self.pick.id, &self.pick.recipients);
            self.delivery = Some(delivery);
        }
    }

    /// What was picked, for good, and the delivery that is over. None: it was taken before.
    pub fn take(&mut self) -> Option<(Pick, Option<Delivery>)> {
        std::mem::take(&mut self.open).then(|| (self.pick.clone(), self.delivery.take()))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.shared.give_back(&self.pick, &[], Behaviour::Untried);
            self.shared.wake.notify_one();
        }
    }
}
