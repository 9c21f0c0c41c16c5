//! Configurations in, findings out: open relays, black holes, loops; and what to send at a candidate MTA before it
//! goes live.
//!
//! Pure: no socket, no file, no clock. Owns: which attempts are made, and what must come of them. Every decision
//! about an address is the policy crate's, and every command line is read by the SMTP crate's parser: what is
//! proven here is what the MTA does, not a second model of it.

pub use crate::finding::{Finding, Severity, findings, findings_at};
pub use crate::probe::{Attempt, Expectation, NextHopAnswer, Probe, Promise, probes, probes_at};
pub use crate::source::{Family, Source};
pub use crate::trace::{Decided, Question, Trace, trace};

pub mod corpus;
pub mod expect;
mod finding;
pub mod fleet;
mod probe;
mod site;
mod source;
mod trace;
