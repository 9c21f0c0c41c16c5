//! Other MTAs of a host: found, stopped and kept from starting, their queues emptied, their files kept, and all of it
//! given back.
//!
//! Owns the record of how the host was before, `var/lib/mailstack/before`, which is durable before anything is changed.
//! Must not know what a generation holds.

mod drain;
mod find;
mod give_back;
mod init;
mod keep;
mod known;
mod record;
mod units;

pub(crate) use drain::drain;
pub use drain::{Queue, queues};
pub(crate) use find::{Presence, find, is_known_process};
pub(crate) use give_back::{give_back, give_files_back};
pub(crate) use init::Process;
pub(crate) use keep::{keep, stop};
pub use record::Before;
pub(crate) use record::below;
