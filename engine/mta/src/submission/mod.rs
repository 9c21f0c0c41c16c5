//! Handing mail in, as a program of this host does: over the submission socket, else into the drop directory.
//!
//! Owns: what `sendmail` calls, the drop file's form, and which failure means which exit code of sysexits.h. May
//! block: it runs in the program that submits, never in the daemon. Must not know arguments of a command line, nor
//! header fields: the message comes ready, in the host's line ends or with CRLF.

use std::io::{self, Read};

use mailstack_runtime::Config;
use mailstack_smtp::address::{Address, ReversePath};
use mailstack_smtp::command::is_value;
use mailstack_smtp::reply::Reply;
use serde::{Deserialize, Serialize};

use crate::host::{Root, unix};
use crate::message::{Notify, Ret};
use crate::sysexits::{EX_DATAERR, EX_IOERR, EX_NOPERM, EX_NOUSER, EX_OK, EX_TEMPFAIL, EX_UNAVAILABLE};

mod dialogue;
pub mod drop;
mod limit;
mod lines;

use drop::NotDropped;
pub use lines::{Lines, MAX_LINE, MAX_SMTP_LINE, break_line};

/// The most recipients of one message that a program of this host hands in, over the submission socket or in a drop
/// file. `limits.recipients` is for clients of the network, which come again with the rest; programs do not.
pub const MAX_RECIPIENTS: u32 = 10_000;

/// Octets of an `ENVID` (RFC 3461 4.4).
const MAX_ENVID: usize = 100;

/// Whether this may be an [`Request::envid`].
pub fn is_envid(text: &str) -> bool {
    text.len() <= MAX_ENVID && is_value(text)
}

/// What a submitter asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where bounces go; a bare name is completed by the MTA.
    pub sender: ReversePath,
    /// To whom; bare names are completed by the MTA. Not empty.
    pub recipients: Vec<Address>,
    /// Whether the body may have octets over 127.
    pub eight_bit: bool,
    /// `RET` of RFC 3461.
    pub ret: Option<Ret>,
    /// `ENVID` of RFC 3461, in xtext.
    pub envid: Option<String>,
    /// `NOTIFY` of RFC 3461, for every recipient.
    pub notify: Option<Notify>,
}

impl Request {
    /// A request without parameters; eight-bit bodies are allowed.
    pub fn new(sender: ReversePath, recipients: Vec<Address>) -> Self {
        Self { sender, recipients, eight_bit: true, ret: None, envid: None, notify: None }
    }
}

/// What became of a message that was handed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The MTA has it, durably.
    Queued {
        /// The reply to its end, which names it.
        reply: Reply,
        /// Recipients that the MTA did not take, each with its reply. There is at least one that it took.
        refused: Vec<(Address, Reply)>,
    },
    /// Nobody serves the socket: it lies in the drop directory, durably.
    Dropped {
        /// The file's name.
        name: String,
    },
}

impl Submitted {
    /// The exit code of sysexits.h: 0, or where some recipients were refused, 75 if one of them may be tried again,
    /// else 67 if one does not exist, else 65.
    pub fn exit_code(&self) -> u8 {
        match self {
            Submitted::Dropped { .. } => EX_OK,
            Submitted::Queued { refused, .. } if refused.is_empty() => EX_OK,
            Submitted::Queued { refused, .. } => match () {
                () if refused.iter().any(|(_, reply)| reply.is_transient()) => EX_TEMPFAIL,
                () if refused.iter().any(|(_, reply)| is_no_user(reply)) => EX_NOUSER,
                () => EX_DATAERR,
            },
        }
    }
}

/// Why a message was not handed in. Nothing of it is queued, but where [`SubmitError::Interrupted`] says that it
/// may be.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The MTA refused the sender, every recipient, or the message.
    #[error("{reply}")]
    Refused {
        /// The reply that counts.
        reply: Reply,
        /// The recipients that were refused one by one.
        recipients: Vec<(Address, Reply)>,
    },
    /// The connection broke, or the MTA fell silent or spoke no SMTP. `in_doubt`: after the whole message was
    /// written, so that the MTA may have it.
    #[error("the connection to the MTA was lost{}", if *in_doubt { " after the message was written" } else { "" })]
    Interrupted {
        /// Whether the MTA may have the message.
        in_doubt: bool,
        /// What the system said, where it did.
        #[source]
        source: Option<io::Error>,
    },
    /// The message cannot be read: the program that submits is at fault.
    #[error("cannot read the message")]
    Message(#[source] io::Error),
    /// Nobody serves the socket and the drop directory cannot be written.
    #[error("the MTA does not run, and cannot write into {}", directory.display())]
    Drop {
        /// The drop directory.
        directory: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be reached for another reason than that nobody serves it.
    #[error("cannot connect to {}", socket.display())]
    Connect {
        /// The submission socket.
        socket: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl SubmitError {
    /// The exit code of sysexits.h: 67, 69, 74, 75 or 77.
    pub fn exit_code(&self) -> u8 {
        match self {
            SubmitError::Refused { reply, .. } if reply.is_transient() => EX_TEMPFAIL,
            SubmitError::Refused { reply, recipients } => match recipients.iter().any(|(_, r)| is_no_user(r))
            {
                true => EX_NOUSER,
                false if reply.enhanced().is_some_and(|e| e.1 == 7) => EX_NOPERM,
                false => EX_UNAVAILABLE,
            },
            SubmitError::Interrupted { .. } => EX_TEMPFAIL,
            SubmitError::Message(_) => EX_IOERR,
            SubmitError::Drop { source, .. } | SubmitError::Connect { source, .. } => of_io(source),
        }
    }
}

/// X.1.1: bad destination mailbox (RFC 3463 3.2).
fn is_no_user(reply: &Reply) -> bool {
    reply.enhanced().is_some_and(|e| (e.0, e.1, e.2) == (5, 1, 1))
}

fn of_io(error: &io::Error) -> u8 {
    match error.kind() {
        io::ErrorKind::PermissionDenied => EX_NOPERM,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WouldBlock => EX_TEMPFAIL,
        io::ErrorKind::NotFound => EX_UNAVAILABLE,
        _ => EX_IOERR,
    }
}

/// Hands a message in: over the submission socket, or, where nobody serves it or it turns the session away before
/// the message is read, into the drop directory. The message is read once; its line ends may be the host's. When
/// this returns Ok the message survives a power cut. What is over a limit of `config` is refused either way.
pub fn submit(
    root: &Root,
    config: &Config,
    request: &Request,
    message: &mut dyn Read,
) -> Result<Submitted, SubmitError> {
    let socket = root.path(&config.paths.submission_socket);
    let stream = match unix::connect(&socket) {
        Ok(stream) => stream,
        Err(e) if is_not_served(&e) => return leave(root, config, request, message),
        Err(source) => return Err(SubmitError::Connect { socket, source }),
    };
    match dialogue::hand_in(stream, request, message) {
        Err(dialogue::Failure::BeforeMessage) => leave(root, config, request, message),
        Err(dialogue::Failure::Final(error)) => Err(error),
        Ok(submitted) => Ok(submitted),
    }
}

fn is_not_served(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn leave(
    root: &Root,
    config: &Config,
    request: &Request,
    message: &mut dyn Read,
) -> Result<Submitted, SubmitError> {
    let directory = root.path(&config.paths.drop);
    match drop::write_drop(&directory, &config.limits, request, message) {
        Ok(name) => Ok(Submitted::Dropped { name }),
        Err(NotDropped::Refused(reply)) => Err(SubmitError::Refused { reply, recipients: Vec::new() }),
        Err(NotDropped::Io(source)) => Err(SubmitError::Drop { directory, source }),
    }
}

#[cfg(test)]
mod tests {
    use mailstack_smtp::reply::Enhanced;

    use super::*;

    #[test]
    fn exit_codes() {
        let refused = |code, enhanced: Enhanced| {
            let reply = Reply::new(code, Some(enhanced), "no");
            let recipients = vec![("a@b.example".parse().unwrap(), reply.clone())];
            SubmitError::Refused { reply, recipients }
        };
        let drop = |kind: io::ErrorKind| SubmitError::Drop { directory: "/d".into(), source: kind.into() };
        for (error, code) in [
            (refused(550, Enhanced(5, 1, 1)), 67),
            (refused(552, Enhanced(5, 2, 3)), 69),
            (refused(550, Enhanced(5, 7, 1)), 77),
            (refused(452, Enhanced(4, 4, 5)), 75),
            (SubmitError::Interrupted { in_doubt: true, source: None }, 75),
            (SubmitError::Message(io::ErrorKind::Other.into()), 74),
            (drop(io::ErrorKind::PermissionDenied), 77),
            (drop(io::ErrorKind::StorageFull), 75),
            (drop(io::ErrorKind::NotFound), 69),
            (drop(io::ErrorKind::Other), 74),
        ] {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn exit_codes_where_others_were_taken() {
        let no_user = Reply::new(550, Some(Enhanced(5, 1, 1)), "User unknown");
        let bad = Reply::new(553, Some(Enhanced(5, 1, 3)), "Hostname required");
        let later = Reply::new(452, Some(Enhanced(4, 5, 3)), "Too many recipients");
        for (replies, code) in [
            (vec![], 0),
            (vec![bad.clone()], 65),
            (vec![bad.clone(), no_user.clone()], 67),
            (vec![bad, later, no_user], 75),
        ] {
            let refused = replies.into_iter().map(|reply| ("a@b.example".parse().unwrap(), reply)).collect();
            let reply = Reply::new(250, None, "ok");
            assert_eq!(Submitted::Queued { reply, refused }.exit_code(), code);
        }
    }
}
