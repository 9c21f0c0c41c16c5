//! SMTP as values and as sans-I/O sessions, for both sides of the connection.
//!
//! Owns: addresses, commands, replies, the transparency of message data, and the order in which RFC 5321 lets
//! them come. Uses the standard library, memchr to scan, idna for names and
//! ring for what authentication computes. Must not know a socket, a clock, a file or a policy: a
//! driver feeds bytes in, takes bytes out and answers what only it can decide.

pub mod address;
pub mod client;
pub mod command;
pub mod data;
pub mod reply;
pub mod sasl;
pub mod server;
