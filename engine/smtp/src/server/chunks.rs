//! A message in chunks, and the octets of a chunk that nobody awaits (RFC 3030).

use super::session::{Session, State};
use super::state::{Due, Expect};
use super::{Action, Closing, words};
use crate::data::{Chunks, Fault, MAX_SWALLOWED};
use crate::reply::Reply;

/// A chunk that comes in.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) chunks: Chunks,
    /// Octets that are still to come.
    pub(super) left: u64,
    pub(super) size: u64,
    pub(super) last: bool,
    pub(super) accepted: u32,
}

/// One step of a chunk.
pub(super) enum Part<'a> {
    NeedInput,
    Body(&'a [u8]),
    End,
    /// With so many octets still to come.
    Refused(Fault, u64),
}

impl Chunk {
    pub(super) fn receive<'a>(&mut self, input: &'a [u8]) -> (usize, Part<'a>) {
        if self.left == 0 {
            return (0, Part::End);
        }
        let octets = front(input, self.left);
        if octets.is_empty() {
            return (0, Part::NeedInput);
        }
        self.left -= octets.len() as u64;
        match self.chunks.take(octets) {
            Ok(()) => (octets.len(), Part::Body(octets)),
            Err(fault) => (octets.len(), Part::Refused(fault, self.left)),
        }
    }
}

/// Octets that are read and thrown away, and what is answered behind them.
#[derive(Debug)]
pub(super) struct Skip {
    left: u64,
    reply: Reply,
    back: Expect,
}

impl Skip {
    pub(super) fn take(&mut self, input: &[u8]) -> usize {
        let taken = front(input, self.left).len();
        self.left -= taken as u64;
        taken
    }

    pub(super) fn in_transaction(&self) -> bool {
        self.back.in_transaction()
    }
}

/// At most so many octets.
fn front(input: &[u8], most: u64) -> &[u8] {
    &input[..input.len().min(usize::try_from(most).unwrap_or(usize::MAX))]
}

impl Session {
    /// The chunk that follows others of its message.
    pub(super) fn next_chunk<'a>(&mut self, accepted: u32, size: u64, last: bool) -> Action<'a> {
        let Some(chunks) = self.chunks.take() else { return self.violated() };
        self.state = State::Chunk(Chunk { chunks, left: size, size, last, accepted });
        Action::Continue
    }

    pub(super) fn chunk<'a>(&mut self, part: Part<'a>) -> Action<'a> {
        let State::Chunk(Chunk { chunks, size, last, accepted, .. }) = self.state else {
            return Action::Continue;
        };
        match part {
            Part::NeedInput => Action::NeedInput,
            Part::Body(octets) => Action::Body(octets),
            Part::Refused(fault, left) => self.refuse_chunk(fault, left),
            Part::End if !last => {
                self.chunks = Some(chunks);
                self.state = State::Command(Expect::Chunk(accepted));
                self.say(&words::chunk(size));
                Action::Continue
            }
            Part::End => self.end_of_chunks(chunks),
        }
    }

    fn end_of_chunks<'a>(&mut self, mut chunks: Chunks) -> Action<'a> {
        match chunks.finish() {
            Err(fault) => self.refuse_chunk(fault, 0),
            Ok(false) => {
                self.state = State::Due(Due::EndOfData);
                Action::EndOfData
            }
            // A message is lines: the last one gets its end, and then the message is over.
            Ok(true) => match (chunks.take(b"\r\n"), &mut self.state) {
                (Ok(()), State::Chunk(chunk)) => {
                    chunk.chunks = chunks;
                    Action::Body(b"\r\n")
                }
                (Err(fault), _) => self.refuse_chunk(fault, 0),
                _ => Action::Continue,
            },
        }
    }

    /// The transaction is over; what is left of the chunk is read, and then answered.
    fn refuse_chunk<'a>(&mut self, fault: Fault, left: u64) -> Action<'a> {
        let reply = words::refused(fault, &self.offer);
        self.bring_no_further();
        self.skip(Expect::Mail, left, reply);
        Action::Aborted(fault)
    }

    /// Reads octets that nobody awaits before it answers.
    pub(super) fn skip(&mut self, back: Expect, left: u64, reply: Reply) {
        if reply.code() == 421 {
            return self.close(&reply, Closing::Answered);
        }
        if left > MAX_SWALLOWED {
            return self.close(&reply, Closing::Protocol);
        }
        self.state = State::Skip(Skip { left, reply, back });
    }

    pub(super) fn skipped<'a>(&mut self, consumed: usize) -> Action<'a> {
        let State::Skip(Skip { left, reply, back }) = &self.state else { return Action::Continue };
        if *left > 0 {
            return if consumed > 0 { Action::Continue } else { Action::NeedInput };
        }
        let (reply, back) = (reply.clone(), *back);
        self.state = State::Command(back);
        self.say(&reply);
        self.close_if_worn_out();
        Action::Continue
    }
}
