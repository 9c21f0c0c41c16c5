//! Addresses as an envelope carries them (RFC 5321 4.1.2).
//!
//! A local part is held without its quoting: `"a b"@x.example` has the local part `a b`. What a relay might read
//! into a local part (`user%host`, `host!user`, `"user@host"`) is the business of the policy crate.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most octets of a local part (RFC 5321 4.5.3.1.1).
pub const MAX_LOCAL_PART: usize = 64;
/// The most octets of a domain (RFC 5321 4.5.3.1.2).
pub const MAX_DOMAIN: usize = 255;
/// The most octets of a path, its brackets and separators included (RFC 5321 4.5.3.1.3).
pub const MAX_PATH: usize = 256;
/// The most octets of one label of a domain name (RFC 1035 2.3.4).
const MAX_LABEL: usize = 63;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is nothing where a local part must be.
    #[error("user address required")]
    NoLocalPart,
    /// There is nothing behind the `@`.
    #[error("hostname required")]
    NoDomain,
    /// A local part, domain or path over its limit.
    #[error("address too long")]
    TooLong,
    /// A label that is no letters-digits-hyphen label, or an address literal that is none.
    #[error("invalid domain name")]
    BadDomain,
    /// A character that must be quoted and is not, or an unbalanced quote or bracket.
    #[error("invalid address syntax")]
    BadSyntax,
}

/// A host or domain name: lower case, without a trailing dot, letters, digits, hyphens and underscores only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainName(String);

impl DomainName {
    /// The name as text, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `parent` itself or a name below it.
    pub fn is_within(&self, parent: &DomainName) -> bool {
        match self.0.strip_suffix(parent.as_str()) {
            Some("") => true,
            Some(rest) => rest.ends_with('.'),
            None => false,
        }
    }

    /// Whether the name has more than one label.
    pub fn is_qualified(&self) -> bool {
        self.0.contains('.')
    }

    /// The name without its first label, or None for a name of one label.
    pub fn parent(&self) -> Option<DomainName> {
        self.0.split_once('.').map(|(_, rest)| DomainName(rest.to_owned()))
    }
}

impl FromStr for DomainName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(AddressError::NoDomain);
        }
        if text.len() > MAX_DOMAIN {
            return Err(AddressError::TooLong);
        }
        if !text.split('.').all(is_label) {
            return Err(AddressError::BadDomain);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

fn is_label(label: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl TryFrom<String> for DomainName {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<DomainName> for String {
    fn from(name: DomainName) -> String {
        name.0
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands behind the `@`: a name, or an address literal (RFC 5321 4.1.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// `corp.example`
    Name(DomainName),
    /// `[192.0.2.1]` or `[IPv6:2001:db8::1]`
    Literal(IpAddr),
}

impl Domain {
    /// The name, or None for an address literal.
    pub fn name(&self) -> Option<&DomainName> {
        match self {
            Domain::Name(name) => Some(name),
            Domain::Literal(_) => None,
        }
    }
}

impl FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let Some(inner) = text.strip_prefix('[') else {
            return text.parse().map(Domain::Name);
        };
        let inner = inner.strip_suffix(']').ok_or(AddressError::BadDomain)?;
        let v6 = inner.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:"));
        let address = match v6 {
            Some(tag) => inner[tag.len()..].parse::<Ipv6Addr>().map(IpAddr::V6),
            None => inner.parse::<Ipv4Addr>().map(IpAddr::V4),
        };
        address.map(Domain::Literal).map_err(|_| AddressError::BadDomain)
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Name(name) => name.fmt(f),
            Domain::Literal(IpAddr::V4(v4)) => write!(f, "[{v4}]"),
            Domain::Literal(IpAddr::V6(v6)) => write!(f, "[IPv6:{v6}]"),
        }
    }
}

/// A mailbox address; a bare name, as local programs write it, has no domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    local: String,
    domain: Option<Domain>,
}

impl Address {
    /// An address of a local part, given without quoting, and a domain. Errors: an empty local part or one over
    /// [`MAX_LOCAL_PART`], a control character in it.
    pub fn new(local: impl Into<String>, domain: Option<Domain>) -> Result<Self, AddressError> {
        let local = local.into();
        if local.is_empty() {
            return Err(AddressError::NoLocalPart);
        }
        if local.len() > MAX_LOCAL_PART {
            return Err(AddressError::TooLong);
        }
        if local.chars().any(char::is_control) {
            return Err(AddressError::BadSyntax);
        }
        Ok(Self { local, domain })
    }

    /// The local part without quoting.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain, or None for a bare name.
    pub fn domain(&self) -> Option<&Domain> {
        self.domain.as_ref()
    }

    /// The domain where it is a name.
    pub fn domain_name(&self) -> Option<&DomainName> {
        self.domain.as_ref().and_then(Domain::name)
    }

    /// The same local part in another domain.
    pub fn with_domain(&self, domain: Option<Domain>) -> Self {
        Self { local: self.local.clone(), domain }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Parses `local@domain`, `"quoted local"@domain` or a bare `local`, without angle brackets and source route.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_PATH {
            return Err(AddressError::TooLong);
        }
        Self::as_written(text)
    }
}

impl Address {
    /// As [`Address::from_str`], of what [`Address`] itself has written: masquerading may have made it longer than a path
    /// may be, and what is queued must be read again.
    fn as_written(text: &str) -> Result<Self, AddressError> {
        let (local, rest) = split_local(text)?;
        let domain = match rest.strip_prefix('@') {
            Some("") => return Err(AddressError::NoDomain),
            Some(domain) => Some(domain.parse()?),
            None if rest.is_empty() => None,
            None => return Err(AddressError::BadSyntax),
        };
        Address::new(local, domain)
    }
}

/// Takes the local part off the front and undoes its quoting; the rest begins at the `@`, or is empty.
fn split_local(text: &str) -> Result<(String, &str), AddressError> {
    match text.strip_prefix('"') {
        Some(quoted) => split_quoted(quoted),
        None => {
            let (local, rest) = text.split_at(text.find('@').unwrap_or(text.len()));
            let dot_atom = local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext));
            match local {
                "" => Err(AddressError::NoLocalPart),
                _ if !dot_atom => Err(AddressError::BadSyntax),
                _ => Ok((local.to_owned(), rest)),
            }
        }
    }
}

fn split_quoted(quoted: &str) -> Result<(String, &str), AddressError> {
    let mut local = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((local, &quoted[at + 1..])),
            '\\' => local.push(chars.next().ok_or(AddressError::BadSyntax)?.1),
            c => local.push(c),
        }
    }
    Err(AddressError::BadSyntax)
}

/// RFC 5322 3.2.3, and RFC 6531 3.3 for what is beyond ASCII.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::as_written(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl fmt::Display for Address {
    /// The address with its quoting restored where the local part needs it, without angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
            f.write_str(&self.local)?;
        } else {
            write!(f, "\"{}\"", self.local.replace('\\', "\\\\").replace('"', "\\\""))?;
        }
        match &self.domain {
            Some(domain) => write!(f, "@{domain}"),
            None => Ok(()),
        }
    }
}

/// What MAIL FROM carries: an address, or the null sender `<>` of a bounce (RFC 5321 4.5.5).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ReversePath {
    /// `<>`: nothing may be sent back.
    Null,
    /// Where bounces go.
    Address(Address),
}

impl ReversePath {
    /// The address, or None for the null sender.
    pub fn address(&self) -> Option<&Address> {
        match self {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        }
    }
}

impl TryFrom<String> for ReversePath {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        if text.is_empty() { Ok(Self::Null) } else { Address::as_written(&text).map(Self::Address) }
    }
}

impl From<ReversePath> for String {
    fn from(path: ReversePath) -> String {
        path.address().map(Address::to_string).unwrap_or_default()
    }
}

impl fmt::Display for ReversePath {
    /// The path with its angle brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReversePath::Null => f.write_str("<>"),
            ReversePath::Address(address) => write!(f, "<{address}>"),
        }
    }
}
