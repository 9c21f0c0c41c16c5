//! What an MTA decides about addresses: accept or refuse, rewrite, expand, route.
//!
//! Owns: the typed rules that a declaration resolves to, and every decision taken from them. Each decision is a
//! pure function; the MTA and the proofs call the same ones. Must not know a DNS client (names that were looked
//! up are arguments) nor the text of a reply (a decision is a value; the server words it).

pub use mailstack_smtp::address::{Address, AddressError, Domain, DomainName, ReversePath};

pub use crate::decision::{
    BadAddress, Client, Expanded, Here, NotAMailbox, RecipientVerdict, Refusal, Route, Target,
};
pub use crate::exchangers::better_exchangers;
pub use crate::list::{
    IncludeError, IncludeFault, Includes, include_targets, list_includes, list_members, list_owner,
};
pub use crate::recipient::recipient;
pub use crate::rewrite::rewrite_header;
pub use crate::route::{route, route_target};
pub use crate::sender::sender;
pub use crate::why::{Notes, Rule, Step};

pub mod access;
pub mod address_list;
mod alias;
mod decision;
mod exchangers;
mod generics;
pub mod header;
mod interpret;
mod list;
mod recipient;
mod rewrite;
mod route;
pub mod rules;
mod sender;
mod virtuser;
mod why;
