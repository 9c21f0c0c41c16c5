//! The client's side of a session, SMTP and LMTP (RFC 5321, RFC 2033, RFC 2920).
//!
//! Owns: what is said when, and which recipient a reply is about. Holds no input but the lines of a reply that is
//! not whole. Must not know sockets, time and where a message comes from.
//!
//! With PIPELINING the commands of a whole transaction are one write: a driver with many recipients reads while it
//! writes.
//!
//! TLS is the driver's to make, at [`Action::StartTls`]; with [`Tls::Required`] nothing but EHLO and STARTTLS is said
//! in clear. Credentials are shown over TLS alone, and mail never goes without where they are wanted.
//!
//! A driver loops: `step` with what was read; on [`Action::NeedInput`] write [`Session::take_output`] and read; on
//! [`Action::Ready`] call [`Session::begin`] or [`Session::quit`]; on [`Action::SendBody`] write the output and the
//! message through [`crate::data::Stuffer`], its end included, then call [`Session::body_sent`]; on
//! [`Action::Done`] record the results and step on.

use crate::address::ReversePath;
use crate::command::{RcptRequest, Ret};
use crate::reply::{Reply, ReplyError};
use crate::sasl::{ClientError, Credentials};

mod extensions;
mod opening;
mod session;
mod transaction;

pub use extensions::Extensions;
pub use session::Session;

/// How the client opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// What the client calls itself: its host name, or an address literal.
    pub name: String,
    /// Speak LMTP: LHLO, and a reply per recipient after the data.
    pub lmtp: bool,
    /// Whether TLS is asked for.
    pub tls: Tls,
    /// Who we are; sent over TLS alone, and then no mail goes without.
    pub login: Option<Login>,
}

impl Hello {
    /// A client that speaks SMTP in clear and does not authenticate.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lmtp: false, tls: Tls::Never, login: None }
    }
}

/// Whether STARTTLS is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// No.
    Never,
    /// Where it is offered; a peer that refuses is spoken to in clear.
    IfOffered,
    /// A peer without is not spoken to.
    Required,
    /// There is TLS already, from the first octet on (RFC 8314 3.3).
    Implicit,
}

/// What a client authenticates with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// User and password.
    pub credentials: Credentials,
    /// A random text for SCRAM: printable, no comma.
    pub nonce: String,
}

/// One message to hand over, without its octets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Where bounces go.
    pub from: ReversePath,
    /// To whom; never empty.
    pub recipients: Vec<RcptRequest>,
    /// Octets of the message, declared where the peer offers SIZE.
    pub size: Option<u64>,
    /// Whether the message has octets over 127.
    pub eight_bit: bool,
    /// `RET`, said where the peer offers DSN, as are `envid` and the recipients' parameters.
    pub ret: Option<Ret>,
    /// `ENVID` (xtext).
    pub envid: Option<String>,
    /// Whether an address or the header is beyond ASCII (RFC 6531).
    pub smtputf8: bool,
}

/// Why a transaction cannot begin. Nothing was sent; the session stays ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotBegin {
    /// The message needs 8BITMIME and the peer does not offer it (RFC 6152 3).
    #[error("the message has 8-bit octets and the peer does not offer 8BITMIME")]
    EightBit,
    /// An address or the header is beyond ASCII, and the peer does not offer SMTPUTF8 (RFC 6531 3.1).
    #[error("the message needs SMTPUTF8 and the peer does not offer it")]
    NotAscii,
    /// The message is larger than the peer takes (RFC 1870 6.1).
    #[error("the message is larger than the {limit} octets that the peer takes")]
    TooLarge {
        /// Octets.
        limit: u64,
    },
    /// There is no recipient.
    #[error("a transaction without recipients")]
    NoRecipients,
    /// The session is not ready: the driver's mistake.
    #[error("the session is not ready for a transaction")]
    NotReady,
}

/// What one step took from the input, and what is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Octets taken off the front of the input.
    pub consumed: usize,
    /// What is to be done.
    pub action: Action,
}

/// What a step asks of the driver.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Flush the output, then read more; what was not consumed is to be given again with more behind it.
    NeedInput,
    /// Step again.
    Continue,
    /// A transaction may begin. A step in this state says so again, unless the peer closes.
    Ready,
    /// Flush the output, write the message and its end, call [`Session::body_sent`]; where
    /// [`Session::is_chunked`], write it in chunks (RFC 3030) and call [`Session::chunks_sent`].
    SendBody,
    /// Flush the output, make TLS, call [`Session::secured`]. Input that is there already is none of TLS: the session
    /// has refused it.
    StartTls,
    /// The transaction is over: per recipient, in the order given, what became of it. Step again.
    Done(Vec<Outcome>),
    /// Flush the output, then close.
    Closed(Closed),
}

/// What became of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer has taken the message for it.
    Accepted(Reply),
    /// The peer refused, for now (4xx) or for good (5xx).
    Refused {
        /// What the reply was the answer to.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// The connection ended before the peer said. After [`Stage::EndOfData`] the peer may have the message.
    NoAnswer {
        /// What was not answered.
        stage: Stage,
    },
}

/// What a reply answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The connection: the greeting.
    Connect,
    /// EHLO, HELO or LHLO.
    Hello,
    /// STARTTLS.
    StartTls,
    /// AUTH.
    Auth,
    /// MAIL.
    Mail,
    /// RCPT.
    Rcpt,
    /// DATA.
    Data,
    /// The message, its end not yet written.
    Body,
    /// The message and its end.
    EndOfData,
    /// RSET.
    Reset,
    /// QUIT.
    Quit,
}

impl Stage {
    /// The stage as a log or a bounce names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Connect => "connect",
            Stage::Hello => "HELO",
            Stage::StartTls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Mail => "MAIL",
            Stage::Rcpt => "RCPT",
            Stage::Data => "DATA",
            Stage::Body => "message body",
            Stage::EndOfData => "end of data",
            Stage::Reset => "RSET",
            Stage::Quit => "QUIT",
        }
    }
}

/// Why a session is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// We said QUIT and it was answered.
    Quit,
    /// The peer refused the session: its greeting or its answer to EHLO and HELO.
    Refused {
        /// What it answered.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// The peer closes: 421.
    Shutdown {
        /// What it answered, or the last thing said where nothing was asked.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// The connection was lost ([`Session::lost`]).
    Lost {
        /// What was not answered.
        stage: Stage,
    },
    /// The peer does not speak SMTP.
    Protocol(Violation),
    /// TLS is required, and the peer does not offer STARTTLS.
    NoTls,
    /// Authentication is wanted, and cannot be: nothing was sent without it.
    NoAuth(NoAuth),
}

/// Why there is no authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAuth {
    /// There is no TLS that was required.
    #[error("credentials are not sent without TLS that is verified")]
    NotSecure,
    /// The peer offers none of PLAIN, LOGIN and SCRAM-SHA-256.
    #[error("the peer offers no AUTH that is spoken here")]
    NotOffered,
    /// The peer made no sense, or did not show that it knows the user.
    #[error("AUTH: {0}")]
    Exchange(ClientError),
}

/// What a peer may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// What it said is no reply.
    #[error("{0}")]
    Reply(ReplyError),
    /// It spoke when nothing was asked: a reply that is not ours, or one that was put into the stream.
    #[error("unexpected data from the peer")]
    UnexpectedData,
    /// A reply code that cannot be the answer to what was said.
    #[error("reply code {code} to {}", stage.as_str())]
    WrongCode {
        /// The code.
        code: u16,
        /// What it answered.
        stage: Stage,
    },
}
