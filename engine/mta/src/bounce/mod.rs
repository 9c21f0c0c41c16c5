//! Delivery status notifications: who is told of what became of a message, and in which words (RFC 3461, 3464).
//!
//! Owns: the decision whether a notice may be sent and to whom, and the octets of the notice. Pure: the time, the
//! randomness of boundary and Message-ID, and the host's names are arguments. Must not know a queue, a file or a
//! socket, nor how the notice is routed.

mod cause;
mod render;
mod words;

use mailstack_policy::Expanded;
use mailstack_smtp::address::{Address, DomainName, ReversePath};

use crate::message::{Envelope, Notify, Origin, Recipient, Ret, Timestamp};

pub use cause::{Cause, Peer, Said};
pub use render::render;

/// Octets of a message up to which a notice returns it whole; of a larger one it returns the header.
pub const MAX_RETURNED: usize = 100 * 1024;
/// Octets of a returned header; lines beyond are left out.
pub const MAX_RETURNED_HEADER: usize = 32 * 1024;

/// Whose name a notice bears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reporter {
    /// This host (`Reporting-MTA`, `$j`).
    pub hostname: DomainName,
    /// The domain of `MAILER-DAEMON` in `From:`; the masquerade domain where there is one.
    pub domain: DomainName,
}

/// What is different in every notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// When it is written.
    pub now: Timestamp,
    /// Unpredictable, for the boundary and the Message-ID.
    pub random: u64,
}

/// Who reads a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    /// What `To:` shows.
    pub address: &'a Address,
    /// The postmaster, since the sender cannot be told.
    pub is_postmaster: bool,
}

/// The message that a notice is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// Its envelope.
    pub envelope: &'a Envelope,
    /// Its first octets: all of them, or more than [`MAX_RETURNED`].
    pub octets: &'a [u8],
}

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate<'a> {
    /// Whom.
    pub recipient: &'a Recipient,
    /// What.
    pub action: Action,
    /// Why, or by whose answer.
    pub cause: Cause,
}

/// `Action` of RFC 3464 2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It will not be tried again.
    Failed,
    /// It lies in the mailbox.
    Delivered,
    /// It was handed to a host that does not report itself.
    Relayed,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
        }
    }
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressee {
    /// The sender.
    Sender(Address),
    /// The postmaster of this host: a notice could itself not be delivered.
    Postmaster,
}

/// Whether this fate is to be told of at all: RFC 3461 4.1 and 5.2; without NOTIFY failures alone are.
pub fn is_wanted(recipient: &Recipient, action: Action) -> bool {
    match (recipient.notify, action) {
        (None, action) => action == Action::Failed,
        (Some(notify), Action::Failed) => notify.failure,
        (Some(notify), Action::Delivered | Action::Relayed) => notify.success,
    }
}

/// Returns who is told of the fates that [`is_wanted`] left, or None where nobody may be.
///
/// What fails with the null sender is told to the postmaster once: [`postmaster_notice`] bears NOTIFY=NEVER, and
/// so yields nothing when it fails in turn, before and after a restart.
pub fn addressee(sender: &ReversePath, fates: &[Fate<'_>]) -> Option<Addressee> {
    match sender {
        _ if fates.is_empty() => None,
        ReversePath::Address(address) => Some(Addressee::Sender(address.clone())),
        // RFC 3464 2: no report of a report goes to its sender.
        ReversePath::Null if fates.iter().any(|fate| fate.action == Action::Failed) => {
            Some(Addressee::Postmaster)
        }
        ReversePath::Null => None,
    }
}

/// The envelope of a notice to the sender. `to` are the mailboxes that the sender's address stands for.
pub fn sender_notice(to: Vec<Expanded>, now: Timestamp, octets: &[u8]) -> Envelope {
    envelope(to, None, now, octets)
}

/// The envelope of a notice to the postmaster, of which nothing is ever told.
pub fn postmaster_notice(to: Vec<Expanded>, now: Timestamp, octets: &[u8]) -> Envelope {
    envelope(to, Some(Notify { success: false, failure: false, delay: false }), now, octets)
}

fn envelope(to: Vec<Expanded>, notify: Option<Notify>, now: Timestamp, octets: &[u8]) -> Envelope {
    let recipient = |Expanded { address, target, .. }| Recipient {
        address,
        expanded_from: None,
        orcpt: None,
        notify,
        target,
    };
    Envelope {
        sender: ReversePath::Null,
        recipients: to.into_iter().map(recipient).collect(),
        arrived: now,
        origin: Origin::Bounce,
        eight_bit: !octets.is_ascii(),
        smtputf8: false,
        // A report of a report returns no more than its header.
        ret: Some(Ret::Headers),
        envid: None,
    }
}

#[cfg(test)]
mod tests;
