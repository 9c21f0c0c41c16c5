//! The header of a message as a program wrote it: its recipients, and the block that goes on.
//!
//! Reads up to the end of the header and no further, so that the body can stream behind it. `Bcc:` is taken out;
//! missing fields are the server's business, but for a `From:` with the full name of `-F`, which only the caller
//! knows.

use std::io::{self, BufRead};

use mailstack_mta::submission::{Lines, break_line};
use mailstack_policy::address_list::addresses;
use mailstack_policy::header::{Field, fields};
use mailstack_policy::{Address, AddressError};

use super::resent;

/// The most octets of a header; the server's limit is lower.
const MAX_HEADER: usize = 1 << 20;

/// A header, and the first line of what is behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The fields, each ended by CRLF, without the empty line; their lines may be of any length.
    pub block: Vec<u8>,
    /// What was read of the body already.
    pub body_start: Vec<u8>,
}

/// Why a message cannot be sent (EX_DATAERR).
#[derive(Debug, thiserror::Error)]
pub enum BadMessage {
    /// Standard input.
    #[error("standard input")]
    Input(#[source] io::Error),
    /// The header never ends.
    #[error("the header is over {MAX_HEADER} octets")]
    HeaderTooLong,
    /// An address with octets over 127, which only SMTPUTF8 (RFC 6531) carries.
    #[error("{0}: an address beyond ASCII; SMTPUTF8 is not supported")]
    NotAscii(String),
    /// An address.
    #[error("{text}: {source}")]
    Address {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        source: AddressError,
    },
}

/// Reads the header: up to the empty line, or to the first line that is no field, which then begins the body.
pub fn read_head<R: BufRead>(lines: &mut Lines<R>) -> Result<Head, BadMessage> {
    let mut head = Head::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if !lines.next_whole_into(&mut line, MAX_HEADER + 1).map_err(BadMessage::Input)? || line == b"\r\n" {
            return Ok(head);
        }
        // The separator of an mbox file, which some programs leave in front.
        if head.block.is_empty() && line.starts_with(b"From ") {
            continue;
        }
        if !belongs_to_header(&line, head.block.is_empty()) {
            break_line(&line, &mut head.body_start);
            return Ok(head);
        }
        head.block.extend_from_slice(&line);
        if head.block.len() > MAX_HEADER {
            return Err(BadMessage::HeaderTooLong);
        }
    }
}

fn belongs_to_header(line: &[u8], first: bool) -> bool {
    let continues = matches!(line.first(), Some(b' ' | b'\t'));
    if continues { !first } else { fields(line).next().is_some() }
}

impl Head {
    /// The recipients that the header names: those of the first block of `Resent-To`, `-Cc` and `-Bcc` where there is
    /// any of them, else of `To`, `Cc` and `Bcc`.
    pub fn recipients(&self) -> Result<Vec<Address>, BadMessage> {
        let mut found = resent::block(&self.block);
        found.retain(|field| is_any(field, &["Resent-To", "Resent-Cc", "Resent-Bcc"]));
        if found.is_empty() {
            let names = ["To", "Cc", "Bcc", "Apparently-To"];
            found = fields(&self.block).filter(|field| is_any(field, &names)).collect();
        }
        let lists = found.iter().map(|field| list(field.body)).collect::<Result<Vec<_>, _>>()?;
        Ok(lists.into_iter().flatten().collect())
    }

    /// Takes `Bcc:` and `Resent-Bcc:` out.
    pub fn remove_bcc(&mut self) {
        let hidden: Vec<_> = fields(&self.block)
            .filter(|field| is_any(field, &["Bcc", "Resent-Bcc"]))
            .map(|field| field.start..field.end())
            .collect();
        for range in hidden.into_iter().rev() {
            self.block.drain(range);
        }
    }

    /// Adds what the block of a message that is sent on must have and lacks.
    pub fn complete_resent(&mut self, sender: &str, date: &str, message_id: &str) {
        if let Some((place, lacking)) = resent::missing(&self.block, sender, date, message_id) {
            self.block.splice(place..place, lacking.into_bytes());
        }
    }

    /// Adds `From:` with this full name where there is none.
    pub fn add_from(&mut self, full_name: &str, sender: &str) {
        if fields(&self.block).any(|field| is_any(&field, &["From", "Resent-From"])) {
            return;
        }
        let name: String = full_name.chars().filter(|c| !c.is_control()).collect();
        let quoted = name.replace('\\', "\\\\").replace('"', "\\\"");
        self.block.extend_from_slice(format!("From: \"{quoted}\" <{sender}>\r\n").as_bytes());
    }
}

fn is_any(field: &Field<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| field.name.eq_ignore_ascii_case(name.as_bytes()))
}

/// The addresses of a list as header fields and command lines write it: `a, "B" <b@x.example>`.
pub fn list(text: &[u8]) -> Result<Vec<Address>, BadMessage> {
    let bad = |part: &[u8], source| BadMessage::Address { text: shown(part), source };
    let place = |place: Result<std::ops::Range<usize>, _>| {
        let part = &text[place.map_err(|_| bad(text, AddressError::BadSyntax))?];
        if !part.is_ascii() {
            return Err(BadMessage::NotAscii(shown(part)));
        }
        let address = std::str::from_utf8(part).map_err(|_| bad(part, AddressError::BadSyntax))?;
        address.parse().map_err(|source| bad(part, source))
    };
    addresses(text).map(place).collect()
}

/// The most characters of a bad address that are shown.
const SHOWN: usize = 200;

/// On one line, as the folding of a header is nobody's fault.
fn shown(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let begin: String = line.chars().take(SHOWN).collect();
    let rest = if begin.len() < line.len() { "..." } else { "" };
    begin.escape_debug().to_string() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        read_head(&mut Lines::new(text.as_bytes(), false)).unwrap()
    }

    fn recipients(text: &str) -> Vec<String> {
        head(text).recipients().unwrap().iter().map(Address::to_string).collect()
    }

    #[test]
    fn the_header_ends_at_the_empty_line_or_the_first_line_that_is_no_field() {
        let with_blank = head("Subject: a\n folded\n\nbody\n");
        assert_eq!(with_blank.block, b"Subject: a\r\n folded\r\n");
        assert!(with_blank.body_start.is_empty());
        let without = head("Subject: a\nbody, no blank line\nmore\n");
        assert_eq!(
            (without.block, without.body_start),
            (b"Subject: a\r\n".to_vec(), b"body, no blank line\r\n".to_vec())
        );
        assert_eq!(head("just text\n").body_start, b"just text\r\n");
        assert_eq!(head("From ada Mon\nSubject: a\n\n").block, b"Subject: a\r\n");
        assert_eq!(head(""), Head::default());
    }

    #[test]
    fn recipients_of_the_header() {
        assert_eq!(
            recipients("To: root\nCc: \"A, B\" <ab@x.example>,\n c@y.example\nBcc: d@z.example\n\n"),
            ["root", "ab@x.example", "c@y.example", "d@z.example"]
        );
        assert_eq!(recipients("To: a@x.example\nResent-To: b@x.example\n\n"), ["b@x.example"]);
        let resent = "Resent-To: b\nResent-Bcc: c\nResent-To: a\nTo: x\n\n";
        assert_eq!(recipients(resent), ["b", "c"]);
        let mut sent_on = head(resent);
        sent_on.complete_resent("root", "now", "<1@x>");
        sent_on.remove_bcc();
        assert_eq!(
            sent_on.block,
            b"Resent-From: root\r\nResent-Date: now\r\nResent-Message-ID: <1@x>\r\nResent-To: b\r\nResent-To: a\r\n\
              To: x\r\n"
        );
        assert_eq!(recipients("Subject: to nobody\n\n"), [""; 0]);
        assert_eq!(recipients("To: undisclosed-recipients:;\nBcc: a\n\n"), ["a"]);
    }

    #[test]
    fn bcc_goes_no_further() {
        let mut head = head("To: a\nBcc: b,\n c\nSubject: x\nbcc: d\n\n");
        head.remove_bcc();
        assert_eq!(head.block, b"To: a\r\nSubject: x\r\n");
    }

    #[test]
    fn a_full_name_cannot_add_a_field() {
        let mut head = head("To: a\n\n");
        head.add_from("Evil\r\nBcc: x \"quoted\"", "root");
        assert_eq!(head.block, b"To: a\r\nFrom: \"EvilBcc: x \\\"quoted\\\"\" <root>\r\n");
        head.add_from("Again", "root");
        assert_eq!(fields(&head.block).count(), 2);
    }

    #[test]
    fn a_long_line_is_read_unbroken() {
        let names: Vec<String> = (0..500).map(|n| format!("user{n}@corp.example")).collect();
        assert_eq!(recipients(&format!("To: {}\n\n", names.join(", "))), names);
        assert_eq!(recipients(&format!("To: {}\n\n", names.join(","))), names);
        let long = "x".repeat(3000);
        let body = head(&format!("{long}\n")).body_start;
        assert!(body.split(|&byte| byte == b'\n').all(|line| line.len() <= 991) && body.len() > 3000);
        let over = format!("A: {}\n\n", "x".repeat(MAX_HEADER));
        let error = read_head(&mut Lines::new(over.as_bytes(), false)).unwrap_err();
        assert!(matches!(error, BadMessage::HeaderTooLong));
    }

    #[test]
    fn addresses_beyond_ascii_are_refused() {
        let error = head("To: a@x.example,\n j\u{fc}rgen@x.example\n\n").recipients().unwrap_err();
        assert_eq!(
            error.to_string(),
            "j\u{fc}rgen@x.example: an address beyond ASCII; SMTPUTF8 is not supported"
        );
        assert_eq!(recipients("To: J\u{fc}rgen <j@x.example>\n\n"), ["j@x.example"]);
    }

    #[test]
    fn a_bad_address_is_named() {
        let folded = head("To: a\r\n b@x.example\n\n").recipients().unwrap_err();
        assert_eq!(folded.to_string(), "a b@x.example: invalid address syntax");
        let error = head("To: a@-b-.example\n\n").recipients().unwrap_err();
        assert_eq!(error.to_string(), "a@-b-.example: invalid domain name");
    }
}
