//! The session: lines and data in, replies out, the states of `state.rs` in between.

use super::state::{Ask, Due, Expect, Next, Turn};
use super::{Action, Answer, Closing, Offer, Step, words};
use crate::command::{self, CommandError};
use crate::data::{Limits, Part, Receiver};
use crate::reply::Reply;

/// The most octets of a command line, its CRLF included: the 512 of RFC 5321 4.5.3.1.4, and what SIZE, BODY, AUTH
/// and DSN add to MAIL and RCPT (RFC 1870 3, RFC 6152 2, RFC 4954 3, RFC 3461 4).
pub const MAX_COMMAND: usize = 2048;
/// The same for a command without parameters.
const MAX_PLAIN_COMMAND: usize = 512;

/// A server's session. Holds no input, and of output at most the replies to what one read brought.
#[derive(Debug)]
pub struct Session {
    offer: Offer,
    state: State,
    output: Vec<u8>,
    errors: u32,
    idle: u32,
    /// Within a command line over the limit.
    skipping: bool,
    /// HELO or EHLO gave a transaction up, and the driver has not been told.
    reset_due: bool,
}

#[derive(Debug)]
enum State {
    Command(Expect),
    Due(Due),
    Body(Receiver),
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
        Self { offer, state, output, errors: 0, idle: 0, skipping: false, reset_due: false }
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

    /// Whether a transaction is open: what it brought must be given up when the connection ends.
    pub fn in_transaction(&self) -> bool {
        match &self.state {
            State::Command(expect) => expect.in_transaction(),
            State::Due(due) => due.refused().in_transaction() || matches!(due, Due::EndOfData),
            State::Body(_) => true,
            State::Closing(_) => false,
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
            State::Command(expect) => {
                let expect = *expect;
                self.read_command(expect, input)
            }
            State::Due(_) => Step { consumed: 0, action: Action::Continue },
        }
    }

    /// Answers the action that asked for it; ignored where none did.
    pub fn answer(&mut self, answer: impl Into<Answer>) {
        let State::Due(due) = self.state else { return };
        let reply = match answer.into() {
            Answer::Accept => words::accepted(due, &self.offer),
            Answer::Reply(reply) => reply,
        };
        let yes = reply.is_positive() || reply.is_intermediate();
        self.reset_due = yes && matches!(due, Due::Hello { back, .. } if back.in_transaction());
        self.state = match due.accepted() {
            _ if reply.code() == 421 => State::Closing(Closing::Answered),
            Next::Expect(expect) if yes => State::Command(expect),
            Next::Body if yes => State::Body(self.receiver()),
            _ => State::Command(due.refused()),
        };
        self.count_answer(due, yes);
        self.say_answer(due, &reply, yes);
        if !matches!(self.state, State::Closing(_)) && self.idle > self.offer.max_idle_commands {
            self.close_if_worn_out();
        }
    }

    fn say_answer(&mut self, due: Due, reply: &Reply, yes: bool) {
        let Due::Data { crowded, .. } = due else {
            return self.say(reply);
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
            Due::Mail | Due::Rcpt { .. } | Due::Data { .. } if yes => {}
            _ => self.idle = self.idle.saturating_add(1),
        }
    }

    fn receiver(&self) -> Receiver {
        Receiver::new(Limits { size: self.offer.max_size, line: self.offer.max_line })
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
                self.idle = self.idle.saturating_add(1);
                self.state = State::Command(Expect::Mail);
                match unsafe_to_go_on {
                    true => self.close(&reply, Closing::Protocol),
                    false => self.say(&reply),
                }
                Action::Aborted(fault)
            }
        }
    }

    fn read_command<'a>(&mut self, expect: Expect, input: &'a [u8]) -> Step<'a> {
        let window = &input[..input.len().min(MAX_COMMAND)];
        let Some(end) = memchr::memchr(b'\n', window) else {
            return self.read_part(window.len());
        };
        let consumed = end + 1;
        // Sendmail takes a command line that ends in LF alone; commands, unlike data, cannot smuggle by that.
        let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
        let action = if std::mem::take(&mut self.skipping) || too_long(line, consumed) {
            self.wrong(words::LONG_COMMAND)
        } else {
            self.take_command(expect, line, input.len() > consumed)
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

    fn take_command<'a>(&mut self, expect: Expect, line: &[u8], crowded: bool) -> Action<'a> {
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(error) => return self.no_command(&error, crowded),
        };
        // RFC 2920 3.1: EHLO must be waited for.
        if crowded && !self.offer.local && matches!(command, command::Command::Hello { .. }) {
            return self.violated();
        }
        let is_data = command == command::Command::Data;
        match expect.command(command, &self.offer, crowded) {
            Turn::Ask(due, ask) => {
                self.state = State::Due(due);
                action(ask)
            }
            Turn::Wrong(_, reply) if is_data && crowded => {
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
            Turn::Quit => {
                let bye = words::bye(&self.offer);
                self.close(&bye, Closing::Quit);
                Action::Continue
            }
        }
    }

    fn no_command<'a>(&mut self, error: &CommandError, crowded: bool) -> Action<'a> {
        let action = self.wrong(error.reply());
        match error {
            // RFC 3030 2: what follows is a chunk of a message, not commands.
            CommandError::NotImplemented("BDAT") => self.violated(),
            // RFC 2920 3.1: what follows already is a message, not commands.
            CommandError::Syntax("DATA") if crowded => self.violated(),
            _ => action,
        }
    }

    fn violated<'a>(&mut self) -> Action<'a> {
        self.close(&words::PROTOCOL, Closing::Protocol);
        Action::Continue
    }

    /// An error of the client.
    fn wrong<'a>(&mut self, reply: Reply) -> Action<'a> {
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

    fn close_if_worn_out(&mut self) {
        if self.errors > self.offer.max_errors || self.idle > self.offer.max_idle_commands {
            let reply = words::too_many_errors(&self.offer);
            self.close(&reply, Closing::TooManyErrors);
        }
    }

    fn close(&mut self, reply: &Reply, why: Closing) {
        self.say(reply);
        self.state = State::Closing(why);
    }

    fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.output);
    }
}

/// Only MAIL and RCPT may be over 512 octets.
fn too_long(line: &[u8], length: usize) -> bool {
    let long_verb =
        line.get(..4).is_some_and(|v| v.eq_ignore_ascii_case(b"MAIL") || v.eq_ignore_ascii_case(b"RCPT"));
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
        Ask::Data => Action::DataStart,
    }
}
