//! The sending side: a message in, octets for the wire out.

use memchr::memchr2;

/// Stuffs a message in chunks. Whatever it is given, what it writes has CRLF line ends alone.
#[derive(Debug)]
pub struct Stuffer {
    last: Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    LineEnd,
    Cr,
    Text,
}

impl Default for Stuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl Stuffer {
    /// A stuffer that stands at the begin of a message.
    pub fn new() -> Self {
        Self { last: Last::LineEnd }
    }

    /// Appends a chunk to `out` as it goes over the wire. A CR or LF alone becomes CRLF: a message that came over
    /// SMTP has none, and one from elsewhere must not smuggle.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        out.reserve(chunk.len() + 8);
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            if self.last == Last::Cr {
                self.last = Last::LineEnd;
                out.extend_from_slice(b"\r\n");
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
                continue;
            }
            if self.last == Last::LineEnd && first == b'.' {
                out.push(b'.');
            }
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..end]);
            rest = self.line_end(&rest[end..], out);
        }
    }

    /// Takes the line end that `rest` begins with; none where it is empty.
    fn line_end<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let (last, taken) = match rest {
            [] => (Last::Text, 0),
            [b'\r'] => (Last::Cr, 1),
            [b'\r', b'\n', ..] => (Last::LineEnd, 2),
            _ => (Last::LineEnd, 1),
        };
        if last == Last::LineEnd {
            out.extend_from_slice(b"\r\n");
        }
        self.last = last;
        &rest[taken..]
    }

    /// Appends the end of the data, with a CRLF in front where the message lacks its last. Write it together with
    /// the last of the body: a final dot in a packet of its own waits for a delayed acknowledgement.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.last != Last::LineEnd {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

/// A whole message as it goes over the wire, its end included.
pub fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 64 + 16);
    let mut stuffer = Stuffer::new();
    stuffer.push(message, &mut out);
    stuffer.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_over_the_wire() {
        let table: [(&[u8], &[u8]); 8] = [
            (b"", b".\r\n"),
            (b"a", b"a\r\n.\r\n"),
            (b"a\r\n", b"a\r\n.\r\n"),
            (b".", b"..\r\n.\r\n"),
            (b"a.\r\n..b\r\n", b"a.\r\n...b\r\n.\r\n"),
            (b"a\n.\n", b"a\r\n..\r\n.\r\n"),
            (b"a\r.\r", b"a\r\n..\r\n.\r\n"),
            (b"a\r\r\n.\r\r\n", b"a\r\n\r\n..\r\n\r\n.\r\n"),
        ];
        for (message, wire) in table {
            assert_eq!(stuffed(message), wire, "{message:?}");
            for split in 0..=message.len() {
                let (mut out, mut stuffer) = (Vec::new(), Stuffer::new());
                stuffer.push(&message[..split], &mut out);
                stuffer.push(&message[split..], &mut out);
                stuffer.finish(&mut out);
                assert_eq!(out, wire, "{message:?} split at {split}");
            }
        }
    }
}
