//! The receiving side: octets in, the message without its stuffing out.

use memchr::memchr3;

use super::swallow::{Swallow, Swallowed};

/// What bounds a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of a message, its line ends included and its stuffing not (RFC 1870 5). As many are taken.
    pub size: u64,
    /// Octets of a line, its CRLF included.
    pub line: u32,
}

/// Why a message is refused. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// A CR that no LF follows.
    #[error("bare carriage return (CR) in the message")]
    BareCr,
    /// An LF behind no CR.
    #[error("bare line feed (LF) in the message")]
    BareLf,
    /// A NUL octet.
    #[error("NUL octet in the message")]
    Nul,
    /// A line over [`Limits::line`].
    #[error("line too long in the message")]
    LongLine,
    /// A message over [`Limits::size`].
    #[error("message too large")]
    TooLarge,
}

/// One step of the receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// More octets are needed.
    NeedInput,
    /// Octets of the message. Every one is part of a line that has no fault up to here.
    Body(&'a [u8]),
    /// The message is whole.
    End,
    /// What was refused is read and thrown away; go on.
    Swallowing,
    /// The refused message is over. What was given out of it must be thrown away.
    Refused {
        /// Why.
        fault: Fault,
        /// Whether what follows may be a part of the message: the peer may take another place for its end.
        unsafe_to_go_on: bool,
    },
}

/// Finds the end of a message. Holds no octets: what it cannot judge yet it does not take.
#[derive(Debug)]
pub struct Receiver {
    limits: Limits,
    size: u64,
    line: u32,
    refused: Option<(Fault, Swallow)>,
}

impl Receiver {
    /// A receiver that stands at the begin of a message.
    pub fn new(limits: Limits) -> Self {
        Self { limits, size: 0, line: 0, refused: None }
    }

    /// The octets given out so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes octets from the front of `input`. Returns how many, and what they are. What is not taken, never more
    /// than two octets when more input is needed, must be given again with more behind it.
    pub fn receive<'a>(&mut self, input: &'a [u8]) -> (usize, Part<'a>) {
        match &mut self.refused {
            Some((fault, swallow)) => swallow_on(*fault, swallow, input),
            None => self.take(input),
        }
    }

    fn take<'a>(&mut self, input: &'a [u8]) -> (usize, Part<'a>) {
        if self.line > 0 || input.first() != Some(&b'.') {
            return self.run(input, 0);
        }
        match input[1..] {
            [] | [b'\r'] => (0, Part::NeedInput),
            [b'\r', b'\n', ..] => (3, Part::End),
            [b'\r', ..] => self.refuse(Fault::BareCr, Swallow::at_line_start(), 0),
            [b'\n', ..] => self.refuse(Fault::BareLf, Swallow::at_line_start(), 0),
            // RFC 5321 4.5.2: the first period of a line is dropped when there is more on the line.
            _ => self.run(input, 1),
        }
    }

    /// Takes lines up to one that begins with a period, or to the end of the input.
    fn run<'a>(&mut self, input: &'a [u8], start: usize) -> (usize, Part<'a>) {
        let mut at = start;
        // The dropped period is no part of the line, but what follows it is not at the begin of one.
        let mut begun = self.line;
        loop {
            let Some(found) = memchr3(b'\r', b'\n', 0, &input[at..]).map(|offset| at + offset) else {
                return self.give(input, start, input.len(), begun);
            };
            let fault = match (input[found], input.get(found + 1)) {
                (b'\r', None) => return self.give(input, start, found, begun),
                (b'\r', Some(b'\n')) => None,
                (b'\r', _) => Some(Fault::BareCr),
                (b'\n', _) => Some(Fault::BareLf),
                _ => Some(Fault::Nul),
            };
            let end = if fault.is_some() { found } else { found + 2 };
            if let Some(fault) = self.over(at - start, end - start, begun).or(fault) {
                return self.refuse(fault, Swallow::in_line(), found);
            }
            (at, begun) = (end, 0);
            if input.get(at) == Some(&b'.') {
                return self.give(input, start, at, 0);
            }
        }
    }

    /// Gives out `input[start..end]`; the line that is not over at `end` had `begun` octets before `input`.
    fn give<'a>(&mut self, input: &'a [u8], start: usize, end: usize, begun: u32) -> (usize, Part<'a>) {
        if start == end {
            return (end, Part::NeedInput);
        }
        let body = &input[start..end];
        let line_start = memchr::memrchr(b'\n', body).map_or(0, |lf| lf + 1);
        let line = line_length(begun, line_start, body.len());
        if let Some(fault) = self.over(line_start, body.len(), begun) {
            let swallow = if line == 0 { Swallow::at_line_start() } else { Swallow::in_line() };
            return self.refuse(fault, swallow, end);
        }
        (self.size, self.line) = (self.size + body.len() as u64, line);
        (end, Part::Body(body))
    }

    /// The limit that the octets given out, and `end` more, are over. The last line has `begun` octets and those
    /// from `line_start` on. Where both are, the one that came first: packets must not make a difference.
    fn over(&self, line_start: usize, end: usize, begun: u32) -> Option<Fault> {
        let size_room = self.limits.size.saturating_sub(self.size);
        let line_room = line_start as u64 + u64::from(self.limits.line.saturating_sub(begun));
        let (too_large, too_long) = (end as u64 > size_room, end as u64 > line_room);
        match (too_large, too_long) {
            (true, true) if line_room < size_room => Some(Fault::LongLine),
            (true, _) => Some(Fault::TooLarge),
            (false, true) => Some(Fault::LongLine),
            (false, false) => None,
        }
    }

    fn refuse<'a>(&mut self, fault: Fault, swallow: Swallow, taken: usize) -> (usize, Part<'a>) {
        self.refused = Some((fault, swallow));
        (taken, Part::Swallowing)
    }
}

fn line_length(begun: u32, from: usize, to: usize) -> u32 {
    begun.saturating_add(u32::try_from(to - from).unwrap_or(u32::MAX))
}

fn swallow_on<'a>(fault: Fault, swallow: &mut Swallow, input: &[u8]) -> (usize, Part<'a>) {
    let (taken, outcome) = swallow.take(input);
    let part = match outcome {
        Swallowed::NeedInput => Part::NeedInput,
        Swallowed::End => Part::Refused { fault, unsafe_to_go_on: false },
        Swallowed::Unsafe => Part::Refused { fault, unsafe_to_go_on: true },
    };
    (taken, part)
}
