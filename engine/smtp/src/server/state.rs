//! The states of a session, named for what they await. A state is consumed and gives the next one.

use super::{Offer, words};
use crate::command::{Command, CommandError, MailRequest, RcptRequest};
use crate::reply::Reply;
use crate::sasl::Mechanism;

/// A state that awaits a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing but a HELO or EHLO gets on.
    Hello,
    /// Between transactions.
    Mail,
    /// A transaction without an accepted recipient.
    Rcpt,
    /// A transaction with this many accepted recipients, at least one.
    Data(u32),
    /// Between the chunks of a message.
    Chunk(u32),
}

/// A state in which the driver's answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Hello { extended: bool, back: Expect },
    Mail,
    Rcpt { accepted: u32 },
    Data { accepted: u32, crowded: bool },
    Chunk { accepted: u32, size: u64, last: bool },
    EndOfData,
    Auth,
    Verify(Expect),
    Expand(Expect),
    Etrn(Expect),
}

/// What a command leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The driver is asked.
    Ask(Due, Ask),
    /// Answered, and the state stays.
    Said(Expect, Reply),
    /// A recipient beyond the limit, answered; the state stays. What was taken goes on, so it wears nothing out.
    Beyond(Expect, Reply),
    /// An error of the client, answered; the state stays.
    Wrong(Expect, Reply),
    /// Answered, and a transaction given up if there was one.
    Dropped(Expect, Reply),
    /// STARTTLS that may be.
    StartTls,
    /// So many octets of a message that nobody awaits, then this answer.
    Skip(Expect, u64, Reply),
    /// The next chunk of a message.
    NextChunk { accepted: u32, size: u64, last: bool },
    /// QUIT.
    Quit,
}

/// What the driver is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Hello { name: String, extended: bool },
    Mail(MailRequest),
    Rcpt(RcptRequest),
    Verify(String),
    Expand(String),
    Etrn(String),
    Auth { mechanism: Mechanism, initial: Option<Vec<u8>> },
    Data,
}

impl Expect {
    /// Takes a command. `crowded`: there is input behind it already.
    pub(super) fn command(self, command: Command, offer: &Offer, crowded: bool) -> Turn {
        match command {
            Command::Hello { name, extended } => {
                Turn::Ask(Due::Hello { extended, back: self }, Ask::Hello { name, extended })
            }
            Command::Mail(request) => self.mail(request, offer),
            Command::Rcpt(request) => self.rcpt(request, offer),
            Command::Data => self.data(crowded),
            Command::Reset => Turn::Dropped(self.without_transaction(), words::RESET),
            Command::Noop => Turn::Said(self, words::NOOP),
            Command::Help(topic) if topic.is_empty() => Turn::Said(self, words::HELP),
            Command::Help(topic) => Turn::Said(self, words::no_topic(&topic)),
            Command::Quit => Turn::Quit,
            Command::Verify(_) if self == Expect::Hello && offer.hello_first.verify => {
                Turn::Wrong(self, words::INTRODUCE_YOURSELF)
            }
            Command::Expand(_) if self == Expect::Hello && offer.hello_first.expand => {
                Turn::Wrong(self, words::INTRODUCE_YOURSELF)
            }
            Command::Verify(who) => Turn::Ask(Due::Verify(self), Ask::Verify(who)),
            Command::Expand(who) => Turn::Ask(Due::Expand(self), Ask::Expand(who)),
            Command::Etrn(what) => self.etrn(what, offer),
            Command::StartTls => self.starttls(offer),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial, offer),
            Command::Bdat { size, last } => self.bdat(size, last, offer),
        }
    }

    fn starttls(self, offer: &Offer) -> Turn {
        match self {
            _ if offer.secure => Turn::Wrong(self, words::TLS_TWICE),
            _ if !offer.starttls => Turn::Wrong(self, CommandError::NotImplemented("STARTTLS").reply()),
            Expect::Hello => Turn::Wrong(self, words::HELLO_FIRST),
            _ => Turn::StartTls,
        }
    }

    fn auth(self, mechanism: &str, initial: Option<String>, offer: &Offer) -> Turn {
        if let Some(reply) = self.misplaced("AUTH", offer) {
            return Turn::Wrong(self, reply);
        }
        if offer.usable_auth().is_empty() {
            return Turn::Wrong(self, words::NEEDS_TLS);
        }
        match self {
            Expect::Hello => return Turn::Wrong(self, words::HELLO_FIRST),
            Expect::Mail => {}
            Expect::Rcpt | Expect::Data(_) | Expect::Chunk(_) => {
                return Turn::Wrong(self, words::AUTH_IN_TRANSACTION);
            }
        }
        let Some(mechanism) = offer.usable_auth().named(mechanism) else {
            return Turn::Wrong(self, words::no_mechanism(mechanism));
        };
        let initial = match initial.as_deref() {
            None => None,
            // RFC 4954 4: an initial response of no octets.
            Some("=") => Some(Vec::new()),
            Some(text) => match crate::sasl::decode(text) {
                Some(octets) => Some(octets),
                None => return Turn::Wrong(self, words::NOT_BASE64),
            },
        };
        Turn::Ask(Due::Auth, Ask::Auth { mechanism, initial })
    }

    /// RFC 3030 2: the octets follow whatever is answered.
    fn bdat(self, size: u64, last: bool, offer: &Offer) -> Turn {
        match self {
            _ if !offer.chunking => Turn::Wrong(self, CommandError::NotImplemented("BDAT").reply()),
            Expect::Hello | Expect::Mail => Turn::Skip(self, size, words::NEED_MAIL),
            Expect::Rcpt => Turn::Skip(self, size, words::NEED_RCPT),
            Expect::Data(accepted) => Turn::Ask(Due::Chunk { accepted, size, last }, Ask::Data),
            Expect::Chunk(accepted) => Turn::NextChunk { accepted, size, last },
        }
    }

    /// The reply to a command that may not come now, or at all. As with Sendmail it goes before what is wrong within it.
    pub(super) fn misplaced(self, verb: &str, offer: &Offer) -> Option<Reply> {
        match (verb, self) {
            ("MAIL", Expect::Hello) if offer.hello_first.mail => Some(words::HELLO_FIRST),
            ("MAIL", Expect::Rcpt | Expect::Data(_) | Expect::Chunk(_)) => Some(words::SENDER_GIVEN),
            ("RCPT", Expect::Hello | Expect::Mail) => Some(words::MAIL_FIRST),
            ("RCPT", Expect::Chunk(_)) => Some(words::IN_CHUNKS),
            ("AUTH", _) if offer.auth.is_empty() => Some(CommandError::NotImplemented("AUTH").reply()),
            _ => None,
        }
    }

    fn mail(self, request: MailRequest, offer: &Offer) -> Turn {
        if let Some(reply) = self.misplaced("MAIL", offer) {
            return Turn::Wrong(self, reply);
        }
        match self {
            _ if offer.needs_auth => Turn::Wrong(self, words::AUTH_REQUIRED),
            _ if request.smtputf8 && !offer.smtputf8 => {
                Turn::Wrong(self, CommandError::UnknownParameter("SMTPUTF8".to_owned()).reply())
            }
            _ if !offer.dsn && (request.ret.is_some() || request.envid.is_some()) => {
                Turn::Said(self, words::NO_DSN)
            }
            _ if request.size.is_some_and(|size| size > offer.max_size) => {
                Turn::Said(self, words::size_exceeded(offer.max_size))
            }
            _ => Turn::Ask(Due::Mail, Ask::Mail(request)),
        }
    }

    fn rcpt(self, request: RcptRequest, offer: &Offer) -> Turn {
        if let Some(reply) = self.misplaced("RCPT", offer) {
            return Turn::Wrong(self, reply);
        }
        let accepted = if let Expect::Data(accepted) = self { accepted } else { 0 };
        if accepted >= offer.max_recipients {
            return Turn::Beyond(self, words::TOO_MANY_RECIPIENTS);
        }
        if !offer.dsn && (request.notify.is_some() || request.orcpt.is_some()) {
            return Turn::Said(self, words::NO_DSN);
        }
        Turn::Ask(Due::Rcpt { accepted }, Ask::Rcpt(request))
    }

    fn data(self, crowded: bool) -> Turn {
        match self {
            Expect::Hello | Expect::Mail => Turn::Wrong(self, words::NEED_MAIL),
            Expect::Rcpt => Turn::Wrong(self, words::NEED_RCPT),
            Expect::Data(accepted) => Turn::Ask(Due::Data { accepted, crowded }, Ask::Data),
            Expect::Chunk(_) => Turn::Wrong(self, words::IN_CHUNKS),
        }
    }

    fn etrn(self, what: String, offer: &Offer) -> Turn {
        match offer.etrn {
            false => Turn::Wrong(self, words::NOT_ALLOWED),
            true if what.is_empty() => Turn::Wrong(self, CommandError::NoArgument.reply()),
            true => Turn::Ask(Due::Etrn(self), Ask::Etrn(what)),
        }
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(self) -> bool {
        matches!(self, Expect::Rcpt | Expect::Data(_) | Expect::Chunk(_))
    }

    fn without_transaction(self) -> Expect {
        if self == Expect::Hello { self } else { Expect::Mail }
    }

    fn of_recipients(accepted: u32) -> Expect {
        if accepted == 0 { Expect::Rcpt } else { Expect::Data(accepted) }
    }
}

/// Where an answer leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Expect(Expect),
    Body,
    Chunk { accepted: u32, size: u64, last: bool },
}

impl Due {
    /// The state after a yes.
    pub(super) fn accepted(self) -> Next {
        Next::Expect(match self {
            // RFC 5321 4.1.4: a second EHLO gives the transaction up.
            Due::Hello { .. } => Expect::Mail,
            Due::Mail => Expect::Rcpt,
            Due::Rcpt { accepted } => Expect::Data(accepted.saturating_add(1)),
            Due::Data { .. } => return Next::Body,
            Due::Chunk { accepted, size, last } => return Next::Chunk { accepted, size, last },
            Due::EndOfData | Due::Auth => Expect::Mail,
            Due::Verify(back) | Due::Expand(back) | Due::Etrn(back) => back,
        })
    }

    /// The state after a no.
    pub(super) fn refused(self) -> Expect {
        match self {
            Due::Hello { back, .. } => back,
            Due::Mail | Due::EndOfData | Due::Auth => Expect::Mail,
            Due::Rcpt { accepted } | Due::Data { accepted, .. } | Due::Chunk { accepted, .. } => {
                Expect::of_recipients(accepted)
            }
            Due::Verify(back) | Due::Expand(back) | Due::Etrn(back) => back,
        }
    }
}
