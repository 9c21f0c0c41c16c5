//! SMTP as values and as sans-I/O sessions, for both sides of the connection.
//!
//! Owns: addresses, commands, replies, the transparency of message data, and the order in which RFC 5321 lets
//! them come. Uses nothing but the standard library. Must not know a socket, a clock, a file or a policy: a
//! driver feeds bytes in, takes bytes out and answers what only it can decide.

pub mod address;
