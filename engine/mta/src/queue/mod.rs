//! The queue: what is delivered when, over a spool that loses nothing.
//!
//! [`Queue`] takes messages in and records what became of them; the one [`Dispatcher`] hands out the work that is
//! due. Owns: the schedule and the order *durable first, forgotten after*. May use the spool. Must not know SMTP,
//! nor how a recipient is routed: that is a function it is given.

mod destination;
mod job;
mod operate;
mod schedule;
mod select;
mod shared;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mailstack_policy::Address;
use mailstack_smtp::address::ReversePath;
use tokio::sync::mpsc;

use crate::message::{Envelope, Outcome, QueueId, Recipient, Timestamp};
use crate::spool::{
    self, Change, Notice, Options, Recovery, Spool, SpoolError, Standing, Stored, Wait, clip,
};

pub use destination::Destination;
pub use job::{Due, Job, Order, What};
pub use operate::Ordered;
pub use schedule::{Behaviour, Census, Claim, Ending, Entering, Pick, Schedule, Settings};
pub use select::Selector;
pub use shared::{Clock, Listener, wall_clock};

use shared::{Shared, State};

/// Where a recipient goes.
pub type Route = Box<dyn Fn(&Recipient) -> Destination + Send + Sync>;

/// Jobs under way at once, over all destinations.
pub const JOBS: u32 = 200;
/// The first wait before an outcome that the disk refused is recorded again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Orders of operators on their way at once.
const ORDERS: usize = 64;

/// Takes messages in, and records what became of them. Clones are the same queue.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

/// Hands out the work that is due; there is one. When it, every [`Queue`] and every [`Job`] is dropped, the spool
/// is closed.
pub struct Dispatcher {
    shared: Arc<Shared>,
    orders: Option<mpsc::Receiver<Job>>,
}

/// A message that is coming in; dropped, it is given up.
pub struct Incoming {
    shared: Arc<Shared>,
    incoming: spool::Incoming,
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
    /// Kept without another try until the next start: somebody has to put something right first.
    Held {
        /// RFC 3463 status.
        status: String,
        /// What has to be put right.
        diagnostic: String,
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

/// What [`Queue::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// The last message that was looked at.
    pub last: Option<QueueId>,
    /// Messages that are whole.
    pub messages: u64,
    /// Their octets.
    pub octets: u64,
    /// What cannot be read.
    pub unreadable: Vec<spool::Unreadable>,
}

/// A destination that took nothing when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Trouble {
    /// Which.
    pub destination: String,
    /// Recipients that wait for it.
    pub recipients: u64,
    /// Since when it takes nothing.
    pub since: Timestamp,
    /// What it said last, or what was said of it.
    pub said: String,
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
    /// Held by an operator, or because it or some of its recipients cannot go on.
    pub held: bool,
    /// Why it as a whole is held; None: it is not.
    pub held_because: Option<String>,
    /// It is held because its import is not whole.
    pub is_importing: bool,
    /// The user of this host who handed it in; None: it came over the network or was written here.
    pub uid: Option<u32>,
    /// In the order of the envelope.
    pub recipients: Vec<ListedRecipient>,
}

/// A recipient as `queue list` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedRecipient {
    /// Who.
    pub address: Address,
    /// What the sender wrote, where an alias turned it into `address`.
    pub expanded_from: Option<Address>,
    /// `ORCPT` of RFC 3461.
    pub orcpt: Option<String>,
    /// `NOTIFY` of RFC 3461.
    pub notify: Option<crate::message::Notify>,
    /// Where it goes, by the rules of now.
    pub destination: Destination,
    /// Where it stands: with its next attempt and the last diagnostic.
    pub standing: Standing,
    /// It is being tried at this moment.
    pub active: bool,
    /// It is not tried before the next start.
    pub held: bool,
}

impl Queue {
    /// Opens the queue below `root` (every path of the configuration is below it).
    /// Errors: as [`Spool::open`].
    pub fn open(
        config: &mailstack_runtime::Config,
        root: &Path,
        route: Route,
    ) -> Result<(Queue, Dispatcher, Recovery), SpoolError> {
        let spool = config.paths.spool.strip_prefix("/").unwrap_or(&config.paths.spool);
        let (spool, recovery) = Spool::open(&root.join(spool), Options::default())?;
        Self::over(spool, recovery, settings(&config.queue), route, wall_clock())
    }

    /// Opens the queue over a spool that is open, with a clock. What cannot be read is added to the recovery.
    pub fn over(
        spool: Spool,
        mut recovery: Recovery,
        settings: Settings,
        route: Route,
        clock: Clock,
    ) -> Result<(Queue, Dispatcher, Recovery), SpoolError> {
        let (sender, orders) = mpsc::channel(ORDERS);
        let shared = Arc::new(Shared::new(spool, settings, route, clock, sender));
        shared.take_up(&mut recovery);
        Ok((Queue { shared: shared.clone() }, Dispatcher { shared, orders: Some(orders) }, recovery))
    }

    /// Begins to take a message in. Errors come with [`Incoming::commit`].
    pub fn begin(&self) -> Incoming {
        Incoming { shared: self.shared.clone(), incoming: self.shared.spool.begin() }
    }

    /// Records how the attempts of a job ended, durably, then schedules what is left. A recipient without an
    /// attempt is tried again. While the disk refuses, waits and tries to record again: the recipients of the job
    /// are not tried a second time meanwhile. Errors: those that waiting does not cure: [`SpoolError::Closed`], and
    /// others, which the message is held for.
    pub async fn finish(
        &self,
        job: Job,
        attempts: Vec<(usize, Attempt)>,
        notice: Option<Notice>,
    ) -> Result<Finished, SpoolError> {
        let (changes, endings, behaviour) = self.judge(&job, attempts);
        let said = changes.iter().find_map(|change| match change {
            Change::Deferred { wait, .. } => Some(wait.diagnostic.clone()),
            _ => None,
        });
        self.shared.note_trouble(&job.destination, behaviour, said);
        let notice_envelope = notice.as_ref().map(|notice| Arc::new(notice.envelope.clone()));
        let recorded = match self.record(job.id, changes, notice).await {
            Err(error) if !matches!(error, SpoolError::Closed) => {
                // Tried again, it would arrive again each time, and never be recorded.
                self.shared.set_aside(job.id, &error);
                return Err(error);
            }
            recorded => recorded?,
        };
        let concluded = self.shared.end(job, &endings, behaviour);
        if let (Some(id), Some(envelope)) = (recorded, notice_envelope) {
            self.shared.enter(id, envelope, None);
        }
        self.shared.wake.notify_one();
        Ok(Finished { concluded, notice: recorded })
    }

    fn judge(
        &self,
        job: &Job,
        attempts: Vec<(usize, Attempt)>,
    ) -> (Vec<Change>, Vec<(u32, Ending)>, Behaviour) {
        let (mut changes, mut endings) = (Vec::new(), Vec::new());
        // A restart tries what is held as it tries what waits.
        let wait = |index, status, diagnostic| {
            let attempts = 1 + job.attempts_before(index);
            Wait { attempts, next: self.shared.retry_at(attempts), status, diagnostic: clip(diagnostic) }
        };
        let took_some = attempts.iter().any(|(_, attempt)| matches!(attempt, Attempt::Final(_)));
        let mut behaviour = match attempts.is_empty() {
            true => Behaviour::Untried,
            false if took_some => Behaviour::Answered,
            false => Behaviour::Reluctant,
        };
        if job.expired || job.order.is_some() {
            behaviour = Behaviour::Untried;
        }
        for (index, attempt) in attempts {
            let recipient = index as u32;
            match attempt {
                Attempt::Final(outcome) => {
                    changes.push(Change::Done { recipient, outcome });
                    endings.push((recipient, Ending::Done));
                }
                Attempt::Deferred { status, diagnostic, unreachable } => {
                    if unreachable {
                        behaviour = Behaviour::Unreachable;
                    }
                    let wait = wait(index, status, diagnostic);
                    endings.push((recipient, Ending::Again { attempts: wait.attempts, next: wait.next }));
                    changes.push(Change::Deferred { recipient, wait });
                }
                Attempt::Held { status, diagnostic } => {
                    endings.push((recipient, Ending::Held));
                    changes.push(Change::Deferred { recipient, wait: wait(index, status, diagnostic) });
                }
            }
        }
        (changes, endings, behaviour)
    }

    /// Outcomes are durable before anything is done about them. A deferral that a crash undoes is only an early retry;
    /// one that a next hop or a mailbox took would arrive there twice, and leaves no more to be done than its space.
    async fn record(
        &self,
        id: QueueId,
        changes: Vec<Change>,
        notice: Option<Notice>,
    ) -> Result<Option<QueueId>, SpoolError> {
        let is_final = changes.iter().any(|change| matches!(change, Change::Done { .. }));
        if !is_final && notice.is_none() {
            let noted = if changes.is_empty() { Ok(()) } else { self.shared.spool.note(id, changes).await };
            return match noted {
                Err(SpoolError::Closed) => Err(SpoolError::Closed),
                // The schedule has it; after a crash it is tried earlier.
                _ => Ok(None),
            };
        }
        let (mut wait, was_taken) = (FIRST_WAIT, notice.is_none() && changes.iter().all(is_taken));
        loop {
            let recorded = match was_taken {
                true => self.shared.spool.note(id, changes.clone()).await.map(|()| None),
                false => self.shared.spool.conclude(id, changes.clone(), notice.clone()).await,
            };
            match recorded {
                Err(SpoolError::Io { .. } | SpoolError::Full) => {
                    tokio::time::sleep(wait).await;
                    wait = LONGEST_WAIT.min(wait * 2);
                }
                recorded => return recorded,
            }
        }
    }

    /// Makes everything that waits due now, except what is held. What is being tried is not tried twice.
    pub fn flush(&self) {
        self.shared.flush();
        self.shared.wake.notify_one();
    }

    /// Names the one who is told of each message that is set aside from here on, because it cannot be read or its
    /// outcome cannot be recorded. The first one named stays.
    pub fn tell(&self, listener: Listener) {
        self.shared.listen(listener);
    }

    /// The time that it goes by.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Destinations that took nothing when they were last asked, and that something waits for; those that most waits
    /// for come first.
    pub fn troubles(&self) -> Vec<Trouble> {
        let mut state = self.shared.state();
        let State { schedule, troubles, .. } = &mut *state;
        troubles.retain(|destination, _| schedule.recipients_at(destination) > 0);
        let found = troubles.iter().map(|(destination, (since, said))| Trouble {
            destination: destination.to_string(),
            recipients: schedule.recipients_at(destination) as u64,
            since: *since,
            said: said.clone(),
        });
        let mut found: Vec<Trouble> = found.collect();
        found.sort_by(|a, b| b.recipients.cmp(&a.recipients).then_with(|| a.destination.cmp(&b.destination)));
        found
    }

    /// How much there is of what. Takes ten milliseconds with a million messages.
    pub fn census(&self) -> Census {
        self.shared.state().schedule.census()
    }

    /// How long each sync of the spool took, in seconds.
    pub fn syncs(&self) -> &crate::metrics::Histogram {
        self.shared.spool.syncs()
    }

    /// Octets that are free where the queue is; None: the system does not say. May block on the disk.
    pub fn free(&self) -> Option<u64> {
        self.shared.spool.free()
    }

    /// Messages in the queue.
    pub fn count(&self) -> usize {
        self.shared.spool.count()
    }

    /// What lies in the spool and cannot be read, as found at the start and since. It is held, not removed.
    pub fn unreadable(&self) -> Vec<spool::Unreadable> {
        self.shared.state().unreadable.clone()
    }

    /// Reads all of the messages behind `after`, at most `limit` of them. Returns the last name (None: there are no
    /// more), the messages that are whole, their octets, and what is wrong with others.
    pub async fn verify(&self, after: Option<QueueId>, limit: usize) -> Result<Verified, SpoolError> {
        let spool = self.shared.spool.clone();
        let read = move || {
            let mut verified = Verified::default();
            for id in spool.ids_after(after, limit) {
                verified.last = Some(id);
                match spool.check(id) {
                    Some(Ok(octets)) => {
                        verified.messages += 1;
                        verified.octets += octets;
                    }
                    Some(Err(found)) => verified.unreadable.push(found),
                    None => {}
                }
            }
            verified
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| SpoolError::Closed)
    }

    /// The messages in the order of their arrival, at most `limit` from the first behind `after`. What cannot be
    /// read is in [`Queue::unreadable`] instead.
    pub async fn list(&self, after: Option<QueueId>, limit: usize) -> Result<Vec<Listed>, SpoolError> {
        let shared = self.shared.clone();
        let read = move || {
            let ids = shared.spool.ids_after(after, limit);
            let messages = ids.into_iter().filter_map(|id| shared.spool.message(id).ok());
            messages.map(|stored| list(&shared, stored)).collect()
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| SpoolError::Closed)
    }
}

impl Listed {
    /// As nobody serves it: nothing is active.
    pub fn of(stored: Stored, route: impl Fn(&Recipient) -> Destination) -> Self {
        let held_because = why_held(&stored);
        let Stored { id, envelope, size, progress, is_importing } = stored;
        let recipient = |(index, recipient): (usize, Recipient)| ListedRecipient {
            destination: route(&recipient),
            address: recipient.address,
            expanded_from: recipient.expanded_from,
            orcpt: recipient.orcpt,
            notify: recipient.notify,
            standing: progress.of(index).clone(),
            active: false,
            held: progress.held,
        };
        Listed {
            id,
            sender: envelope.sender,
            size,
            arrived: envelope.arrived,
            held: progress.held,
            held_because,
            is_importing,
            uid: match envelope.origin {
                crate::message::Origin::Local { uid } => Some(uid),
                _ => None,
            },
            recipients: envelope.recipients.into_iter().enumerate().map(recipient).collect(),
        }
    }
}

fn why_held(Stored { progress, is_importing, .. }: &Stored) -> Option<String> {
    progress.held.then(|| match progress.held_by {
        Some(uid) => format!("by an operator (uid {uid})"),
        None if *is_importing => {
            "its import is not whole; mailstack queue import DIR, run again, goes on with it".to_owned()
        }
        None => "as it was where it was imported from".to_owned(),
    })
}

/// Whether nobody is told of a change and nothing else follows from it.
fn is_taken(change: &Change) -> bool {
    match change {
        Change::Done { outcome: Outcome::Taken { .. } | Outcome::Delivered { .. }, .. } => true,
        Change::Deferred { .. } => true,
        Change::Done { .. } | Change::Held | Change::HeldBy { .. } | Change::Released => false,
    }
}

fn list(shared: &Shared, stored: Stored) -> Listed {
    let mut listed = Listed::of(stored, |recipient| shared.route(recipient));
    let state = shared.state();
    let (active, held) = state.schedule.look(listed.id);
    let cannot_go_on = state.unreadable.iter().find(|found| found.id == Some(listed.id));
    let reason = cannot_go_on.map(|found| found.reason.clone());
    drop(state);
    listed.held_because = listed.held_because.or(reason);
    listed.held |= !held.is_empty();
    for (index, recipient) in (0..).zip(&mut listed.recipients) {
        recipient.active = active.contains(&index);
        recipient.held |= held.contains(&index);
    }
    listed
}

fn settings(queue: &mailstack_runtime::Queue) -> Settings {
    let milliseconds = |seconds: u64| seconds.saturating_mul(1000);
    Settings {
        first_retry: milliseconds(queue.first_retry),
        longest_retry: milliseconds(queue.longest_retry),
        lifetime: milliseconds(queue.lifetime),
        per_destination: queue.connections_per_destination,
        jobs: JOBS,
    }
}

impl Dispatcher {
    /// What operators order, which waits for no turn; whoever carries orders out takes this once.
    pub fn orders(&mut self) -> Option<mpsc::Receiver<Job>> {
        self.orders.take()
    }

    /// Waits until something is due. Safe to drop while it waits. Errors are not its: what cannot be read is held.
    /// None: the spool is closed, which does not happen while this lives.
    pub async fn next(&mut self) -> Option<Job> {
        loop {
            let woken = self.shared.wake.notified();
            let (pick, wakes_at) = {
                let now = self.shared.now();
                let mut state = self.shared.state();
                (state.schedule.next(now), state.schedule.wakes_at())
            };
            if let Some(pick) = pick {
                match self.shared.job(pick, None).await {
                    Some(job) => return Some(job),
                    None => continue,
                }
            }
            let wait = wakes_at.map_or(LONGEST_WAIT, |at| self.shared.until(at));
            let _ = tokio::time::timeout(wait, woken).await;
        }
    }
}

impl Incoming {
    /// Adds octets of header and body, CRLF. Errors: as [`Incoming::commit`]; the message is then lost.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), SpoolError> {
        self.incoming.write(octets).await
    }

    /// The name that the message will have; never given again, whether it is committed or not.
    pub fn id(&self) -> QueueId {
        self.incoming.id()
    }

    /// Octets so far.
    pub fn size(&self) -> u64 {
        self.incoming.size()
    }

    /// Queues the message; when this returns Ok it survives a power cut.
    /// Errors: [`SpoolError::is_full`] is 452, everything else 451.
    pub async fn commit(self, envelope: Envelope) -> Result<QueueId, SpoolError> {
        let Self { shared, incoming } = self;
        // Beyond the caller's patience: what is durable is scheduled even where nobody waits for the answer.
        let commit = async move {
            let fresh = Arc::new(envelope.clone());
            let (id, body) = incoming.commit_keeping(envelope).await?;
            shared.enter(id, fresh, body);
            shared.wake.notify_one();
            Ok(id)
        };
        tokio::spawn(commit).await.map_err(|_| SpoolError::Closed)?
    }
}

#[cfg(test)]
mod tests;
