//! The built command: transcripts, and an apply with the real daemon.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activation;
mod editor;
mod flake;
mod host;
mod imports;
mod nixos;
mod proof;
mod reference;
mod reproducible;
mod transcripts;
