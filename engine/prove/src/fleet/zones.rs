//! Zones: the records that decide about mail.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_policy::{DomainName, Route, better_exchangers};

use super::walk::Stuck;

/// What the name server of a fleet answers.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    mx: BTreeMap<DomainName, Vec<(u16, Option<DomainName>)>>,
    addresses: BTreeMap<DomainName, Vec<IpAddr>>,
    aliases: BTreeMap<DomainName, DomainName>,
}

/// A record that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct RecordFault {
    /// Which of the zone's, from 0.
    pub index: usize,
    /// Why.
    pub reason: String,
}

impl Zones {
    /// Adds the records of a zone, each as a zone file has it: owner, type, data; a time to live and `IN` in between
    /// are passed over. Errors: the records that cannot be read.
    pub fn add(&mut self, origin: &str, records: &[String]) -> Vec<RecordFault> {
        let one = |(index, text): (usize, &String)| {
            let fault = |reason: String| RecordFault { index, reason };
            self.record(origin, text).map_err(fault).err()
        };
        records.iter().enumerate().filter_map(one).collect()
    }

    fn record(&mut self, origin: &str, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace();
        let owner = words.next().ok_or("an empty record")?;
        let is_class_or_time =
            |word: &&str| word.eq_ignore_ascii_case("IN") || word.bytes().all(|b| b.is_ascii_digit());
        let kind = words.by_ref().find(|word| !is_class_or_time(word)).ok_or("a record has a type")?;
        let data: Vec<&str> = words.collect();
        let bad = || format!("`{}` is not the data of a {kind} record", data.join(" "));
        match (kind.to_ascii_uppercase().as_str(), data.as_slice()) {
            ("MX", [preference, host]) => {
                let preference = preference.parse().map_err(|_| bad())?;
                let host = if *host == "." { None } else { Some(name(host, origin).ok_or_else(bad)?) };
                let owner = name(owner, origin).ok_or_else(|| no_name(owner))?;
                self.mx.entry(owner).or_default().push((preference, host));
            }
            ("A" | "AAAA", [addr]) => {
                let addr: IpAddr = addr.parse().map_err(|_| bad())?;
                if addr.is_ipv4() != kind.eq_ignore_ascii_case("A") {
                    return Err(bad());
                }
                let owner = name(owner, origin).ok_or_else(|| no_name(owner))?;
                self.addresses.entry(owner).or_default().push(addr);
            }
            ("CNAME", [target]) => {
                let owner = name(owner, origin).ok_or_else(|| no_name(owner))?;
                self.aliases.insert(owner, name(target, origin).ok_or_else(bad)?);
            }
            ("MX" | "A" | "AAAA" | "CNAME", _) => return Err(bad()),
            // They decide nothing about where mail goes.
            _ => {}
        }
        Ok(())
    }

    /// Whether a domain can be looked up: by MX, or by an address.
    pub fn knows(&self, domain: &DomainName) -> bool {
        let domain = self.canonical(domain);
        self.mx.contains_key(domain) || self.addresses.contains_key(domain)
    }

    fn canonical<'z>(&'z self, name: &'z DomainName) -> &'z DomainName {
        // A chain of eight is longer than any that is meant.
        (0..8).fold(name, |name, _| self.aliases.get(name).unwrap_or(name))
    }

    fn addresses(&self, name: &DomainName) -> &[IpAddr] {
        self.addresses.get(self.canonical(name)).map_or(&[], Vec::as_slice)
    }

    /// The names that mail for a domain is handed to, the best first.
    fn exchangers(&self, domain: &DomainName, is_own: &dyn Fn(&DomainName) -> bool) -> Vec<DomainName> {
        let Some(records) = self.mx.get(self.canonical(domain)) else { return vec![domain.clone()] };
        let named = |(preference, host): &(u16, Option<DomainName>)| Some((*preference, host.clone()?));
        let mut hosts: Vec<_> = records.iter().filter_map(named).collect();
        hosts.sort_by_key(|(preference, _)| *preference);
        better_exchangers(&mut hosts, is_own);
        hosts.into_iter().map(|(_, host)| host).collect()
    }

    /// Where a route leads, the best first. Errors: a name that cannot be looked up, or that leads back here.
    pub(super) fn resolve(
        &self,
        route: &Route,
        is_own: &dyn Fn(&DomainName) -> bool,
    ) -> Result<Vec<SocketAddr>, Stuck> {
        let (found, asked) = match route {
            Route::Hops(hops) => {
                let found: Vec<_> = hops.iter().flat_map(|hop| self.hop(hop, is_own)).collect();
                (found, hops.first().map(|hop| hop_name(&hop.host)))
            }
            Route::Mx { domain, port } => (self.by_mx(domain, *port, is_own), Some(domain.to_string())),
            Route::Literal { addr, port } => (vec![SocketAddr::new(*addr, *port)], None),
            Route::Local { .. } | Route::Program { .. } | Route::File { .. } | Route::Fail(_) => {
                (Vec::new(), None)
            }
        };
        if found.is_empty() { Err(Stuck::NoName { name: asked.unwrap_or_default() }) } else { Ok(found) }
    }

    /// Where one next hop leads.
    pub(super) fn hop(&self, hop: &NextHop, is_own: &dyn Fn(&DomainName) -> bool) -> Vec<SocketAddr> {
        match &hop.host {
            HopHost::Mx(name) => self.by_mx(name, hop.port, is_own),
            HopHost::Host(name) => at(self.addresses(name), hop.port),
            HopHost::Address(addr) => vec![SocketAddr::new(*addr, hop.port)],
        }
    }

    fn by_mx(&self, name: &DomainName, port: u16, is_own: &dyn Fn(&DomainName) -> bool) -> Vec<SocketAddr> {
        self.exchangers(name, is_own).iter().flat_map(|host| at(self.addresses(host), port)).collect()
    }
}

fn at(addresses: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    addresses.iter().map(|addr| SocketAddr::new(*addr, port)).collect()
}

fn hop_name(host: &HopHost) -> String {
    match host {
        HopHost::Mx(name) | HopHost::Host(name) => name.to_string(),
        HopHost::Address(addr) => addr.to_string(),
    }
}

/// A name as a zone file writes it.
fn name(text: &str, origin: &str) -> Option<DomainName> {
    match text {
        "@" => origin.parse().ok(),
        _ if text.ends_with('.') => text.parse().ok(),
        _ => format!("{text}.{origin}").parse().ok(),
    }
}

fn no_name(text: &str) -> String {
    format!("`{text}` is not a name")
}
