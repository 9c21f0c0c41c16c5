//! The proof of a candidate: the real program runs on the candidate's own configuration in a network of its own,
//! and is probed from outside before anything is switched.
//!
//! Owns the throw-away world (namespaces, addresses, a name server, the hosts that mail is sent on to) and the
//! verdict. What is tried, and what must come of it, is the prove crate's. Three processes: the one that applies; a
//! child that takes the namespaces; and that one's child, the first process of the world, with which all ends.

mod arrivals;
mod candidate;
mod child;
mod dialogue;
mod envelopes;
mod judge;
mod listeners;
mod messages;
mod names;
mod network;
mod plan;
mod prover;
mod report;
mod scratch;
mod sendmail;
mod sink;
mod world;

pub use child::{COMMAND, main_child};
pub use prover::CandidateProver;
