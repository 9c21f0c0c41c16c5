//! The values that decisions are taken from and expressed in. No decision is taken here but whose a name is.

use std::net::IpAddr;

use mailstack_smtp::address::{Address, Domain, DomainName};
use mailstack_smtp::reply::Enhanced;
use serde::{Deserialize, Serialize};

use crate::access;
use crate::rules::{NextHop, Rules};
use crate::why::{Rule, Why};

/// What a host knows of itself when it runs and a configuration cannot say.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// Its fully qualified name, `$j`.
    pub hostname: &'a DomainName,
    /// The addresses of its interfaces; the loopback ones are its own in any case.
    pub addresses: &'a [IpAddr],
    /// Who listens to why.
    pub(crate) why: Why<'a>,
}

impl<'a> Here<'a> {
    /// A host with its name and the addresses of its interfaces.
    pub fn new(hostname: &'a DomainName, addresses: &'a [IpAddr]) -> Self {
        Self { hostname, addresses, why: Why::default() }
    }

    /// A host of which only the name is known.
    pub fn named(hostname: &'a DomainName) -> Self {
        Self::new(hostname, &[])
    }

    /// Whether `domain` names this host itself: its name, the first label of it, `localhost`, or the literal of
    /// one of its addresses.
    pub fn is_own_host(&self, domain: &Domain) -> bool {
        match domain {
            Domain::Name(name) => self.is_own_name(name),
            Domain::Literal(literal) => {
                let literal = literal.to_canonical();
                literal.is_loopback() || self.addresses.iter().any(|own| own.to_canonical() == literal)
            }
        }
    }

    fn is_own_name(&self, name: &DomainName) -> bool {
        let own = self.hostname.as_str();
        let first_label = own.split('.').next();
        name.as_str() == own || name.as_str() == "localhost" || Some(name.as_str()) == first_label
    }

    /// Whether mail for `domain` is this host's to decide about (class w): its own names, the local domains and
    /// the virtual ones.
    pub fn is_local(&self, rules: &Rules, domain: &Domain) -> bool {
        self.is_own_host(domain)
            || domain.name().is_some_and(|name| {
                rules.local_domains.contains(name) || rules.virtual_domains.contains(name)
            })
    }
}

/// Who hands mail in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Client {
    /// A program of this host, over the submission socket or the drop directory.
    Local {
        /// The user that it runs as.
        uid: u32,
    },
    /// A host that speaks SMTP over TCP.
    Network {
        /// Its address.
        addr: IpAddr,
    },
    /// The same, of a client that has shown who it is (AUTH).
    Authenticated {
        /// Its address.
        addr: IpAddr,
    },
    /// A host that speaks SMTP over TCP and may relay by more than its address: its confirmed name.
    Trusted {
        /// Its address.
        addr: IpAddr,
    },
}

impl Client {
    /// Whether it may send to anywhere: a program of this host, a loopback address, a relay network, a trusted host,
    /// an authenticated user.
    pub fn may_relay(&self, rules: &Rules) -> bool {
        self.relays_by(rules).is_ok()
    }

    /// The rule by which it may send to anywhere, or else the one by which it may not.
    pub fn relays_by(&self, rules: &Rules) -> Result<Rule, Rule> {
        let addr = match self {
            Client::Local { .. } => return Ok(Rule::LocalProgram),
            Client::Authenticated { .. } => return Ok(Rule::Authenticated),
            Client::Trusted { .. } => return Ok(Rule::TrustedName),
            Client::Network { addr } => addr.to_canonical(),
        };
        if addr.is_loopback() {
            return Ok(Rule::LoopbackClient);
        }
        access::relays_for_address(rules, addr).ok_or(Rule::Untrusted(addr))
    }
}

/// What is decided about a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientVerdict {
    /// Take it; these are the final recipients, without repetition, in the order of the aliases. Never empty.
    Deliver(Vec<Expanded>),
    /// Refuse it.
    Refuse(Refusal),
}

/// One final recipient: always with a domain, never to be looked up in the aliases again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expanded {
    /// Where the message goes. A user of this host is `user@` the host's name or a local domain.
    pub address: Address,
    /// What the client wrote, where `address` is another.
    pub expanded_from: Option<Address>,
    /// What is done with it there.
    pub target: Target,
}

impl From<Address> for Expanded {
    /// A recipient that is what was written.
    fn from(address: Address) -> Self {
        Self { address, expanded_from: None, target: Target::Address }
    }
}

/// What is done with a final recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// It goes where its address says.
    #[default]
    Address,
    /// It is queued anew for the members of this alias when it is delivered, with the alias's owner as the sender.
    List(String),
    /// A program of this host gets it: path and arguments.
    Program(String),
    /// It is appended to this file.
    File(String),
    /// Nothing: it comes back to the sender.
    Refused(Refusal),
}

impl Target {
    /// Whether the address says all.
    pub fn is_address(&self) -> bool {
        *self == Target::Address
    }
}

/// Why an address is refused. The server turns it into a reply.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The client may not send there through this host (550 5.7.1).
    RelayingDenied,
    /// A local domain, but neither an alias nor a user (550 5.1.1).
    UserUnknown,
    /// What the address means cannot be read (553 5.1.3).
    BadAddress(BadAddress),
    /// It names no mailbox but what only an alias may name (550 5.7.1).
    NotAMailbox(NotAMailbox),
    /// The aliases lead back to where they began, or on for too long (554 5.4.6).
    AliasLoop,
    /// A sender from the network without a domain (553 5.5.4).
    SenderUnqualified,
    /// A sender at `localhost` from another host (553 5.5.4).
    SenderNotReal,
    /// The `mailertable` or the `virtusertable` says so.
    MailerError {
        /// The reply code, 400 to 599.
        code: u16,
        /// The enhanced status code, `5.1.2`.
        enhanced: String,
        /// The text behind the codes.
        text: String,
    },
    /// An access entry says so.
    Access {
        /// The reply code, 400 to 599; 250 for what is taken and thrown away.
        code: u16,
        /// The enhanced status code, `5.7.1`.
        enhanced: String,
        /// The text behind the codes.
        text: String,
    },
    /// A host without mailboxes and without a mail host has nowhere to send it (553 5.3.5).
    NoRoute,
}

impl Refusal {
    /// The reply code and the enhanced status code (RFC 3463) that it is answered with.
    pub fn codes(&self) -> (u16, Option<Enhanced>) {
        let (code, enhanced) = match self {
            Refusal::RelayingDenied | Refusal::NotAMailbox(_) => (550, Enhanced(5, 7, 1)),
            Refusal::UserUnknown => (550, Enhanced(5, 1, 1)),
            Refusal::BadAddress(_) => (553, Enhanced(5, 1, 3)),
            Refusal::AliasLoop => (554, Enhanced(5, 4, 6)),
            Refusal::SenderUnqualified | Refusal::SenderNotReal => (553, Enhanced(5, 5, 4)),
            Refusal::NoRoute => (553, Enhanced(5, 3, 5)),
            Refusal::MailerError { code, enhanced, .. } | Refusal::Access { code, enhanced, .. } => {
                return (*code, enhanced.parse().ok());
            }
        };
        (code, Some(enhanced))
    }
}

/// What is wrong with an address that a form like `user%host` hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadAddress {
    /// Nobody in front of the host: `%far.example@here`.
    UserRequired,
    /// No host behind the sign: `joe%@here`.
    HostRequired,
    /// A host that is no domain name and no address literal, or a user that is no local part.
    InvalidRoute,
}

/// What only an alias may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotAMailbox {
    /// `|program`
    Program,
    /// `/file`
    File,
    /// `:include:list`
    Include,
}

/// Where a final recipient goes next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Into the mailbox of a user of this host.
    Local {
        /// The user's name, lower case.
        user: String,
    },
    /// To the standard input of a program of this host (mailer `prog`).
    Program {
        /// Its path and its arguments, parted by single blanks.
        command: String,
    },
    /// To the end of a file of this host (mailer `*file*`).
    File {
        /// Its path.
        path: String,
    },
    /// To the first of these that takes it; never empty.
    Hops(Vec<NextHop>),
    /// To the mail exchangers of the domain, or its addresses where it has none (RFC 5321 5.1).
    Mx {
        /// The domain.
        domain: DomainName,
        /// The TCP port.
        port: u16,
    },
    /// To this address (RFC 5321 4.1.3).
    Literal {
        /// The address.
        addr: IpAddr,
        /// The TCP port.
        port: u16,
    },
    /// Nowhere: it fails for good.
    Fail(Refusal),
}
