//! The rules: what deploy resolves a declaration to and the MTA's configuration carries.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use mailstack_smtp::address::{Address, DomainName};
use serde::{Deserialize, Serialize};

use crate::access::Access;

mod generics;
mod template;
mod virtuser;

pub use generics::Generics;
pub use template::Template;
pub use virtuser::{Virtuser, VirtuserKey};

/// Everything that decides where an address goes and who may send to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// What a bare name (`root`) in an envelope or header is completed with.
    pub qualify: Qualify,
    /// Whether this host has mailboxes. Without, mail for its own names goes to the mail hosts.
    pub local_mailboxes: bool,
    /// Domains whose mail ends here, beside the host's own name and `localhost` (class w, `local-host-names`).
    pub local_domains: BTreeSet<DomainName>,
    /// Domains, with all below them, that mail is relayed for from anywhere (class R, `relay-domains`).
    pub relay_domains: BTreeSet<DomainName>,
    /// Networks whose hosts may relay to anywhere (access `Connect:… RELAY`).
    pub relay_networks: BTreeSet<IpNet>,
    /// Entries about clients, senders and recipients beside these two (`/etc/mail/access`).
    #[serde(default, skip_serializing_if = "Access::is_empty")]
    pub access: Access,
    /// How sender addresses are rewritten; None leaves them.
    pub masquerade: Option<Masquerade>,
    /// How senders are rewritten by table, in front of masquerading (`genericstable`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generics: Option<Generics>,
    /// Domains of which only those addresses exist that `virtusertable` names, and postmaster.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub virtual_domains: BTreeSet<DomainName>,
    /// Which addresses of local and virtual domains mean another one (`virtusertable`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub virtusertable: BTreeMap<VirtuserKey, Virtuser>,
    /// Local names and what they expand to (`/etc/mail/aliases`); names are lower case.
    pub aliases: BTreeMap<String, Vec<AliasTarget>>,
    /// Next hops by recipient domain (`mailertable`).
    pub mailertable: BTreeMap<MailertableKey, Mailer>,
    /// Where everything not local goes, in order of preference (`SMART_HOST`, the hub of `nullclient` and `msp`);
    /// empty: directly by MX.
    pub mail_hosts: Vec<NextHop>,
}

/// What completes a bare name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Qualify {
    /// The host's own name, `$j`.
    OwnHost,
    /// This domain.
    Domain(DomainName),
}

/// Masquerading (`MASQUERADE_AS` and the features about it). The host's own name is always masqueraded, a virtual
/// domain never.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masquerade {
    /// The domain that senders appear in (`MASQUERADE_AS`).
    pub domain: DomainName,
    /// Rewrite the envelope sender too (`masquerade_envelope`).
    pub envelope: bool,
    /// Rewrite header recipients too (`allmasquerade`). Envelope recipients are never touched by it.
    pub recipients: bool,
    /// Further domains to rewrite (`MASQUERADE_DOMAIN`).
    pub domains: BTreeSet<DomainName>,
    /// `domains` covers the hosts below them too (`masquerade_entire_domain`).
    pub whole_domain: bool,
    /// The local domains are left as they are, but for those among `domains` (`limited_masquerade`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub limited: bool,
    /// Domains that are left as they are with all below them, whatever covers them (`MASQUERADE_EXCEPTION`).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exceptions: BTreeSet<DomainName>,
    /// Local parts left as they are (`EXPOSED_USER`), lower case.
    pub exposed_users: BTreeSet<String>,
}

/// One thing that an alias expands to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasTarget {
    /// An address, or the bare name of a user or a further alias.
    Address(Address),
    /// A local user, not expanded again (`\user`).
    User(String),
    /// The addresses in this file, read when the alias is delivered to (`:include:/path`).
    Include(String),
    /// The message to the standard input of this program: its path and its arguments, parted by single blanks
    /// (`"|/path argument"`).
    Program(String),
    /// The message to the end of this file, in mbox form (`/path`).
    File(String),
}

/// What a `mailertable` entry is looked up by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum MailertableKey {
    /// `corp.example`: this domain and no other.
    Exact(DomainName),
    /// `.corp.example`: every name below it, but not it itself.
    Below(DomainName),
}

impl TryFrom<String> for MailertableKey {
    type Error = mailstack_smtp::address::AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.strip_prefix('.') {
            Some(parent) => parent.parse().map(Self::Below),
            None => text.parse().map(Self::Exact),
        }
    }
}

impl From<MailertableKey> for String {
    fn from(key: MailertableKey) -> String {
        match key {
            MailertableKey::Exact(name) => name.into(),
            MailertableKey::Below(name) => format!(".{name}"),
        }
    }
}

/// What a `mailertable` entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mailer {
    /// Hand on by SMTP to the first of these that takes it.
    Smtp {
        /// The Sendmail mailer that the entry names.
        agent: Agent,
        /// In order of preference; never empty.
        hosts: Vec<NextHop>,
    },
    /// Deliver here, to this user or alias (`local:user`), or to the address's own local part (`local:`).
    Local {
        /// The user, where the entry names one.
        user: Option<String>,
    },
    /// Refuse (`error:5.1.2:550 text`).
    Error {
        /// The reply code, 400 to 599.
        code: u16,
        /// The enhanced status code, `5.1.2`.
        enhanced: String,
        /// The text behind the codes.
        text: String,
    },
}

/// Sendmail's SMTP mailers; to the built-in MTA they are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Agent {
    /// `smtp`
    Smtp,
    /// `esmtp`
    Esmtp,
    /// `relay`
    Relay,
}

/// A host to hand mail to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextHop {
    /// The host.
    pub host: HopHost,
    /// Its TCP port.
    pub port: u16,
}

/// How the addresses of a next hop are found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HopHost {
    /// `corp.example`: by its MX records, or its addresses where it has none.
    Mx(DomainName),
    /// `[mail.corp.example]`: by its addresses, never by MX.
    Host(DomainName),
    /// `[192.0.2.1]`
    Address(IpAddr),
}
