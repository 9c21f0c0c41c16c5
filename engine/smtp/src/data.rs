//! Message data: its transparency, both ways (RFC 5321 4.5.2), and what may not be in it (2.3.8, 4.1.1.4).
//!
//! Owns: where a message ends. Only CRLF `.` CRLF ends one; a CR or an LF alone is refused, not repaired, because
//! what one host takes for the end of a message and another does not lets a sender smuggle a second one through.
//! Must not know commands and replies.

mod chunk;
mod receiver;
mod stuffer;
mod swallow;

pub use chunk::Chunks;
pub use receiver::{Fault, Limits, Part, Receiver};
pub use stuffer::{Stuffer, stuffed};

/// The octets of a text line, its CRLF included, that RFC 5321 4.5.3.1.6 asks everyone to take.
pub const MAX_TEXT_LINE: u32 = 1000;

/// The most octets of a refused message that are read to find its end; over that the connection closes.
pub const MAX_SWALLOWED: u64 = 256 * 1024 * 1024;
