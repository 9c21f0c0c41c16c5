//! What a generation says about itself: `manifest.json`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The version of the manifest's format.
pub const FORMAT: u32 = 1;

/// A SHA-256, as 64 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

impl Digest {
    /// The digest of these octets.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first twelve digits, enough to name a generation to a person.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not 64 lower-case hexadecimal digits")]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match text.len() == 64 && text.bytes().all(hexadecimal) {
            true => Ok(Self(text.to_owned())),
            false => Err(NoDigest),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, NoDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file is for; what must be done when it changes follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The resolved declaration in its canonical form.
    Declaration,
    /// The configuration of the built-in MTA.
    Mta,
    /// The source of a `.cf`.
    Mc,
    /// The source of a map, or a class file.
    Table,
    /// A systemd unit.
    Unit,
    /// Anything else that a host reads.
    Other,
}

/// One file of a generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRecord {
    /// Its place below `/`, without the leading slash.
    pub path: String,
    /// The digest of its octets.
    pub sha256: Digest,
    /// Its mode, four octal digits.
    pub mode: String,
    /// What it is for.
    pub kind: Kind,
}

/// A file that a tool of the host made from others: outside the digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivedRecord {
    /// Its place below `/`, without the leading slash.
    pub path: String,
    /// The digest of its octets.
    pub sha256: Digest,
    /// Its mode, four octal digits.
    pub mode: String,
    /// The cf library that it was made with, with its version.
    pub with: String,
}

/// A derived file that this host could not make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeftOut {
    /// The place that it would have.
    pub path: String,
    /// Why it is not there.
    pub reason: String,
}

/// `manifest.json`. Holds no date, user, host or path of the machine that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// The version of mailstack that wrote it.
    pub mailstack: String,
    /// The generation's name.
    pub digest: Digest,
    /// The role.
    pub role: String,
    /// The host's name, where the declaration gives one.
    pub hostname: Option<String>,
    /// All that the digest covers, by path.
    pub files: Vec<FileRecord>,
    /// All that was derived from it, by path.
    pub derived: Vec<DerivedRecord>,
    /// What could not be derived, by path.
    pub left_out: Vec<LeftOut>,
}

impl Manifest {
    /// The digest that these files give: over path, mode and content of each, in the order of their paths.
    pub fn digest_of(files: &[FileRecord]) -> Digest {
        let mut text = format!("mailstack generation {FORMAT}\n");
        for file in files {
            text.push_str(&format!("{} {} {}\n", file.mode, file.sha256, file.path));
        }
        Digest::of(text.as_bytes())
    }

    /// The manifest as it is written: JSON with a newline at its end.
    pub fn to_json(&self) -> String {
        #[expect(clippy::expect_used, reason = "plain structs of strings and numbers always serialise")]
        let text = serde_json::to_string_pretty(self).expect("a manifest serialises");
        text + "\n"
    }
}
