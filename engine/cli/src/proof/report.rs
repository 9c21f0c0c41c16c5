//! What a child is asked, and what it says in the end: JSON on its standard streams.

use std::path::PathBuf;

use mailstack_policy::DomainName;
use serde::{Deserialize, Serialize};

/// What is to be proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The candidate's `mta.toml`: octet for octet, or without TLS and authentication where it has its own.
    pub config: String,
    /// The configuration that the promises are derived from; None: the candidate's own.
    #[serde(default)]
    pub promised: Option<String>,
    /// The generation's directory, where the host's Sendmail runs it.
    #[serde(default)]
    pub generation: Option<PathBuf>,
    /// The name that the host has where the configuration does not say.
    pub hostname: DomainName,
}

/// What the child says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "snake_case")]
pub enum Outcome {
    /// The candidate ran.
    Ran(ProofReport),
    /// No world could be made to run it in.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// It did not come up.
    NotStarted {
        /// The end of what it wrote.
        log: Vec<String>,
    },
}

/// What was tried on a candidate that ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofReport {
    /// Every probe with its result.
    pub results: Vec<ProbeResult>,
    /// The end of what the candidate wrote.
    pub log: Vec<String>,
    /// How long it all took, milliseconds.
    pub millis: u64,
}

impl ProofReport {
    /// The probes that ended otherwise than promised.
    pub fn failed(&self) -> impl Iterator<Item = &ProbeResult> {
        self.results.iter().filter(|result| !result.passed)
    }
}

/// One probe and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeResult {
    /// The promise, as the prove crate writes it.
    pub promise: String,
    /// What was tried, and from where.
    pub probe: String,
    /// What must be seen.
    pub expected: String,
    /// Whether it was.
    pub passed: bool,
    /// What was seen: the dialogue, what arrived, what listens.
    pub evidence: Vec<String>,
}
