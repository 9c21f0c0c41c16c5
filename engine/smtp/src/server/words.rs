//! What the session says by itself, in Sendmail's words where Sendmail has them.

use super::Offer;
use super::state::Due;
use crate::data::Fault;
use crate::reply::{Enhanced, Reply};

pub(super) const RESET: Reply = Reply::fixed(250, Enhanced(2, 0, 0), "Reset state");
pub(super) const NOOP: Reply = Reply::fixed(250, Enhanced(2, 0, 0), "OK");
pub(super) const HELP: Reply = Reply::fixed(
    214,
    Enhanced(2, 0, 0),
    "Topics:\n    HELO    EHLO    MAIL    RCPT    DATA\n    RSET    NOOP    QUIT    HELP    VRFY\nEnd of HELP info",
);
pub(super) const HELLO_FIRST: Reply = Reply::fixed(503, Enhanced(5, 0, 0), "Polite people say HELO first");
pub(super) const INTRODUCE_YOURSELF: Reply =
    Reply::fixed(503, Enhanced(5, 0, 0), "I demand that you introduce yourself first");
pub(super) const NOT_ALLOWED: Reply =
    Reply::fixed(502, Enhanced(5, 7, 0), "Sorry, we do not allow this operation");
pub(super) const SENDER_GIVEN: Reply = Reply::fixed(503, Enhanced(5, 5, 0), "Sender already specified");
pub(super) const MAIL_FIRST: Reply = Reply::fixed(503, Enhanced(5, 0, 0), "Need MAIL before RCPT");
pub(super) const NEED_MAIL: Reply = Reply::fixed(503, Enhanced(5, 0, 0), "Need MAIL command");
pub(super) const NEED_RCPT: Reply = Reply::fixed(503, Enhanced(5, 0, 0), "Need RCPT (recipient)");
pub(super) const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, Enhanced(4, 5, 3), "Too many recipients");
pub(super) const NO_DSN: Reply = Reply::fixed(504, Enhanced(5, 7, 0), "Sorry, we do not allow DSN");
pub(super) const LONG_COMMAND: Reply = Reply::fixed(500, Enhanced(5, 5, 2), "Command line too long");
pub(super) const PROTOCOL: Reply = Reply::fixed(554, Enhanced(5, 5, 0), "SMTP protocol error");
pub(super) const READY_FOR_TLS: Reply = Reply::fixed(220, Enhanced(2, 0, 0), "Ready to start TLS");
pub(super) const TLS_TWICE: Reply = Reply::fixed(503, Enhanced(5, 5, 0), "TLS already active");
/// RFC 4954 6.
pub(super) const NEEDS_TLS: Reply =
    Reply::fixed(538, Enhanced(5, 7, 11), "Encryption required for authentication: STARTTLS first");
pub(super) const AUTH_TWICE: Reply = Reply::fixed(503, Enhanced(5, 5, 0), "Already Authenticated");
pub(super) const AUTH_IN_TRANSACTION: Reply =
    Reply::fixed(503, Enhanced(5, 5, 0), "AUTH not permitted during a mail transaction");
pub(super) const AUTH_REQUIRED: Reply = Reply::fixed(530, Enhanced(5, 7, 0), "Authentication required");
pub(super) const AUTH_ABORTED: Reply = Reply::fixed(501, Enhanced(5, 0, 0), "AUTH aborted");
pub(super) const NOT_BASE64: Reply = Reply::fixed(501, Enhanced(5, 5, 4), "cannot BASE64 decode");
pub(super) const IN_CHUNKS: Reply =
    Reply::fixed(503, Enhanced(5, 5, 1), "A message comes in chunks: BDAT or RSET");
/// A step while an answer was due: the driver's mistake, not the client's.
pub(super) const NO_ANSWER: Reply = Reply::fixed(451, Enhanced(4, 3, 0), "Local error in processing");

const AUTHENTICATED: Reply = Reply::fixed(235, Enhanced(2, 0, 0), "OK Authenticated");
const SENDER_OK: Reply = Reply::fixed(250, Enhanced(2, 1, 0), "Sender ok");
const RECIPIENT_OK: Reply = Reply::fixed(250, Enhanced(2, 1, 5), "Recipient ok");
const ACCEPTED: Reply = Reply::fixed(250, Enhanced(2, 0, 0), "Message accepted for delivery");
const CANNOT_VERIFY: Reply =
    Reply::fixed(252, Enhanced(2, 5, 2), "Cannot VRFY user; try RCPT to attempt delivery (or try finger)");
const QUEUING: Reply = Reply::fixed(250, Enhanced(2, 0, 0), "Queuing started");

pub(super) fn greeting(offer: &Offer) -> Reply {
    let text = format!("{} ESMTP {}", offer.hostname, offer.greeting);
    Reply::new(220, None, text.trim_end().to_owned())
}

/// The driver said yes and nothing else.
pub(super) fn accepted(due: Due, offer: &Offer) -> Reply {
    match due {
        Due::Hello { extended: true, .. } => extensions(offer),
        Due::Hello { .. } => Reply::new(250, None, format!("{} Hello, pleased to meet you", offer.hostname)),
        Due::Mail => SENDER_OK,
        Due::Rcpt { .. } => RECIPIENT_OK,
        Due::Data { .. } => Reply::new(354, None, "Enter mail, end with \".\" on a line by itself"),
        Due::EndOfData => ACCEPTED,
        Due::Chunk { size, .. } => chunk(size),
        Due::Auth => AUTHENTICATED,
        Due::Verify(_) => CANNOT_VERIFY,
        Due::Expand(_) => NOT_ALLOWED,
        Due::Etrn(_) => QUEUING,
    }
}

fn extensions(offer: &Offer) -> Reply {
    // Nothing is worth offering to whom nothing is allowed.
    if offer.denied.is_some() {
        let text = format!("{} Hello, pleased to meet you\nENHANCEDSTATUSCODES", offer.hostname);
        return Reply::new(250, None, text);
    }
    let mut text = format!(
        "{} Hello, pleased to meet you\nENHANCEDSTATUSCODES\nPIPELINING\n8BITMIME\nSIZE {}",
        offer.hostname, offer.max_size
    );
    let mut add = |offered: bool, keyword: &str| text.push_str(if offered { keyword } else { "" });
    add(offer.dsn, "\nDSN");
    add(offer.etrn, "\nETRN");
    add(offer.chunking, "\nCHUNKING");
    add(offer.smtputf8, "\nSMTPUTF8");
    add(!offer.usable_auth().is_empty(), &auth(offer));
    add(offer.starttls && !offer.secure, "\nSTARTTLS");
    add(offer.limits, &format!("\nLIMITS RCPTMAX={}", offer.max_recipients));
    add(true, "\nHELP");
    Reply::new(250, None, text)
}

fn auth(offer: &Offer) -> String {
    offer.usable_auth().iter().fold("\nAUTH".to_owned(), |text, mechanism| text + " " + mechanism.as_str())
}

pub(super) fn no_mechanism(name: &str) -> Reply {
    let name: String = name.chars().take(32).collect();
    Reply::new(504, Some(Enhanced(5, 3, 3)), format!("AUTH mechanism {name} not available"))
}

pub(super) fn no_topic(topic: &str) -> Reply {
    let topic: String = topic.chars().filter(|c| !c.is_control()).take(32).collect();
    Reply::new(504, Some(Enhanced(5, 3, 0)), format!("HELP topic \"{topic}\" unknown"))
}

pub(super) fn challenge(octets: &[u8]) -> Reply {
    Reply::new(334, None, crate::sasl::encode(octets))
}

pub(super) fn chunk(size: u64) -> Reply {
    Reply::new(250, Some(Enhanced(2, 0, 0)), format!("{size} octets received"))
}

pub(super) fn size_exceeded(limit: u64) -> Reply {
    let text = format!("Message size exceeds fixed maximum message size ({limit})");
    Reply::new(552, Some(Enhanced(5, 2, 3)), text)
}

pub(super) fn refused(fault: Fault, offer: &Offer) -> Reply {
    match fault {
        Fault::TooLarge => {
            let text = format!("Message exceeds maximum fixed size ({})", offer.max_size);
            Reply::new(552, Some(Enhanced(5, 2, 3)), text)
        }
        fault => Reply::new(550, Some(Enhanced(5, 6, 0)), format!("Message refused: {fault}")),
    }
}

pub(super) fn bye(offer: &Offer) -> Reply {
    Reply::new(221, Some(Enhanced(2, 0, 0)), format!("{} closing connection", offer.hostname))
}

pub(super) fn too_many_errors(offer: &Offer) -> Reply {
    let text = format!("{} Too many bad commands; closing connection", offer.hostname);
    Reply::new(421, Some(Enhanced(4, 7, 0)), text)
}
