//! The host's Sendmail as it lies on the host: its maps, its files in `/etc/mail`, its queues, its processes.
//!
//! Owns what is Sendmail's own and nothing of the built-in MTA. Must not know what a configuration says about mail.

pub(crate) mod links;
pub mod maps;
pub mod process;
pub mod queue;
pub(crate) mod users;
