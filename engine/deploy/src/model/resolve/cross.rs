//! Keys held against each other.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use mailstack_policy::DomainName;
use mailstack_policy::rules::{AliasTarget, Mailer, MailertableKey};
use mailstack_schema::host::Local;
use mailstack_schema::spans::{child, element};

use super::Faults;
use super::common::Common;
use super::virtusers::Ours;
use crate::model::fault::FaultKind;
use crate::model::parse;

type Aliases = BTreeMap<String, Vec<AliasTarget>>;

/// A domain that is relayed for cannot end here, and the name of this host always does.
pub(super) fn relay(domains: &[(usize, DomainName)], common: &Common, local: &Local, faults: &mut Faults) {
    let local: Vec<_> = local.local_domains.iter().flatten().map(|text| parse::domain(text).ok()).collect();
    for (index, domain) in domains {
        let path = element("relay.domains", *index);
        let found = local.iter().position(|other| other.as_ref() == Some(domain));
        let other = match found {
            Some(other) => element("local_domains", other),
            None if common.hostname.as_ref() == Some(domain) => "hostname".to_owned(),
            None => continue,
        };
        faults.add(path, FaultKind::LocalAndElsewhere { domain: domain.to_string(), other });
    }
}

/// A virtual domain has no users of this host, is not handed on, and is not what senders are rewritten from.
pub(super) fn virtual_domains(
    domains: &[(usize, DomainName)],
    ours: &Ours<'_>,
    written: &Local,
    faults: &mut Faults,
) {
    let masquerade = written.masquerade.as_ref();
    let rewritten = masquerade.and_then(|masquerade| masquerade.domains.as_deref()).unwrap_or_default();
    let whole_domain = masquerade.and_then(|masquerade| masquerade.whole_domain) == Some(true);
    for (index, domain) in domains {
        let path = element("virtual_domains", *index);
        let same = |text: &String| text.parse::<DomainName>().is_ok_and(|other| other == *domain);
        let entries = written.mailertable.iter().flatten().map(|(key, _)| key);
        let other = match ours.local.iter().find(|(_, other)| other == domain) {
            Some((other, _)) => Some(element("local_domains", *other)),
            None if ours.hostname == Some(domain) => Some("hostname".to_owned()),
            None => entries.into_iter().find(|key| same(key)).map(|key| child("mailertable", key)),
        };
        if let Some(other) = other {
            faults.add(&path, FaultKind::LocalAndElsewhere { domain: domain.to_string(), other });
        }
        let covers = |text: &String| {
            let listed: Option<DomainName> = text.parse().ok();
            listed.is_some_and(|listed| *domain == listed || whole_domain && domain.is_within(&listed))
        };
        if let Some(at) = rewritten.iter().position(covers) {
            let (domain, other) = (domain.to_string(), element("masquerade.domains", at));
            faults.add(&path, FaultKind::VirtualMasqueraded { domain, other });
        }
    }
}

/// A domain that ends here is never looked up in the mailertable.
pub(super) fn mailertable(
    entries: &[(String, MailertableKey, Mailer)],
    local: &[(usize, DomainName)],
    common: &Common,
    faults: &mut Faults,
) {
    for (path, key, _) in entries {
        let MailertableKey::Exact(domain) = key else { continue };
        let found = local.iter().find(|(_, other)| other == domain);
        let other = match found {
            Some((other, _)) => element("local_domains", *other),
            None if common.hostname.as_ref() == Some(domain) => "hostname".to_owned(),
            None => continue,
        };
        faults.add(path, FaultKind::LocalAndElsewhere { domain: domain.to_string(), other });
    }
}

/// All addresses of a family already contain each one of it.
pub(super) fn listeners(parsed: &[(usize, SocketAddr)], written: &[String], faults: &mut Faults) {
    for (index, at) in parsed {
        let covers = |other: &SocketAddr| {
            other.ip().is_unspecified() && other.is_ipv4() == at.is_ipv4() && other.port() == at.port()
        };
        let found = parsed.iter().find(|(other, addr)| other != index && covers(addr));
        let Some((other, _)) = found else { continue };
        let other = element("listen", *other);
        let text = written.get(*index).cloned().unwrap_or_default();
        faults.add(element("listen", *index), FaultKind::Covered { text, other });
    }
}

/// Notes each loop of aliases once, at the first of its names that was written.
pub(super) fn alias_loops(aliases: &Aliases, written_as: &BTreeMap<String, String>, faults: &mut Faults) {
    let mut told: Vec<String> = Vec::new();
    for (name, path) in written_as {
        let Some(cycle) = cycle_from(name, aliases, &mut vec![name.clone()]) else { continue };
        if !told.contains(name) {
            told.extend(cycle.iter().cloned());
            faults.add(path, FaultKind::AliasLoop { cycle });
        }
    }
}

/// A way through the aliases that leads back to `start`. An alias that names itself is none: it means the user
/// of that name.
fn cycle_from(start: &str, aliases: &Aliases, way: &mut Vec<String>) -> Option<Vec<String>> {
    let here = way.last()?.clone();
    for target in aliases.get(&here)? {
        let AliasTarget::Address(address) = target else { continue };
        let next = address.local().to_ascii_lowercase();
        if address.domain().is_some() || next == here {
            continue;
        }
        if next == start {
            let mut cycle = way.clone();
            cycle.push(next);
            return Some(cycle);
        }
        if aliases.contains_key(&next) && !way.contains(&next) {
            way.push(next);
            if let Some(cycle) = cycle_from(start, aliases, way) {
                return Some(cycle);
            }
            way.pop();
        }
    }
    None
}
