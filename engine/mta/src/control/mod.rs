//! The control socket: what `mailstack status`, `mailstack queue` and `mailq` ask a running MTA.
//!
//! JSON lines over a Unix stream socket: one request per line, answered by any number of `message` lines and one
//! last line (`status`, `done` or `error`). Owns: the protocol, its server and its blocking client. Anybody on the
//! host may ask, as with Sendmail's `mailq` and `sendmail -q`, but what costs or tells much depends on who it is: root
//! and the MTA's own user see the whole queue and flush it at will. With `restrictmailq` everybody else sees the messages
//! that they handed in (Sendmail: none), with `restrictqrun` they flush nothing, and without it at most once in
//! [`FLUSH_INTERVAL`]. Neither can one user take all connections.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mailstack_policy::{Address, ReversePath};
use mailstack_runtime::Role;
use serde::{Deserialize, Serialize};

use crate::message::{Envelope, Notify, Origin, QueueId, Ret, Timestamp};
use crate::queue::{Listed, Selector, Trouble};
use crate::run::Confinement;
use crate::secrets::Certificate;
use crate::spool::{SpoolError, Standing, Unreadable};

mod client;
mod operate;
mod serve;
mod stopped;

pub use client::{Client, Entries};
pub use serve::{Facts, serve};
pub use stopped::{Stopped, View};

/// The least time between two flushes that others than root and the MTA's own user ask for.
pub const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

/// The most messages that one request names.
pub const MAX_IDS: usize = 1000;

/// The most octets of a request line.
const MAX_REQUEST: u64 = 64 * 1024;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the MTA is.
    Status,
    /// The queue, in the order of arrival.
    QueueList {
        /// Only what is behind this message.
        #[serde(default)]
        after: Option<QueueId>,
        /// At most so many; None: all.
        #[serde(default)]
        limit: Option<u64>,
        /// Only what is meant.
        #[serde(default)]
        select: Selector,
    },
    /// All that is known of one message. Root, the MTA's own user and whoever handed it in may ask.
    QueueShow {
        /// The message.
        id: QueueId,
        /// With its body.
        #[serde(default)]
        body: bool,
    },
    /// Do something with what is selected. Root and the MTA's own user alone may ask, but for a flush.
    QueueOperate {
        /// What.
        operation: Operation,
        /// With which messages and recipients.
        select: Selector,
        /// Only say what would be done.
        #[serde(default)]
        dry_run: bool,
    },
    /// Read all of the queue, and say what is damaged. Root and the MTA's own user alone may ask.
    QueueVerify,
    /// Try now what waits.
    Flush,
    /// Look into the drop directory now.
    ScanDrop,
    /// What is counted, for Prometheus.
    Metrics,
    /// Show this certificate from here on. Root and the MTA's own user alone may ask.
    Renew(Certificate),
}

/// One line of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// The answer to [`Request::Status`].
    Status(Status),
    /// One message of a list; more lines follow.
    Message(Entry),
    /// What was done with one message; more lines follow.
    Acted(Acted),
    /// The answer to [`Request::QueueShow`]; octets follow.
    Shown(Box<Shown>),
    /// Octets of a message, each as the character of its number (ISO 8859-1); more lines follow.
    Octets {
        /// They.
        text: String,
    },
    /// The answer to [`Request::Metrics`].
    Metrics {
        /// In the exposition format 0.0.4.
        text: String,
    },
    /// Nothing was found yet; more lines follow.
    Busy,
    /// Something of a list that cannot be read; more lines follow.
    Damaged(Damaged),
    /// So much of the queue was read and is whole; more lines follow.
    Verified {
        /// Messages.
        messages: u64,
        /// Their octets.
        octets: u64,
    },
    /// It is done; after a list, with the number of its messages.
    Done {
        /// Messages given.
        count: u64,
    },
    /// It is not done.
    Error {
        /// Why.
        text: String,
    },
}

/// What is done with messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Try them now, except what is held.
    Flush,
    /// Try them no more until they are released.
    Hold,
    /// Let go on what is held, for whatever reason.
    Release,
    /// Take them out; nobody is told.
    Remove,
    /// Route them anew and try them now.
    Requeue,
    /// Return them to their senders.
    Bounce {
        /// Why, in the operator's words.
        reason: Option<String>,
    },
}

/// What was done with one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// The message.
    pub id: QueueId,
    /// The recipients that it is about.
    pub recipients: Vec<Address>,
    /// It is done, or would be.
    pub done: bool,
    /// What was done, or why it was not.
    pub text: String,
}

/// A message with all that is known of it but its body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// As in a list.
    #[serde(flatten)]
    pub entry: Entry,
    /// How it came here.
    pub origin: Origin,
    /// `BODY=8BITMIME`.
    pub eight_bit: bool,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
    /// `RET` of RFC 3461.
    pub ret: Option<Ret>,
    /// `ENVID` of RFC 3461.
    pub envid: Option<String>,
}

/// How the MTA is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Its role.
    pub role: Role,
    /// Its own name, `$j`.
    pub hostname: String,
    /// When it was ready.
    pub since: Timestamp,
    /// Where it listens.
    pub listening: Vec<String>,
    /// What the kernel keeps it from; None: it is of a version that did not say.
    #[serde(default)]
    pub confinement: Option<Confinement>,
    /// Sessions at this moment.
    pub sessions: u32,
    /// Messages in the queue.
    pub queued: u64,
    /// What lies in the spool and cannot go on, as the list shows it.
    #[serde(default)]
    pub damaged: u64,
    /// Files that wait in the drop directory.
    #[serde(default)]
    pub dropped: u64,
    /// Drop files that were refused and are kept.
    #[serde(default)]
    pub refused: u64,
    /// When the oldest message in the queue was accepted.
    #[serde(default)]
    pub oldest: Option<Timestamp>,
    /// Recipients that are held.
    #[serde(default)]
    pub held: u64,
    /// Octets that are free where the queue is.
    #[serde(default)]
    pub free: Option<u64>,
    /// When the host's own certificate expires, in seconds since 1970.
    #[serde(default)]
    pub certificate_expires: Option<u64>,
    /// Destinations that take nothing; root and the MTA's own user are told.
    #[serde(default)]
    pub troubles: Vec<Trouble>,
}

/// What a list consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Item {
    /// A message.
    Message(Entry),
    /// What cannot be read.
    Damaged(Damaged),
}

/// Something in the spool that cannot be read, or a message whose outcome cannot be recorded. Root and the MTA's own
/// user are shown it, in front of the messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// The message, where that much is known; it is in the list too where its envelope can be read.
    pub id: Option<QueueId>,
    /// The file in the spool; empty: none in particular.
    pub file: String,
    /// Octets from its beginning.
    pub offset: u64,
    /// What is wrong.
    pub damaged: String,
    /// What to do about it.
    pub help: String,
}

impl From<Unreadable> for Damaged {
    fn from(found: Unreadable) -> Self {
        let help = match found.file.is_empty() {
            false => {
                "it stays on the disk and is not delivered: stop mailstack, restore the file, start it again"
            }
            true => "it is held until mailstack is started again",
        };
        let Unreadable { id, file, offset, reason } = found;
        Self { id, file, offset, damaged: reason, help: help.to_owned() }
    }
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(id) = self.id {
            write!(f, "{id}: ")?;
        }
        if !self.file.is_empty() {
            write!(f, "segments/{} octet {}: ", self.file, self.offset)?;
        }
        write!(f, "{}; {}", self.damaged, self.help)
    }
}

/// One queued message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
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
    #[serde(default)]
    pub held_because: Option<String>,
    /// The user of this host who handed it in.
    #[serde(default)]
    pub uid: Option<u32>,
    /// To whom, in the order of the envelope.
    pub recipients: Vec<EntryRecipient>,
}

/// One recipient of a queued message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecipient {
    /// Who.
    pub address: Address,
    /// What the sender wrote, where an alias turned it into `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expanded_from: Option<Address>,
    /// `ORCPT` of RFC 3461.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
    /// `NOTIFY` of RFC 3461.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Where it goes.
    #[serde(default)]
    pub destination: String,
    /// Where it stands.
    pub standing: Standing,
    /// It is being tried at this moment.
    pub active: bool,
    /// It is not tried before the next start; what has to be put right is the diagnostic of its standing.
    pub held: bool,
}

impl From<Listed> for Entry {
    fn from(listed: Listed) -> Self {
        let recipients = listed.recipients.into_iter().map(|recipient| EntryRecipient {
            address: recipient.address,
            expanded_from: recipient.expanded_from,
            orcpt: recipient.orcpt,
            notify: recipient.notify,
            destination: recipient.destination.to_string(),
            standing: recipient.standing,
            active: recipient.active,
            held: recipient.held,
        });
        Self {
            id: listed.id,
            sender: listed.sender,
            size: listed.size,
            arrived: listed.arrived,
            held: listed.held,
            held_because: listed.held_because,
            uid: listed.uid,
            recipients: recipients.collect(),
        }
    }
}

impl Shown {
    /// A message with its envelope.
    pub fn of(listed: Listed, envelope: &Envelope) -> Self {
        Self {
            entry: Entry::from(listed),
            origin: envelope.origin.clone(),
            eight_bit: envelope.eight_bit,
            smtputf8: envelope.smtputf8,
            ret: envelope.ret,
            envid: envelope.envid.clone(),
        }
    }
}

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody serves the socket.
    #[error("the MTA does not run: nobody serves {}", socket.display())]
    NotRunning {
        /// The control socket.
        socket: PathBuf,
    },
    /// Nobody serves the socket, and what lies on the disk cannot be read.
    #[error("the MTA does not run, and its queue cannot be read")]
    Stopped {
        /// Why.
        #[source]
        source: SpoolError,
    },
    /// The socket cannot be used.
    #[error("cannot talk to the MTA over {}", socket.display())]
    Io {
        /// The control socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The MTA did not do it.
    #[error("the MTA answered: {0}")]
    Refused(String),
    /// The answer cannot be read: the MTA is of another version.
    #[error("the answer of the MTA cannot be read")]
    Answer(#[source] serde_json::Error),
    /// What was answered cannot be written.
    #[error("the answer cannot be written")]
    Output(#[source] io::Error),
    /// The answer is none to what was asked.
    #[error("the MTA answered something else than what was asked")]
    Unexpected,
}
