//! Where an attempt comes from: addresses that the rules trust, and one that they do not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mailstack_policy::rules::Rules;
use mailstack_policy::{Client, Here, access};
use serde::Serialize;

/// Who makes an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A host outside every network that the rules trust, at this address.
    Untrusted(IpAddr),
    /// A host of a relay network, at this address.
    Trusted(IpAddr),
    /// A program of the candidate's own host, over its submission socket.
    Program,
}

impl Source {
    /// The same as the policy crate knows it. A program is taken to be root's.
    pub fn client(self) -> Client {
        match self {
            Source::Untrusted(addr) | Source::Trusted(addr) => Client::Network { addr },
            Source::Program => Client::Local { uid: 0 },
        }
    }
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Internet Protocol version 4.
    V4,
    /// Internet Protocol version 6.
    V6,
}

impl Family {
    /// Both.
    pub(crate) const ALL: [Family; 2] = [Family::V4, Family::V6];
}

/// An address that the rules do not trust and the host does not have: one for documentation where there is one
/// (RFC 5737, RFC 3849), else any. None: the rules trust all of them.
pub(crate) fn untrusted(rules: &Rules, here: Here<'_>, family: Family) -> Option<Source> {
    // Nor one that an access entry is about: that may be refused for another reason.
    let free = |addr: &IpAddr| {
        let trusted = Client::Network { addr: *addr }.may_relay(rules);
        !trusted && access::connection(rules, *addr, None).is_none() && !here.addresses.contains(addr)
    };
    match family {
        Family::V4 => untrusted_v4().map(IpAddr::V4).find(free),
        Family::V6 => untrusted_v6().map(IpAddr::V6).find(free),
    }
    .map(Source::Untrusted)
}

/// No relay network is wider than /8, so one address of each is enough.
fn untrusted_v4() -> impl Iterator<Item = Ipv4Addr> {
    let documentation = [[198, 51, 100, 77], [203, 0, 113, 77], [192, 0, 2, 77]];
    let others = (1..=223).map(|first| [first, 1, 1, 77]);
    documentation.into_iter().chain(others).map(Ipv4Addr::from)
}

/// No relay network is wider than /16, so one address of each is enough.
fn untrusted_v6() -> impl Iterator<Item = Ipv6Addr> {
    let others = (0x2000..=0x3fff).map(|first| Ipv6Addr::new(first, 1, 0, 0, 0, 0, 0, 0x77));
    std::iter::once(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x77)).chain(others)
}

/// The addresses of a network that are looked at.
const MOST_TRIED: usize = 4096;

/// One address of each relay network.
pub(crate) fn trusted(rules: &Rules, here: Here<'_>) -> Vec<Source> {
    access::relaying_networks(rules)
        .filter_map(|network| one_of(network, rules, here))
        .map(Source::Trusted)
        .collect()
}

/// An address that the host does not have; the first, which may stand for the network or its routers (RFC 4291
/// 2.6.1), only where there is no other.
fn one_of(network: &IpNet, rules: &Rules, here: Here<'_>) -> Option<IpAddr> {
    // An access entry may take a part of a network out.
    let free =
        |addr: &IpAddr| !here.addresses.contains(addr) && Client::Network { addr: *addr }.may_relay(rules);
    let beyond_first = |addr: &IpAddr| *addr != network.network() && free(addr);
    let hosts = || network.hosts().take(MOST_TRIED);
    hosts().find(beyond_first).or_else(|| hosts().find(free))
}
