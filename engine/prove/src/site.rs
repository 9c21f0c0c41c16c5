//! A host as the proofs see it: its configuration, and the name and addresses that it runs under.

use std::net::{IpAddr, Ipv4Addr};

use mailstack_policy::access::{self, Action};
use mailstack_policy::{
    Address, Client, Domain, DomainName, Expanded, Here, RecipientVerdict, Refusal, ReversePath, recipient,
    sender,
};
use mailstack_runtime::Config;
use mailstack_smtp::command::{Command, parse};

use crate::source::Source;

/// Stands for the name of a host whose configuration does not say it.
pub(crate) fn unnamed() -> DomainName {
    name("this-host.invalid")
}

#[expect(clippy::expect_used, reason = "every caller passes letters, digits, hyphens and dots")]
fn name(text: &str) -> DomainName {
    text.parse().expect("a domain name")
}

/// The addresses that the configuration itself names as the host's.
pub(crate) fn own_addresses(config: &Config) -> Vec<IpAddr> {
    let specific = config.listeners.iter().map(|listener| listener.ip()).filter(|ip| !ip.is_unspecified());
    let mut addresses: Vec<IpAddr> = specific.collect();
    addresses.dedup();
    addresses
}

/// A domain that the host has no reason to take mail for, and that nobody has (RFC 2606 2).
pub(crate) fn foreign_domain(config: &Config, here: Here<'_>) -> DomainName {
    let mut domain = name("relay-probe.invalid");
    let mut number = 0_u32;
    // Finitely many domains are known, so one of these is not.
    while is_known(config, here, &domain) {
        domain = name(&format!("relay-probe.invalid-{number}"));
        number += 1;
    }
    domain
}

fn is_known(config: &Config, here: Here<'_>, domain: &DomainName) -> bool {
    here.is_local(&config.rules, &Domain::Name(domain.clone()))
        || config.rules.relay_domains.iter().any(|relayed| domain.is_within(relayed))
        || Address::new("probe", Some(Domain::Name(domain.clone()))).is_ok_and(|address| {
            let sender = access::sender(&config.rules, &address);
            sender.or(access::recipient(&config.rules, here, &address)).is_some()
        })
}

/// Whether the `mailertable`, the `virtusertable` or the access table refuses the postmaster of a domain, whoever sends
/// to it.
pub(crate) fn is_refused_on_purpose(config: &Config, here: Here<'_>, domain: &DomainName) -> bool {
    let refused = |to: &Address| {
        let listed = access::recipient(&config.rules, here, to);
        if listed.is_some_and(|action| !matches!(action, Action::Relay | Action::Ok)) {
            return true;
        }
        // Not a program of the host: what it hands in is never refused, but comes back.
        let inside = Client::Network { addr: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let verdict = recipient(&config.rules, here, &inside, to, &|_| true);
        matches!(verdict, RecipientVerdict::Refuse(Refusal::MailerError { .. }))
    };
    Address::new("postmaster", Some(Domain::Name(domain.clone()))).is_ok_and(|to| refused(&to))
}

/// The final recipients that the host would take for a RCPT line from `client`; empty: it refuses. Every user is
/// taken to exist, for a proof must hold on any host.
pub(crate) fn taken(config: &Config, here: Here<'_>, client: &Client, rcpt: &str) -> Vec<Expanded> {
    let Ok(Command::Rcpt(request)) = parse(rcpt.as_bytes()) else {
        return Vec::new();
    };
    match recipient(&config.rules, here, client, &request.to, &|_| true) {
        RecipientVerdict::Deliver(found) => found,
        RecipientVerdict::Refuse(_) => Vec::new(),
    }
}

/// The envelope sender of a program that runs as root.
pub(crate) fn sender_of_root(config: &Config, here: Here<'_>) -> ReversePath {
    envelope_sender(config, here, "root")
}

/// The envelope sender of a program that runs as `user`.
pub(crate) fn envelope_sender(config: &Config, here: Here<'_>, user: &str) -> ReversePath {
    let bare = Address::new(user, None).map_or(ReversePath::Null, ReversePath::Address);
    sender(&config.rules, here, &Source::Program.client(), &bare).unwrap_or(ReversePath::Null)
}

/// Whether `address` is at the host's own name.
pub(crate) fn is_at_own_host(here: Here<'_>, address: &Address) -> bool {
    address.domain().is_none_or(|domain| here.is_own_host(domain))
}
