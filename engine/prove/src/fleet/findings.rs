//! What is wrong with a fleet as a whole.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mailstack_policy::{Address, Client, Domain, DomainName, ReversePath, Route, sender};
use mailstack_runtime::{Config, Role};
use serde::Serialize;

use super::walk::{Answer, End, Mail, Stuck, answer, follow};
use super::{Fleet, FleetHost};
use crate::finding::{Finding, findings_at};
use crate::site::foreign_domain;

/// Something wrong between hosts; `host` and `other` are short names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "finding")]
pub enum FleetFinding {
    /// A mail host that cannot be reached.
    MailHostUnreachable {
        /// Whose mail host.
        host: String,
        /// Which, from 0.
        index: usize,
        /// Why.
        stuck: Stuck,
    },
    /// A mail host that does not relay for the host.
    MailHostRefuses {
        /// Whose mail host.
        host: String,
        /// Which, from 0.
        index: usize,
        /// The mail host.
        other: String,
        /// The address that the host comes from.
        client: IpAddr,
    },
    /// Bounces or replies for a user go where nobody takes them.
    BlackHole {
        /// The host that the user is on.
        host: String,
        /// The user.
        user: String,
        /// The address that bounces or replies go to.
        address: Address,
        /// Bounces go there.
        bounces: bool,
        /// Replies go there.
        replies: bool,
        /// Why nobody takes them.
        lost: Lost,
    },
    /// Mail for a domain comes back to where it was.
    Loop {
        /// The host that it began at.
        host: String,
        /// The host that it comes back to.
        other: String,
        /// The hosts that had it.
        path: Vec<String>,
        /// The domain.
        domain: DomainName,
    },
    /// A foreigner's mail for a foreign domain is taken.
    OpenRelay {
        /// The host.
        host: String,
        /// What is found there.
        what: Finding,
    },
    /// Senders appear in a domain that no zone knows: others refuse them (553 5.1.8).
    UnknownSenderDomain {
        /// The host.
        host: String,
        /// The domain.
        domain: DomainName,
    },
    /// The mail host rewrites the domain that a host's senders appear in.
    MasqueradesDiffer {
        /// The host.
        host: String,
        /// Its mail host.
        other: String,
        /// The domain that the host gives.
        domain: DomainName,
        /// What the mail host makes of it.
        becomes: DomainName,
    },
}

/// Why mail does not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "lost")]
pub enum Lost {
    /// It waits at a host.
    Waits {
        /// Which.
        at: String,
        /// Why.
        stuck: Stuck,
    },
    /// A host refuses it.
    Refused {
        /// Which.
        by: String,
        /// The reply code.
        code: u16,
    },
    /// It goes round.
    Loops {
        /// At this host.
        at: String,
    },
}

/// All that is wrong with a fleet, host by host.
pub fn fleet_findings(fleet: &Fleet) -> Vec<FleetFinding> {
    let mut found = Vec::new();
    for (name, host) in &fleet.hosts {
        let Some(config) = &host.config else { continue };
        let of_mail_hosts = mail_hosts(fleet, name, host, config);
        let reaches = of_mail_hosts.is_empty();
        found.extend(of_mail_hosts);
        found.extend(open_relays(name, host, config));
        found.extend(sender_domain(fleet, name, config));
        // Without its mail host nothing else can be known of it.
        if reaches {
            let foreign = foreign_domain(config, host.here());
            let hop = first_hop(fleet, name, host, &foreign);
            found.extend(masquerades(fleet, name, host, hop.as_ref()));
            found.extend(black_holes(fleet, name, host, &foreign, hop.as_ref()));
        }
    }
    found.extend(loops(fleet));
    found
}

fn mail_hosts(fleet: &Fleet, name: &str, host: &FleetHost, config: &Config) -> Vec<FleetFinding> {
    let is_own = |domain: &DomainName| host.here().is_own_host(&Domain::Name(domain.clone()));
    let one = |(index, hop)| {
        let found = fleet.zones.hop(hop, &is_own);
        // A submission-only host runs beside whatever MTA there may be.
        let beside = |at: &SocketAddr| at.ip().is_loopback() || host.own.contains(&at.ip());
        if config.role == Role::Msp && found.iter().any(beside) {
            return None;
        }
        let mut first = None;
        for at in &found {
            match fleet.connect(name, *at) {
                Ok((other, client)) if relays_for(fleet, other, client) => return None,
                Ok((other, client)) => {
                    let (host, other) = (name.to_owned(), other.clone());
                    first = first.or(Some(FleetFinding::MailHostRefuses { host, index, other, client }));
                }
                Err(stuck) => {
                    let host = name.to_owned();
                    first = first.or(Some(FleetFinding::MailHostUnreachable { host, index, stuck }));
                }
            }
        }
        let unknown = || FleetFinding::MailHostUnreachable {
            host: name.to_owned(),
            index,
            stuck: Stuck::NoName { name: crate::expect::HopName(hop).to_string() },
        };
        Some(first.unwrap_or_else(unknown))
    };
    config.rules.mail_hosts.iter().enumerate().filter_map(one).collect()
}

/// Whether a host takes mail from this client for anybody.
fn relays_for(fleet: &Fleet, other: &str, addr: IpAddr) -> bool {
    let Some(host) = fleet.hosts.get(other) else { return false };
    let Some(config) = &host.config else { return false };
    let foreign = foreign_domain(config, host.here());
    let Some(to) = probe(&foreign) else { return false };
    answer(host, Client::Network { addr }, &ReversePath::Null, &to)
        .is_some_and(|trace| trace.refusal().is_none())
}

fn probe(domain: &DomainName) -> Option<Address> {
    Address::new("probe", Some(Domain::Name(domain.clone()))).ok()
}

const PROGRAM: Client = Client::Local { uid: 0 };

fn open_relays(name: &str, host: &FleetHost, config: &Config) -> Option<FleetFinding> {
    if config.listeners.iter().all(|at| at.ip().is_loopback()) {
        return None;
    }
    let is_open = |one: &Finding| matches!(one, Finding::OpenRelay { .. } | Finding::TrustsEveryone { .. });
    let what = findings_at(config, host.here()).into_iter().find(is_open)?;
    Some(FleetFinding::OpenRelay { host: name.to_owned(), what })
}

fn sender_domain(fleet: &Fleet, name: &str, config: &Config) -> Option<FleetFinding> {
    let domain = &config.rules.masquerade.as_ref()?.domain;
    let finding = || FleetFinding::UnknownSenderDomain { host: name.to_owned(), domain: domain.clone() };
    (!fleet.zones.knows(domain)).then(finding)
}

/// The host that mail for foreigners goes to first, and the address that it comes from there.
fn first_hop(fleet: &Fleet, name: &str, host: &FleetHost, foreign: &DomainName) -> Option<(String, IpAddr)> {
    let trace = answer(host, PROGRAM, &ReversePath::Null, &probe(foreign)?)?;
    let is_own = |domain: &DomainName| host.here().is_own_host(&Domain::Name(domain.clone()));
    let route: &Route = &trace.hops.first()?.result;
    let found = fleet.zones.resolve(route, &is_own).ok()?;
    let taken = found.into_iter().find_map(|at| fleet.connect(name, at).ok())?;
    Some((taken.0.clone(), taken.1))
}

fn masquerades(
    fleet: &Fleet,
    name: &str,
    host: &FleetHost,
    hop: Option<&(String, IpAddr)>,
) -> Option<FleetFinding> {
    let (other, client) = hop?;
    let config = host.config.as_ref()?;
    let domain = config.rules.masquerade.as_ref()?.domain.clone();
    let theirs = fleet.hosts.get(other)?;
    let rules = &theirs.config.as_ref()?.rules;
    let root = Address::new("root", Some(Domain::Name(domain.clone()))).ok()?;
    let client = Client::Network { addr: *client };
    let taken = sender(rules, theirs.here(), &client, &ReversePath::Address(root)).ok()?;
    let becomes = taken.address()?.domain_name()?.clone();
    let (host, other) = (name.to_owned(), other.clone());
    (becomes != domain).then_some(FleetFinding::MasqueradesDiffer { host, other, domain, becomes })
}

/// The addresses that bounces and replies for each user go to, and whether they arrive from the next hop.
fn black_holes(
    fleet: &Fleet,
    name: &str,
    host: &FleetHost,
    foreign: &DomainName,
    hop: Option<&(String, IpAddr)>,
) -> Vec<FleetFinding> {
    let Some(to) = probe(foreign) else { return Vec::new() };
    let at = hop.map_or(name, |(hop, _)| hop.as_str());
    let one = |user: &String| {
        let from = ReversePath::Address(Address::new(user.as_str(), None).ok()?);
        let trace = answer(host, PROGRAM, &from, &to)?;
        let envelope = trace.sender.result.as_ref().ok()?.address().cloned();
        let header: Option<Address> = trace.header_sender.as_ref().and_then(|from| from.result.parse().ok());
        let addresses: BTreeSet<Address> = envelope.iter().chain(&header).cloned().collect();
        let hole = |address: Address| {
            let lost = lost(fleet, at, &address)?;
            let (bounces, replies) = (envelope.as_ref() == Some(&address), header.as_ref() == Some(&address));
            let (host, user) = (name.to_owned(), user.clone());
            Some(FleetFinding::BlackHole { host, user, address, bounces, replies, lost })
        };
        Some(addresses.into_iter().filter_map(hole).collect::<Vec<_>>())
    };
    host.users.iter().filter_map(one).flatten().collect()
}

/// Why a notice from this host does not arrive; None: it does.
fn lost(fleet: &Fleet, at: &str, to: &Address) -> Option<Lost> {
    let mail = Mail {
        at: at.to_owned(),
        client: PROGRAM,
        from: ReversePath::Null,
        to: to.clone(),
        header: Vec::new(),
    };
    let ends = follow(fleet, &mail);
    if ends.iter().any(|end| matches!(end.answer, Answer::Delivered(_))) {
        return None;
    }
    let End { path, answer, .. } = ends.into_iter().next()?;
    let at = path.last().cloned().unwrap_or_default();
    Some(match answer {
        Answer::Waits(wait) => Lost::Waits { at, stuck: wait.stuck },
        Answer::Refused { by, code, .. } => Lost::Refused { by, code },
        Answer::Loops { host, .. } => Lost::Loops { at: host },
        Answer::Delivered(_) => return None,
    })
}

/// Mail for each domain that a host knows, from that host on.
fn loops(fleet: &Fleet) -> Vec<FleetFinding> {
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    for (name, host) in &fleet.hosts {
        let Some(config) = &host.config else { continue };
        for domain in known_domains(config) {
            let Ok(to) = Address::new("postmaster", Some(Domain::Name(domain.clone()))) else { continue };
            let from = ReversePath::Null;
            let mail = Mail { at: name.clone(), client: PROGRAM, from, to, header: Vec::new() };
            for end in follow(fleet, &mail) {
                let Answer::Loops { host: other, .. } = end.answer else { continue };
                let around: BTreeSet<String> = end.path.iter().cloned().collect();
                if told.insert((domain.clone(), around)) {
                    let (host, path) = (name.clone(), end.path);
                    found.push(FleetFinding::Loop { host, other, path, domain: domain.clone() });
                }
            }
        }
    }
    found
}

fn known_domains(config: &Config) -> BTreeSet<DomainName> {
    use mailstack_policy::rules::MailertableKey;
    let rules = &config.rules;
    let keys = rules.mailertable.keys().filter_map(|key| match key {
        MailertableKey::Exact(domain) => Some(domain),
        MailertableKey::Below(_) => None,
    });
    let masquerade = rules.masquerade.iter().map(|masquerade| &masquerade.domain);
    rules.relay_domains.iter().chain(&rules.local_domains).chain(keys).chain(masquerade).cloned().collect()
}
