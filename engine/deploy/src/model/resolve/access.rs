//! The access table and what else a gateway checks of its clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::IpNet;
use mailstack_policy::access::{Access, AccessKey, Action, Subject, Tag};
use mailstack_runtime::{Checks, Dnsbl};
use mailstack_schema::host;
use mailstack_schema::spans::{child, element};

use super::{Faults, local};
use crate::model::Relay;
use crate::model::fault::FaultKind;
use crate::model::parse;

/// IPv4 addresses, and IPv6 networks of 64 bits, of relay networks together: more is no site's.
const MOST_V4: u128 = 1 << 28;
const MOST_V6: u128 = 1 << 52;
/// The shortest prefix of an IPv6 network: a shorter one is tens of thousands of keys.
const WIDEST_V6: u8 = 16;

/// The entries, none of which another key of the declaration says otherwise.
pub(super) fn table(
    written: Option<&BTreeMap<String, String>>,
    relay: &Relay,
    faults: &mut Faults,
) -> Access {
    let mut table = Access::new();
    let mut written_as: BTreeMap<AccessKey, String> = BTreeMap::new();
    for (text, value) in written.into_iter().flatten() {
        let path = child("access", text);
        let action = faults.keep(&path, action(value));
        let bad = |reason| FaultKind::AccessKey { text: text.clone(), reason };
        let Some(key) = faults.keep_key(&path, text.parse::<AccessKey>().map_err(bad)) else { continue };
        let other = written_as.insert(key.clone(), path.clone()).or_else(|| elsewhere(&key, relay));
        if let Some(other) = other {
            faults.keep_key::<()>(&path, Err(FaultKind::Twice { text: text.clone(), other }));
        }
        let Some(action) = action else { continue };
        if let Some(fault) = dangerous(text, &key, &action) {
            faults.add(&path, fault);
        }
        table.insert(key, action);
    }
    table
}

fn action(text: &str) -> Result<Action, FaultKind> {
    match text.to_ascii_uppercase().starts_with("QUARANTINE") {
        true => Err(FaultKind::Quarantine { text: text.to_owned() }),
        false => parse::access_action(text),
    }
}

/// The key of `relay` that makes the same entry.
fn elsewhere(key: &AccessKey, relay: &Relay) -> Option<String> {
    match (key.tag, &key.subject) {
        (Some(Tag::Connect), Subject::Network(network)) if relay.networks.contains(network) => {
            Some("relay.networks".to_owned())
        }
        (Some(Tag::To), Subject::Domain(domain)) if relay.domains.contains(domain) => {
            Some("relay.domains".to_owned())
        }
        _ => None,
    }
}

fn dangerous(text: &str, key: &AccessKey, action: &Action) -> Option<FaultKind> {
    let text = text.to_owned();
    let relay = *action == Action::Relay;
    match (&key.subject, key.tag) {
        (Subject::Network(network), _) if network.addr().is_loopback() => {
            Some(FaultKind::LoopbackNetwork { text })
        }
        (Subject::Network(_), _) if relay && !has_tag(&text) => Some(FaultKind::RelayUntagged { text }),
        (Subject::Network(network), _) if relay => parse::network(&network.to_string()).err(),
        (Subject::Network(IpNet::V6(network)), _) if network.prefix_len() < WIDEST_V6 => {
            Some(FaultKind::TooWide { text, widest: WIDEST_V6 })
        }
        (_, Some(Tag::From)) if relay => Some(FaultKind::RelayBySender { text }),
        (_, None) if relay => Some(FaultKind::RelayUntagged { text }),
        (Subject::User(_) | Subject::Mailbox(..), _) if relay => Some(FaultKind::RelayToUser { text }),
        (Subject::Domain(domain), _) if relay => parse::relay_domain(domain.as_str()).err(),
        _ => None,
    }
}

fn has_tag(text: &str) -> bool {
    text.get(..8).is_some_and(|tag| tag.eq_ignore_ascii_case("connect:"))
}

/// Networks that are each narrow enough may still be everybody together.
pub(super) fn nearly_all(relay: &Relay, access: &Access, faults: &mut Faults) {
    // One that is too wide by itself has been told of.
    let narrow =
        |network: &IpNet| !matches!(parse::network(&network.to_string()), Err(FaultKind::TooWide { .. }));
    let listed = access.iter().filter_map(|(key, action)| match (&key.subject, action) {
        (Subject::Network(network), Action::Relay) if narrow(network) => Some(*network),
        _ => None,
    });
    let networks: Vec<IpNet> = IpNet::aggregate(&relay.networks.iter().copied().chain(listed).collect());
    let size = |network: &IpNet| match network {
        IpNet::V4(v4) => 1_u128 << (32 - v4.prefix_len()),
        IpNet::V6(v6) => 1_u128 << 64_u8.saturating_sub(v6.prefix_len()),
    };
    let (v4, v6): (Vec<_>, Vec<_>) = networks.iter().partition(|network| network.addr().is_ipv4());
    for (networks, most) in [(v4, MOST_V4), (v6, MOST_V6)] {
        let addresses: u128 = networks.into_iter().map(size).sum();
        if addresses > most {
            let path = if relay.networks.is_empty() { "access" } else { "relay.networks" };
            faults.add(path, FaultKind::RelayForNearlyAll { addresses });
        }
    }
}

/// The checks with the lists.
pub(super) fn checks(gateway: &host::Gateway, default: &Checks, faults: &mut Faults) -> Checks {
    let written = gateway.checks.clone().unwrap_or_default();
    Checks {
        reverse_dns: written.reverse_dns.unwrap_or(default.reverse_dns),
        helo: written.helo.unwrap_or(default.helo),
        greet_pause: written.greet_pause.unwrap_or(default.greet_pause),
        connection_rate: written.connection_rate.unwrap_or(default.connection_rate),
        connection_rate_per_client: written
            .connection_rate_per_client
            .unwrap_or(default.connection_rate_per_client),
        bad_recipients: written.bad_recipients.unwrap_or(default.bad_recipients),
        dnsbl: lists(gateway.dnsbl.as_deref().unwrap_or_default(), faults),
    }
}

fn lists(written: &[host::Dnsbl], faults: &mut Faults) -> Vec<Dnsbl> {
    let mut lists: Vec<Dnsbl> = Vec::new();
    for (index, list) in written.iter().enumerate() {
        let path = element("dnsbl", index);
        let text = list.text.as_deref().and_then(|text| {
            let bad = || FaultKind::ReplyText { text: text.to_owned() };
            faults.keep(&child(&path, "text"), parse::reply_text(text).ok_or_else(bad)).map(str::to_owned)
        });
        let answers = answers(&child(&path, "answers"), list.answers.as_deref(), faults);
        let Some(zone) = faults.keep(&child(&path, "zone"), parse::domain(&list.zone)) else { continue };
        if let Some(other) = lists.iter().position(|other| other.zone == zone) {
            let other = child(&element("dnsbl", other), "zone");
            faults.add(child(&path, "zone"), FaultKind::Twice { text: list.zone.clone(), other });
        }
        lists.push(Dnsbl { zone, text, answers });
    }
    lists
}

fn answers(path: &str, written: Option<&[String]>, faults: &mut Faults) -> BTreeSet<Ipv4Addr> {
    let answer = |text: &str| {
        let bad = || FaultKind::DnsblAnswer { text: text.to_owned() };
        text.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback).ok_or_else(bad)
    };
    let parsed = local::distinct(path, written, answer, faults);
    match written {
        Some([]) => faults.add(path, FaultKind::Empty),
        Some(written) if written.len() > 5 => {
            faults.add(path, FaultKind::DnsblAnswers { count: written.len() });
        }
        _ => {}
    }
    parsed.into_iter().map(|(_, answer)| answer).collect()
}
