//! Reads the replies of a peer that is not trusted.

use super::{Enhanced, Reply};

/// The most octets of a reply line that is read, its line end included; RFC 5321 4.5.3.1.5 asks for 512.
pub const MAX_LINE: usize = 2048;
/// The most lines of one reply.
pub const MAX_LINES: usize = 128;

/// Why what a peer said is no reply. The peer is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// A line over [`MAX_LINE`].
    #[error("reply line longer than {MAX_LINE} octets")]
    LineTooLong,
    /// A reply of more than [`MAX_LINES`] lines.
    #[error("reply of more than {MAX_LINES} lines")]
    TooManyLines,
    /// A line that does not begin with a code of 200 to 599 and a space, a hyphen or its end.
    #[error("not an SMTP reply")]
    NotAReply,
    /// A continued reply whose code changes.
    #[error("reply code changes within a reply")]
    CodeChanges,
}

/// Puts the lines of a reply together. Holds at most [`MAX_LINES`] lines of [`MAX_LINE`] octets.
#[derive(Debug, Default)]
pub struct Parser {
    code: Option<u16>,
    lines: usize,
    text: String,
}

impl Parser {
    /// Takes lines from the front of `input` until a reply is whole. Returns the octets taken, and the reply if it
    /// is whole; what is not taken must be given again with more behind it. A line may end in LF alone.
    pub fn parse(&mut self, input: &[u8]) -> Result<(usize, Option<Reply>), ReplyError> {
        let mut taken = 0;
        loop {
            let rest = &input[taken..];
            let window = &rest[..rest.len().min(MAX_LINE)];
            let Some(end) = memchr::memchr(b'\n', window) else {
                let full = window.len() == MAX_LINE;
                return if full { Err(ReplyError::LineTooLong) } else { Ok((taken, None)) };
            };
            taken += end + 1;
            let line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
            if self.line(line)? {
                return Ok((taken, Some(self.finish())));
            }
        }
    }

    /// Takes one line; true if it is the last of its reply.
    fn line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        let (code, rest) = split_code(line).ok_or(ReplyError::NotAReply)?;
        if self.code.is_some_and(|first| first != code) {
            return Err(ReplyError::CodeChanges);
        }
        if self.lines == MAX_LINES {
            return Err(ReplyError::TooManyLines);
        }
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(ReplyError::NotAReply),
        };
        if self.lines > 0 {
            self.text.push('\n');
        }
        self.code = Some(code);
        self.lines += 1;
        let clean = |c: char| if c.is_control() { '?' } else { c };
        self.text.extend(String::from_utf8_lossy(text).chars().map(clean));
        Ok(last)
    }

    fn finish(&mut self) -> Reply {
        let Parser { code, text, .. } = std::mem::take(self);
        let code = code.unwrap_or_default();
        match leading_enhanced(code, &text) {
            None => Reply::new(code, None, text),
            Some(enhanced) => {
                let bare = without_enhanced(&text);
                Reply::new(code, Some(enhanced), bare)
            }
        }
    }
}

/// Takes a code of 200 to 599 off the front.
fn split_code(line: &[u8]) -> Option<(u16, &[u8])> {
    let (digits, rest) = line.split_at_checked(3)?;
    let code = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    let code = code.parse().ok()?;
    (200..=599).contains(&code).then_some((code, rest))
}

/// The enhanced code that the text begins with, if its class agrees with the reply code (RFC 2034 4).
fn leading_enhanced(code: u16, text: &str) -> Option<Enhanced> {
    let word = text.split([' ', '\n']).next()?;
    word.parse().ok().filter(|Enhanced(class, ..)| u16::from(*class) == code / 100)
}

/// The text with the enhanced code taken off every line that has one.
fn without_enhanced(text: &str) -> String {
    let bare = |line| match str::split_once(line, ' ') {
        Some((word, rest)) if word.parse::<Enhanced>().is_ok() => rest,
        None if line.parse::<Enhanced>().is_ok() => "",
        _ => line,
    };
    text.split('\n').map(bare).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8]) -> Result<Option<Reply>, ReplyError> {
        Parser::default().parse(input).map(|(_, reply)| reply)
    }

    #[test]
    fn reads_what_peers_write() {
        let table: &[(&[u8], u16, Option<Enhanced>, &str)] = &[
            (b"220 mx.example ESMTP\r\n", 220, None, "mx.example ESMTP"),
            (b"250\r\n", 250, None, ""),
            (b"250 \n", 250, None, ""),
            (b"250 2.1.0 Sender ok\r\n", 250, Some(Enhanced(2, 1, 0)), "Sender ok"),
            (b"550 5.1.1\r\n", 550, Some(Enhanced(5, 1, 1)), ""),
            (b"550-5.7.1 a\r\n550 5.7.1 b\r\n", 550, Some(Enhanced(5, 7, 1)), "a\nb"),
            (b"550 4.7.1 wrong class\r\n", 550, None, "4.7.1 wrong class"),
            (b"250 a\0b\xff\r\n", 250, None, "a?b\u{fffd}"),
        ];
        for (input, code, enhanced, text) in table {
            let reply = whole(input).unwrap().unwrap();
            assert_eq!((reply.code(), reply.enhanced(), reply.text()), (*code, *enhanced, *text));
        }
    }

    #[test]
    fn refuses_what_is_no_reply() {
        for input in [
            &b"\r\n"[..],
            b"25\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"199 x\r\n",
            b"600 x\r\n",
            b"250x\r\n",
            b"+50 a\r\n",
        ] {
            assert_eq!(whole(input), Err(ReplyError::NotAReply));
        }
        assert_eq!(whole(b"250-a\r\n251 b\r\n"), Err(ReplyError::CodeChanges));
        assert_eq!(whole(&[b'2'; MAX_LINE]), Err(ReplyError::LineTooLong));
        assert_eq!(whole("250-a\r\n".repeat(MAX_LINES + 1).as_bytes()), Err(ReplyError::TooManyLines));
    }

    #[test]
    fn takes_whole_lines_only_and_nothing_behind_the_reply() {
        let mut parser = Parser::default();
        assert_eq!(parser.parse(b"250-one\r\n250 t"), Ok((9, None)));
        let (taken, reply) = parser.parse(b"250 two\r\n354 go\r\n").unwrap();
        assert_eq!((taken, reply.unwrap().text()), (9, "one\ntwo"));
    }
}
