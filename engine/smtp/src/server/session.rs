//! The session: lines and data in, replies out, the states of `state.rs` in between.

use super::chunks::{Chunk, Skip};
use super::state::{Ask, Due, Expect, Next, Turn};
use super::{Action, Answer, Closing, Offer, Step, words};
use crate::command::{self, CommandError};
use crate::data::{Chunks, Limits, Part, Receiver};
use crate::reply::Reply;

/// The most octets of a command line, its CRLF included: the 512 of RFC 5321 4.5.3.1.4, and what SIZE, BODY, AUTH
/// and DSN add to MAIL and RCPT (RFC 1870 3, RFC 6152 2, RFC 4954 3, RFC 3461 4).
pub const MAX_COMMAND: usize = 2048;
/// The same for a command without parameters.
const MAX_PLAIN_COMMAND: usize = 512;

/// A server's session. Holds no input, and of output at most the replies to what one read brought.
#[derive(Debug)]
pub struct Session {
    pub(super) offer: Offer,
    pub(super) state: State,
    output: Vec<u8>,
    errors: u32,
    idle: u32,
    /// Within a command line over the limit.
    skipping: bool,
    /// HELO or EHLO gave a transaction up, and the driver has not been told.
    reset_due: bool,
    /// The client has shown who it is.
    pub(super) authenticated: bool,
    /// Whether MAIL needs AUTH, before anybody has authenticated.
    needs_auth: bool,
    /// MAIL said SMTPUTF8: recipients may be beyond ASCII.
    smtputf8: bool,
    /// What is known of a message between its chunks.
    pub(super) chunks: Option<Chunks>,
}

#[derive(Debug)]
pub(super) enum State {
    Command(Expect),
    Due(Due),
    Body(Receiver),
    Chunk(Chunk),
    Skip(Skip),
    /// A response to a challenge is awaited.
    Response,
    /// STARTTLS was answered.
    Handshake,
    Closing(Closing),
}

impl Session {
    /// A session at its begin, its greeting queued.
    pub fn new(offer: Offer) -> Self {
        let mut output = Vec::with_capacity(512);
        if offer.greet {
            words::greeting(&offer).write_to(&mut output);
        }
        let state = State::Command(Expect::Hello);
        let needs_auth = offer.needs_auth;
        Self {
            offer,
            state,
            output,
            errors: 0,
            idle: 0,
            skipping: false,
            reset_due: false,
            authenticated: false,
            needs_auth,
            smtputf8: false,
            chunks: None,
        }
    }

    /// TLS is made, after [`Action::StartTls`]. The session begins anew, without a greeting; errors are not forgotten.
    pub fn secured(&mut self) {
        if let State::Handshake = self.state {
            self.state = State::Command(Expect::Hello);
            self.offer.secure = true;
            self.offer.needs_auth = self.needs_auth;
            self.authenticated = false;
        }
    }

    /// The replies queued since the last call. Flush them when input runs dry and before closing.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// The replies queued, for a driver that writes them from here and clears them.
    pub fn output_mut(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What the session offers.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// Before anything was said: opens with this in place of the greeting, and denies the client all that would bring
    /// a message. A 421 ends the session.
    pub fn turn_away(&mut self, greeting: Option<Reply>, denied: Reply) {
        if greeting.is_some() || denied.code() == 421 {
            self.output.clear();
        }
        if let Some(greeting) = greeting {
            self.say(&greeting);
        }
        if denied.code() == 421 {
            self.close(&denied, Closing::Answered);
        } else {
            self.offer.denied = Some(denied);
        }
    }

    /// Whether a transaction is open: what it brought must be given up when the connection ends.
    pub fn in_transaction(&self) -> bool {
        match &self.state {
            State::Command(expect) => expect.in_transaction(),
            State::Due(due) => due.refused().in_transaction() || matches!(due, Due::EndOfData),
            State::Body(_) | State::Chunk(_) => true,
            State::Skip(skip) => skip.in_transaction(),
            State::Response | State::Handshake | State::Closing(_) => false,
        }
    }

    /// Takes octets from the front of the input. A step while an answer is due answers 451 in the driver's place.
    pub fn step<'a>(&mut self, input: &'a [u8]) -> Step<'a> {
        if let State::Due(_) = self.state {
            self.answer(Answer::Reply(words::NO_ANSWER));
        }
        if std::mem::take(&mut self.reset_due) {
            return Step { consumed: 0, action: Action::Reset };
        }
        match &mut self.state {
            State::Closing(why) => Step { consumed: 0, action: Action::Close(*why) },
            State::Body(receiver) => {
                let (consumed, part) = receiver.receive(input);
                Step { consumed, action: self.body(part) }
            }
            State::Chunk(chunk) => {
                let (consumed, part) = chunk.receive(input);
                Step { consumed, action: self.chunk(part) }
            }
            State::Skip(skip) => {
                let consumed = skip.take(input);
                Step { consumed, action: self.skipped(consumed) }
            }
            State::Handshake => Step { consumed: 0, action: Action::StartTls },
            State::Command(expect) => {
                let expect = *expect;
                self.read_command(Some(expect), input)
            }
            State::Response => self.read_command(None, input),
            State::Due(_) => Step { consumed: 0, action: Action::Continue },
        }
    }

    /// Answers the action that asked for it; ignored where none did.
    pub fn answer(&mut self, answer: impl Into<Answer>) {
        let State::Due(due) = self.state else { return };
        let reply = match answer.into() {
            Answer::Accept => words::accepted(due, &self.offer),
            Answer::Reply(reply) => reply,
            Answer::Challenge(octets) if due == Due::Auth => return self.challenge(&octets),
            Answer::Challenge(_) => words::NO_ANSWER,
        };
        let yes = reply.is_positive() || reply.is_intermediate();
        self.reset_due = yes && matches!(due, Due::Hello { back, .. } if back.in_transaction());
        self.state = match due.accepted() {
            _ if reply.code() == 421 => State::Closing(Closing::Answered),
            Next::Expect(expect) if yes => State::Command(expect),
            Next::Body if yes => State::Body(self.receiver()),
            Next::Chunk { accepted, size, last } if yes => {
                let chunks = Chunks::new(self.limits());
                State::Chunk(Chunk { chunks, left: size, size, last, accepted })
            }
            Next::Chunk { size, .. } => return self.skip(due.refused(), size, reply),
            _ => State::Command(due.refused()),
        };
        if yes && due == Due::Auth {
            self.authenticated = true;
            self.offer.needs_auth = false;
        }
        self.count_answer(due, yes);
        self.say_answer(due, &reply, yes);
        if !matches!(self.state, State::Closing(_)) {
            self.close_if_worn_out();
        }
    }

    fn say_answer(&mut self, due: Due, reply: &Reply, yes: bool) {
        let Due::Data { crowded, .. } = due else {
            // A chunk is answered behind its octets.
            let is_chunk = matches!(due, Due::Chunk { .. }) && reply.code() != 421;
            if !is_chunk {
                self.say(reply);
            }
            return;
        };
        match (yes, reply.is_intermediate()) {
            // A yes to DATA has one code only.
            (true, false) => self.say(&words::accepted(due, &self.offer)),
            _ => self.say(reply),
        }
        // RFC 2920 3.1: nothing may follow DATA before its answer. What did is a message, not commands.
        if !yes && crowded {
            self.close(&words::PROTOCOL, Closing::Protocol);
        }
    }

    fn count_answer(&mut self, due: Due, yes: bool) {
        match due {
            Due::EndOfData if yes => self.idle = 0,
            Due::Mail | Due::Rcpt { .. } | Due::Data { .. } | Due::Chunk { .. } if yes => {}
            // Somebody guesses.
            Due::Auth if !yes => self.errors = self.errors.saturating_add(1),
            _ => self.idle = self.idle.saturating_add(1),
        }
    }

    fn receiver(&self) -> Receiver {
        Receiver::new(self.limits())
    }

    fn limits(&self) -> Limits {
        Limits { size: self.offer.max_size, line: self.offer.max_line }
    }

    fn body<'a>(&mut self, part: Part<'a>) -> Action<'a> {
        match part {
            Part::NeedInput => Action::NeedInput,
            Part::Swallowing => Action::Continue,
            Part::Body(octets) => Action::Body(octets),
            Part::End => {
                self.state = State::Due(Due::EndOfData);
                Action::EndOfData
            }
            Part::Refused { fault, unsafe_to_go_on } => {
                let reply = words::refused(fault, &self.offer);
                self.bring_no_further();
                self.state = State::Command(Expect::Mail);
                match unsafe_to_go_on {
                    true => self.close(&reply, Closing::Protocol),
                    false => self.say(&reply),
                }
                Action::Aborted(fault)
            }
        }
    }

    /// Counts what brought no message further.
    pub(super) fn bring_no_further(&mut self) {
        self.idle = self.idle.saturating_add(1);
    }

    /// Reads a line: a command, or where nothing is expected the response to a challenge.
    fn read_command<'a>(&mut self, expect: Option<Expect>, input: &'a [u8]) -> Step<'a> {
        let window = &input[..input.len().min(MAX_COMMAND)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            return self.read_part(window.len());
        };
        let consumed = end + 1;
        // Sendmail takes a command line that ends in LF alone; commands, unlike data, cannot smuggle by that.
        let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
        let action = match expect {
            _ if std::mem::take(&mut self.skipping) => self.too_long(),
            None => self.response(line),
            Some(_) if too_long(line, consumed) => self.too_long(),
            Some(expect) => self.take_command(expect, line, input.len() > consumed),
        };
        Step { consumed, action }
    }

    /// A line that is not whole is left where it is, or thrown away once it is over the limit.
    fn read_part<'a>(&mut self, length: usize) -> Step<'a> {
        self.skipping |= length == MAX_COMMAND;
        let consumed = if self.skipping { length } else { 0 };
        let action = if consumed == MAX_COMMAND { Action::Continue } else { Action::NeedInput };
        Step { consumed, action }
    }

    fn too_long<'a>(&mut self) -> Action<'a> {
        match self.state {
            State::Response => self.no_response(words::LONG_COMMAND),
            _ => self.wrong(words::LONG_COMMAND),
        }
    }

    fn take_command<'a>(&mut self, expect: Expect, line: &[u8], crowded: bool) -> Action<'a> {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) => return self.no_command(expect, line, &error, crowded),
        };
        if let Some(denied) = self.offer.denied.clone()
            && !is_harmless(&command)
        {
            return self.wrong(denied);
        }
        // RFC 2920 3.1: EHLO must be waited for.
        if crowded && !self.offer.local && matches!(command, command::Command::Hello { .. }) {
            return self.violated();
        }
        if let command::Command::Rcpt(request) = &command
            && !self.smtputf8
            && !request.to.local().is_ascii()
        {
            return self.wrong(CommandError::NotAscii.reply());
        }
        if let command::Command::Mail(request) = &command {
            self.smtputf8 = request.smtputf8;
        }
        if self.authenticated && matches!(command, command::Command::Auth { .. }) {
            return self.wrong(words::AUTH_TWICE);
        }
        self.take_turn(expect, command, crowded)
    }

    fn take_turn<'a>(&mut self, expect: Expect, command: command::Command, crowded: bool) -> Action<'a> {
        let is_data = command == command::Command::Data;
        let is_chunk = matches!(command, command::Command::Bdat { .. });
        match expect.command(command, &self.offer, crowded) {
            Turn::Ask(due, ask) => {
                self.state = State::Due(due);
                action(ask)
            }
            Turn::Wrong(_, reply) if is_data && crowded => {
                self.say(&reply);
                self.violated()
            }
            // Without CHUNKING: what follows is a chunk of a message, not commands.
            Turn::Wrong(_, reply) if is_chunk => {
                self.say(&reply);
                self.violated()
            }
            Turn::Wrong(_, reply) => self.wrong(reply),
            Turn::Said(_, reply) => self.idle(&reply, Action::Continue),
            Turn::Beyond(_, reply) => {
                self.say(&reply);
                Action::Continue
            }
            Turn::Dropped(next, reply) => {
                self.state = State::Command(next);
                let action = if expect.in_transaction() { Action::Reset } else { Action::Continue };
                self.idle(&reply, action)
            }
            // RFC 3207 4.2, and CVE-2011-0411: what follows STARTTLS in clear is nobody's command.
            Turn::StartTls if crowded => self.violated(),
            Turn::StartTls => {
                self.say(&words::READY_FOR_TLS);
                self.state = State::Handshake;
                Action::Continue
            }
            Turn::Skip(back, size, reply) => {
                self.errors = self.errors.saturating_add(1);
                self.skip(back, size, reply);
                Action::Continue
            }
            Turn::NextChunk { accepted, size, last } => self.next_chunk(accepted, size, last),
            Turn::Quit => {
                let bye = words::bye(&self.offer);
                self.close(&bye, Closing::Quit);
                Action::Continue
            }
        }
    }

    fn no_command<'a>(
        &mut self,
        expect: Expect,
        line: &[u8],
        error: &CommandError,
        crowded: bool,
    ) -> Action<'a> {
        if let (Some(denied), false) = (&self.offer.denied, matches!(error, CommandError::Unrecognized(_))) {
            return self.wrong(denied.clone());
        }
        let misplaced = command::named(line).and_then(|verb| expect.misplaced(verb, &self.offer));
        let action = self.wrong(misplaced.unwrap_or_else(|| error.reply()));
        match error {
            // RFC 3030 2: what follows is a chunk of a message, not commands.
            CommandError::Syntax("BDAT") => self.violated(),
            // RFC 2920 3.1: what follows already is a message, not commands.
            CommandError::Syntax("DATA") if crowded => self.violated(),
            _ => action,
        }
    }

    pub(super) fn violated<'a>(&mut self) -> Action<'a> {
        self.close(&words::PROTOCOL, Closing::Protocol);
        Action::Continue
    }

    /// An error of the client.
    pub(super) fn wrong<'a>(&mut self, reply: Reply) -> Action<'a> {
        self.errors = self.errors.saturating_add(1);
        self.say(&reply);
        self.close_if_worn_out();
        Action::Continue
    }

    /// A command that brings no message further.
    fn idle<'a>(&mut self, reply: &Reply, action: Action<'a>) -> Action<'a> {
        self.idle = self.idle.saturating_add(1);
        self.say(reply);
        self.close_if_worn_out();
        action
    }

    pub(super) fn close_if_worn_out(&mut self) {
        if self.errors > self.offer.max_errors || self.idle > self.offer.max_idle_commands {
            let reply = words::too_many_errors(&self.offer);
            self.close(&reply, Closing::TooManyErrors);
        }
    }

    /// Ends the session with a reply. One that ends already has said why.
    pub(super) fn close(&mut self, reply: &Reply, why: Closing) {
        if !matches!(self.state, State::Closing(_)) {
            self.say(reply);
            self.state = State::Closing(why);
        }
    }

    pub(super) fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
    }
}

/// What is answered even to whom nothing is allowed.
fn is_harmless(command: &command::Command) -> bool {
    use command::Command::{Hello, Noop, Quit, Reset};
    matches!(command, Hello { .. } | Noop | Quit | Reset)
}

/// Only MAIL, RCPT and AUTH may be over 512 octets.
fn too_long(line: &[u8], length: usize) -> bool {
    let is_long = |verb: &[u8]| [b"MAIL", b"RCPT", b"AUTH"].iter().any(|v| verb.eq_ignore_ascii_case(*v));
    let long_verb = line.get(..4).is_some_and(is_long);
    length > MAX_PLAIN_COMMAND && !long_verb
}

fn action<'a>(ask: Ask) -> Action<'a> {
    match ask {
        Ask::Hello { name, extended } => Action::Hello { name, extended },
        Ask::Mail(request) => Action::Mail(request),
        Ask::Rcpt(request) => Action::Rcpt(request),
        Ask::Verify(who) => Action::Verify(who),
        Ask::Expand(who) => Action::Expand(who),
        Ask::Etrn(what) => Action::Etrn(what),
        Ask::Auth { mechanism, initial } => Action::Auth { mechanism, initial },
        Ask::Data => Action::DataStart,
    }
}
