//! Faults of a file as written: where, at which key, and of which kind.
//!
//! Owns the kinds and one line of each. The help around them belongs to the command; what help needs (suggestions,
//! what is allowed, which roles have a key) is in the kind.

use std::fmt;
use std::ops::Range;

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the text, in octets.
    pub span: Range<usize>,
    /// The key path (`relay.networks[1]`), empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { self.kind.fmt(f) } else { write!(f, "{}: {}", self.path, self.kind) }
    }
}

impl std::error::Error for Fault {}

/// What is wrong with a file as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// Larger than [`crate::MAX_SIZE`].
    #[error("the file has {size} octets, the limit is {limit}")]
    TooLarge {
        /// Octets it has.
        size: usize,
        /// Octets it may have.
        limit: usize,
    },
    /// Octets that are not UTF-8.
    #[error("not UTF-8 text")]
    NotUtf8,
    /// Not TOML; a key written twice too.
    #[error("not TOML: {message}")]
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// A key that there is not.
    #[error("unknown key `{}`{}", clipped(.key), instead(.suggestion.as_deref(), .allowed, .tag, .roles))]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The nearest key that is allowed here.
        suggestion: Option<String>,
        /// All keys that are allowed here.
        allowed: Vec<String>,
        /// The key whose value decides which keys there are here (`role`), empty for none.
        tag: String,
        /// Values of the tag (roles) under which the key exists at this place.
        roles: Vec<String>,
    },
    /// A key with a dot in it that is not quoted, where names are keys: TOML reads a table.
    #[error("a key with a dot must be quoted: `\"{}\"`", clipped(.key))]
    UnquotedKey {
        /// The key that was meant.
        key: String,
    },
    /// A key of the top level that stands below the header of a table, and so belongs to the table.
    #[error("`{}` is no key of `{table}`: it belongs above the first [table]", clipped(.key))]
    BelowTable {
        /// The key as written.
        key: String,
        /// The table that it stands in.
        table: String,
    },
    /// A value of another type.
    #[error("expected {expected}, found {found}")]
    WrongType {
        /// What must be here (`string or array of strings`).
        expected: String,
        /// What is here.
        found: &'static str,
    },
    /// A key that must be there and is not.
    #[error("missing key `{key}`")]
    MissingKey {
        /// The key.
        key: String,
    },
    /// The key that decides which others there are (`role`) is not there.
    #[error("missing key `{key}`: it must be {}", one_of(.allowed))]
    MissingTag {
        /// The key.
        key: String,
        /// Its values.
        allowed: Vec<String>,
    },
    /// A value that is none of those allowed.
    #[error("{} is not allowed: it must be {}", clipped(.found), one_of(.allowed))]
    NotOneOf {
        /// The value as written.
        found: String,
        /// The nearest allowed value.
        suggestion: Option<String>,
        /// All allowed values.
        allowed: Vec<String>,
    },
    /// A number outside its range.
    #[error("{} is out of range{}", clipped(.found), range(*.minimum, *.maximum))]
    OutOfRange {
        /// The number as written.
        found: String,
        /// The least that is allowed.
        minimum: Option<u64>,
        /// The most that is allowed.
        maximum: Option<u64>,
    },
    /// A text that is not of the form wanted.
    #[error("`{}` is not {expected}", clipped(.found))]
    BadForm {
        /// The text as written.
        found: String,
        /// The form and its bounds in words (`a duration from 1s to 366d, as 5m`).
        expected: &'static str,
    },
    /// A list that must have an element and has none.
    #[error("the list is empty: it must have an element at least")]
    EmptyList,
    /// None or several of keys of which exactly one must be there.
    #[error("exactly one of {} must be here, found {}", listed(.keys, ", "), listed(.found, ", "))]
    ExactlyOne {
        /// The keys to choose from.
        keys: Vec<String>,
        /// Those that are there.
        found: Vec<String>,
    },
    /// A version of the language that this program does not know.
    #[error("version {} of the language is not supported: it must be {supported}", clipped(.found))]
    UnsupportedVersion {
        /// The version as written.
        found: String,
        /// The version that is supported.
        supported: u64,
    },
    /// `imports` in a file that is imported.
    #[error("an imported file imports nothing: name the file in the one that imports this")]
    ImportInImport,
    /// More faults than are told.
    #[error("more than {limit} faults: only {limit} are listed")]
    TooMany {
        /// How many are told.
        limit: usize,
    },
    /// The schema let something pass that the types refuse: a bug here.
    #[error("cannot be read: {message}")]
    Unreadable {
        /// serde's words.
        message: String,
    },
}

fn instead(suggestion: Option<&str>, allowed: &[String], tag: &str, roles: &[String]) -> String {
    match suggestion {
        _ if !roles.is_empty() => format!(": it exists only where `{tag}` is {}", listed(roles, " or ")),
        Some(suggestion) => format!(": did you mean `{suggestion}`?"),
        None if allowed.is_empty() => String::new(),
        None => format!(": the keys here are {}", listed(allowed, ", ")),
    }
}

/// The beginning of what was written: a message is for reading.
pub(crate) fn clipped(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().nth(LONGEST).is_none() {
        return text.to_owned();
    }
    text.chars().take(LONGEST).chain(['…']).collect()
}

fn range(minimum: Option<u64>, maximum: Option<u64>) -> String {
    match (minimum, maximum) {
        (Some(least), Some(most)) => format!(": it must be {least} to {most}"),
        (Some(least), None) => format!(": it must be {least} or more"),
        (None, Some(most)) => format!(": it must be {most} or less"),
        (None, None) => String::new(),
    }
}

/// What a value must be, in words: `a`, or one of `a`, `b`.
pub(crate) fn one_of(allowed: &[String]) -> String {
    let prefix = if allowed.len() > 1 { "one of " } else { "" };
    format!("{prefix}{}", listed(allowed, ", "))
}

fn listed(keys: &[String], between: &str) -> String {
    if keys.is_empty() {
        return "none".to_owned();
    }
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(between)
}
