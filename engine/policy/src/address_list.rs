//! Address lists in header fields (RFC 5322 3.4): where in the text the addresses stand.
//!
//! A tolerant scanner: it takes names, groups and comments away, and leaves it to [`mailstack_smtp::address`] to
//! say whether the rest is an address. Only what leaves no list to speak of is an error.

use std::ops::Range;

/// A list that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quotes, brackets or comments do not balance")]
pub struct Malformed;

/// The places of the addresses in a field's body, in order, without angle brackets. What stands there need not be
/// an address: it may be two words, a source route, or one with white space or a comment within. After an error there
/// is nothing more.
pub fn addresses(body: &[u8]) -> Addresses<'_> {
    Addresses { body, at: 0 }
}

/// See [`addresses`].
#[derive(Clone, Debug)]
pub struct Addresses<'b> {
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
        let mut place = Place::default();
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
                    place = Place::default();
                }
                b'<' => angle = Some(self.angle()?),
                _ => self.word(byte, &mut place)?,
            }
        }
        Ok(angle.unwrap_or(place).0)
    }

    /// Reads `<address>`.
    fn angle(&mut self) -> Result<Place, Malformed> {
        self.at += 1;
        let mut place = Place::default();
        while let Some(&byte) = self.body.get(self.at) {
            match byte {
                b'>' => {
                    self.at += 1;
                    return Ok(place);
                }
                b'<' | b';' => return Err(Malformed),
                // A source route.
                b':' | b',' => {
                    self.at += 1;
                    place.add(self.at - 1..self.at);
                }
                _ => self.word(byte, &mut place)?,
            }
        }
        Err(Malformed)
    }

    /// Reads an atom, a quoted string, a domain literal, white space or a comment.
    fn word(&mut self, byte: u8, place: &mut Place) -> Result<(), Malformed> {
        let start = self.at;
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.at += 1;
                return Ok(());
            }
            b'(' => return self.comment(),
            b'"' => self.quoted(b'"')?,
            b'[' => self.quoted(b']')?,
            b')' | b']' | b'>' | b'\\' => return Err(Malformed),
            _ => self.at += 1,
        }
        place.add(start..self.at);
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

/// Where an address stands, as far as it is read; None: nothing yet.
#[derive(Default)]
struct Place(Option<Range<usize>>);

impl Place {
    fn add(&mut self, word: Range<usize>) {
        match &mut self.0 {
            Some(place) => place.end = word.end,
            None => self.0 = Some(word),
        }
    }
}
