//! Probes and findings of the four roles, as snapshots.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod findings;
mod fixtures;
mod probes;
