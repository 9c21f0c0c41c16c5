//! The built command: transcripts, and an apply with the real daemon.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activation;
mod host;
mod proof;
mod reproducible;
mod transcripts;
