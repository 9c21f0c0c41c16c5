//! Paths: where one ends, and what is stripped from it (RFC 5321 4.1.2, 4.1.1.3 and appendix C).

use std::borrow::Cow;

use super::CommandError;
use crate::address::{Address, AddressError, ReversePath};

/// A path in two parts: what stands between the brackets, and the text as it came, for a reply.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    inner: &'a str,
    text: &'a str,
}

impl Path<'_> {
    fn fault(&self, why: AddressError) -> CommandError {
        let text = self.text.chars().take(crate::address::MAX_PATH).collect();
        CommandError::BadAddress { text, why }
    }
}

/// Splits a path, bracketed or, as Sendmail takes it, bare, from the parameters behind it.
pub(super) fn split(text: &str) -> Result<(Path<'_>, &str), CommandError> {
    let bracketed = text.starts_with('<');
    let end = end_of_path(text, bracketed);
    let whole = Path { inner: text, text };
    let (path, parameters) = match (bracketed, end) {
        (true, None) => return Err(whole.fault(AddressError::BadSyntax)),
        (true, Some(end)) => (Path { inner: &text[1..end], text: &text[..=end] }, &text[end + 1..]),
        (false, None) => (whole, ""),
        (false, Some(end)) => (Path { inner: &text[..end], text: &text[..end] }, &text[end..]),
    };
    match parameters.starts_with([' ', '\t']) || parameters.is_empty() {
        true => Ok((path, parameters)),
        false => Err(whole.fault(AddressError::BadSyntax)),
    }
}

/// The place of the closing bracket, or of the first blank behind a bare path, outside of quotes.
fn end_of_path(text: &str, bracketed: bool) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    text.bytes().position(|b| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = b == b'\\';
        quoted ^= b == b'"';
        let end = if bracketed { b == b'>' } else { b == b' ' || b == b'\t' };
        end && !quoted
    })
}

/// The reverse-path; `<>` is the null sender.
pub(super) fn reverse(path: Path<'_>) -> Result<ReversePath, CommandError> {
    match path.inner.trim_ascii() {
        "" if path.text.starts_with('<') => Ok(ReversePath::Null),
        _ => address(path).map(ReversePath::Address),
    }
}

/// The forward-path.
pub(super) fn forward(path: Path<'_>) -> Result<Address, CommandError> {
    if path.inner.trim_ascii().is_empty() { Err(CommandError::NoRecipient) } else { address(path) }
}

/// What a path holds, without its source route.
fn address(path: Path<'_>) -> Result<Address, CommandError> {
    let mailbox = without_route(path.inner.trim_ascii()).map_err(|why| path.fault(why))?;
    with_a_labels(mailbox).parse().map_err(|why| path.fault(why))
}

/// The mailbox with its domain in ASCII (RFC 6531 3.2, RFC 5891 4): names are compared and looked up so. What is no
/// name stays as it is, and is none.
fn with_a_labels(mailbox: &str) -> Cow<'_, str> {
    let Some((local, domain)) = mailbox.rsplit_once('@').filter(|(_, domain)| !domain.is_ascii()) else {
        return Cow::Borrowed(mailbox);
    };
    match idna::domain_to_ascii_strict(domain) {
        Ok(ascii) => Cow::Owned(format!("{local}@{ascii}")),
        Err(_) => Cow::Borrowed(mailbox),
    }
}

/// RFC 5321 appendix C: `@one,@two:user@host` is taken as `user@host`.
fn without_route(path: &str) -> Result<&str, AddressError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    let mut bracket = false;
    let colon = path.bytes().position(|b| {
        bracket = (bracket || b == b'[') && b != b']';
        b == b':' && !bracket
    });
    let (route, mailbox) = path.split_at(colon.ok_or(AddressError::NoLocalPart)?);
    let hop = |hop: &str| {
        hop.trim_ascii().strip_prefix('@').is_some_and(|d| d.parse::<crate::address::Domain>().is_ok())
    };
    if route.split(',').all(hop) { Ok(&mailbox[1..]) } else { Err(AddressError::BadSyntax) }
}
