//! Why a decision was taken: the rules that took part in it, in the order in which they did.
//!
//! Decisions note their rules where somebody listens ([`Here::noting`]); that changes nothing of a decision. A new rule
//! becomes visible by a variant of [`Rule`] and a note where it decides.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use ipnet::IpNet;
use mailstack_smtp::address::{Address, Domain, DomainName};
use serde::Serialize;

use crate::access::AccessKey;
use crate::decision::{Here, Refusal};
use crate::rules::{MailertableKey, VirtuserKey};

/// A rule that took part in a decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule", content = "of")]
pub enum Rule {
    /// A program of this host may send to anywhere.
    LocalProgram,
    /// So may who connects from a loopback address.
    LoopbackClient,
    /// So may a host of a relay network.
    RelayNetwork(IpNet),
    /// So may who has authenticated.
    Authenticated,
    /// So may a client whose confirmed name an access entry trusts.
    TrustedName,
    /// An access entry: this client may send to anywhere, or anybody to this domain.
    Access(AccessKey),
    /// This client may not.
    Untrusted(IpAddr),
    /// Anybody may send to this relay domain and below it.
    RelayDomain(DomainName),
    /// The address names this host itself.
    OwnName,
    /// A domain whose mail ends here (class w).
    LocalDomain(DomainName),
    /// The local part hides an address: `user%host`, `host!user`.
    Hidden,
    /// An alias expands.
    Alias(String),
    /// An alias with an owner, or with addresses in a file: expanded when it is delivered to.
    List(String),
    /// An alias names a program, which gets the message (`"|program"`).
    Program(String),
    /// An alias names a file, which the message is appended to.
    File(String),
    /// `\user`, or an alias that names itself: the mailbox, not expanded again.
    NotExpanded(String),
    /// A user of this host.
    User(String),
    /// A name on the right-hand side of an alias that nobody has: taken, and returned when it cannot be delivered.
    AliasToNobody(String),
    /// A name that must take mail and that nobody has (RFC 5321 4.5.1): the operator stands in.
    StandIn(String),
    /// What a program hands in is never refused: it comes back as a bounce.
    Returned,
    /// A `virtusertable` entry.
    Virtuser(VirtuserKey),
    /// Nobody but those of the `virtusertable` lives in a virtual domain; only postmaster is taken there.
    VirtualDomain(DomainName),
    /// The `genericstable` entry with this key.
    Generics(String),
    /// A `mailertable` entry.
    Mailertable(MailertableKey),
    /// The mail hosts (`SMART_HOST`).
    MailHosts,
    /// No other rule: by the MX records of the domain.
    Mx,
    /// No other rule: to the address itself.
    Literal,
    /// A mailbox of this host.
    Mailbox,
    /// A bare name, or this host's, gets a domain.
    Qualify,
    /// A sender, or where `allmasquerade` holds a recipient, of this host or of a local domain.
    Masquerade,
    /// The same, of a further domain (`MASQUERADE_DOMAIN`).
    MasqueradeDomain(DomainName),
    /// `EXPOSED_USER`
    ExposedUser(String),
    /// Masquerading does not reach here: `masquerade_envelope` or `allmasquerade` is off.
    NotMasqueraded,
    /// It is refused.
    Refused(Refusal),
}

/// A rule, and what it made of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// The address that it was held against.
    pub before: String,
    /// What it made of that.
    pub after: String,
}

/// What was noted.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Vec<Step>>);

impl Notes {
    /// Takes what was noted so far.
    pub fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Where decisions note their rules; by default nowhere.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Why<'a>(Option<&'a Notes>);

impl<'a> Here<'a> {
    /// The same host, with somebody who listens to why.
    pub fn noting(self, notes: &'a Notes) -> Self {
        Self { why: Why(Some(notes)), ..self }
    }

    /// Notes a rule, and what it made of what; the rule is only made where somebody listens.
    pub(crate) fn note(
        self,
        rule: impl FnOnce() -> Rule,
        before: &dyn fmt::Display,
        after: &dyn fmt::Display,
    ) {
        if let Why(Some(notes)) = self.why {
            let step = Step { rule: rule(), before: before.to_string(), after: after.to_string() };
            notes.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        }
    }

    /// Notes a rule that another crate has looked up.
    pub fn note_rule(self, rule: Rule, address: &dyn fmt::Display) {
        self.note_of(|| rule, address);
    }

    /// Notes a rule that leaves the address as it is.
    pub(crate) fn note_of(self, rule: impl FnOnce() -> Rule, address: &dyn fmt::Display) {
        self.note(rule, address, address);
    }
}

/// An address in parts, as it is written.
pub(crate) struct Parts<'p>(pub(crate) &'p str, pub(crate) Option<&'p Domain>);

impl fmt::Display for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Address::new(self.0, self.1.cloned()) {
            Ok(address) => address.fmt(f),
            Err(_) => f.write_str(self.0),
        }
    }
}
