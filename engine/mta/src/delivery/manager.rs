//! From a job to the record of how it ended.
//!
//! Owns: the loop over the work that is due, and the order outcome and notice first, event after. May use the
//! queue, the deliverers and the policy. Must not know SMTP nor a file.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mailstack_policy::{Here, Route, Target, route_target};
use mailstack_runtime::Config;
use mailstack_smtp::address::{Address, DomainName};
use mailstack_smtp::client::Transaction;
use mailstack_smtp::command::RcptRequest;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::helper::{Failure, Helper};
use super::lists;
use super::local::{Facts, has_been_delivered_to, lmtp};
use super::notice;
use super::orders::{self, Orders};
use super::remote::{Remote, Verdict};
use super::watched::Watch;
use crate::bounce::{self, Action, Cause};
use crate::event::{Event, Events, Step};
use crate::host::{Root, Users};
use crate::message::{Outcome, QueueId, Recipient, Timestamp};
use crate::queue::{Attempt, Destination, Dispatcher, Due, JOBS, Job, Queue};
use crate::spool::SpoolError;

/// How long jobs under way may go on once the MTA is to stop; what is left is tried again after the next start.
const GRACE: Duration = Duration::from_secs(20);
/// Octets of a header that are searched for `Delivered-To:`.
const MAX_HEADER: usize = 64 * 1024;

/// What delivery works with.
#[derive(Debug)]
pub struct Context {
    /// The configuration.
    pub config: Arc<Config>,
    /// The prefix of its paths.
    pub root: Root,
    /// This host, `$j`.
    pub hostname: DomainName,
    /// The deliverer over SMTP.
    pub remote: Remote,
    /// The deliverer into mailboxes, where the host has any.
    pub helper: Option<Helper>,
    /// The deliverer to programs and files of aliases, where they may name any.
    pub restricted: Option<Helper>,
    /// The users of this host.
    pub users: Users,
    /// Who is told of each step.
    pub events: Events,
}

/// Delivers what is due until `stop` is ready, the queue is closed or the helper has died. Jobs under way then have
/// a short time to end.
pub async fn run(
    mut context: Context,
    queue: Queue,
    mut dispatcher: Dispatcher,
    stop: impl Future<Output = ()> + Send,
) {
    context.remote.heed(&context.config);
    let (events, log) = (context.events.clone(), context.events.clone());
    queue.tell(Box::new(move |found| {
        let id = found.id.map(|id| id.to_string()).unwrap_or_default();
        log.warn(format!("{id}: held, it cannot go on: {}", found.reason));
    }));
    let context = Arc::new(context);
    let slots = Arc::new(Semaphore::new(JOBS as usize));
    let mut jobs = JoinSet::new();
    let orders = Orders::obey(&context, &queue, &mut dispatcher);
    let mut stop = std::pin::pin!(stop);
    loop {
        let slot = tokio::select! {
            biased;
            () = &mut stop => break,
            slot = Arc::clone(&slots).acquire_owned() => slot,
        };
        let job = tokio::select! {
            biased;
            () = &mut stop => break,
            () = context.helper_died() => break,
            job = dispatcher.next() => job,
        };
        let (Some(job), Ok(slot)) = (job, slot) else { break };
        let (context, queue) = (Arc::clone(&context), queue.clone());
        jobs.spawn(async move {
            let recorded = context.work(&queue, job).await;
            drop(slot);
            recorded
        });
        // Delivered and not recorded, mail would be delivered again and again.
        if !ended_well(&mut jobs, &events) {
            break;
        }
    }
    let end = async {
        orders.end().await;
        while jobs.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout(GRACE, end).await;
    jobs.abort_all();
}

/// Takes the jobs that ended. False: the queue is closed under them.
fn ended_well(jobs: &mut JoinSet<bool>, events: &Events) -> bool {
    let mut well = true;
    while let Some(ended) = jobs.try_join_next() {
        match ended {
            Ok(recorded) => well &= recorded,
            Err(error) => events.warn(format!("a delivery was broken off, and is tried again: {error}")),
        }
    }
    well
}

/// How one recipient's attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// In a mailbox.
    Delivered {
        /// Which.
        mailbox: String,
    },
    /// As a next hop or this host said.
    Verdict(Verdict),
    /// It is kept until somebody has put right what the cause says.
    Held(Cause),
    /// An operator took it out.
    Removed {
        /// Who.
        uid: u32,
    },
}

impl Context {
    /// False: the queue is closed.
    pub(super) async fn work(&self, queue: &Queue, mut job: Job) -> bool {
        let watch = Watch::default();
        let mut endings = self.endings(queue, &job, &watch).await;
        if let Some(fault) = watch.fault() {
            endings.iter_mut().for_each(|ending| blame(ending, fault));
        }
        let notice = notice::write(self, &job, &endings).await.unwrap_or_else(|nobody| {
            nobody.keep(&job, &mut endings);
            None
        });
        let attempts = job.recipients.iter().zip(&endings).map(|(due, ending)| (due.index, attempt(ending)));
        let attempts = attempts.collect();
        let told = Told::of(&job);
        let order = job.order.take();
        let notice_recipients = notice.as_ref().map_or(0, |notice| notice.envelope.recipients.len());
        // Nothing is told before it is durable. A closed queue tries again after the next start.
        let finished = match queue.finish(job, attempts, notice).await {
            Ok(finished) => finished,
            Err(error) => return !matches!(error, SpoolError::Closed),
        };
        let steps = told.recipients.iter().zip(&endings).map(|(due, ending)| self.told(&told, due, ending));
        let queued =
            finished.notice.map(|id| Event::Queued { id, about: Some(told.id), nrcpts: notice_recipients });
        let concluded = finished.concluded.then_some(Event::Concluded { id: told.id });
        self.events.emit_all(steps.chain(queued).chain(concluded));
        if let Some(order) = order {
            orders::answer(order, &endings);
        }
        true
    }

    /// Without mailboxes it never does.
    async fn helper_died(&self) {
        let died = async |helper: &Option<Helper>| match helper {
            Some(helper) => helper.died().await,
            None => std::future::pending().await,
        };
        tokio::select! {
            () = died(&self.helper) => {}
            () = died(&self.restricted) => {}
        }
    }

    async fn endings(&self, queue: &Queue, job: &Job, watch: &Watch) -> Vec<Ending> {
        if let Some(order) = &job.order {
            return job.recipients.iter().map(|due| orders::ending(due, order)).collect();
        }
        if job.expired {
            let lifetime = Duration::from_secs(self.config.queue.lifetime);
            return job.recipients.iter().map(|due| expired(due, lifetime)).collect();
        }
        match &job.destination {
            Destination::Local => {
                let mut endings = Vec::with_capacity(job.recipients.len());
                for due in &job.recipients {
                    endings.push(self.deliver_here(queue, job, due, watch).await);
                }
                endings
            }
            Destination::Nowhere => job.recipients.iter().map(|due| self.nowhere(&due.recipient)).collect(),
            destination => {
                let body = || watch.over(&job.body);
                let random = random();
                let verdicts = self.remote.deliver(destination, transaction(job), &body, random).await;
                verdicts.into_iter().map(Ending::Verdict).collect()
            }
        }
    }

    pub(super) fn route(&self, address: &Address, target: &Target) -> Route {
        route_target(&self.config.rules, Here::named(&self.hostname), address, target)
    }

    fn nowhere(&self, recipient: &Recipient) -> Ending {
        let cause = match self.route(&recipient.address, &recipient.target) {
            Route::Fail(refusal) => notice::refusal(&refusal),
            // The rules were changed under the queue: its next start routes the recipient anew.
            _ => Cause::here("4.3.5", "the route changed"),
        };
        match cause.status.starts_with('5') {
            true => Ending::Verdict(Verdict::Failed(cause)),
            false => Ending::Verdict(Verdict::Deferred { cause, unreachable: false }),
        }
    }

    async fn deliver_here(&self, queue: &Queue, job: &Job, due: &Due, watch: &Watch) -> Ending {
        let address = &due.recipient.address;
        let route = self.route(address, &due.recipient.target);
        if !matches!(route, Route::Local { .. } | Route::Program { .. } | Route::File { .. }) {
            return self.nowhere(&due.recipient);
        }
        let delivered_to = match address.domain() {
            Some(_) => address.to_string(),
            None => format!("{address}@{}", self.hostname),
        };
        let header = job.body.beginning(MAX_HEADER).await.unwrap_or_default();
        if has_been_delivered_to(&header, &delivered_to) {
            let text = format!("mail forwarding loop for {delivered_to}");
            return Ending::Verdict(Verdict::Failed(Cause::here("5.4.6", text)));
        }
        if let Target::List(alias) = &due.recipient.target {
            return lists::deliver(self, queue, job, due, watch, alias).await;
        }
        let sender = job.envelope.sender.address().map(ToString::to_string).unwrap_or_default();
        let facts = Facts { sender, delivered_to, at: now() };
        let mut body = watch.over(&job.body);
        let lmtp =
            self.config.mailboxes.as_ref().and_then(|mailboxes| lmtp::Server::of(mailboxes, &self.root));
        if let (Route::Local { user }, Some(server)) = (&route, &lmtp) {
            return match server.deliver(self.hostname.as_str(), user, &facts, &mut body).await {
                Ok(mailbox) => Ending::Delivered { mailbox },
                Err(failure) => failed_here(&failure),
            };
        }
        let delivered = match (&route, &self.helper, &self.restricted) {
            (Route::Local { user }, Some(helper), _) => helper.deliver(user, &facts, &mut body).await,
            (Route::Program { command }, _, Some(helper)) => helper.run(command, &facts, &mut body).await,
            (Route::File { path }, _, Some(helper)) => helper.append(path, &facts, &mut body).await,
            (route, ..) => {
                let what = if matches!(route, Route::Local { .. }) {
                    "this host has no mailboxes"
                } else {
                    "aliases may name no program and no file"
                };
                let cause = Cause::here("4.3.5", what);
                return Ending::Verdict(Verdict::Deferred { cause, unreachable: false });
            }
        };
        match delivered {
            Ok(mailbox) => Ending::Delivered { mailbox },
            Err(failure) => failed_here(&failure),
        }
    }

    fn told(&self, told: &Told, due: &Due, ending: &Ending) -> Event {
        let step = |relay: Option<String>, dsn: &str, text: String| Step {
            id: told.id,
            to: due.recipient.address.clone(),
            expanded_from: due.recipient.expanded_from.clone(),
            delay: Duration::from_millis(now().0.saturating_sub(told.arrived.0)),
            relay,
            dsn: dsn.to_owned(),
            text,
        };
        let of = |cause: &Cause| step(cause.peer().map(relay), &cause.status, cause.to_string());
        match ending {
            Ending::Delivered { mailbox } => {
                Event::Delivered(step(Some("local".to_owned()), "2.0.0", mailbox.clone()))
            }
            Ending::Verdict(Verdict::Taken { peer, reply, .. }) => {
                Event::Delivered(step(Some(relay(peer)), "2.0.0", reply.clone()))
            }
            Ending::Verdict(Verdict::Failed(cause)) => Event::Bounced(of(cause)),
            Ending::Verdict(Verdict::Deferred { cause, .. }) => Event::Deferred(of(cause)),
            Ending::Held(cause) => {
                self.events.warn(format!("{}: held: {cause}", told.id));
                Event::Deferred(of(cause))
            }
            Ending::Removed { uid } => Event::Removed(step(None, "5.3.0", format!("by uid {uid}"))),
        }
    }
}

/// What is told of a job that is gone by then.
struct Told {
    id: QueueId,
    arrived: Timestamp,
    recipients: Vec<Due>,
}

impl Told {
    fn of(job: &Job) -> Self {
        Self { id: job.id, arrived: job.envelope.arrived, recipients: job.recipients.clone() }
    }
}

fn relay(peer: &bounce::Peer) -> String {
    format!("{} [{}]", peer.name, peer.address.ip())
}

fn failed_here(failure: &Failure) -> Ending {
    let cause = Cause::here(&failure.status, &failure.text);
    Ending::Verdict(match failure.status.starts_with('5') {
        true => Verdict::Failed(cause),
        false => Verdict::Deferred { cause, unreachable: false },
    })
}

/// What had to wait since the message could not be read does so for that, whatever it looked like from outside.
/// A damaged one does not get better: it is kept as it is.
fn blame(ending: &mut Ending, fault: &SpoolError) {
    let Ending::Verdict(Verdict::Deferred { .. }) = ending else { return };
    *ending = match fault {
        SpoolError::Damaged(..) => {
            let text =
                format!("{fault}: restore the spool's files from a backup, or ask the sender for it again");
            Ending::Held(Cause::here("4.3.0", text))
        }
        _ => {
            let cause = Cause::here("4.3.0", format!("the message could not be read: {fault}"));
            Ending::Verdict(Verdict::Deferred { cause, unreachable: false })
        }
    };
}

/// A recipient whose message is older than its lifetime.
fn expired(due: &Due, lifetime: Duration) -> Ending {
    let last = due.last.as_ref().map_or("it was never tried", |wait| wait.diagnostic.as_str());
    let hours = lifetime.as_secs() / 3600;
    let text = format!("could not be delivered for {hours} hours; the last attempt: {last}");
    Ending::Verdict(Verdict::Failed(Cause::here("5.4.7", text)))
}

fn attempt(ending: &Ending) -> Attempt {
    match ending {
        Ending::Delivered { mailbox } => Attempt::Final(Outcome::Delivered { mailbox: mailbox.clone() }),
        Ending::Verdict(Verdict::Taken { peer, reply, .. }) => {
            Attempt::Final(Outcome::Taken { by: peer.to_string(), reply: reply.clone() })
        }
        Ending::Verdict(Verdict::Failed(cause)) => Attempt::Final(Outcome::Failed {
            status: cause.status.clone(),
            diagnostic: cause.to_string(),
            notice: None, // the queue puts its name in once it has one
        }),
        Ending::Verdict(Verdict::Deferred { cause, unreachable }) => Attempt::Deferred {
            status: cause.status.clone(),
            diagnostic: cause.to_string(),
            unreachable: *unreachable,
        },
        Ending::Held(cause) => Attempt::Held { status: cause.status.clone(), diagnostic: cause.to_string() },
        Ending::Removed { uid } => Attempt::Final(Outcome::Removed { uid: *uid }),
    }
}

/// What a notice says of an ending; None of one that is none.
pub(super) fn fate(ending: &Ending) -> Option<(Action, Cause)> {
    match ending {
        Ending::Delivered { mailbox } => {
            Some((Action::Delivered, Cause::here("2.0.0", format!("delivered to {mailbox}"))))
        }
        // RFC 3461 5.2.3: a host that knows NOTIFY reports itself.
        Ending::Verdict(Verdict::Taken { reports: true, .. } | Verdict::Deferred { .. })
        | Ending::Held(_)
        | Ending::Removed { .. } => None,
        Ending::Verdict(Verdict::Taken { peer, reply, .. }) => {
            Some((Action::Relayed, Cause::reply("2.0.0", peer.clone(), "end of data", reply)))
        }
        Ending::Verdict(Verdict::Failed(cause)) => Some((Action::Failed, cause.clone())),
    }
}

fn transaction(job: &Job) -> Transaction {
    let request = |due: &Due| RcptRequest {
        to: due.recipient.address.clone(),
        notify: due.recipient.notify,
        orcpt: due.recipient.orcpt.clone(),
    };
    Transaction {
        from: job.envelope.sender.clone(),
        recipients: job.recipients.iter().map(request).collect(),
        size: Some(job.size),
        eight_bit: job.envelope.eight_bit,
        smtputf8: job.envelope.smtputf8,
        ret: job.envelope.ret,
        envid: job.envelope.envid.clone(),
    }
}

pub(super) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Unpredictable to a peer, which is all that a boundary and the order of mail hosts need.
pub(super) fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
