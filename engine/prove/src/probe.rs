//! What to send at a candidate MTA, and what must come of it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use mailstack_policy::{Address, DomainName, Here, ReversePath};
use mailstack_runtime::{Config, Role};
use serde::Serialize;

use crate::corpus::{Lines, foreign_relay};
use crate::site::{foreign_domain, is_refused_on_purpose, own_addresses, sender_of_root, taken, unnamed};
use crate::source::{Family, Source, trusted, untrusted};

/// One attempt and its expected end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// What it proves.
    pub promise: Promise,
    /// Who makes the attempt.
    pub source: Source,
    /// What is done.
    pub attempt: Attempt,
    /// What must be seen.
    pub expect: Expectation,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Untrusted(addr) => write!(f, "from outside ({addr}): ")?,
            Source::Trusted(addr) => write!(f, "from inside ({addr}): ")?,
            Source::Program => write!(f, "from a program of the host: ")?,
        }
        match &self.attempt {
            Attempt::Listeners => write!(f, "listeners"),
            Attempt::Envelope(lines) => write!(f, "{}, {}", lines.mail, lines.rcpt),
            Attempt::Message { lines, .. } => write!(f, "{}, {}, message", lines.mail, lines.rcpt),
        }
    }
}

/// What a role promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// It listens where its configuration says, and nowhere else.
    Listens,
    /// A foreigner cannot send to a foreign domain.
    NoForeignRelay,
    /// It takes the mail that it is there for.
    OwnMail,
    /// Its relay networks can send to anywhere.
    InsideRelays,
    /// What cannot be delivered comes back to its sender.
    BounceReturns,
}

/// What is done to the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// Its listening TCP sockets are looked at.
    Listeners,
    /// MAIL and RCPT, then RSET.
    Envelope(Lines),
    /// A whole message is handed in.
    Message {
        /// Its envelope.
        lines: Lines,
        /// What the host that it is sent on to answers.
        next_hop: NextHopAnswer,
    },
}

/// What the driver's next hop answers to RCPT, whichever host it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NextHopAnswer {
    /// 250.
    Takes,
    /// 550.
    Refuses,
}

/// What must be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expectation {
    /// These TCP sockets listen and no other; empty: none. An unspecified address stands for every address.
    ListensOn(BTreeSet<SocketAddr>),
    /// MAIL or RCPT is answered with 4xx or 5xx, or the connection is.
    Refused,
    /// MAIL and RCPT are answered with 2xx.
    Accepted,
    /// A message with this envelope is queued, is delivered or reaches the next hop.
    Leaves {
        /// Its sender.
        sender: ReversePath,
        /// Its recipients, in any order.
        recipients: Vec<Address>,
    },
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expectation::ListensOn(sockets) if sockets.is_empty() => write!(f, "listens nowhere"),
            Expectation::ListensOn(sockets) => {
                write!(f, "listens on")?;
                sockets.iter().try_for_each(|socket| write!(f, " {socket}"))
            }
            Expectation::Refused => write!(f, "refused"),
            Expectation::Accepted => write!(f, "accepted"),
            Expectation::Leaves { sender, recipients } => {
                write!(f, "leaves from {sender} for")?;
                recipients.iter().try_for_each(|recipient| write!(f, " <{recipient}>"))
            }
        }
    }
}

/// What must be tried on a candidate that runs with this configuration. A host whose configuration names neither
/// itself nor its addresses is better served by [`probes_at`].
pub fn probes(config: &Config) -> Vec<Probe> {
    let hostname = config.hostname.clone().unwrap_or_else(unnamed);
    let addresses = own_addresses(config);
    probes_at(config, Here::new(&hostname, &addresses))
}

/// The same, for a candidate that runs under this name and these addresses.
pub fn probes_at(config: &Config, here: Here<'_>) -> Vec<Probe> {
    let mut probes = vec![listens(config)];
    let foreign = foreign_domain(config, here);
    if receives(config) {
        probes.extend(no_foreign_relay(config, here, &foreign));
        probes.extend(own_domains(config, here, &foreign));
        probes.extend(inside_relays(config, here, &foreign));
    }
    probes.push(submission(config, here));
    probes.push(bounce(config, here, &foreign));
    probes
}

/// Whether other hosts can reach it.
fn receives(config: &Config) -> bool {
    config.role == Role::Gateway && config.listeners.iter().any(|listener| !listener.ip().is_loopback())
}

fn listens(config: &Config) -> Probe {
    Probe {
        promise: Promise::Listens,
        source: Source::Program,
        attempt: Attempt::Listeners,
        expect: Expectation::ListensOn(config.listeners.clone()),
    }
}

/// The untrusted addresses of the families that it listens in.
fn foreigners(config: &Config, here: Here<'_>) -> impl Iterator<Item = Source> {
    let listens = |family: &Family| {
        let v4 = *family == Family::V4;
        config.listeners.iter().any(|listener| listener.is_ipv4() == v4 && !listener.ip().is_loopback())
    };
    Family::ALL.into_iter().filter(listens).filter_map(move |family| untrusted(&config.rules, here, family))
}

fn no_foreign_relay(config: &Config, here: Here<'_>, foreign: &DomainName) -> Vec<Probe> {
    let corpus = foreign_relay(here.hostname, here.addresses, foreign);
    let refused = |source: Source, lines: &Lines| Probe {
        promise: Promise::NoForeignRelay,
        source,
        attempt: Attempt::Envelope(lines.clone()),
        expect: Expectation::Refused,
    };
    let all = |source| corpus.iter().map(move |lines| refused(source, lines));
    foreigners(config, here).flat_map(all).collect()
}

/// Mail from anywhere for the host, its domains and the domains that it relays for.
fn own_domains(config: &Config, here: Here<'_>, foreign: &DomainName) -> Vec<Probe> {
    let rules = &config.rules;
    let domains: Vec<_> = std::iter::once(here.hostname)
        .chain(rules.local_domains.iter().chain(&rules.virtual_domains).chain(&rules.relay_domains))
        .filter(|domain| !is_refused_on_purpose(config, here, domain))
        .collect();
    let taken = |source, domain| Probe {
        promise: Promise::OwnMail,
        source,
        attempt: Attempt::Envelope(Lines::new(
            &format!("<probe@{foreign}>"),
            &format!("<postmaster@{domain}>"),
        )),
        expect: Expectation::Accepted,
    };
    foreigners(config, here)
        .flat_map(|source| domains.iter().map(move |domain| taken(source, domain)).collect::<Vec<_>>())
        .collect()
}

fn inside_relays(config: &Config, here: Here<'_>, foreign: &DomainName) -> Vec<Probe> {
    let relayed = |source| Probe {
        promise: Promise::InsideRelays,
        source,
        attempt: Attempt::Envelope(Lines::new(
            &format!("<postmaster@{}>", here.hostname),
            &format!("<probe@{foreign}>"),
        )),
        expect: Expectation::Accepted,
    };
    trusted(&config.rules, here).into_iter().map(relayed).collect()
}

/// What cron does: mail from root to root, without a domain.
fn submission(config: &Config, here: Here<'_>) -> Probe {
    let lines = Lines::new("<root>", "<root>");
    let expect = Expectation::Leaves {
        sender: sender_of_root(config, here),
        recipients: final_recipients(config, here, &lines.rcpt),
    };
    let attempt = Attempt::Message { lines, next_hop: NextHopAnswer::Takes };
    Probe { promise: Promise::OwnMail, source: Source::Program, attempt, expect }
}

/// Mail from root to somebody whom the next hop does not know.
fn bounce(config: &Config, here: Here<'_>, foreign: &DomainName) -> Probe {
    let back_to = sender_of_root(config, here);
    let recipients = match back_to.address() {
        // Sendmail masquerades a sender as it sends; its own notice goes to the sender as it was handed in.
        Some(_) if config.sendmail.is_some() && config.rules.local_mailboxes => {
            final_recipients(config, here, "RCPT TO:<root>")
        }
        Some(address) => final_recipients(config, here, &format!("RCPT TO:<{address}>")),
        None => Vec::new(),
    };
    Probe {
        promise: Promise::BounceReturns,
        source: Source::Program,
        attempt: Attempt::Message {
            lines: Lines::new("<root>", &format!("<probe@{foreign}>")),
            next_hop: NextHopAnswer::Refuses,
        },
        expect: Expectation::Leaves { sender: ReversePath::Null, recipients },
    }
}

fn final_recipients(config: &Config, here: Here<'_>, rcpt: &str) -> Vec<Address> {
    let found = taken(config, here, &Source::Program.client(), rcpt);
    found.into_iter().map(|one| one.address).collect()
}
