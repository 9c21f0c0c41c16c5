//! The decisions of the policy crate, as tables.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod aliases;
mod fixtures;
mod generics;
mod headers;
mod properties;
mod recipients;
mod routes;
mod senders;
mod virtusers;
mod why;
