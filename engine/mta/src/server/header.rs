//! The header block of a message on its way in: told apart from the body, counted, completed.
//!
//! Pure. Must not know a session, a spool or a clock: who sent it and when it came are arguments.

use std::fmt::Write;
use std::ops::Range;

use crate::tls::Channel;

/// Collects the header block of a message that comes in pieces.
#[derive(Debug)]
pub(crate) struct Collector {
    block: Vec<u8>,
    /// Where the first line begins that is not yet known to belong to the header.
    line: usize,
    limit: usize,
}

/// What became of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Collected {
    /// The header goes on.
    More,
    /// The header is complete; the body follows it, its first octets included.
    Done(Split),
    /// Over the limit.
    TooLarge,
}

/// A header block, and what came behind it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Whole lines, without the blank line.
    pub(crate) header: Vec<u8>,
    /// From the blank line on, which is there even where the message lacked it.
    pub(crate) body: Vec<u8>,
}

impl Collector {
    /// A collector of at most `limit` octets.
    pub(crate) fn new(limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { block: Vec::new(), line: 0, limit }
    }

    /// Takes the next octets of the message.
    pub(crate) fn push(&mut self, octets: &[u8]) -> Collected {
        self.block.extend_from_slice(octets);
        while let Some(end) = self.line_end() {
            if !belongs(&self.block[self.line..end], self.line == 0) {
                return self.split();
            }
            self.line = end;
        }
        if self.line.max(self.block.len()) > self.limit { Collected::TooLarge } else { Collected::More }
    }

    /// The message ended without a body.
    pub(crate) fn finish(mut self) -> Split {
        let body = self.block.split_off(self.line);
        Split { header: self.block, body: with_blank_line(body) }
    }

    fn line_end(&self) -> Option<usize> {
        let rest = &self.block[self.line..];
        rest.windows(2).position(|pair| pair == b"\r\n").map(|at| self.line + at + 2)
    }

    fn split(&mut self) -> Collected {
        if self.line > self.limit {
            return Collected::TooLarge;
        }
        let mut header = std::mem::take(&mut self.block);
        let body = header.split_off(self.line);
        Collected::Done(Split { header, body: with_blank_line(body) })
    }
}

fn with_blank_line(body: Vec<u8>) -> Vec<u8> {
    if body.starts_with(b"\r\n") { body } else { [b"\r\n".as_slice(), &body].concat() }
}

/// Whether a line is a field, or goes on with one (RFC 5322 2.2).
fn belongs(line: &[u8], first: bool) -> bool {
    let folded = line.starts_with(b" ") || line.starts_with(b"\t");
    if folded { !first } else { name_of(line).is_some() }
}

/// Returns the field name of a line.
fn name_of(line: &[u8]) -> Option<&str> {
    let colon = line.iter().position(|&b| b == b':')?;
    let name = std::str::from_utf8(&line[..colon]).ok()?.trim_end_matches([' ', '\t']);
    let legal = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
    legal.then_some(name)
}

/// What a header block has and lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Its `Received:` fields.
    pub(crate) hops: u32,
    /// The value of `Message-ID:`.
    pub(crate) message_id: Option<String>,
    /// Whether it has a `Date:`.
    pub(crate) date: bool,
    /// Whether it has a `From:`.
    pub(crate) from: bool,
}

/// Looks through a header block.
pub(crate) fn survey(block: &[u8]) -> Survey {
    let mut survey = Survey::default();
    for field in fields(block) {
        let octets = &block[field];
        let Some(name) = name_of(octets) else { continue };
        match name.to_ascii_lowercase().as_str() {
            "received" => survey.hops += 1,
            "message-id" => survey.message_id = Some(value(octets)),
            "date" => survey.date = true,
            "from" => survey.from = true,
            _ => {}
        }
    }
    survey
}

fn value(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    let value = text.split_once(':').map(|(_, value)| value).unwrap_or_default();
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns the block without its `Return-Path:` fields: only final delivery writes one (RFC 5321 4.4).
pub(super) fn without_return_path(block: &[u8]) -> Vec<u8> {
    let kept = fields(block).filter(|field| {
        !name_of(&block[field.clone()]).is_some_and(|name| name.eq_ignore_ascii_case("return-path"))
    });
    kept.flat_map(|field| block[field].iter().copied()).collect()
}

/// The fields of a block, each with the lines that it is folded over.
fn fields(block: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let mut end = start;
        while end < block.len() {
            end = block[end..].iter().position(|&b| b == b'\n').map_or(block.len(), |at| end + at + 1);
            if !matches!(block.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let field = start..end;
        start = end;
        (!field.is_empty()).then_some(field)
    })
}

/// Where a message came from, for its `Received:` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    /// Over TCP: the name of HELO, and the client with its confirmed name.
    Network {
        /// What it called itself.
        hello: &'a str,
        /// `name [address]` or `[address]`.
        client: String,
    },
    /// From this user of this host.
    Local {
        /// The user's name, or the uid in digits.
        user: &'a str,
    },
}

/// What a `Received:` line says.
#[derive(Clone, Debug)]
pub(super) struct Trace<'a> {
    /// From where.
    pub(super) source: Source<'a>,
    /// This host.
    pub(super) hostname: &'a str,
    /// `ESMTP`; None where no protocol brought it.
    pub(super) protocol: Option<&'static str>,
    /// The TLS that it came over.
    pub(super) channel: Option<&'a Channel>,
    /// The queue id.
    pub(super) id: &'a str,
    /// The recipient, where there is one only.
    pub(super) recipient: Option<String>,
    /// RFC 5322 date-time.
    pub(super) date: &'a str,
}

/// Returns the `Received:` field (RFC 5321 4.4), without any version.
pub(super) fn received(trace: &Trace<'_>) -> String {
    let mut field = match &trace.source {
        Source::Network { hello, client } => format!("Received: from {} ({client})", printable(hello)),
        Source::Local { user } => format!("Received: (from {}@localhost)", printable(user)),
    };
    let _ = write!(field, "\r\n\tby {}", trace.hostname);
    if let Some(protocol) = trace.protocol {
        let _ = write!(field, " with {protocol}");
    }
    let _ = write!(field, " id {}", trace.id);
    if let Some(Channel { version, cipher, .. }) = trace.channel {
        let _ = write!(field, "\r\n\t(version={version} cipher={cipher} verify=NO)");
    }
    if let Some(recipient) = &trace.recipient {
        let _ = write!(field, "\r\n\tfor <{recipient}>");
    }
    let _ = write!(field, "; {}\r\n", trace.date);
    field
}

/// What a client says of itself, made safe for a header.
fn printable(text: &str) -> String {
    let safe = |c: char| if c.is_ascii_graphic() && !"()<>\\\"".contains(c) { c } else { '?' };
    text.chars().take(255).map(safe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(message: &str, piece: usize) -> (String, String) {
        let mut collector = Collector::new(1000);
        let mut pieces = message.as_bytes().chunks(piece);
        while let Some(octets) = pieces.next() {
            match collector.push(octets) {
                Collected::More => {}
                Collected::Done(mut split) => {
                    split.body.extend(pieces.flatten());
                    return text(split);
                }
                Collected::TooLarge => panic!("too large"),
            }
        }
        text(collector.finish())
    }

    fn text(split: Split) -> (String, String) {
        (String::from_utf8(split.header).unwrap(), String::from_utf8(split.body).unwrap())
    }

    #[test]
    fn header_and_body_are_told_apart_at_every_split() {
        let table = [
            ("A: b\r\n c\r\n\r\nbody\r\n", "A: b\r\n c\r\n", "\r\nbody\r\n"),
            ("A: b\r\n", "A: b\r\n", "\r\n"),
            ("no header\r\nA: b\r\n", "", "\r\nno header\r\nA: b\r\n"),
            ("A : b\r\nrest", "A : b\r\n", "\r\nrest"),
            (" folded: first\r\n", "", "\r\n folded: first\r\n"),
            ("\r\nbody", "", "\r\nbody"),
            ("", "", "\r\n"),
            ("A: b\r\nB\u{e9}: c\r\n\r\n", "A: b\r\n", "\r\nB\u{e9}: c\r\n\r\n"),
        ];
        for (message, header, body) in table {
            for piece in 1..=message.len().max(1) {
                assert_eq!(split(message, piece), (header.into(), body.into()), "{message:?} by {piece}");
            }
        }
    }

    #[test]
    fn a_header_has_a_limit() {
        let field = format!("A: {}\r\n", "x".repeat(95));
        let mut collector = Collector::new(150);
        assert_eq!(collector.push(field.as_bytes()), Collected::More);
        assert_eq!(collector.push(field.as_bytes()), Collected::TooLarge);
        let whole = [field.as_bytes(), field.as_bytes(), b"\r\n"].concat();
        assert_eq!(Collector::new(150).push(&whole), Collected::TooLarge);
        let large_body = [field.as_bytes(), b"\r\n", &[b'x'; 500]].concat();
        assert!(matches!(Collector::new(150).push(&large_body), Collected::Done(_)));
    }

    #[test]
    fn surveys_and_strips() {
        let block = b"Return-Path: <a@b>\r\nReceived: x\r\n\ty\r\nreceived: z\r\nMESSAGE-ID:\r\n <1@x>\r\nDate: d\r\nReturn-path:\r\n x\r\n";
        let found = survey(block);
        assert_eq!(found, Survey { hops: 2, message_id: Some("<1@x>".into()), date: true, from: false });
        let rest = String::from_utf8(without_return_path(block)).unwrap();
        assert_eq!(rest, "Received: x\r\n\ty\r\nreceived: z\r\nMESSAGE-ID:\r\n <1@x>\r\nDate: d\r\n");
    }

    #[test]
    fn received_lines() {
        let network = Trace {
            source: Source::Network { hello: "a (evil)\r\nX: y", client: "[192.0.2.1]".into() },
            hostname: "gw.corp.example",
            protocol: Some("ESMTP"),
            channel: None,
            id: "ID",
            recipient: Some("root@corp.example".into()),
            date: "Fri, 20 Nov 2026 16:03:22 +0000",
        };
        let local = Trace {
            source: Source::Local { user: "root" },
            protocol: None,
            recipient: None,
            ..network.clone()
        };
        let channel =
            Channel { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384".to_owned(), verified: false };
        let secured = Trace { protocol: Some("ESMTPSA"), channel: Some(&channel), ..network.clone() };
        insta::assert_snapshot!([received(&network), received(&local), received(&secured)].concat());
    }
}
