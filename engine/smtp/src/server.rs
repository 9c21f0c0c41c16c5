//! The server's side of a session.
//!
//! Owns: which command may come when, and what is answered where nobody need be asked. Holds no input: the driver
//! keeps what is not consumed and gives it again with more behind it. Must not know sockets, time and policy.
//!
//! A driver loops:
//!
//! ```
//! use mailstack_smtp::reply::{Enhanced, Reply};
//! use mailstack_smtp::server::{Action, Answer, Offer, Session};
//!
//! let mut session = Session::new(Offer::new("mx.example"));
//! let mut input: &[u8] = b"EHLO c.example\r\n";
//! loop {
//!     let step = session.step(input);
//!     input = &input[step.consumed..];
//!     match step.action {
//!         Action::NeedInput | Action::Close(_) => break, // flush session.take_output(), then read or close
//!         Action::Hello { .. } => session.answer(Answer::Accept),
//!         _ => session.answer(Answer::Reply(Reply::fixed(450, Enhanced(4, 3, 0), "not now"))),
//!     }
//! }
//! assert!(session.take_output().starts_with(b"220 mx.example ESMTP\r\n250-mx.example Hello"));
//! ```

use crate::command::{MailRequest, RcptRequest};
use crate::data::Fault;
use crate::reply::Reply;
use crate::sasl::{Mechanism, Mechanisms};

mod chunks;
mod login;
mod session;
mod state;
mod words;

pub use session::{MAX_COMMAND, Session};

/// What a server offers, and the limits of a session.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What the server calls itself in the greeting and after EHLO.
    pub hostname: String,
    /// What stands behind `220 hostname ESMTP` (`SmtpGreetingMessage`); may be empty.
    pub greeting: String,
    /// Whether the session opens with a greeting; not where the driver has sent one.
    pub greet: bool,
    /// Octets of a message (`MaxMessageSize`).
    pub max_size: u64,
    /// Octets of a message's line, its CRLF included.
    pub max_line: u32,
    /// Accepted recipients of one transaction (`MaxRecipientsPerMessage`).
    pub max_recipients: u32,
    /// Commands that are no commands, or out of order, before 421 (`MAXBADCOMMANDS`).
    pub max_errors: u32,
    /// Commands that bring no message further (NOOP, VRFY, refused recipients, ...) before 421; an accepted message
    /// starts the count again.
    pub max_idle_commands: u32,
    /// Whether DSN (RFC 3461) is offered; without, its parameters are refused.
    pub dsn: bool,
    /// Whether ETRN (RFC 1985) is offered.
    pub etrn: bool,
    /// Whether STARTTLS (RFC 3207) is offered, as long as there is no TLS.
    pub starttls: bool,
    /// Whether there is TLS.
    pub secure: bool,
    /// The mechanisms of AUTH (RFC 4954).
    pub auth: Mechanisms,
    /// Whether AUTH is offered without TLS too: only to a client on this host.
    pub auth_in_clear: bool,
    /// Whether MAIL needs AUTH (RFC 6409 4.3).
    pub needs_auth: bool,
    /// Whether CHUNKING (RFC 3030) is offered.
    pub chunking: bool,
    /// Whether SMTPUTF8 (RFC 6531) is offered.
    pub smtputf8: bool,
    /// Whether LIMITS (RFC 9422) is offered.
    pub limits: bool,
    /// What every command but HELO, EHLO, NOOP, RSET and QUIT is answered with; None: the session is open to the client.
    pub denied: Option<Reply>,
    /// The commands that a HELO or EHLO must come before.
    pub hello_first: HelloFirst,
    /// Whether the client is a program of this host, which may write ahead of the answer to EHLO.
    pub local: bool,
}

impl Offer {
    /// The offer of a host of this name: a message of 25 MiB, lines of 64 KiB (Sendmail and most others take far
    /// more than the 1000 octets of RFC 5321), 100 recipients, 25 errors, and of the optional extensions none.
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            greeting: String::new(),
            greet: true,
            max_size: 25 * 1024 * 1024,
            max_line: 64 * 1024,
            max_recipients: 100,
            max_errors: 25,
            max_idle_commands: 500,
            dsn: false,
            etrn: false,
            starttls: false,
            secure: false,
            auth: Mechanisms::default(),
            auth_in_clear: false,
            needs_auth: false,
            chunking: false,
            smtputf8: false,
            limits: false,
            denied: None,
            hello_first: HelloFirst { mail: true, verify: false, expand: false },
            local: false,
        }
    }

    /// The mechanisms that may be used now.
    pub fn usable_auth(&self) -> Mechanisms {
        if self.secure || self.auth_in_clear { self.auth } else { Mechanisms::default() }
    }
}

/// What a client may not do before it has said HELO or EHLO.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelloFirst {
    /// MAIL (`needmailhelo`).
    pub mail: bool,
    /// VRFY (`needvrfyhelo`).
    pub verify: bool,
    /// EXPN (`needexpnhelo`).
    pub expand: bool,
}

/// What one step took from the input, and what is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Octets taken off the front of the input.
    pub consumed: usize,
    /// What is to be done.
    pub action: Action<'a>,
}

/// What a step asks of the driver. The actions that say "answer" are followed by [`Session::answer`].
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Flush the output, then read more. What was not consumed is to be given again with more behind it; it is
    /// never more than [`MAX_COMMAND`] octets.
    NeedInput,
    /// Step again.
    Continue,
    /// HELO or EHLO: answer.
    Hello {
        /// What the client calls itself.
        name: String,
        /// EHLO.
        extended: bool,
    },
    /// MAIL: answer.
    Mail(MailRequest),
    /// RCPT: answer.
    Rcpt(RcptRequest),
    /// VRFY: answer.
    Verify(String),
    /// EXPN: answer.
    Expand(String),
    /// ETRN: answer.
    Etrn(String),
    /// STARTTLS. The session has answered: flush the output, throw away whatever input there is, make TLS, call
    /// [`Session::secured`]. Everything that was known of the client before is forgotten (RFC 3207 4.2).
    StartTls,
    /// AUTH: answer, or ask on by [`Answer::Challenge`].
    Auth {
        /// The mechanism, one that is offered.
        mechanism: Mechanism,
        /// The initial response, where there is one.
        initial: Option<Vec<u8>>,
    },
    /// The response to a challenge: answer.
    Response(Vec<u8>),
    /// The client gave AUTH up; the session has answered.
    AuthAborted,
    /// DATA or the first BDAT, with at least one accepted recipient: answer.
    DataStart,
    /// Octets of the message, without stuffing.
    Body(&'a [u8]),
    /// The message is whole: answer once it is durable.
    EndOfData,
    /// The message is refused and the transaction over; the session has answered. Throw away what came of it.
    Aborted(Fault),
    /// The transaction is given up: RSET, which the session has answered, or a HELO or EHLO that was accepted.
    Reset,
    /// Flush the output, then close.
    Close(Closing),
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closing {
    /// The client said QUIT.
    Quit,
    /// The driver answered 421.
    Answered,
    /// Too many errors or idle commands.
    TooManyErrors,
    /// Input ahead of an answer that must be waited for, or behind a message whose end is in doubt.
    Protocol,
}

/// The driver's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes, in the session's own words.
    Accept,
    /// Yes (2xx, 3xx), no (4xx, 5xx), or no more of this session (421).
    Reply(Reply),
    /// To AUTH: a response to this is wanted. Elsewhere it is a no.
    Challenge(Vec<u8>),
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        Answer::Reply(reply)
    }
}
