//! The crate from outside: declarations in, files out.

mod cf;
mod golden;
mod hosts;
mod real_sendmail;
