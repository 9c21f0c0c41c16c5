//! The session: replies in, commands and outcomes out.

use super::transaction::Progress;
use super::{
    Action, CannotBegin, Closed, Extensions, Hello, Outcome, Stage, Step, Tls, Transaction, Violation,
};
use crate::reply::{Parser, Reply};
use crate::sasl;

/// A client's session.
#[derive(Debug)]
pub struct Session {
    pub(super) hello: Hello,
    pub(super) offered: Extensions,
    greeting: Option<Reply>,
    state: State,
    parser: Parser,
    pub(super) output: Vec<u8>,
    /// There is TLS.
    pub(super) secure: bool,
    /// Replies to chunks that are due before the one that counts.
    chunks_due: u32,
}

/// What is awaited.
#[derive(Debug)]
pub(super) enum State {
    ExpectGreeting,
    ExpectHello {
        extended: bool,
    },
    /// The reply to STARTTLS.
    ExpectTls,
    /// The driver makes TLS.
    Handshake,
    /// The reply to AUTH, or to a response.
    ExpectAuth(Box<sasl::Client>),
    Ready,
    ExpectMail(Flight),
    ExpectRcpt(Flight),
    ExpectData(Flight),
    /// The driver writes the message.
    Sending(Progress),
    /// The message is written, or a single dot where there is nobody to get it.
    ExpectEndOfData(Progress),
    /// The outcomes are given out at the next step; then comes what is behind them.
    Finished(Vec<Outcome>, After),
    ExpectReset,
    ExpectQuit,
    Closed(Closed),
}

/// A transaction before its data. `piped`: RCPT and DATA are sent already.
#[derive(Debug)]
pub(super) struct Flight {
    progress: Progress,
    piped: bool,
}

/// What follows the outcomes.
#[derive(Debug)]
pub(super) enum After {
    Ready,
    Reset,
    Closed(Closed),
}

impl Session {
    /// A session on a connection that was just made; the peer speaks first.
    pub fn new(hello: Hello) -> Self {
        Self {
            secure: hello.tls == Tls::Implicit,
            hello,
            offered: Extensions::default(),
            greeting: None,
            state: State::ExpectGreeting,
            parser: Parser::default(),
            output: Vec::new(),
            chunks_due: 0,
        }
    }

    /// TLS is made, after [`Action::StartTls`]: what the peer said in clear is forgotten (RFC 3207 4.2).
    pub fn secured(&mut self) {
        if let State::Handshake = self.state {
            self.secure = true;
            self.offered = Extensions::default();
            self.parser = Parser::default();
            self.say_hello("EHLO");
            self.state = State::ExpectHello { extended: true };
        }
    }

    /// Whether the message goes in chunks (RFC 3030).
    pub fn is_chunked(&self) -> bool {
        self.offered.chunking && !self.hello.lmtp
    }

    /// What the peer offers; nothing before [`Action::Ready`], and after HELO.
    pub fn offered(&self) -> &Extensions {
        &self.offered
    }

    /// The peer's greeting, once it came.
    pub fn greeting(&self) -> Option<&Reply> {
        self.greeting.as_ref()
    }

    /// What is to be written. Take it after each step that asks for a flush.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// What is awaited from the peer, or what the driver has to do: for timeouts (RFC 5321 4.5.3.2).
    pub fn stage(&self) -> Stage {
        match &self.state {
            State::ExpectGreeting => Stage::Connect,
            State::ExpectHello { .. } => Stage::Hello,
            State::ExpectTls | State::Handshake => Stage::StartTls,
            State::ExpectAuth(_) => Stage::Auth,
            State::ExpectMail(_) => Stage::Mail,
            State::ExpectRcpt(_) => Stage::Rcpt,
            State::ExpectData(_) => Stage::Data,
            State::Sending(_) => Stage::Body,
            State::ExpectEndOfData(_) => Stage::EndOfData,
            State::Finished(..) | State::Ready | State::ExpectReset => Stage::Reset,
            State::ExpectQuit | State::Closed(_) => Stage::Quit,
        }
    }

    /// Begins a transaction, after [`Action::Ready`]. Errors: nothing was sent and the session stays ready.
    pub fn begin(&mut self, transaction: Transaction) -> Result<(), CannotBegin> {
        self.can_begin(&transaction)?;
        let smtputf8 = transaction.smtputf8 || !is_ascii(&transaction);
        let progress = Progress::new(Transaction { smtputf8, ..transaction });
        let piped = self.offered.pipelining;
        progress.write_mail(&self.offered, &mut self.output);
        if piped {
            progress.write_all_rcpt(&self.offered, &mut self.output);
            self.output.extend_from_slice(if self.is_chunked() { b"" } else { b"DATA\r\n" });
        }
        self.state = State::ExpectMail(Flight { progress, piped });
        Ok(())
    }

    fn can_begin(&self, transaction: &Transaction) -> Result<(), CannotBegin> {
        if !matches!(self.state, State::Ready) {
            return Err(CannotBegin::NotReady);
        }
        if transaction.recipients.is_empty() {
            return Err(CannotBegin::NoRecipients);
        }
        if transaction.eight_bit && !self.offered.eight_bit {
            return Err(CannotBegin::EightBit);
        }
        if (transaction.smtputf8 || !is_ascii(transaction)) && !self.offered.smtputf8 {
            return Err(CannotBegin::NotAscii);
        }
        match (self.offered.size_limit, transaction.size) {
            (Some(limit), Some(size)) if size > limit => Err(CannotBegin::TooLarge { limit }),
            _ => Ok(()),
        }
    }

    /// The message and its end are written.
    pub fn body_sent(&mut self) {
        self.state = match self.take_state() {
            State::Sending(progress) => State::ExpectEndOfData(progress),
            other => other,
        };
    }

    /// The message is written, in so many chunks; the last of them said LAST.
    pub fn chunks_sent(&mut self, chunks: u32) {
        self.chunks_due = chunks.saturating_sub(1);
        self.body_sent();
    }

    /// Says QUIT, after [`Action::Ready`]; elsewhere it is ignored.
    pub fn quit(&mut self) {
        if let State::Ready = self.state {
            self.output.extend_from_slice(b"QUIT\r\n");
            self.state = State::ExpectQuit;
        }
    }

    /// The connection is lost, or the driver waits no longer. The next steps give the outcomes and the end.
    pub fn lost(&mut self) {
        let stage = self.stage();
        self.state = match self.take_state() {
            State::ExpectQuit => State::Closed(Closed::Quit),
            State::Finished(outcomes, _) => State::Finished(outcomes, After::Closed(Closed::Lost { stage })),
            closed @ State::Closed(_) => closed,
            other => other.end(stage, None, Closed::Lost { stage }),
        };
    }

    /// Takes replies from the front of the input.
    pub fn step(&mut self, input: &[u8]) -> Step {
        match self.take_state() {
            State::Finished(outcomes, after) => {
                self.follow(after);
                Step { consumed: 0, action: Action::Done(outcomes) }
            }
            State::Closed(closed) => {
                self.state = State::Closed(closed.clone());
                Step { consumed: 0, action: Action::Closed(closed) }
            }
            State::Ready if input.is_empty() => {
                self.state = State::Ready;
                Step { consumed: 0, action: Action::Ready }
            }
            State::Handshake => {
                self.state = State::Handshake;
                Step { consumed: 0, action: Action::StartTls }
            }
            state => {
                self.state = state;
                self.read(input)
            }
        }
    }

    fn follow(&mut self, after: After) {
        self.state = match after {
            After::Ready => State::Ready,
            After::Closed(closed) => State::Closed(closed),
            After::Reset => {
                self.output.extend_from_slice(b"RSET\r\n");
                State::ExpectReset
            }
        };
    }

    fn read(&mut self, input: &[u8]) -> Step {
        let (consumed, reply) = match self.parser.parse(input) {
            Ok(parsed) => parsed,
            Err(error) => return self.violated(input.len(), Violation::Reply(error)),
        };
        let Some(reply) = reply else {
            return Step { consumed, action: self.idle_action() };
        };
        if self.speaks_too_early(&input[consumed..]) {
            return self.violated(input.len(), Violation::UnexpectedData);
        }
        self.state = self.take_state_after(reply);
        Step { consumed, action: self.next_action() }
    }

    /// Whether there is something behind a reply on which the peer must wait for us. A refusal is let through (a
    /// server that shuts down says 421 at any time), but not where we do not know yet whom we trust.
    fn speaks_too_early(&self, behind: &[u8]) -> bool {
        let Some(first) = behind.first() else { return false };
        match &self.state {
            // CVE-2011-0411: what stands behind the reply to STARTTLS is not the peer's.
            State::ExpectGreeting | State::ExpectHello { .. } | State::ExpectTls | State::ExpectAuth(_) => {
                true
            }
            State::ExpectMail(flight) | State::ExpectRcpt(flight) if flight.piped => false,
            State::ExpectMail(_) | State::ExpectRcpt(_) | State::ExpectData(_) => !b"45".contains(first),
            _ => false,
        }
    }

    fn idle_action(&self) -> Action {
        if let State::Sending(_) = self.state { Action::SendBody } else { Action::NeedInput }
    }

    fn next_action(&self) -> Action {
        if let State::Sending(_) = self.state { Action::SendBody } else { Action::Continue }
    }

    fn violated(&mut self, consumed: usize, violation: Violation) -> Step {
        let stage = self.stage();
        self.state = self.take_state().end(stage, None, Closed::Protocol(violation));
        Step { consumed, action: Action::Continue }
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Ready)
    }

    /// Consumes the state and a reply; gives the next state.
    fn take_state_after(&mut self, reply: Reply) -> State {
        let stage = self.stage();
        let state = self.take_state();
        if reply.code() == 421 {
            let closed = Closed::Shutdown { stage, reply: reply.clone() };
            return state.end(stage, Some(reply), closed);
        }
        match state {
            State::ExpectGreeting => self.after_greeting(reply),
            State::ExpectHello { extended } => self.after_hello(extended, reply),
            State::ExpectTls => self.after_starttls(reply),
            State::Handshake => State::Closed(Closed::Protocol(Violation::UnexpectedData)),
            State::ExpectAuth(exchange) => self.after_auth(exchange, &reply),
            State::ExpectMail(flight) => self.after_mail(flight, reply),
            State::ExpectRcpt(flight) => self.after_rcpt(flight, reply),
            State::ExpectData(flight) => self.after_data(flight, reply),
            State::Sending(progress) => refused_while_sending(progress, reply),
            State::ExpectEndOfData(progress) => self.after_end_of_data(progress, reply),
            State::ExpectReset if reply.is_positive() => State::Ready,
            State::ExpectReset => State::Closed(Closed::Refused { stage, reply }),
            State::ExpectQuit => State::Closed(Closed::Quit),
            State::Ready => State::Closed(Closed::Protocol(Violation::UnexpectedData)),
            done @ (State::Finished(..) | State::Closed(_)) => done,
        }
    }

    fn after_greeting(&mut self, reply: Reply) -> State {
        self.greeting = Some(reply.clone());
        if !reply.is_positive() {
            return self.refused_session(Stage::Connect, reply);
        }
        let verb = if self.hello.lmtp { "LHLO" } else { "EHLO" };
        self.say_hello(verb);
        State::ExpectHello { extended: true }
    }

    pub(super) fn say_hello(&mut self, verb: &str) {
        self.output.extend_from_slice(format!("{verb} {}\r\n", self.hello.name).as_bytes());
    }

    fn after_hello(&mut self, extended: bool, reply: Reply) -> State {
        if reply.is_positive() {
            self.offered = if extended { Extensions::of(&reply) } else { Extensions::default() };
            return self.open();
        }
        // RFC 5321 3.2: a server that knows no EHLO is asked by HELO.
        if extended && reply.is_permanent() && !self.hello.lmtp {
            self.say_hello("HELO");
            return State::ExpectHello { extended: false };
        }
        self.refused_session(Stage::Hello, reply)
    }

    /// RFC 5321 3.1: a client that is refused says QUIT before it closes; nobody waits for the answer.
    pub(super) fn refused_session(&mut self, stage: Stage, reply: Reply) -> State {
        self.output.extend_from_slice(b"QUIT\r\n");
        State::Closed(match reply.is_intermediate() {
            true => Closed::Protocol(Violation::WrongCode { code: reply.code(), stage }),
            false => Closed::Refused { stage, reply },
        })
    }

    fn after_mail(&mut self, mut flight: Flight, reply: Reply) -> State {
        if reply.is_intermediate() {
            return wrong_code(flight.progress, Stage::Mail, &reply);
        }
        if !reply.is_positive() {
            flight.progress.settle(&Outcome::Refused { stage: Stage::Mail, reply });
            if !flight.piped {
                return State::Finished(flight.progress.finish(Stage::Mail), After::Ready);
            }
        }
        if !flight.piped {
            flight.progress.write_next_rcpt(&self.offered, &mut self.output);
        }
        State::ExpectRcpt(flight)
    }

    fn after_rcpt(&mut self, mut flight: Flight, reply: Reply) -> State {
        if reply.is_intermediate() {
            return wrong_code(flight.progress, Stage::Rcpt, &reply);
        }
        let last = flight.progress.rcpt_reply(reply);
        match (last, flight.piped) {
            (false, true) => State::ExpectRcpt(flight),
            (false, false) => {
                flight.progress.write_next_rcpt(&self.offered, &mut self.output);
                State::ExpectRcpt(flight)
            }
            (true, false) if !flight.progress.any_open() => {
                State::Finished(flight.progress.finish(Stage::Rcpt), After::Reset)
            }
            // RFC 3030 4.2: no command comes before the chunks.
            (true, _) if self.is_chunked() => match flight.progress.any_open() {
                true => State::Sending(flight.progress),
                false => State::Finished(flight.progress.finish(Stage::Rcpt), After::Reset),
            },
            (true, piped) => {
                self.output.extend_from_slice(if piped { b"" } else { b"DATA\r\n" });
                State::ExpectData(flight)
            }
        }
    }

    fn after_data(&mut self, flight: Flight, reply: Reply) -> State {
        let mut progress = flight.progress;
        match (reply.code(), progress.any_open()) {
            (354, true) => State::Sending(progress),
            (354, false) => {
                // RFC 2920 3.1: nobody takes the message, yet the peer awaits one.
                self.output.extend_from_slice(b".\r\n");
                State::ExpectEndOfData(progress)
            }
            _ if reply.is_positive() || reply.is_intermediate() => wrong_code(progress, Stage::Data, &reply),
            _ => {
                progress.settle(&Outcome::Refused { stage: Stage::Data, reply });
                State::Finished(progress.finish(Stage::Data), After::Reset)
            }
        }
    }

    fn after_end_of_data(&mut self, mut progress: Progress, reply: Reply) -> State {
        if reply.is_intermediate() {
            return wrong_code(progress, Stage::EndOfData, &reply);
        }
        if self.chunks_due > 0 {
            self.chunks_due -= 1;
            if !reply.is_positive() {
                progress.settle(&Outcome::Refused { stage: Stage::EndOfData, reply });
            }
            return State::ExpectEndOfData(progress);
        }
        let outcome = match reply.is_positive() {
            true => Outcome::Accepted(reply),
            false => Outcome::Refused { stage: Stage::EndOfData, reply },
        };
        match self.hello.lmtp {
            true => progress.settle_first(outcome),
            false => progress.settle(&outcome),
        }
        match progress.any_open() {
            true => State::ExpectEndOfData(progress),
            // RFC 3030 2: after a chunk that was refused the peer may still be in the transaction.
            false if self.is_chunked() && progress.is_refused() => {
                State::Finished(progress.finish(Stage::EndOfData), After::Reset)
            }
            false => State::Finished(progress.finish(Stage::EndOfData), After::Ready),
        }
    }
}

impl State {
    /// The end of the session in this state: recipients without an outcome get the reply, or none.
    fn end(self, stage: Stage, reply: Option<Reply>, closed: Closed) -> State {
        let mut progress = match self {
            State::ExpectMail(flight) | State::ExpectRcpt(flight) | State::ExpectData(flight) => {
                flight.progress
            }
            State::Sending(progress) | State::ExpectEndOfData(progress) => progress,
            State::Finished(outcomes, _) => return State::Finished(outcomes, After::Closed(closed)),
            _ => return State::Closed(closed),
        };
        if let Some(reply) = reply {
            progress.settle(&Outcome::Refused { stage, reply });
        }
        State::Finished(progress.finish(stage), After::Closed(closed))
    }
}

fn is_ascii(transaction: &Transaction) -> bool {
    let sender = transaction.from.address().is_none_or(|from| from.local().is_ascii());
    sender && transaction.recipients.iter().all(|recipient| recipient.to.local().is_ascii())
}

fn wrong_code(progress: Progress, stage: Stage, reply: &Reply) -> State {
    let violation = Violation::WrongCode { code: reply.code(), stage };
    State::Finished(progress.finish(stage), After::Closed(Closed::Protocol(violation)))
}

/// A reply before the end of the data: a no is final, and the connection is in the middle of a message.
fn refused_while_sending(mut progress: Progress, reply: Reply) -> State {
    let stage = Stage::Body;
    if reply.is_positive() || reply.is_intermediate() {
        let closed = Closed::Protocol(Violation::UnexpectedData);
        return State::Finished(progress.finish(stage), After::Closed(closed));
    }
    progress.settle(&Outcome::Refused { stage, reply: reply.clone() });
    State::Finished(progress.finish(stage), After::Closed(Closed::Refused { stage, reply }))
}
