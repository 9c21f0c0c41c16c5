//! Every reply that the server words itself, in the words of Sendmail 8.17.
//!
//! Owns: the text of each refusal (its codes are the policy's), and the codes of the limits. Decides nothing: the policy crate and the limits do.

use std::net::{IpAddr, Ipv4Addr};

use mailstack_policy::access::Action;
use mailstack_policy::{BadAddress, NotAMailbox, Refusal};
use mailstack_runtime::Dnsbl;
use mailstack_smtp::reply::{Enhanced, Reply};

use super::naming::Named;
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
        Refusal::MailerError { text, .. } | Refusal::Access { text, .. } => text,
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

/// More sessions of one client than its limit.
pub(super) const OPEN_CONNECTIONS: Reply = Reply::fixed(421, Enhanced(4, 3, 2), "Too many open connections.");
/// More sessions of one client within a minute than its limit.
pub(super) const CONNECTION_RATE: Reply =
    Reply::fixed(421, Enhanced(4, 3, 2), "Connection rate limit exceeded.");
/// What a client that talked before the greeting is told from then on.
pub(super) const COMMAND_REJECTED: Reply = Reply::fixed(550, Enhanced(5, 0, 0), "Command rejected");

/// What such a client gets in place of the greeting.
pub(super) fn not_accepting(hostname: &str) -> Reply {
    Reply::new(554, None, format!("{hostname} ESMTP not accepting messages"))
}

/// What an access entry says; `address` of a sender with its angle brackets, None of a client. `OK`, `RELAY` and
/// `DISCARD` refuse nobody.
pub(super) fn denied(action: &Action, address: Option<&str>) -> Reply {
    let (code, enhanced, text) = match action {
        Action::Error { code, enhanced, text } => (*code, enhanced.parse().ok(), text.as_str()),
        _ => (550, Some(Enhanced(5, 7, 1)), "Access denied"),
    };
    Reply::new(code, enhanced, about(address, text))
}

/// What an access entry says of a recipient.
pub(super) fn recipient_denied(action: &Action, address: &str) -> Reply {
    match action {
        Action::Error { .. } => denied(action, Some(address)),
        _ => Reply::new(
            550,
            Some(Enhanced(5, 2, 1)),
            about(Some(address), "Mailbox disabled for this recipient"),
        ),
    }
}

fn about(address: Option<&str>, text: &str) -> String {
    match address {
        Some(address) => format!("{address}... {text}"),
        None => text.to_owned(),
    }
}

/// Relaying is refused to a client whose name does not help it.
pub(super) fn relaying_denied(address: &str, named: &Named, client: IpAddr) -> Reply {
    let client = literal(client);
    let (code, enhanced, text) = match named {
        Named::Unknown => {
            let text = format!("Relaying temporarily denied. Cannot resolve PTR record for {client}");
            (450, Enhanced(4, 4, 0), text)
        }
        Named::Not => (550, Enhanced(5, 7, 1), format!("Relaying denied. IP name lookup failed [{client}]")),
        Named::As(reverse) if !reverse.confirmed => {
            (550, Enhanced(5, 7, 1), format!("Relaying denied. IP name possibly forged [{client}]"))
        }
        Named::As(_) => (550, Enhanced(5, 7, 1), "Relaying denied".to_owned()),
    };
    Reply::new(code, Some(enhanced), about(Some(address), &text))
}

/// What a client without a confirmed name is told where it must have one; None: it has one.
pub(super) fn reverse_dns(named: &Named, client: IpAddr) -> Option<Reply> {
    let client = literal(client);
    let (code, enhanced, text) = match named {
        Named::As(reverse) if reverse.confirmed => return None,
        Named::As(_) => (451, Enhanced(4, 1, 8), format!("Possibly forged hostname for {client}")),
        Named::Not => (550, Enhanced(5, 7, 1), format!("Fix reverse DNS for {client}")),
        Named::Unknown => (451, Enhanced(4, 1, 8), format!("Client IP address {client} does not resolve")),
    };
    Some(Reply::new(code, Some(enhanced), text))
}

/// An address as Sendmail writes a client's, without brackets.
fn literal(client: IpAddr) -> String {
    match client {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("IPv6:{v6}"),
    }
}

/// A list has the client.
pub(super) fn listed(list: &Dnsbl, client: Ipv4Addr) -> Reply {
    let default = || format!("Rejected: {client} listed at {}", list.zone);
    Reply::new(550, Some(Enhanced(5, 7, 1)), list.text.clone().unwrap_or_else(default))
}

/// The name that a client says HELO with is one of this host, or none.
pub(super) fn bogus_hello(address: &str, name: &str) -> Reply {
    Reply::new(550, Some(Enhanced(5, 7, 1)), about(Some(address), &format!("bogus HELO name used: {name}")))
}

/// The domain of a sender does not exist.
pub(super) fn no_such_sender_domain(address: &str) -> Reply {
    let text = format!("Domain of sender address {} does not exist", bare(address));
    Reply::new(553, Some(Enhanced(5, 1, 8)), about(Some(address), &text))
}

/// Nobody says whether the domain of a sender exists.
pub(super) fn unresolved_sender_domain(address: &str) -> Reply {
    let text = format!("Domain of sender address {} does not resolve", bare(address));
    Reply::new(451, Some(Enhanced(4, 1, 8)), about(Some(address), &text))
}

fn bare(address: &str) -> &str {
    address.trim_start_matches('<').trim_end_matches('>')
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
