//! What the queue holds of a message beside its octets: the envelope, and what became of each recipient.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use mailstack_policy::Target;
use mailstack_smtp::address::{Address, ReversePath};
pub use mailstack_smtp::command::{Notify, Ret};
use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

/// Names a message for as long as it is queued here, and in every log line. Never given twice by one spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct QueueId(pub u64);

/// Upper-case consonants and digits, so that no word appears in a log.
const ALPHABET: &[u8; 32] = b"0123456789BCDFGHJKLMNPQRSTVWXYZ_";

impl fmt::Display for QueueId {
    /// Thirteen characters: the number in base 32, most significant first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in (0..13).rev() {
            let digit = (self.0 >> (shift * 5)) & 31;
            write!(f, "{}", char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

/// A text that is no queue id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a queue id: thirteen of {}", "0123456789BCDFGHJKLMNPQRSTVWXYZ_")]
pub struct NoQueueId;

impl FromStr for QueueId {
    type Err = NoQueueId;

    fn from_str(text: &str) -> Result<Self, NoQueueId> {
        let digit = |byte: u8| ALPHABET.iter().position(|&a| a == byte).map(|p| p as u64);
        if text.len() != 13 {
            return Err(NoQueueId);
        }
        let add = |value: u64, byte: u8| value.checked_mul(32)?.checked_add(digit(byte)?);
        text.bytes().try_fold(0_u64, add).map(QueueId).ok_or(NoQueueId)
    }
}

impl TryFrom<String> for QueueId {
    type Error = NoQueueId;

    fn try_from(text: String) -> Result<Self, NoQueueId> {
        text.parse()
    }
}

impl From<QueueId> for String {
    fn from(id: QueueId) -> String {
        id.to_string()
    }
}

/// Who sent, to whom, and how it came here. Fixed once a message is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where a bounce goes.
    pub sender: ReversePath,
    /// In the order of RCPT, aliases expanded; never empty.
    pub recipients: Vec<Recipient>,
    /// When it was accepted.
    pub arrived: Timestamp,
    /// How it came.
    pub origin: Origin,
    /// Whether the body may have octets over 127 (RFC 6152 `BODY=8BITMIME`).
    pub eight_bit: bool,
    /// Whether the header is beyond ASCII by SMTPUTF8 (RFC 6531): only a host that has it may get the message. Of
    /// addresses that shows by itself.
    #[serde(default)]
    pub smtputf8: bool,
    /// `RET` of RFC 3461: how much of the message a bounce returns.
    pub ret: Option<Ret>,
    /// `ENVID` of RFC 3461, as it came (xtext).
    pub envid: Option<String>,
}

/// One recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// Where the message goes.
    pub address: Address,
    /// The address that the sender wrote, where an alias turned it into `address`.
    pub expanded_from: Option<Address>,
    /// `ORCPT` of RFC 3461, as it came.
    pub orcpt: Option<String>,
    /// `NOTIFY` of RFC 3461; None: not said.
    pub notify: Option<Notify>,
    /// What is done with it, where its address does not say it.
    #[serde(default, skip_serializing_if = "Target::is_address")]
    pub target: Target,
}

/// How a message came here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Over TCP.
    Network {
        /// The client's address.
        peer: IpAddr,
        /// What it called itself.
        hello: String,
    },
    /// From a program of this host, through the socket or the drop directory.
    Local {
        /// The user who sent it, from peer credentials or as the file's owner.
        uid: u32,
    },
    /// Written here: a bounce or a notice.
    Bounce,
}

/// The final outcome for one recipient. Until there is one, the recipient is queued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The next hop answered 250.
    Taken {
        /// Its name and address, `mail.example[192.0.2.1]:25`.
        by: String,
        /// Its reply.
        reply: String,
    },
    /// It lies in a mailbox of this host.
    Delivered {
        /// Which.
        mailbox: String,
    },
    /// Failed for good; the sender has been told, or may not be told.
    Failed {
        /// RFC 3463 status, `5.1.1`.
        status: String,
        /// What was said, by whom.
        diagnostic: String,
        /// The bounce; None where none may be sent.
        notice: Option<QueueId>,
    },
    /// Taken out by an operator.
    Removed {
        /// Who.
        uid: u32,
    },
}
