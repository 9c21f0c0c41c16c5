//! `virtusertable`: which addresses of local and virtual domains mean another one.

use std::fmt;
use std::str::FromStr;

use mailstack_smtp::address::{Address, AddressError, DomainName};
use serde::{Deserialize, Serialize};

use super::template::Template;

/// What a `virtusertable` entry is looked up by: `user@domain`, `user+*@domain`, `user++@domain`, `+*@domain`,
/// `++@domain` or `@domain`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VirtuserKey {
    /// Everything in front of the `@`, lower case; empty: every address of the domain.
    pub local: String,
    /// The domain.
    pub domain: DomainName,
}

impl FromStr for VirtuserKey {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
        if local.contains('@') {
            return Err(AddressError::BadSyntax);
        }
        // `+*` alone is no local part of an address, but what it stands for is.
        if !local.is_empty() {
            Address::new(local, None)?;
        }
        Ok(Self { local: local.to_ascii_lowercase(), domain: domain.parse()? })
    }
}

impl TryFrom<String> for VirtuserKey {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

impl From<VirtuserKey> for String {
    fn from(key: VirtuserKey) -> String {
        key.to_string()
    }
}

impl fmt::Display for VirtuserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// What a `virtusertable` entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Virtuser {
    /// This address or local user, with `%1` (the user), `%2` (the detail behind its `+`) and `%3` (`+` and the
    /// detail) filled in. It is looked up again.
    To(Template),
    /// Refuse (`error:5.7.1:550 text`).
    Error {
        /// The reply code, 400 to 599.
        code: u16,
        /// The enhanced status code, `5.7.1`.
        enhanced: String,
        /// The text behind the codes.
        text: String,
    },
}
