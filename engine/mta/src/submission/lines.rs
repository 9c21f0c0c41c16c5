//! Line ends: what programs of this host write, as SMTP wants it.

use std::io::{self, Read};

/// Octets read at once.
const CHUNK: usize = 32 * 1024;

/// Reads a message with every line ended by CRLF: a bare LF or CR, as programs write them, becomes one, and so does
/// the end of a last line that has none.
pub(super) struct CrlfReader<'a> {
    inner: &'a mut dyn Read,
    raw: Vec<u8>,
    ready: Vec<u8>,
    given: usize,
    after_cr: bool,
    at_line_start: bool,
    ended: bool,
}

impl<'a> CrlfReader<'a> {
    /// A reader over a message in the host's form.
    pub(super) fn new(inner: &'a mut dyn Read) -> Self {
        Self {
            inner,
            raw: vec![0; CHUNK],
            ready: Vec::with_capacity(2 * CHUNK),
            given: 0,
            after_cr: false,
            at_line_start: true,
            ended: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.given = 0;
        while self.ready.is_empty() && !self.ended {
            let read = match self.inner.read(&mut self.raw) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.ended = read == 0;
            self.convert(read);
        }
        Ok(())
    }

    fn convert(&mut self, read: usize) {
        for &octet in &self.raw[..read] {
            match octet {
                b'\n' if self.after_cr => {}
                b'\n' | b'\r' => self.ready.extend_from_slice(b"\r\n"),
                other => self.ready.push(other),
            }
            self.after_cr = octet == b'\r';
            self.at_line_start = matches!(octet, b'\n' | b'\r');
        }
        if read == 0 && !self.at_line_start {
            self.ready.extend_from_slice(b"\r\n");
        }
    }
}

impl Read for CrlfReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.ready.len() {
            self.refill()?;
        }
        let count = buffer.len().min(self.ready.len() - self.given);
        buffer[..count].copy_from_slice(&self.ready[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its octets so many at a time.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn every_line_ends_in_crlf() {
        for (host, wire) in [
            ("", ""),
            ("a", "a\r\n"),
            ("a\n", "a\r\n"),
            ("a\r\nb\r", "a\r\nb\r\n"),
            ("a\rb\n\nc", "a\r\nb\r\n\r\nc\r\n"),
            ("\n.\n", "\r\n.\r\n"),
            ("\r\r\n", "\r\n\r\n"),
        ] {
            for piece in 1..=3 {
                let mut out = String::new();
                CrlfReader::new(&mut Pieces(host.as_bytes(), piece)).read_to_string(&mut out).unwrap();
                assert_eq!(out, wire, "{host:?} by {piece}");
            }
        }
    }
}
