//! What happened: one typed event per step, for the log, the metrics and the tests.
//!
//! Owns: the event type, its line in the log, and the handle through which every part of the MTA reports. May use
//! standard error. Must not know who listens, nor decide anything: an event is told after the fact.

use std::fmt;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mailstack_smtp::address::{Address, ReversePath};
use tokio::sync::broadcast;

use crate::message::QueueId;
use crate::metrics::Metrics;
use crate::tls::Channel;

mod line;

/// How many events a subscriber may lag behind before it misses some.
const SUBSCRIBER_LAG: usize = 4096;

/// This file, for the reference of events, which is made of the comments of [`Event`].
pub const SOURCE: &str = include_str!("mod.rs");

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A configuration was read.
    ConfigLoaded {
        /// The file.
        path: String,
        /// The role it names.
        role: String,
        /// The host's own name, `$j`.
        hostname: String,
    },
    /// The process gave up all that its role does not need.
    Confined {
        /// System calls are filtered.
        seccomp: bool,
        /// The version of Landlock's interface that bounds files; 0: none does.
        landlock: u32,
    },
    /// All is bound and open; mail is accepted from here on.
    Ready {
        /// Sockets and addresses, as a log reader knows them.
        listening: Vec<String>,
    },
    /// No new work is accepted from here on.
    Stopping {
        /// What asked for it.
        reason: String,
    },
    /// The last event of a run.
    Stopped,
    /// Clients are shown another certificate from here on.
    CertificateRenewed {
        /// When it expires, in seconds since 1970.
        expires: Option<u64>,
    },
    /// Something to look at that stopped nothing.
    Warning {
        /// What, and what to do about it.
        text: String,
    },
    /// A client connected.
    SessionOpened {
        /// Who.
        peer: Peer,
    },
    /// A client was turned away before its session began.
    SessionRefused {
        /// Who.
        peer: Peer,
        /// The reply that it got.
        reply: String,
    },
    /// TLS was made.
    Secured {
        /// A client came to this server; else this host went to another.
        server: bool,
        /// The other one.
        peer: String,
        /// Which.
        channel: Channel,
    },
    /// A client has shown who it is.
    Authenticated {
        /// Where it is.
        peer: Peer,
        /// Who.
        user: String,
    },
    /// A session ended.
    SessionClosed {
        /// Who.
        peer: Peer,
        /// Messages accepted in it.
        messages: u32,
        /// How it ended.
        reason: String,
    },
    /// A command was refused.
    Refused {
        /// Whose.
        peer: Peer,
        /// The command with its argument.
        command: String,
        /// The reply that it got, first line.
        reply: String,
    },
    /// A message was accepted and is durable.
    Received {
        /// Its name from here on.
        id: QueueId,
        /// The envelope sender.
        from: ReversePath,
        /// Octets as queued.
        size: u64,
        /// Recipients as queued, aliases expanded.
        nrcpts: usize,
        /// `Message-ID:` of its header.
        message_id: Option<String>,
        /// `ESMTP`, `SMTP`, or `drop`.
        proto: &'static str,
        /// Who handed it in.
        peer: Peer,
    },
    /// A message was taken and thrown away, because an access entry says so.
    Discarded {
        /// What its sender was told that it is called.
        id: QueueId,
        /// The envelope sender.
        from: ReversePath,
        /// Who handed it in.
        peer: Peer,
    },
    /// An alias turned a recipient into others.
    Expanded {
        /// The message.
        id: QueueId,
        /// As the sender wrote it.
        from: Address,
        /// What it became.
        to: Vec<Address>,
    },
    /// A message that was written here, a bounce, is in the queue.
    Queued {
        /// Its name.
        id: QueueId,
        /// The message that it is about.
        about: Option<QueueId>,
        /// Its recipients.
        nrcpts: usize,
    },
    /// A recipient is done: the next hop or a mailbox has the message.
    Delivered(Step),
    /// A recipient has to wait.
    Deferred(Step),
    /// A recipient failed for good.
    Bounced(Step),
    /// An operator took a recipient out: nobody gets the message, and nobody is told.
    Removed(Step),
    /// An operator changed how a message is queued.
    Operated {
        /// The message.
        id: QueueId,
        /// `held`, `released`, `requeued`, `bounced`, `removed`.
        deed: &'static str,
        /// Recipients that it is about.
        nrcpts: usize,
        /// Who asked for it.
        uid: u32,
    },
    /// A recipient was being delivered to when the process before was killed: the message may arrive there twice.
    UnderWay {
        /// The message.
        id: QueueId,
        /// The recipient.
        to: Address,
    },
    /// A message left the queue: each recipient has its final outcome.
    Concluded {
        /// The message.
        id: QueueId,
    },
    /// A drop file was taken into the queue.
    DropTaken {
        /// The message it became.
        id: QueueId,
        /// The file's name.
        file: String,
        /// Its owner.
        uid: u32,
    },
    /// A drop file was refused.
    DropRefused {
        /// The file's name.
        file: String,
        /// Why, and where it is now.
        reason: String,
    },
}

/// One attempt at one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The message.
    pub id: QueueId,
    /// The recipient.
    pub to: Address,
    /// What it was before an alias.
    pub expanded_from: Option<Address>,
    /// Since the message was accepted.
    pub delay: Duration,
    /// Who was asked: `mail.example [192.0.2.1]`, or a mailbox; None: nobody.
    pub relay: Option<String>,
    /// RFC 3463 status, `2.0.0`.
    pub dsn: String,
    /// What was said.
    pub text: String,
}

/// Who is at the other end of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A host on the network.
    Network {
        /// Its name, where its address has one that is confirmed.
        name: Option<String>,
        /// Its address.
        address: IpAddr,
    },
    /// A program of this host.
    Local {
        /// The user.
        uid: u32,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Network { name: Some(name), address } => write!(f, "{name} [{address}]"),
            Peer::Network { name: None, address } => write!(f, "[{address}]"),
            Peer::Local { uid } => write!(f, "localhost (uid {uid})"),
        }
    }
}

/// Where the lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    /// Standard error with time and process id.
    Stderr,
    /// Standard error read by journald, which adds both: lines with a priority in front.
    Journal,
    /// Nowhere.
    Off,
}

impl Log {
    /// [`Log::Journal`] where systemd connected standard error to its journal, else [`Log::Stderr`].
    pub fn detect() -> Self {
        if std::env::var_os("JOURNAL_STREAM").is_some() { Log::Journal } else { Log::Stderr }
    }
}

/// The handle that events are told to. Clones tell the same log and subscribers.
#[derive(Clone, Debug)]
pub struct Events {
    log: Log,
    subscribers: Arc<broadcast::Sender<Event>>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// A handle that logs to `log`.
    pub fn new(log: Log) -> Self {
        let (subscribers, _) = broadcast::channel(SUBSCRIBER_LAG);
        Self { log, subscribers: Arc::new(subscribers), metrics: Arc::default() }
    }

    /// What was counted so far.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Logs the event and tells the subscribers. Never blocks on a subscriber, never fails: a log that cannot be
    /// written stops no mail.
    pub fn emit(&self, event: Event) {
        self.emit_all([event]);
    }

    /// As [`Events::emit`], with one write for all their lines.
    pub fn emit_all(&self, events: impl IntoIterator<Item = Event>) {
        let mut lines = String::new();
        for event in events {
            self.metrics.count(&event);
            line::render(self.log, &event, &mut lines);
            if self.subscribers.receiver_count() > 0 {
                let _ = self.subscribers.send(event);
            }
        }
        if !lines.is_empty() {
            let _ = std::io::stderr().lock().write_all(lines.as_bytes());
        }
    }

    /// Tells of something to look at that stopped nothing.
    pub fn warn(&self, text: impl Into<String>) {
        self.emit(Event::Warning { text: text.into() });
    }

    /// Receives every event from here on; one that lags far behind misses the oldest.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.subscribers.subscribe()
    }
}
