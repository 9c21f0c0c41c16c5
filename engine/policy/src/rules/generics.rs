//! `genericstable`: which senders appear as another address.

use std::collections::{BTreeMap, BTreeSet};

use mailstack_smtp::address::DomainName;
use serde::{Deserialize, Serialize};

use super::template::Template;

/// The rewriting of senders by table. What is written here is looked up in front of masquerading.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generics {
    /// Domains whose senders are looked up, beside this host's own name (class G, `GENERICS_DOMAIN`).
    pub domains: BTreeSet<DomainName>,
    /// `domains` covers the hosts below them too (`generics_entire_domain`).
    pub whole_domain: bool,
    /// Envelope senders are looked up too: as with `masquerade_envelope`.
    pub envelope: bool,
    /// By `user@domain`, `user+*@domain`, `@domain`, `user` or `user+*`, lower case. `%1` is the detail, or with
    /// `@domain` the user.
    pub table: BTreeMap<String, Template>,
}
