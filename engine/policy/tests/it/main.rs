//! The decisions of the policy crate, as tables.

mod aliases;
mod fixtures;
mod headers;
mod properties;
mod recipients;
mod routes;
mod senders;
