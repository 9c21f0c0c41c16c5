//! A message as it goes in chunks (RFC 3030). Pure.

use std::io::Write;

use memchr::memchr2;

/// Gathers a message into chunks. Whatever it is given, what it writes has CRLF line ends alone, as over DATA.
#[derive(Debug, Default)]
pub(super) struct Chunker {
    held: Vec<u8>,
    /// What came last was a CR: it is a line end by itself, or with the LF that comes next.
    cr: bool,
    /// The last line has no end yet.
    open: bool,
    chunks: u32,
}

impl Chunker {
    pub(super) fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        if !rest.is_empty() && std::mem::take(&mut self.cr) {
            self.end_line();
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr2(b'\r', b'\n', rest) {
            self.held.extend_from_slice(&rest[..end]);
            rest = match &rest[end..] {
                [b'\r'] => {
                    self.cr = true;
                    return;
                }
                [b'\r', b'\n', behind @ ..] | [_, behind @ ..] => {
                    self.end_line();
                    behind
                }
                [] => return,
            };
        }
        self.held.extend_from_slice(rest);
        self.open |= !rest.is_empty();
    }

    fn end_line(&mut self) {
        self.held.extend_from_slice(b"\r\n");
        self.open = false;
    }

    /// Octets that are held.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Writes what is held as a chunk.
    pub(super) fn chunk(&mut self, out: &mut Vec<u8>) {
        self.write(out, "");
    }

    /// Writes the last chunk; returns how many there were.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> u32 {
        if self.cr || self.open {
            self.end_line();
        }
        self.write(out, " LAST");
        self.chunks
    }

    fn write(&mut self, out: &mut Vec<u8>, last: &str) {
        // Writing to a Vec does not fail.
        let _ = write!(out, "BDAT {}{last}\r\n", self.held.len());
        out.append(&mut self.held);
        self.chunks += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the chunks.
    fn octets(wire: &[u8]) -> String {
        let (mut rest, mut octets) = (std::str::from_utf8(wire).unwrap(), String::new());
        while let Some((line, behind)) = rest.split_once("\r\n") {
            let length: usize = line.split(' ').nth(1).unwrap().parse().unwrap();
            octets += &behind[..length];
            rest = &behind[length..];
        }
        octets
    }

    #[test]
    fn only_whole_line_ends_go_out() {
        let table: [(&[u8], &str); 6] = [
            (b"", "BDAT 0 LAST\r\n"),
            (b".\r\na", "BDAT 6 LAST\r\n.\r\na\r\n"),
            (b"a\r\n", "BDAT 3 LAST\r\na\r\n"),
            (b"a\nb\r", "BDAT 6 LAST\r\na\r\nb\r\n"),
            (b"\r\r\n\n", "BDAT 6 LAST\r\n\r\n\r\n\r\n"),
            (b"a\r\n.\r\r\nb\n", "BDAT 11 LAST\r\na\r\n.\r\n\r\nb\r\n"),
        ];
        for (message, wanted) in table {
            for split in 0..=message.len() {
                let (mut chunker, mut out) = (Chunker::default(), Vec::new());
                chunker.push(&message[..split]);
                chunker.push(&message[split..]);
                assert_eq!(chunker.finish(&mut out), 1);
                assert_eq!(String::from_utf8_lossy(&out), wanted, "{message:?} split at {split}");
                let (mut chunker, mut two) = (Chunker::default(), Vec::new());
                chunker.push(&message[..split]);
                chunker.chunk(&mut two);
                chunker.push(&message[split..]);
                assert_eq!(chunker.finish(&mut two), 2);
                assert_eq!(octets(&two), octets(&out), "{message:?} in two chunks at {split}");
            }
        }
    }
}
