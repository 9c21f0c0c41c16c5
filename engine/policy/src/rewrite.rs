//! The rewriting of addresses in a header block: qualification, generics and masquerading.
//!
//! Only the domain of an address is exchanged, or where the genericstable names another, the address: everything else
//! keeps its octets: names, comments, folding, quoting.

use std::borrow::Cow;
use std::ops::Range;

use mailstack_smtp::address::Address;

use crate::address_list::{Malformed, addresses};
use crate::decision::Here;
use crate::header::{Field, fields};
use crate::rules::Rules;
use crate::sender::{New, Rewriting, recipient_domain, sender_address};

/// Fields that name senders, in Sendmail's sense (`H_FROM`).
const SENDERS: [&str; 9] = [
    "From",
    "Sender",
    "Reply-To",
    "Errors-To",
    "Return-Receipt-To",
    "Disposition-Notification-To",
    "Resent-From",
    "Resent-Sender",
    "Resent-Reply-To",
];

/// Fields that name recipients (`H_RCPT`).
const RECIPIENTS: [&str; 7] = ["To", "Cc", "Bcc", "Apparently-To", "Resent-To", "Resent-Cc", "Resent-Bcc"];

/// Gives the addresses in a header block the domains that the rules say: bare and own-host names are qualified,
/// senders masqueraded, and with `masquerade.recipients` recipients too. Every other octet stays. The block may
/// end in its empty line, and what is behind that stays too. A field whose list cannot be read is left alone.
pub fn rewrite_header<'h>(rules: &Rules, here: Here<'_>, header: &'h [u8]) -> Cow<'h, [u8]> {
    let mut edits = Vec::new();
    for field in fields(header) {
        let Some(side) = side(field.name) else {
            continue;
        };
        let before = edits.len();
        if edit_field(rules, here, side, &field, &mut edits).is_err() {
            edits.truncate(before);
        }
    }
    if edits.is_empty() {
        return Cow::Borrowed(header);
    }
    Cow::Owned(apply(header, &edits))
}

#[derive(Clone, Copy)]
enum Side {
    Sender,
    Recipient,
}

fn side(name: &[u8]) -> Option<Side> {
    let is_any = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()));
    match () {
        () if is_any(&SENDERS) => Some(Side::Sender),
        () if is_any(&RECIPIENTS) => Some(Side::Recipient),
        () => None,
    }
}

/// What takes the place of what stands there.
struct Edit {
    place: Range<usize>,
    text: String,
}

fn edit_field(
    rules: &Rules,
    here: Here<'_>,
    side: Side,
    field: &Field<'_>,
    edits: &mut Vec<Edit>,
) -> Result<(), Malformed> {
    for place in addresses(field.body) {
        let place = place?;
        let text = str::from_utf8(&field.body[place.clone()]).unwrap_or_default();
        if let Some((at, text)) = edit_address(rules, here, side, text) {
            let start = field.body_start + place.start + at;
            edits.push(Edit { place: start..field.body_start + place.end, text });
        }
    }
    Ok(())
}

/// Where in `text` the new text begins, and which it is. None: no address, or one that stays.
fn edit_address(rules: &Rules, here: Here<'_>, side: Side, text: &str) -> Option<(usize, String)> {
    let address: Address = text.parse().ok()?;
    if address.domain().is_none() && is_left_bare(text) {
        return None;
    }
    let (at, new) = match new(rules, here, side, &address)? {
        New::Address(new) => (0, new.to_string()),
        // The last one: a domain has none, a quoted local part may.
        New::Domain(domain) => {
            let at = if address.domain().is_some() { text.rfind('@')? } else { text.len() };
            (at, format!("@{domain}"))
        }
    };
    (!text[at..].eq_ignore_ascii_case(&new)).then_some((at, new))
}

/// Bare words that are no user's name: an encoded word (RFC 2047), a route.
fn is_left_bare(text: &str) -> bool {
    text.starts_with("=?") && text.ends_with("?=") || text.contains(['!', '%'])
}

fn new<'r>(rules: &'r Rules, here: Here<'r>, side: Side, address: &Address) -> Option<New<'r>> {
    let all = Rewriting { generics: rules.generics.as_ref(), masquerade: rules.masquerade.as_ref() };
    let recipients = all.masquerade.is_some_and(|masquerade| masquerade.recipients);
    match side {
        Side::Recipient if !recipients => {
            recipient_domain(rules, here, address.local(), address.domain()).map(New::Domain)
        }
        Side::Sender | Side::Recipient => sender_address(rules, here, all, address.local(), address.domain()),
    }
}

fn apply(header: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut text = Vec::with_capacity(header.len() + edits.len() * 32);
    let mut copied = 0;
    for Edit { place, text: new } in edits {
        text.extend_from_slice(&header[copied..place.start]);
        text.extend_from_slice(new.as_bytes());
        copied = place.end;
    }
    text.extend_from_slice(&header[copied..]);
    text
}
