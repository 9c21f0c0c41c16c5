//! The built command: transcripts, and an apply with the real daemon.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activation;
mod answers;
mod callers;
mod ci;
mod confined;
mod editor;
mod flake;
mod fleet;
mod host;
mod imports;
mod inetd;
mod interop;
mod load;
mod nixos;
mod programs;
mod proof;
mod queue;
mod recipes;
mod reference;
mod reproducible;
mod sendmail;
mod takeover;
mod transcripts;
