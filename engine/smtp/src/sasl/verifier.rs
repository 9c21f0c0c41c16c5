//! What is kept of a password.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use ring::{digest, hmac, pbkdf2};

use super::{decode, encode, is_same};

/// How often a password is hashed where nothing else is said: some milliseconds. RFC 7677 4 asks for 4096 at least.
pub const DEFAULT_ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(14_999);
/// Bounds of what is read.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;
const MAX_SALT: usize = 64;
const SCHEME: &str = "SCRAM-SHA-256";

/// What a server keeps to know a password by: `SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER` (RFC 5803). Nobody can
/// log in with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    pub(super) iterations: NonZeroU32,
    pub(super) salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

/// A text that is no verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER with at least 4096 iterations")]
pub struct BadVerifier;

impl Verifier {
    /// The verifier of a password.
    pub fn derive(password: &str, salt: &[u8], iterations: NonZeroU32) -> Self {
        let salted = salted(password, salt, iterations);
        let client_key = sign(&salted, b"Client Key");
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: hash(&client_key),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// Whether this is the password. Takes as long as deriving it anew.
    pub fn is_of(&self, password: &str) -> bool {
        let other = Self::derive(password, &self.salt, self.iterations);
        is_same(&other.stored_key, &self.stored_key)
    }

    /// Whether the proof of a SCRAM exchange shows the password (RFC 5802 3).
    pub(super) fn proves(&self, auth_message: &[u8], proof: &[u8]) -> bool {
        let signature = sign(&self.stored_key, auth_message);
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        proof.len() == 32 && is_same(&hash(&client_key), &self.stored_key)
    }

    pub(super) fn server_signature(&self, auth_message: &[u8]) -> [u8; 32] {
        sign(&self.server_key, auth_message)
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, stored, server) = (encode(&self.salt), encode(&self.stored_key), encode(&self.server_key));
        write!(f, "{SCHEME}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

impl FromStr for Verifier {
    type Err = BadVerifier;

    fn from_str(text: &str) -> Result<Self, BadVerifier> {
        read(text).ok_or(BadVerifier)
    }
}

fn read(text: &str) -> Option<Verifier> {
    let mut parts = text.split('$');
    let (scheme, work, keys) = (parts.next()?, parts.next()?, parts.next()?);
    let ((iterations, salt), (stored, server)) = (work.split_once(':')?, keys.split_once(':')?);
    let iterations: u32 = iterations.parse().ok().filter(|count| ITERATIONS.contains(count))?;
    let salt = decode(salt).filter(|salt| (1..=MAX_SALT).contains(&salt.len()))?;
    let is_whole = scheme == SCHEME && parts.next().is_none();
    is_whole.then_some(Verifier {
        iterations: NonZeroU32::new(iterations)?,
        salt,
        stored_key: decode(stored)?.try_into().ok()?,
        server_key: decode(server)?.try_into().ok()?,
    })
}

/// RFC 5802 2.2, `Hi()`.
pub(super) fn salted(password: &str, salt: &[u8], iterations: NonZeroU32) -> [u8; 32] {
    let mut salted = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted);
    salted
}

pub(super) fn sign(key: &[u8], octets: &[u8]) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), octets);
    fixed(tag.as_ref())
}

pub(super) fn hash(octets: &[u8]) -> [u8; 32] {
    fixed(digest::digest(&digest::SHA256, octets).as_ref())
}

/// A SHA-256 has 32 octets.
fn fixed(octets: &[u8]) -> [u8; 32] {
    let mut all = [0; 32];
    all.iter_mut().zip(octets).for_each(|(to, from)| *to = *from);
    all
}
