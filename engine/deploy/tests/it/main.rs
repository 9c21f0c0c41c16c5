//! The crate from outside: declarations in, files out.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cf;
mod differential;
mod golden;
mod hosts;
mod real_inetd;
mod real_no_root;
mod real_programs;
mod real_sendmail;
mod real_tables;
mod systemd;
