//! Header blocks (RFC 5322 2.2, 3.6): their fields, byte for byte, and what a server must know of them.
//!
//! A header block is everything before the empty line; that line and what is behind it may be there and is left
//! alone. Nothing is refused here: what is no field is passed over.

use std::ops::Range;

use mailstack_smtp::address::{Address, AddressError};

/// What a server must know of a header block before it queues the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// `Received:` fields: hosts that had the message before (RFC 5321 6.3).
    pub received: usize,
    /// Whether there is a `Date:`.
    pub date: bool,
    /// Whether there is a `Message-ID:`.
    pub message_id: bool,
    /// Whether there is a `From:`.
    pub from: bool,
    /// Whether there is any of `To:`, `Cc:`, `Bcc:` and `Apparently-To:`.
    pub recipients: bool,
}

/// Looks through a header block once.
pub fn scan(header: &[u8]) -> Facts {
    let mut facts = Facts::default();
    for field in fields(header) {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name.as_bytes());
        facts.received += usize::from(is("Received"));
        facts.date |= is("Date");
        facts.message_id |= is("Message-ID");
        facts.from |= is("From");
        facts.recipients |= is("To") || is("Cc") || is("Bcc") || is("Apparently-To");
    }
    facts
}

/// One field of a header block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'h> {
    /// Where it begins in the block.
    pub start: usize,
    /// The name, without the colon and white space in front of it.
    pub name: &'h [u8],
    /// All behind the colon, folded lines and the last line end included.
    pub body: &'h [u8],
    /// Where the body begins in the block.
    pub body_start: usize,
}

impl Field<'_> {
    /// Where the field ends in the block, its last line end included.
    pub fn end(&self) -> usize {
        self.body_start + self.body.len()
    }
}

/// The fields of a header block in order. Lines that are no field are passed over.
pub fn fields(header: &[u8]) -> Fields<'_> {
    Fields { header, at: 0 }
}

/// See [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'h> {
    header: &'h [u8],
    at: usize,
}

impl<'h> Iterator for Fields<'h> {
    type Item = Field<'h>;

    fn next(&mut self) -> Option<Field<'h>> {
        loop {
            let start = self.at;
            let rest = &self.header[start..];
            if rest.is_empty() || rest.starts_with(b"\n") || rest.starts_with(b"\r\n") {
                return None;
            }
            let unfolded = &rest[..unfolded_line(rest)];
            self.at = start + unfolded.len();
            if let Some(field) = field(unfolded, start) {
                return Some(field);
            }
        }
    }
}

/// The addresses of an address list, the body of a `To:` say. Errors: a list or an address in it that cannot be
/// read.
pub fn addresses(body: &[u8]) -> Result<Vec<Address>, AddressError> {
    let place_to_address = |place: Result<Range<usize>, _>| {
        let place = place.map_err(|_| AddressError::BadSyntax)?;
        str::from_utf8(&body[place]).map_err(|_| AddressError::BadSyntax)?.parse()
    };
    crate::address_list::addresses(body).map(place_to_address).collect()
}

/// The octets of the first line and of those that continue it.
fn unfolded_line(text: &[u8]) -> usize {
    let mut end = 0;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let continued = matches!(line.first(), Some(b' ' | b'\t'));
        if end > 0 && !continued {
            break;
        }
        end += line.len();
    }
    end
}

/// Splits a line at its colon. None: no field name in front of one (RFC 5322 3.6.8; white space behind the name
/// is 4.5's).
fn field(line: &[u8], start: usize) -> Option<Field<'_>> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let valid = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    valid.then(|| Field { start, name, body: &line[colon + 1..], body_start: start + colon + 1 })
}
