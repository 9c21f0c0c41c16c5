//! Reads the rest of a refused message without keeping any of it.
//!
//! Its end is CRLF `.` CRLF as ever. A line of one period with a bare CR or LF on either side is what another host
//! might take for the end: from there on nobody can say what is message and what is command.

use memchr::memchr2;

use super::MAX_SWALLOWED;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Swallowed {
    NeedInput,
    End,
    Unsafe,
}

#[derive(Debug)]
pub(super) struct Swallow {
    state: State,
    taken: u64,
}

/// What was read last. `strict`: the line began behind a CRLF.
#[derive(Clone, Copy, Debug)]
enum State {
    Text,
    Cr,
    LineStart { strict: bool },
    Dot { strict: bool },
    DotCr,
    Over(Swallowed),
}

impl Swallow {
    pub(super) fn at_line_start() -> Self {
        Self { state: State::LineStart { strict: true }, taken: 0 }
    }

    pub(super) fn in_line() -> Self {
        Self { state: State::Text, taken: 0 }
    }

    /// Takes octets up to the end of the message.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Swallowed) {
        let mut at = 0;
        while at < input.len() {
            if let State::Text = self.state {
                at += memchr2(b'\r', b'\n', &input[at..]).unwrap_or(input.len() - at);
            }
            let Some(&octet) = input.get(at) else { break };
            at += 1;
            self.state = self.state.next(octet);
            if let State::Over(outcome) = self.state {
                return (at, outcome);
            }
        }
        self.taken = self.taken.saturating_add(at as u64);
        let outcome = if self.taken > MAX_SWALLOWED { Swallowed::Unsafe } else { Swallowed::NeedInput };
        (at, outcome)
    }
}

impl State {
    fn next(self, octet: u8) -> State {
        match (self, octet) {
            (State::LineStart { strict }, b'.') => State::Dot { strict },
            // A bare CR began the line.
            (State::Cr, b'.') => State::Dot { strict: false },
            (State::Cr, b'\n') => State::LineStart { strict: true },
            (State::Dot { strict: true }, b'\r') => State::DotCr,
            (State::Dot { .. }, b'\r' | b'\n') => State::Over(Swallowed::Unsafe),
            (State::DotCr, b'\n') => State::Over(Swallowed::End),
            (State::DotCr, _) => State::Over(Swallowed::Unsafe),
            (_, b'\r') => State::Cr,
            (_, b'\n') => State::LineStart { strict: false },
            (over @ State::Over(_), _) => over,
            _ => State::Text,
        }
    }
}
