//! The built command: transcripts, and an apply with the real daemon.

mod activation;
mod host;
mod transcripts;
