//! Lines that are longer than SMTP allows are broken on the way out. Pure.

use std::borrow::Cow;

/// Octets of a line without its CRLF (RFC 5321 4.5.3.1.6).
const MAX_LINE: usize = 998;
/// What a line is broken with, as Postfix does (`smtp_line_length_limit`): a header field stays one. Sendmail puts
/// `!` at the end of the line.
const BREAK: &[u8] = b"\r\n ";

/// Breaks the lines of a message that comes in chunks. What has no such line passes as it is.
#[derive(Debug, Default)]
pub(super) struct Folder {
    /// Octets of the line that the chunk before ended in.
    column: usize,
}

impl Folder {
    /// The chunk with its long lines broken.
    pub(super) fn fold<'a>(&mut self, chunk: &'a [u8]) -> Cow<'a, [u8]> {
        match self.pass(chunk) {
            Some(column) => {
                self.column = column;
                Cow::Borrowed(chunk)
            }
            None => Cow::Owned(self.rewrite(chunk)),
        }
    }

    /// Where the chunk ends in its last line; None: a line is too long.
    fn pass(&self, chunk: &[u8]) -> Option<usize> {
        let (mut rest, mut column) = (chunk, self.column);
        loop {
            // Backwards from where a line would be too long: most are short, and few octets are looked at.
            let room = MAX_LINE.saturating_sub(column).min(rest.len());
            if let Some(end) = rest[..room].iter().rposition(|&octet| octet == b'\n') {
                (rest, column) = (&rest[end + 1..], 0);
                continue;
            }
            let Some(end) = rest.iter().position(|&octet| octet == b'\n') else {
                let column = column + text(rest).len();
                return (column <= MAX_LINE).then_some(column);
            };
            if column + text(&rest[..=end]).len() > MAX_LINE {
                return None;
            }
            (rest, column) = (&rest[end + 1..], 0);
        }
    }

    fn rewrite(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(chunk.len() + chunk.len() / MAX_LINE * BREAK.len() + BREAK.len());
        for line in chunk.split_inclusive(|&octet| octet == b'\n') {
            let (mut text, end) = line.split_at(text(line).len());
            while self.column + text.len() > MAX_LINE {
                let (fits, rest) = text.split_at(MAX_LINE.saturating_sub(self.column));
                out.extend_from_slice(fits);
                out.extend_from_slice(BREAK);
                self.column = 1;
                text = rest;
            }
            out.extend_from_slice(text);
            out.extend_from_slice(end);
            self.column = if end.ends_with(b"\n") { 0 } else { self.column + text.len() };
        }
        out
    }
}

/// A line without its end; a CR whose LF is in the next chunk is part of the end.
fn text(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(message: &[u8], chunk: usize) -> Vec<u8> {
        let mut folder = Folder::default();
        message.chunks(chunk).flat_map(|chunk| folder.fold(chunk).into_owned()).collect()
    }

    #[test]
    fn long_lines_are_broken_wherever_the_chunks_end() {
        let line = |octet: &str, count: usize| octet.repeat(count);
        let cases = [
            (format!("a\r\n{}\r\nb\r\n", line("x", 998)), format!("a\r\n{}\r\nb\r\n", line("x", 998))),
            (format!("{}\r\nb\r\n", line("x", 999)), format!("{}\r\n x\r\nb\r\n", line("x", 998))),
            (line("x", 2000), format!("{}\r\n {}\r\n {}", line("x", 998), line("x", 997), line("x", 5))),
            (format!("{}\r\n", line(".", 999)), format!("{}\r\n .\r\n", line(".", 998))),
        ];
        for (message, wanted) in cases {
            for chunk in [1, 7, 998, 999, 1000, 5000] {
                assert_eq!(fold(message.as_bytes(), chunk), wanted.as_bytes(), "in chunks of {chunk}");
            }
        }
    }

    /// Lines of all lengths around the limit, in chunks that end anywhere: as by looking at each octet.
    #[test]
    fn nothing_is_overlooked_by_looking_backwards() {
        let ends = ["\n", "\r\n"];
        for before in [0, 1, 500, 997, 998] {
            for length in [0, 1, 2, 499, 996, 997, 998, 999, 1000] {
                for (end, next) in ends.iter().flat_map(|end| ends.map(|next| (end, next))) {
                    let message = format!("{}{end}{}{next}c", "a".repeat(before), "b".repeat(length));
                    for column in [0, 1, 997, 998] {
                        let lines = message.split_inclusive('\n').enumerate();
                        let mut widths = lines
                            .map(|(n, line)| text(line.as_bytes()).len() + if n == 0 { column } else { 0 });
                        let wanted = widths.all(|width| width <= MAX_LINE).then_some(1);
                        assert_eq!(
                            Folder { column }.pass(message.as_bytes()),
                            wanted,
                            "{column} {message:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_chunk_without_long_lines_is_not_copied() {
        assert!(matches!(Folder::default().fold(b"a\r\nb\r\n"), Cow::Borrowed(_)));
    }
}
