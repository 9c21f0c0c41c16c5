//! What a configuration does wrong, as far as it can be seen without running it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use mailstack_policy::header::{addresses, fields};
use mailstack_policy::rules::{HopHost, Mailer, MailertableKey, NextHop};
use mailstack_policy::{Address, Domain, DomainName, Here, rewrite_header};
use mailstack_runtime::{Config, Role};
use serde::Serialize;

use crate::corpus::{Lines, foreign_relay};
use crate::probe::{Attempt, Expectation, Probe, probes_at};
use crate::site::{
    envelope_sender, foreign_domain, is_at_own_host, own_addresses, sender_of_root, taken, unnamed,
};
use crate::source::{Family, Source, untrusted};

/// The port of SMTP between hosts.
const SMTP_PORT: u16 = 25;

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "finding", rename_all = "snake_case")]
pub enum Finding {
    /// A foreigner's mail for a foreign domain is taken.
    OpenRelay {
        /// Where the foreigner sits.
        client: IpAddr,
        /// What he sends.
        lines: Lines,
        /// Where it would go.
        to: Address,
    },
    /// Every address of a family may relay: there is no foreigner.
    TrustsEveryone {
        /// The family.
        family: Family,
    },
    /// Mail that the host is there for is refused.
    OwnMailRefused {
        /// Who sends it.
        client: IpAddr,
        /// What is sent.
        lines: Lines,
    },
    /// A user's mail leaves with an address at the host's own name, where nothing is received: bounces or replies
    /// are lost.
    BlackHole {
        /// The user; `root` stands for all where no users are exposed.
        user: String,
        /// The host; None: its configuration does not name it.
        host: Option<DomainName>,
        /// The envelope sender is one: bounces are lost.
        envelope: bool,
        /// `From:` is one: replies are lost.
        header: bool,
    },
    /// Mail that is sent on comes back.
    MailLoop {
        /// The host that it is sent on to: this one.
        hop: NextHop,
        /// The `mailertable` entry that says so; None: it is a mail host.
        entry: Option<MailertableKey>,
    },
    /// Senders appear in a domain that no other host can look up, and are refused (553 5.1.8).
    SenderDomain {
        /// The domain.
        domain: DomainName,
    },
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It may be meant.
    Warning,
    /// It must not go live.
    Error,
}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        match self {
            Finding::OpenRelay { .. }
            | Finding::TrustsEveryone { .. }
            | Finding::OwnMailRefused { .. }
            | Finding::MailLoop { .. } => Severity::Error,
            Finding::BlackHole { .. } | Finding::SenderDomain { .. } => Severity::Warning,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::OpenRelay { client, lines, to } => {
                write!(f, "open relay: {} from {client} would be sent to <{to}>", lines.rcpt)
            }
            Finding::TrustsEveryone { family } => {
                write!(f, "open relay: every {family:?} address may relay")
            }
            Finding::OwnMailRefused { client, lines } => {
                write!(f, "own mail refused: {} from {client}", lines.rcpt)
            }
            Finding::BlackHole { user, host, envelope, header } => {
                let lost = match (envelope, header) {
                    (true, true) => "bounces and replies",
                    (true, false) => "bounces",
                    (false, _) => "replies",
                };
                let host = host.as_ref().map_or("this host", DomainName::as_str);
                write!(f, "black hole: {lost} for {user} go to {user}@{host}, which receives no mail")
            }
            Finding::MailLoop { hop, entry } => write_loop(f, hop, entry.as_ref()),
            Finding::SenderDomain { domain } => {
                write!(f, "sender domain: {domain} is known to no other host")
            }
        }
    }
}

fn write_loop(f: &mut fmt::Formatter<'_>, hop: &NextHop, entry: Option<&MailertableKey>) -> fmt::Result {
    match entry {
        Some(key) => write!(f, "mail loop: mailertable {} ", String::from(key.clone()))?,
        None => write!(f, "mail loop: mail host ")?,
    }
    match &hop.host {
        HopHost::Mx(name) => write!(f, "{name}")?,
        HopHost::Host(name) => write!(f, "[{name}]")?,
        HopHost::Address(addr) => write!(f, "{}", Domain::Literal(*addr))?,
    }
    write!(f, ":{} is this host itself", hop.port)
}

/// All that is wrong with a configuration.
pub fn findings(config: &Config) -> Vec<Finding> {
    let hostname = config.hostname.clone().unwrap_or_else(unnamed);
    let addresses = own_addresses(config);
    findings_at(config, Here::new(&hostname, &addresses))
}

/// The same, for a host that runs under this name and these addresses.
pub fn findings_at(config: &Config, here: Here<'_>) -> Vec<Finding> {
    let mut findings = open_relays(config, here);
    findings.extend(own_mail_refused(config, here));
    findings.extend(mail_loops(config, here));
    findings.extend(black_holes(config, here));
    findings.extend(sender_domain(config, here));
    findings
}

/// The corpus through the policy, for every role: what does not listen today may tomorrow.
fn open_relays(config: &Config, here: Here<'_>) -> Vec<Finding> {
    let foreign = foreign_domain(config, here);
    let corpus = foreign_relay(here.hostname, here.addresses, &foreign);
    Family::ALL.into_iter().flat_map(|family| open_relay(config, here, family, &corpus, &foreign)).collect()
}

fn open_relay(
    config: &Config,
    here: Here<'_>,
    family: Family,
    corpus: &BTreeSet<Lines>,
    foreign: &DomainName,
) -> Vec<Finding> {
    let Some(source @ Source::Untrusted(client)) = untrusted(&config.rules, here, family) else {
        return vec![Finding::TrustsEveryone { family }];
    };
    let relayed = |lines: &Lines| {
        let found = taken(config, here, &source.client(), &lines.rcpt);
        // In the local part too: the next hop might read it.
        let to = found.into_iter().find(|one| one.address.to_string().contains(foreign.as_str()))?;
        Some(Finding::OpenRelay { client, lines: lines.clone(), to: to.address })
    };
    // The policy does not look at the sender: one of them is enough.
    let mut seen = BTreeSet::new();
    corpus.iter().filter(|lines| seen.insert(&lines.rcpt)).filter_map(relayed).collect()
}

/// The probes that must be accepted, through the policy.
fn own_mail_refused(config: &Config, here: Here<'_>) -> Vec<Finding> {
    let refused = |probe: Probe| match (probe.source, probe.attempt, probe.expect) {
        (
            Source::Untrusted(client) | Source::Trusted(client),
            Attempt::Envelope(lines),
            Expectation::Accepted,
        ) => taken(config, here, &probe.source.client(), &lines.rcpt)
            .is_empty()
            .then_some(Finding::OwnMailRefused { client, lines }),
        _ => None,
    };
    probes_at(config, here).into_iter().filter_map(refused).collect()
}

fn mail_loops(config: &Config, here: Here<'_>) -> Vec<Finding> {
    let mail_hosts = config.rules.mail_hosts.iter().map(|hop| (hop, None));
    let entries = config.rules.mailertable.iter().flat_map(|(key, mailer)| {
        let hosts = match mailer {
            Mailer::Smtp { hosts, .. } => hosts.as_slice(),
            Mailer::Local { .. } | Mailer::Error { .. } => &[],
        };
        hosts.iter().map(move |hop| (hop, Some(key)))
    });
    mail_hosts
        .chain(entries)
        .filter(|(hop, _)| leads_back(config, here, hop))
        .map(|(hop, key)| Finding::MailLoop { hop: hop.clone(), entry: key.cloned() })
        .collect()
}

/// Whether a next hop is this host, at a port where it would be this MTA.
fn leads_back(config: &Config, here: Here<'_>, hop: &NextHop) -> bool {
    let same_port = match config.role {
        // It runs beside whatever MTA there may be, and hands its mail to that one.
        Role::Msp => false,
        Role::Nullclient => hop.port == SMTP_PORT,
        Role::Loopback | Role::Gateway => config.listeners.iter().any(|own| own.port() == hop.port),
    };
    same_port && is_this_host(here, hop)
}

fn is_this_host(here: Here<'_>, hop: &NextHop) -> bool {
    here.is_own_host(&match &hop.host {
        HopHost::Mx(name) | HopHost::Host(name) => Domain::Name(name.clone()),
        HopHost::Address(addr) => Domain::Literal(*addr),
    })
}

fn black_holes(config: &Config, here: Here<'_>) -> Vec<Finding> {
    let listens = config.listeners.iter().any(|listener| !listener.ip().is_loopback());
    // A host whose mail host is itself runs another MTA, and that one may receive.
    let beside_another = config.rules.mail_hosts.iter().any(|hop| is_this_host(here, hop));
    if listens || beside_another {
        return Vec::new();
    }
    let exposed = config.rules.masquerade.iter().flat_map(|masquerade| &masquerade.exposed_users);
    let users: BTreeSet<&str> = exposed.map(String::as_str).chain(["root"]).collect();
    users.into_iter().filter_map(|user| black_hole(config, here, user)).collect()
}

fn black_hole(config: &Config, here: Here<'_>, user: &str) -> Option<Finding> {
    let envelope = envelope_sender(config, here, user);
    let envelope = envelope.address().is_some_and(|address| is_at_own_host(here, address));
    let header = header_sender(config, here, user).is_some_and(|address| is_at_own_host(here, &address));
    (envelope || header).then(|| Finding::BlackHole {
        user: user.to_owned(),
        host: config.hostname.clone(),
        envelope,
        header,
    })
}

/// The `From:` of a program that runs as `user`.
fn header_sender(config: &Config, here: Here<'_>, user: &str) -> Option<Address> {
    let written = format!("From: {user}\r\n");
    let rewritten = rewrite_header(&config.rules, here, written.as_bytes());
    addresses(fields(&rewritten).next()?.body).ok()?.pop()
}

fn sender_domain(config: &Config, here: Here<'_>) -> Option<Finding> {
    let path = sender_of_root(config, here);
    let domain = path.address()?.domain_name()?;
    let known = domain.is_qualified() && !domain.as_str().ends_with(".localhost");
    (!known).then(|| Finding::SenderDomain { domain: domain.clone() })
}
