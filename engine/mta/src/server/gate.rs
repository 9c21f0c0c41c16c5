//! What is decided about a client before it is greeted: the access table, limits, lists, reverse DNS, greet pause.
//!
//! In the order of Sendmail's ruleset check_relay. Owns no decision about a message.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mailstack_policy::access::{self, Action};
use mailstack_policy::{Client, DomainName};
use mailstack_runtime::Dnsbl;
use mailstack_smtp::reply::Reply;
use tokio::task::JoinSet;

use super::message::Arrival;
use super::naming::Named;
use super::{Shared, words};

/// How long a list may take to answer; it refuses nobody then.
const LIST_ANSWERS: Duration = Duration::from_secs(5);

/// What is decided.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It is greeted after this wait.
    Open(Duration),
    /// The same at once, and may relay by its name.
    Trusted,
    /// It is greeted, and all its messages are thrown away.
    Discard,
    /// It is greeted, and may do nothing. A 421 comes instead of the greeting.
    Denied(Reply),
}

/// How many connections a client has and had, this one among them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// At this moment.
    pub(super) now: u32,
    /// Within a minute.
    pub(super) minute: u32,
}

impl Shared {
    /// Decides about a client.
    pub(super) async fn gate(&self, arrival: &Arrival, count: Count) -> Gate {
        let Client::Network { addr } = arrival.client else { return Gate::Open(Duration::ZERO) };
        let (rules, checks) = (&self.config.rules, &self.config.checks);
        // A flood waits for no name.
        let most = self.config.limits.connections_per_client;
        if count.now > most.saturating_mul(2) && access::connection(rules, addr, None).is_none() {
            return Gate::Denied(words::OPEN_CONNECTIONS);
        }
        let named = match access::asks_for_names(rules) || checks.reverse_dns {
            true => arrival.name.wait().await,
            false => Named::Not,
        };
        let name = confirmed(&named);
        match access::connection(rules, addr, name) {
            Some(Action::Relay) if Client::Network { addr }.may_relay(rules) => {
                return Gate::Open(Duration::ZERO);
            }
            Some(Action::Relay) => return Gate::Trusted,
            Some(Action::Ok) => return Gate::Open(Duration::ZERO),
            Some(Action::Discard) => return Gate::Discard,
            Some(action) => return Gate::Denied(words::denied(action, None)),
            None => {}
        }
        if let Some(reply) = self.over_a_limit(addr, count) {
            return Gate::Denied(reply);
        }
        if addr.is_loopback() {
            return Gate::Open(Duration::ZERO);
        }
        if let Some(reply) = self.listed(addr).await {
            return Gate::Denied(reply);
        }
        match words::reverse_dns(&named, addr) {
            Some(reply) if checks.reverse_dns => Gate::Denied(reply),
            _ => Gate::Open(Duration::from_secs(checks.greet_pause.into())),
        }
    }

    fn over_a_limit(&self, address: IpAddr, count: Count) -> Option<Reply> {
        let rate = self.config.checks.connection_rate_per_client;
        if rate > 0 && count.minute > rate && !address.is_loopback() {
            return Some(words::CONNECTION_RATE);
        }
        (count.now > self.config.limits.connections_per_client).then_some(words::OPEN_CONNECTIONS)
    }

    /// The reply of the first list that has the client. Sendmail asks about IPv4 alone.
    async fn listed(&self, address: IpAddr) -> Option<Reply> {
        let IpAddr::V4(address) = address else { return None };
        let lists = &self.config.checks.dnsbl;
        let mut asked = JoinSet::new();
        for (at, list) in lists.iter().enumerate() {
            let (dns, query) = (self.dns.clone(), query(address, list)?);
            asked.spawn(async move { (at, tokio::time::timeout(LIST_ANSWERS, dns.answers(&query)).await) });
        }
        let mut first: Option<usize> = None;
        while let Some(answered) = asked.join_next().await {
            let Ok((at, Ok(answers))) = answered else { continue };
            if is_listing(&lists[at], &answers) {
                first = Some(first.map_or(at, |first| first.min(at)));
            }
        }
        first.map(|at| words::listed(&lists[at], address))
    }
}

/// The name to be asked for, `4.3.2.1.zone`.
fn query(address: Ipv4Addr, list: &Dnsbl) -> Option<DomainName> {
    let [a, b, c, d] = address.octets();
    format!("{d}.{c}.{b}.{a}.{}", list.zone).parse().ok()
}

fn is_listing(list: &Dnsbl, answers: &[Ipv4Addr]) -> bool {
    match list.answers.is_empty() {
        true => !answers.is_empty(),
        false => answers.iter().any(|answer| list.answers.contains(answer)),
    }
}

/// The name that a client proves to have.
pub(super) fn confirmed(named: &Named) -> Option<&DomainName> {
    match named {
        Named::As(reverse) if reverse.confirmed => Some(&reverse.name),
        _ => None,
    }
}

/// Who has been let in, as the policy sees it.
pub(super) fn admitted(arrival: &mut Arrival, gate: &Gate) {
    if let (Gate::Trusted, Client::Network { addr }) = (gate, arrival.client) {
        arrival.client = Client::Trusted { addr };
    }
    arrival.discarded |= *gate == Gate::Discard;
}
