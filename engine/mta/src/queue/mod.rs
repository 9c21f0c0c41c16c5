//! The queue: what is delivered when, over a spool that loses nothing.
//!
//! [`Queue`] takes messages in and records what became of them; the one [`Dispatcher`] hands out the work that is
//! due. Owns: the schedule and the order *durable first, forgotten after*. May use the spool. Must not know SMTP,
//! nor how a recipient is routed: that is a function it is given.

mod destination;

use std::path::Path;
use std::sync::Arc;

use crate::message::{Envelope, Outcome, QueueId, Recipient, Timestamp};
use crate::spool::{Body, Notice, Recovery, SpoolError, Standing, Wait};
use mailstack_policy::Address;
use mailstack_smtp::address::ReversePath;

pub use destination::Destination;

/// Where a recipient goes.
pub type Route = Box<dyn Fn(&Address) -> Destination + Send + Sync>;

/// Takes messages in, and records what became of them. Clones are the same queue.
#[derive(Clone)]
pub struct Queue;

/// Hands out the work that is due; there is one. When it and every [`Queue`] is dropped the spool is closed.
pub struct Dispatcher;

/// A message that is coming in; dropped, it is given up.
pub struct Incoming;

/// Recipients of one message at one destination, to be tried now. Dropped without [`Queue::finish`], they are
/// tried again later.
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
    /// is to be finished as [`Outcome::Failed`], with what was last said to it, in one notice.
    pub expired: bool,
    /// Header and body.
    pub body: Body,
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

/// How an attempt at one recipient ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// For good.
    Final(Outcome),
    /// To be tried again.
    Deferred {
        /// RFC 3463 status, `4.4.1`.
        status: String,
        /// What was said, by whom.
        diagnostic: String,
        /// Nobody at the destination could be talked to: everything for it waits.
        unreachable: bool,
    },
}

/// What [`Queue::finish`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Each recipient of the message has its final outcome: the message is gone.
    pub concluded: bool,
    /// The notice, queued.
    pub notice: Option<QueueId>,
}

/// A message as `queue list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: QueueId,
    /// Where a bounce goes.
    pub sender: ReversePath,
    /// Octets of header and body.
    pub size: u64,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// Held by an operator, or because it cannot be read.
    pub held: bool,
    /// In the order of the envelope.
    pub recipients: Vec<ListedRecipient>,
}

/// A recipient as `queue list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRecipient {
    /// Who.
    pub address: Address,
    /// Where it stands: with its next attempt and the last diagnostic.
    pub standing: Standing,
    /// It is being tried at this moment.
    pub active: bool,
}

impl Queue {
    /// Opens the queue below `root` (every path of the configuration is below it).
    pub fn open(
        config: &mailstack_runtime::Config,
        root: &Path,
        route: Route,
    ) -> Result<(Queue, Dispatcher, Recovery), SpoolError> {
        let _ = (config, root, route);
        Err(SpoolError::Closed)
    }

    /// Begins to take a message in. Errors come with [`Incoming::commit`].
    pub fn begin(&self) -> Incoming {
        Incoming
    }

    /// Records how the attempts of a job ended, durably, then schedules what is left. A recipient without an
    /// attempt is tried again. While the disk refuses, waits and tries to record again: the recipients of the job
    /// are not tried a second time meanwhile. Errors: [`SpoolError::Closed`] alone.
    pub async fn finish(
        &self,
        job: Job,
        attempts: Vec<(usize, Attempt)>,
        notice: Option<Notice>,
    ) -> Result<Finished, SpoolError> {
        let _ = (job, attempts, notice);
        Err(SpoolError::Closed)
    }

    /// Makes everything that waits due now, except what is held. What is being tried is not tried twice.
    pub fn flush(&self) {}

    /// Messages in the queue.
    pub fn count(&self) -> usize {
        0
    }

    /// The messages in the order of their arrival, at most `limit` from the first behind `after`.
    pub async fn list(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Listed>, SpoolError> {
        let _ = (after, limit);
        Err(SpoolError::Closed)
    }
}

impl Dispatcher {
    /// Waits until something is due. None: every [`Queue`] is gone. Safe to drop while it waits.
    pub async fn next(&mut self) -> Option<Job> {
        None
    }
}

impl Incoming {
    /// Its name, fixed from the beginning: the `Received:` line has it.
    pub fn id(&self) -> QueueId {
        QueueId(0)
    }

    /// Adds octets of header and body, CRLF. Errors: as [`Incoming::commit`]; the message is then lost.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), SpoolError> {
        let _ = octets;
        Err(SpoolError::Closed)
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        0
    }

    /// Queues the message; when this returns Ok it survives a power cut.
    /// Errors: [`SpoolError::is_full`] is 452, everything else 451.
    pub async fn commit(self, envelope: Envelope) -> Result<QueueId, SpoolError> {
        let _ = envelope;
        Err(SpoolError::Closed)
    }
}
