//! Every reply that the server words itself, in the words of Sendmail 8.17.
//!
//! Owns: the text of each refusal (its codes are the policy's), and the codes of the limits. Decides nothing: the policy crate and the limits do.

use mailstack_policy::{BadAddress, NotAMailbox, Refusal};
use mailstack_smtp::reply::{Enhanced, Reply};

use crate::message::QueueId;

/// `250` to the end of a message: it is durable.
pub(super) fn accepted(id: QueueId) -> Reply {
    positive(Enhanced(2, 0, 0), format!("{id} Message accepted for delivery"))
}

/// `250` to MAIL. `address` with its angle brackets.
pub(super) fn sender_ok(address: &str) -> Reply {
    positive(Enhanced(2, 1, 0), format!("{address}... Sender ok"))
}

/// `250` to RCPT. `address` with its angle brackets.
pub(super) fn recipient_ok(address: &str) -> Reply {
    positive(Enhanced(2, 1, 5), format!("{address}... Recipient ok"))
}

fn positive(enhanced: Enhanced, text: String) -> Reply {
    Reply::new(250, Some(enhanced), text)
}

/// A refused address; `address` as the client wrote it, with its angle brackets.
pub(super) fn refusal(refusal: &Refusal, address: &str) -> Reply {
    let (code, enhanced) = refusal.codes();
    let text = match refusal {
        Refusal::RelayingDenied => "Relaying denied",
        Refusal::UserUnknown => "User unknown",
        Refusal::BadAddress(why) => bad_address(*why),
        Refusal::NotAMailbox(what) => not_a_mailbox(*what),
        Refusal::AliasLoop => "aliasing/forwarding loop broken",
        Refusal::SenderUnqualified => "Domain name required for sender address",
        Refusal::SenderNotReal => "Real domain name required for sender address",
        Refusal::NoRoute => "system config error",
        Refusal::MailerError { text, .. } => text,
    };
    Reply::new(code, enhanced, format!("{address}... {text}"))
}

fn bad_address(why: BadAddress) -> &'static str {
    match why {
        BadAddress::UserRequired => "User address required",
        BadAddress::HostRequired => "Hostname required",
        BadAddress::InvalidRoute => "Invalid route address",
    }
}

fn not_a_mailbox(what: NotAMailbox) -> &'static str {
    match what {
        NotAMailbox::Program => "Cannot mail directly to programs",
        NotAMailbox::File => "Cannot mail directly to files",
        NotAMailbox::Include => "Cannot mail directly to :include:s",
    }
}

/// The header is over the limit.
pub(crate) fn header_too_large(limit: u32) -> Reply {
    Reply::new(552, Some(Enhanced(5, 6, 0)), format!("Headers too large ({limit} max)"))
}

/// More `Received:` lines than the limit.
pub(crate) fn too_many_hops(hops: u32, limit: u32) -> Reply {
    Reply::new(554, Some(Enhanced(5, 4, 6)), format!("Too many hops {hops} ({limit} max)"))
}

/// The spool has no room.
pub(super) const NO_ROOM: Reply =
    Reply::fixed(452, Enhanced(4, 4, 5), "Insufficient disk space; try again later");
/// The spool, or a file that a decision needs, cannot be used for another reason.
pub(super) const LOCAL_ERROR: Reply =
    Reply::fixed(451, Enhanced(4, 3, 0), "Local error in processing; try again later");
/// Over the limit of sessions, in all or of one client: said instead of the greeting.
pub(super) fn too_many_connections(hostname: &str) -> Reply {
    Reply::new(
        421,
        Some(Enhanced(4, 7, 0)),
        format!("{hostname} Too many concurrent SMTP connections; please try again later"),
    )
}

/// The client was silent for too long.
pub(super) fn timed_out(hostname: &str) -> Reply {
    Reply::new(
        421,
        Some(Enhanced(4, 4, 1)),
        format!("{hostname} Lost input channel: timeout; closing connection"),
    )
}

/// The server stops.
pub(super) fn stopping(hostname: &str) -> Reply {
    Reply::new(
        421,
        Some(Enhanced(4, 3, 2)),
        format!("{hostname} Service not available, closing transmission channel"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_refusals() {
        let mailer =
            Refusal::MailerError { code: 550, enhanced: "5.1.2".into(), text: "no such host".into() };
        let refusals = [
            Refusal::RelayingDenied,
            Refusal::UserUnknown,
            Refusal::BadAddress(BadAddress::UserRequired),
            Refusal::BadAddress(BadAddress::HostRequired),
            Refusal::BadAddress(BadAddress::InvalidRoute),
            Refusal::NotAMailbox(NotAMailbox::Program),
            Refusal::NotAMailbox(NotAMailbox::File),
            Refusal::NotAMailbox(NotAMailbox::Include),
            Refusal::AliasLoop,
            Refusal::SenderUnqualified,
            Refusal::SenderNotReal,
            Refusal::NoRoute,
            mailer,
        ];
        let lines: Vec<String> =
            refusals.iter().map(|why| refusal(why, "<joe@far.example>").to_string()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn limits() {
        let lines = [
            header_too_large(32_768),
            too_many_hops(26, 25),
            NO_ROOM,
            LOCAL_ERROR,
            too_many_connections("gw.corp.example"),
        ];
        insta::assert_snapshot!(lines.map(|reply| reply.to_string()).join("\n"));
    }
}
