//! Which TLS a host is spoken to with, and as whom. Pure.

use std::collections::BTreeMap;

use mailstack_policy::DomainName;
use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_runtime::{Tls, TlsPolicy};
use mailstack_smtp::sasl::Credentials;

use super::Target;
use crate::queue::Destination;

/// The port of submission over TLS from the first octet on (RFC 8314 3.3).
const SUBMISSIONS: u16 = 465;

/// How one host is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) policy: TlsPolicy,
    /// TLS from the first octet on.
    pub(super) implicit: bool,
    /// The name that the host's certificate must be valid for.
    pub(super) name: String,
    /// What is shown to it.
    pub(super) credentials: Option<Credentials>,
}

/// What is said of destinations.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    pub(super) tls: Tls,
    pub(super) credentials: BTreeMap<NextHop, Credentials>,
}

impl Policies {
    /// The terms of a host. `hop`: of which hop it is a host, where the destination has hops.
    pub(super) fn of(&self, destination: &Destination, hop: Option<&NextHop>, target: &Target) -> Terms {
        let (host, port) = match target {
            Target::Name(name, port) => (name.to_string(), *port),
            Target::Address(address, port) => (address.to_string(), *port),
        };
        let asked = match (destination, hop.map(|hop| &hop.host)) {
            (Destination::Mx(domain), _) | (_, Some(HopHost::Mx(domain))) => Some(domain),
            _ => None,
        };
        let own = hop.and_then(|hop| self.tls.mail_hosts.iter().find(|said| said.hop == *hop));
        let policy = own.and_then(|said| said.policy);
        Terms {
            policy: policy.or_else(|| self.of_peer(asked, target)).unwrap_or(self.tls.outgoing),
            implicit: port == SUBMISSIONS,
            name: certified_name(asked, target, host),
            credentials: hop.and_then(|hop| self.credentials.get(hop)).cloned(),
        }
    }

    /// By the domain that is asked for, else by the host.
    fn of_peer(&self, asked: Option<&DomainName>, target: &Target) -> Option<TlsPolicy> {
        let host = if let Target::Name(name, _) = target { Some(name) } else { None };
        let mut names = asked.into_iter().chain(host);
        names.find_map(|name| self.tls.peers.get(name)).copied()
    }
}

/// Who gives the MX records of a domain may be anybody, as long as they are not signed: a certificate counts that is
/// valid for a host within the domain, or for the domain (Postfix's `secure`).
fn certified_name(asked: Option<&DomainName>, target: &Target, host: String) -> String {
    match (asked, target) {
        (Some(domain), Target::Name(name, _)) if !name.is_within(domain) => domain.to_string(),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DomainName {
        text.parse().unwrap()
    }

    #[test]
    fn the_nearest_word_counts() {
        let hub = NextHop { host: HopHost::Host(name("hub.corp.example")), port: 587 };
        let policies = Policies {
            tls: Tls {
                peers: BTreeMap::from([
                    (name("partner.example"), TlsPolicy::Verified),
                    (name("old.example"), TlsPolicy::None),
                    (name("hub.corp.example"), TlsPolicy::None),
                ]),
                mail_hosts: vec![mailstack_runtime::MailHostTls {
                    hop: hub.clone(),
                    policy: Some(TlsPolicy::Verified),
                    credentials: None,
                }],
                ..Tls::default()
            },
            credentials: BTreeMap::new(),
        };
        let mx = |domain: &str, host: &str| {
            let terms = policies.of(&Destination::Mx(name(domain)), None, &Target::Name(name(host), 25));
            (terms.policy, terms.name)
        };
        let wanted = |policy, text: &str| (policy, text.to_owned());
        assert_eq!(mx("far.example", "mx.far.example"), wanted(TlsPolicy::Opportunistic, "mx.far.example"));
        assert_eq!(
            mx("partner.example", "mx.partner.example"),
            wanted(TlsPolicy::Verified, "mx.partner.example")
        );
        assert_eq!(mx("partner.example", "mx.evil.example"), wanted(TlsPolicy::Verified, "partner.example"));
        assert_eq!(mx("far.example", "old.example"), wanted(TlsPolicy::None, "far.example"));
        let to_hub = |hop: &NextHop| {
            let target = Target::Name(name("hub.corp.example"), hop.port);
            policies.of(&Destination::Hops(vec![hop.clone()]), Some(hop), &target)
        };
        assert_eq!(to_hub(&hub).policy, TlsPolicy::Verified);
        let other = NextHop { port: 465, ..hub };
        assert_eq!((to_hub(&other).policy, to_hub(&other).implicit), (TlsPolicy::None, true));
    }
}
