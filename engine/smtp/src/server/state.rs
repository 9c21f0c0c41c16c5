//! The states of a session, named for what they await. A state is consumed and gives the next one.

use super::{Offer, words};
use crate::command::{Command, CommandError, MailRequest, RcptRequest};
use crate::reply::Reply;

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
}

/// A state in which the driver's answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Hello { extended: bool, back: Expect },
    Mail,
    Rcpt { accepted: u32 },
    Data { accepted: u32, crowded: bool },
    EndOfData,
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
            Command::Help => Turn::Said(self, words::HELP),
            Command::Quit => Turn::Quit,
            Command::Verify(who) => Turn::Ask(Due::Verify(self), Ask::Verify(who)),
            Command::Expand(who) => Turn::Ask(Due::Expand(self), Ask::Expand(who)),
            Command::Etrn(what) => self.etrn(what, offer),
        }
    }

    fn mail(self, request: MailRequest, offer: &Offer) -> Turn {
        match self {
            Expect::Hello => Turn::Wrong(self, words::HELLO_FIRST),
            Expect::Rcpt | Expect::Data(_) => Turn::Wrong(self, words::SENDER_GIVEN),
            Expect::Mail if !offer.dsn && (request.ret.is_some() || request.envid.is_some()) => {
                Turn::Said(self, words::NO_DSN)
            }
            Expect::Mail if request.size.is_some_and(|size| size > offer.max_size) => {
                Turn::Said(self, words::size_exceeded(offer.max_size))
            }
            Expect::Mail => Turn::Ask(Due::Mail, Ask::Mail(request)),
        }
    }

    fn rcpt(self, request: RcptRequest, offer: &Offer) -> Turn {
        let accepted = match self {
            Expect::Hello | Expect::Mail => return Turn::Wrong(self, words::MAIL_FIRST),
            Expect::Rcpt => 0,
            Expect::Data(accepted) => accepted,
        };
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
        }
    }

    fn etrn(self, what: String, offer: &Offer) -> Turn {
        match offer.etrn {
            true => Turn::Ask(Due::Etrn(self), Ask::Etrn(what)),
            false => Turn::Wrong(self, CommandError::NotImplemented("ETRN").reply()),
        }
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(self) -> bool {
        matches!(self, Expect::Rcpt | Expect::Data(_))
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
            Due::EndOfData => Expect::Mail,
            Due::Verify(back) | Due::Expand(back) | Due::Etrn(back) => back,
        })
    }

    /// The state after a no.
    pub(super) fn refused(self) -> Expect {
        match self {
            Due::Hello { back, .. } => back,
            Due::Mail | Due::EndOfData => Expect::Mail,
            Due::Rcpt { accepted } | Due::Data { accepted, .. } => Expect::of_recipients(accepted),
            Due::Verify(back) | Due::Expand(back) | Due::Etrn(back) => back,
        }
    }
}
