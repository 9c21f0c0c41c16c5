//! The exit codes of sysexits.h, which those who call sendmail know.

/// This file, for the reference of codes, which is made of its comments.
pub const SOURCE: &str = include_str!("sysexits.rs");

/// Done.
pub const EX_OK: u8 = 0;
/// The command line.
pub const EX_USAGE: u8 = 64;
/// The message, or an address in it.
pub const EX_DATAERR: u8 = 65;
/// A recipient does not exist.
pub const EX_NOUSER: u8 = 67;
/// Refused for good, or nobody is there to ask.
pub const EX_UNAVAILABLE: u8 = 69;
/// A failure of the system: the caller's name is not known, say.
pub const EX_OSERR: u8 = 71;
/// Reading or writing failed.
pub const EX_IOERR: u8 = 74;
/// Try again later.
pub const EX_TEMPFAIL: u8 = 75;
/// Permission denied.
pub const EX_NOPERM: u8 = 77;
/// Nothing has been applied here.
pub const EX_CONFIG: u8 = 78;
