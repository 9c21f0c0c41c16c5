//! The forms in which a foreigner writes a foreign recipient: data, without a verdict.
//!
//! Two sets: the sixteen attempts of nmap's `smtp-open-relay`, and the product of every name of the host, every
//! form that hides a recipient behind it, and every kind of sender.

use std::collections::BTreeSet;
use std::net::IpAddr;

use mailstack_policy::{Domain, DomainName};

/// The user of every attempt.
const USER: &str = "probe";

/// The command lines of one attempt, without line ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Lines {
    /// `MAIL FROM:…`
    pub mail: String,
    /// `RCPT TO:…`
    pub rcpt: String,
}

impl Lines {
    /// The lines of two paths, brackets included.
    pub fn new(from: &str, to: &str) -> Self {
        Self { mail: format!("MAIL FROM:{from}"), rcpt: format!("RCPT TO:{to}") }
    }
}

/// Every attempt to reach a user of `foreign` through the host with this name and these addresses, each once.
pub fn foreign_relay(hostname: &DomainName, addresses: &[IpAddr], foreign: &DomainName) -> BTreeSet<Lines> {
    let mut lines: BTreeSet<Lines> = product(hostname, addresses, foreign).collect();
    for address in addresses {
        lines.extend(nmap(hostname, *address, foreign));
    }
    lines
}

fn product(hostname: &DomainName, addresses: &[IpAddr], foreign: &DomainName) -> impl Iterator<Item = Lines> {
    let senders = senders(hostname, foreign);
    let recipients = own_names(hostname, addresses).into_iter().flat_map(|own| forms(&own, foreign.as_str()));
    recipients.flat_map(move |to| senders.clone().map(|from| Lines::new(&from, &to)))
}

/// The names that a foreigner knows the host by.
fn own_names(hostname: &DomainName, addresses: &[IpAddr]) -> Vec<String> {
    let fixed = ["[127.0.0.1]", "[IPv6:::1]", "localhost", hostname.as_str()].map(str::to_owned);
    let literals = addresses.iter().map(|address| Domain::Literal(*address).to_string());
    fixed.into_iter().chain(literals).collect()
}

/// Normal, null, the host's own, and a bang path.
fn senders(hostname: &DomainName, foreign: &DomainName) -> [String; 4] {
    [
        format!("<{USER}@{foreign}>"),
        "<>".to_owned(),
        format!("<{USER}@{hostname}>"),
        format!("<{foreign}!{USER}>"),
    ]
}

fn forms(own: &str, far: &str) -> [String; 11] {
    [
        format!("<{USER}@{far}>"),
        format!("<\"{USER}@{far}\">"),
        format!("{USER}@{far}"),
        format!("<{USER}%{far}@{own}>"),
        format!("<{USER}%{far}>"),
        format!("<\"{USER}%{far}\">"),
        format!("<{USER}@{far}@{own}>"),
        format!("<\"{USER}@{far}\"@{own}>"),
        format!("<@{own}:{USER}@{far}>"),
        format!("<{far}!{USER}>"),
        format!("<{far}!{USER}@{own}>"),
    ]
}

/// In nmap's order.
fn nmap(hostname: &DomainName, address: IpAddr, foreign: &DomainName) -> [Lines; 16] {
    let (host, far) = (hostname.as_str(), foreign.as_str());
    let literal = Domain::Literal(address).to_string();
    let plain = format!("<{USER}@{far}>");
    let from_literal = format!("<antispam@{literal}>");
    let attempt = |to: String| Lines::new(&from_literal, &to);
    [
        Lines::new("<>", &plain),
        Lines::new("<antispam@nmap.invalid>", &plain),
        Lines::new(&format!("<antispam@{host}>"), &plain),
        attempt(plain.clone()),
        attempt(format!("<{USER}%{far}@{literal}>")),
        attempt(format!("<{USER}%{far}@{host}>")),
        attempt(format!("<\"{USER}@{far}\">")),
        attempt(format!("<\"{USER}%{far}\">")),
        attempt(format!("<{USER}@{far}@{literal}>")),
        attempt(format!("<\"{USER}@{far}\"@{literal}>")),
        attempt(format!("<{USER}@{far}@{host}>")),
        attempt(format!("<@{literal}:{USER}@{far}>")),
        attempt(format!("<@{host}:{USER}@{far}>")),
        attempt(format!("<{far}!{USER}>")),
        attempt(format!("<{far}!{USER}@{literal}>")),
        attempt(format!("<{far}!{USER}@{host}>")),
    ]
}
