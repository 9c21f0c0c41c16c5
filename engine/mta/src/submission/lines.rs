//! Makes the octets that a program wrote fit for SMTP, a line at a time.
//!
//! Line ends become CRLF; a CR that ends no line becomes a blank and a line longer than SMTP carries is broken,
//! so that no program's report is lost to its form (a progress bar in the output of a cron job, say).

use std::io::{self, BufRead};

/// The most octets of a line without its CRLF (RFC 5321 4.5.3.1.6 allows 998; Sendmail breaks at 990).
pub const MAX_LINE: usize = 990;
/// The most octets of a line without its CRLF that SMTP carries (RFC 5321 4.5.3.1.6).
pub const MAX_SMTP_LINE: usize = 998;

/// Reads lines in the form that SMTP wants.
pub struct Lines<R> {
    input: R,
    dot_ends: bool,
    /// Octets of a line that is left as it is.
    longest: usize,
    /// Octets that are taken for one line.
    most: u64,
    raw: Vec<u8>,
    ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// Reads from `input`; with `dot_ends`, a line of a single dot is the end.
    pub fn new(input: R, dot_ends: bool) -> Self {
        Self { input, dot_ends, longest: MAX_LINE, most: MAX_RAW, raw: Vec::new(), ended: false }
    }

    /// The same for what was brought into form already: only a line over [`MAX_SMTP_LINE`] is broken.
    pub(super) fn formed(input: R) -> Self {
        Self { longest: MAX_SMTP_LINE, ..Self::new(input, false) }
    }

    /// Appends the next line to `out`, its CRLF included; false at the end. A long line comes in pieces: each
    /// piece but the first begins with a blank and is a line of its own.
    pub fn next_into(&mut self, out: &mut Vec<u8>) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.raw.clear();
        let read = read_limited(&mut self.input, self.most, &mut self.raw)?;
        let line = strip_end(&self.raw);
        if read == 0 || (self.dot_ends && line == b".") {
            self.ended = true;
            return Ok(false);
        }
        append(line, self.longest, out);
        Ok(true)
    }

    /// Appends the next line to `out` as it is, however long, its CRLF included; false at the end. What is behind its
    /// first `most` octets is a line of its own.
    pub fn next_whole_into(&mut self, out: &mut Vec<u8>, most: usize) -> io::Result<bool> {
        let longest = std::mem::replace(&mut self.longest, usize::MAX);
        let most = std::mem::replace(&mut self.most, most as u64);
        let next = self.next_into(out);
        (self.longest, self.most) = (longest, most);
        next
    }
}

/// Breaks a line that is over the limit, its CRLF included, as [`Lines::next_into`] does.
pub fn break_line(line: &[u8], out: &mut Vec<u8>) {
    append(strip_end(line), MAX_LINE, out);
}

/// The most octets taken for one line: what is longer is a new line, so that memory is bounded.
const MAX_RAW: u64 = 1 << 16;

fn read_limited(input: &mut impl BufRead, most: u64, raw: &mut Vec<u8>) -> io::Result<usize> {
    io::Read::take(input, most).read_until(b'\n', raw)
}

fn strip_end(raw: &[u8]) -> &[u8] {
    let line = raw.strip_suffix(b"\n").unwrap_or(raw);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn append(line: &[u8], longest: usize, out: &mut Vec<u8>) {
    if line.len() <= longest {
        return append_piece(line, out);
    }
    let (first, mut rest) = line.split_at(line.len().min(MAX_LINE));
    append_piece(first, out);
    while !rest.is_empty() {
        // The blank counts.
        let (piece, more) = rest.split_at(rest.len().min(MAX_LINE - 1));
        out.push(b' ');
        append_piece(piece, out);
        rest = more;
    }
}

fn append_piece(piece: &[u8], out: &mut Vec<u8>) {
    let fit = |&byte: &u8| if byte == b'\r' || byte == 0 { b' ' } else { byte };
    out.extend(piece.iter().map(fit));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &[u8], dot_ends: bool) -> Vec<u8> {
        let mut lines = Lines::new(input, dot_ends);
        let mut out = Vec::new();
        while lines.next_into(&mut out).unwrap() {}
        out
    }

    #[test]
    fn line_ends_become_crlf() {
        for (input, output) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\n\nb\n", "a\r\n\r\nb\r\n"),
            ("a\r\nb\r\n", "a\r\nb\r\n"),
            ("10%\r20%\r\n", "10% 20%\r\n"),
            ("a\0b\n", "a b\r\n"),
            ("\r\r\n", " \r\n"),
        ] {
            assert_eq!(all(input.as_bytes(), false), output.as_bytes(), "{input:?}");
        }
    }

    #[test]
    fn a_single_dot_ends_only_where_it_may() {
        assert_eq!(all(b"a\n.\nb\n", true), b"a\r\n");
        assert_eq!(all(b"a\n.\nb\n", false), b"a\r\n.\r\nb\r\n");
        assert_eq!(all(b"a\n..\n", true), b"a\r\n..\r\n");
    }

    #[test]
    fn long_lines_are_broken_and_nothing_is_lost() {
        let line = "x".repeat(200_000);
        let out = String::from_utf8(all(line.as_bytes(), false)).unwrap();
        assert!(out.split("\r\n").all(|piece| piece.len() <= MAX_LINE));
        assert_eq!(out.matches('x').count(), 200_000);
    }
}
