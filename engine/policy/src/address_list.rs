//! Address lists in header fields (RFC 5322 3.4): where in the text the addresses stand.
//!
//! A tolerant scanner for rewriting: it finds what is certainly an address and passes over the rest (source
//! routes, white space or comments within an address). Only what leaves no list to speak of is an error.

use std::ops::Range;

/// Quotes, brackets or comments that do not balance: the field is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The places of the addresses in a field's body, in order, without angle brackets.
pub(crate) fn addresses(body: &[u8]) -> Addresses<'_> {
    Addresses { body, at: 0 }
}

/// See [`addresses`].
pub(crate) struct Addresses<'b> {
    body: &'b [u8],
    at: usize,
}

impl Iterator for Addresses<'_> {
    type Item = Result<Range<usize>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.at < self.body.len() {
            match self.mailbox() {
                Ok(Some(place)) => return Some(Ok(place)),
                Ok(None) => {}
                Err(malformed) => {
                    self.at = self.body.len();
                    return Some(Err(malformed));
                }
            }
        }
        None
    }
}

impl Addresses<'_> {
    /// Reads up to and including the next separator. None: no address in front of it.
    fn mailbox(&mut self) -> Result<Option<Range<usize>>, Malformed> {
        let mut words = Words::default();
        let mut angle = None;
        while let Some(&byte) = self.body.get(self.at) {
            match byte {
                b',' | b';' => {
                    self.at += 1;
                    break;
                }
                // What was read is the name of a group.
                b':' => {
                    self.at += 1;
                    words = Words::default();
                }
                b'<' => angle = Some(self.angle()?),
                _ => self.word(byte, &mut words)?,
            }
        }
        Ok(angle.unwrap_or(words).place())
    }

    /// Reads `<address>`.
    fn angle(&mut self) -> Result<Words, Malformed> {
        self.at += 1;
        let mut words = Words::default();
        while let Some(&byte) = self.body.get(self.at) {
            match byte {
                b'>' => {
                    self.at += 1;
                    return Ok(words);
                }
                b'<' | b';' => return Err(Malformed),
                // A source route.
                b':' | b',' => {
                    self.at += 1;
                    words.broken = true;
                }
                _ => self.word(byte, &mut words)?,
            }
        }
        Err(Malformed)
    }

    /// Reads an atom, a quoted string, a domain literal, white space or a comment.
    fn word(&mut self, byte: u8, words: &mut Words) -> Result<(), Malformed> {
        let start = self.at;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.at += 1;
                words.gap();
                return Ok(());
            }
            b'(' => {
                self.comment()?;
                words.gap();
                return Ok(());
            }
            b'"' => self.quoted(b'"')?,
            b'[' => self.quoted(b']')?,
            b')' | b']' | b'>' | b'\\' => return Err(Malformed),
            _ => self.at += 1,
        }
        words.add(start..self.at);
        Ok(())
    }

    /// Skips to behind the closing octet.
    fn quoted(&mut self, close: u8) -> Result<(), Malformed> {
        self.at += 1;
        while let Some(&byte) = self.body.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            if byte == close {
                return Ok(());
            }
        }
        Err(Malformed)
    }

    fn comment(&mut self) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        while let Some(&byte) = self.body.get(self.at) {
            self.at += if byte == b'\\' { 2 } else { 1 };
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        Err(Malformed)
    }
}

/// What was read of an address so far.
#[derive(Default)]
struct Words {
    place: Option<Range<usize>>,
    /// Whether white space or a comment came behind the last word.
    gap: bool,
    /// Whether it has such a gap within, or a route: no address that can be rewritten in place.
    broken: bool,
}

impl Words {
    fn add(&mut self, word: Range<usize>) {
        self.broken |= self.gap;
        match &mut self.place {
            Some(place) => place.end = word.end,
            None => self.place = Some(word),
        }
    }

    fn gap(&mut self) {
        self.gap = self.place.is_some();
    }

    fn place(self) -> Option<Range<usize>> {
        self.place.filter(|_| !self.broken)
    }
}
