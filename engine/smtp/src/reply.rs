//! Replies, written and read (RFC 5321 4.2, RFC 3463).
//!
//! Owns: the form of a reply on the wire, and the limits of what is read as one. Must not know what a command is.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;
use std::str::FromStr;

mod parser;

pub use parser::{MAX_LINE, MAX_LINES, Parser, ReplyError};

/// The most octets of a reply line that is written, its CRLF included (RFC 5321 4.5.3.1.5).
pub const MAX_WRITTEN_LINE: usize = 512;

/// An enhanced status code, `class.subject.detail` (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// A text that is no enhanced status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an enhanced status code: 2, 4 or 5, then two numbers below 1000, with dots in between")]
pub struct NoEnhanced;

impl FromStr for Enhanced {
    type Err = NoEnhanced;

    fn from_str(text: &str) -> Result<Self, NoEnhanced> {
        let mut parts = text.split('.');
        let mut number = || parts.next().and_then(short_number).ok_or(NoEnhanced);
        let (class, subject, detail) = (number()?, number()?, number()?);
        match (class, parts.next()) {
            (2 | 4 | 5, None) => Ok(Self(class as u8, subject, detail)),
            _ => Err(NoEnhanced),
        }
    }
}

fn short_number(text: &str) -> Option<u16> {
    let digits = (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// One reply, of one line or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
    text: Cow<'static, str>,
}

impl Reply {
    /// A reply of a text known at compile time.
    pub const fn fixed(code: u16, enhanced: Enhanced, text: &'static str) -> Self {
        Self { code: valid(code), enhanced: Some(enhanced), text: Cow::Borrowed(text) }
    }

    /// A reply; `\n` in the text begins a further line. A code outside 200 to 599 becomes 554: there must always
    /// be a reply.
    pub fn new(code: u16, enhanced: Option<Enhanced>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code: valid(code), enhanced, text: text.into() }
    }

    /// The three digits, 200 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, where there is one.
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// The text behind the codes; `\n` separates lines.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines of the text; never none.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split('\n')
    }

    /// 2xx: done.
    pub fn is_positive(&self) -> bool {
        self.code < 300
    }

    /// 3xx: go on.
    pub fn is_intermediate(&self) -> bool {
        (300..400).contains(&self.code)
    }

    /// 4xx: try again later.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5xx: do not try again.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Appends the reply as it goes over the wire. Control and non-ASCII characters become `?`, and a line is cut
    /// at [`MAX_WRITTEN_LINE`], so that no text can add a line of its own.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut lines = self.lines().peekable();
        while let Some(line) = lines.next() {
            let separator = if lines.peek().is_some() { '-' } else { ' ' };
            let start = out.len();
            self.write_codes(separator, out);
            let room = (MAX_WRITTEN_LINE - 2).saturating_sub(out.len() - start);
            write_text(line, room, out);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn write_codes(&self, separator: char, out: &mut Vec<u8>) {
        let digit = |n: u16| b'0' + (n % 10) as u8;
        out.extend_from_slice(&[digit(self.code / 100), digit(self.code / 10), digit(self.code)]);
        out.push(separator as u8);
        if let Some(enhanced) = self.enhanced {
            // Writing to a Vec does not fail.
            let _ = write!(out, "{enhanced} ");
        }
    }
}

/// Appends at most `room` characters of a line.
fn write_text(line: &str, room: usize, out: &mut Vec<u8>) {
    let plain = |b: u8| b == b' ' || b.is_ascii_graphic();
    if line.len() <= room && line.bytes().all(plain) {
        return out.extend_from_slice(line.as_bytes());
    }
    let clean = |c: char| if c.is_ascii() && plain(c as u8) { c as u8 } else { b'?' };
    out.extend(line.chars().take(room).map(clean));
}

const fn valid(code: u16) -> u16 {
    if code >= 200 && code <= 599 { code } else { 554 }
}

impl fmt::Display for Reply {
    /// The reply as one line, as a log or a bounce quotes it: `550 5.1.1 User unknown`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = self.enhanced {
            write!(f, " {enhanced}")?;
        }
        self.lines().filter(|line| !line.is_empty()).try_for_each(|line| write!(f, " {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_line_carries_the_codes() {
        let reply = Reply::new(550, Some(Enhanced(5, 7, 1)), "first\nsecond");
        assert_eq!(written(&reply), "550-5.7.1 first\r\n550 5.7.1 second\r\n");
        assert_eq!(reply.to_string(), "550 5.7.1 first second");
    }

    #[test]
    fn a_text_cannot_add_a_line_with_a_carriage_return_nor_grow_over_the_limit() {
        assert_eq!(written(&Reply::new(250, None, "a\r\nb\0é")), "250-a?\r\n250 b??\r\n");
        assert_eq!(written(&Reply::new(250, None, "x".repeat(9000))).len(), MAX_WRITTEN_LINE);
    }

    #[test]
    fn a_code_that_is_none_refuses() {
        assert_eq!(Reply::new(7, None, "x").code(), 554);
    }

    #[test]
    fn enhanced_codes_are_strict() {
        assert_eq!("5.1.23".parse(), Ok(Enhanced(5, 1, 23)));
        for wrong in ["", "5", "5.1", "3.1.1", "5.1.1.1", "5.1.1234", "5..1", "5.1.+1"] {
            assert_eq!(wrong.parse::<Enhanced>(), Err(NoEnhanced), "{wrong}");
        }
    }
}
