//! Authentication (RFC 4954): PLAIN (RFC 4616), LOGIN, SCRAM-SHA-256 (RFC 7677), both sides.
//!
//! Owns: what is said, and the form in which a password is kept: never itself, but what RFC 5803 keeps of it. Must
//! not know where users are kept, nor draw a random number: nonces and salts are arguments.

mod client;
mod server;
mod verifier;

pub use client::{Client, ClientError};
pub use server::{Exchange, Progress};
pub use verifier::{BadVerifier, DEFAULT_ITERATIONS, Verifier};

/// How a client shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// User and password at once.
    Plain,
    /// The same, asked for one by one; what many devices speak.
    Login,
    /// A proof of the password that shows it to nobody.
    ScramSha256,
}

impl Mechanism {
    /// All of them, the best first.
    pub const ALL: [Mechanism; 3] = [Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// Its registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

/// Some of the mechanisms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// PLAIN
    pub plain: bool,
    /// LOGIN
    pub login: bool,
    /// SCRAM-SHA-256
    pub scram: bool,
}

impl Mechanisms {
    /// Whether this one is among them.
    pub fn has(self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Plain => self.plain,
            Mechanism::Login => self.login,
            Mechanism::ScramSha256 => self.scram,
        }
    }

    /// Adds one.
    pub fn add(&mut self, mechanism: Mechanism) {
        match mechanism {
            Mechanism::Plain => self.plain = true,
            Mechanism::Login => self.login = true,
            Mechanism::ScramSha256 => self.scram = true,
        }
    }

    /// Those that are in it, the best first.
    pub fn iter(self) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(move |mechanism| self.has(*mechanism))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The mechanism of this name, if it is among them.
    pub fn named(self, name: &str) -> Option<Mechanism> {
        self.iter().find(|mechanism| mechanism.as_str() == name)
    }
}

impl FromIterator<Mechanism> for Mechanisms {
    fn from_iter<I: IntoIterator<Item = Mechanism>>(mechanisms: I) -> Self {
        let mut all = Self::default();
        mechanisms.into_iter().for_each(|mechanism| all.add(mechanism));
        all
    }
}

/// A user and a password. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Who.
    pub user: String,
    /// With what.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Base64 as RFC 4954 wants it.
pub(crate) fn encode(octets: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

/// The octets of a base64 text; None: it is none.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// The attributes of a SCRAM message, in order (RFC 5802 5.1).
fn attributes(message: &str) -> impl Iterator<Item = (&str, &str)> {
    message.split(',').filter_map(|attribute| attribute.split_once('='))
}

/// Whether both are the same, in a time that does not tell where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests;
