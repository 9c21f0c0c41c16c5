//! What an MTA decides about addresses: accept or refuse, rewrite, expand, route.
//!
//! Owns: the typed rules that a declaration resolves to, and every decision taken from them. Each decision is a
//! pure function; the MTA and the proofs call the same ones. Must not know a DNS client (names that were looked
//! up are arguments) nor the text of a reply (a decision is a value; the server words it).

pub use mailstack_smtp::address::{Address, AddressError, Domain, DomainName, ReversePath};

pub mod rules;
