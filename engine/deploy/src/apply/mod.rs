//! From a declaration to a running MTA, or back to what was before.
//!
//! Owns the order of the steps, what is checked before and after the switch, and the way back. Must not know SMTP:
//! what a candidate does with mail is the [`Prover`]'s to say.

mod deactivate;
mod error;
mod furnish;
mod journal;
mod no_root;
mod preflight;
mod prover;
mod roll_back;
mod steps;
mod takeover;
mod verify;

pub use deactivate::{Deactivate, Given};
pub use error::{ApplyError, Cause, Undone};
pub use furnish::{Program, RECORDS, programs};
pub use journal::{Event, Journal, Note, Step};
pub(crate) use preflight::counts;
pub use preflight::{Obstacle, Queued};
pub use prover::{Proof, Prover};
pub use steps::{Apply, Done, Wanted, collect, live_config, stop};
pub use takeover::TakeOver;
pub use verify::{Discrepancy, sockets};
pub(crate) use verify::{discrepancies, unserved};
