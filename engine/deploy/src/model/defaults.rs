//! A role's defaults, from its profile: data that is compiled in.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mailstack_runtime::{Checks, Limits, Mailboxes, Privacy, Queue};
use mailstack_schema::host::{self, Amount, Role};
use mailstack_schema::profiles;
use serde::Deserialize;

use super::{Service, parse};

/// What a declaration leaves unsaid.
#[derive(Debug)]
pub(super) struct Defaults {
    pub(super) engine: host::Engine,
    pub(super) limits: Limits,
    pub(super) queue: Queue,
    pub(super) masquerade: MasqueradeDefaults,
    pub(super) generics_whole_domain: bool,
    pub(super) listen: BTreeSet<SocketAddr>,
    pub(super) mailboxes: Option<Mailboxes>,
    /// Empty where the role has no aliases.
    pub(super) default_user: String,
    pub(super) checks: Checks,
    pub(super) service: Service,
    pub(super) privacy: BTreeSet<Privacy>,
    pub(super) tls: TlsDefaults,
    /// None where the role has no users.
    pub(super) auth_mechanisms: Option<Vec<host::AuthMechanism>>,
}

/// TLS with other hosts.
#[derive(Clone, Debug)]
pub(super) struct TlsDefaults {
    pub(super) outgoing: host::TlsPolicy,
    pub(super) ca_file: String,
}

/// Which addresses a masquerading rewrites.
#[derive(Clone, Copy, Debug)]
pub(super) struct MasqueradeDefaults {
    pub(super) envelope: bool,
    pub(super) recipients: bool,
    pub(super) whole_domain: bool,
    pub(super) local_domains: bool,
}

/// A profile as written: keys as in host.toml, each of them filled.
#[derive(Deserialize)]
struct Profile {
    engine: host::Engine,
    limits: host::Limits,
    queue: host::Queue,
    masquerade: MasqueradeProfile,
    #[serde(default)]
    generics: host::Generics,
    #[serde(default)]
    listen: Vec<String>,
    mailboxes: Option<host::Mailboxes>,
    #[serde(default)]
    default_user: String,
    #[serde(default)]
    checks: host::Checks,
    #[serde(default)]
    service: host::Service,
    privacy: Option<Vec<host::PrivacyFlag>>,
    tls: host::Tls,
    auth: Option<AuthProfile>,
}

#[derive(Deserialize)]
struct AuthProfile {
    mechanisms: Vec<host::AuthMechanism>,
}

#[derive(Deserialize)]
struct MasqueradeProfile {
    envelope: bool,
    recipients: bool,
    #[serde(default)]
    whole_domain: bool,
    #[serde(default)]
    local_domains: bool,
}

impl Defaults {
    /// The defaults of a role.
    pub(super) fn of(role: Role) -> Self {
        #[expect(clippy::expect_used, reason = "compiled in, and a test reads every profile")]
        Self::parse(profiles::defaults(role)).expect("profiles are valid")
    }

    fn parse(text: &str) -> Option<Self> {
        let profile: Profile = toml::from_str(text).ok()?;
        let listen = profile.listen.iter().map(|text| parse::listen(text));
        Some(Self {
            engine: profile.engine,
            limits: limits(profile.limits)?,
            queue: queue(profile.queue)?,
            masquerade: MasqueradeDefaults {
                envelope: profile.masquerade.envelope,
                recipients: profile.masquerade.recipients,
                whole_domain: profile.masquerade.whole_domain,
                local_domains: profile.masquerade.local_domains,
            },
            generics_whole_domain: profile.generics.whole_domain.unwrap_or(false),
            listen: listen.collect::<Result<_, _>>().ok()?,
            mailboxes: profile.mailboxes.and_then(mailboxes),
            default_user: profile.default_user,
            tls: TlsDefaults { outgoing: profile.tls.outgoing?, ca_file: profile.tls.ca_file? },
            auth_mechanisms: profile.auth.map(|auth| auth.mechanisms),
            checks: checks(profile.checks),
            service: service(&profile.service),
            privacy: profile.privacy.map_or_else(Privacy::careful, |flags| super::privacy(&flags)),
        })
    }
}

fn limits(written: host::Limits) -> Option<Limits> {
    Some(Limits {
        message_size: octets(&written.message_size?)?,
        recipients: written.recipients_per_message?,
        header_size: octets(&written.header_size?)?.try_into().ok()?,
        free_space: octets(&written.free_space?)?,
        hops: written.hops?,
        connections: written.connections?,
        connections_per_client: written.connections_per_client?,
    })
}

/// A role that does not receive has none.
fn service(written: &host::Service) -> Service {
    Service {
        by: written.by.map(super::resolve::served_by).unwrap_or_default(),
        nice: written.nice.and_then(|nice| u8::try_from(nice).ok()).unwrap_or_default(),
    }
}

fn checks(written: host::Checks) -> Checks {
    Checks {
        reverse_dns: written.reverse_dns.unwrap_or_default(),
        helo: written.helo.unwrap_or_default(),
        greet_pause: written.greet_pause.unwrap_or_default(),
        connection_rate: written.connection_rate.unwrap_or_default(),
        connection_rate_per_client: written.connection_rate_per_client.unwrap_or_default(),
        bad_recipients: written.bad_recipients.unwrap_or_default(),
        dnsbl: Vec::new(),
    }
}

fn octets(written: &Amount) -> Option<u64> {
    match written {
        Amount::Octets(octets) => Some(*octets),
        Amount::Text(text) => parse::size(text).ok(),
    }
}

fn queue(written: host::Queue) -> Option<Queue> {
    Some(Queue {
        first_retry: parse::duration(&written.first_retry?).ok()?,
        longest_retry: parse::duration(&written.longest_retry?).ok()?,
        lifetime: parse::duration(&written.lifetime?).ok()?,
        connections_per_destination: written.connections_per_destination?,
    })
}

fn mailboxes(written: host::Mailboxes) -> Option<Mailboxes> {
    let format = super::mailbox_format(written.format?);
    Some(Mailboxes { format, path: written.path?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_fills_every_key() {
        for role in Role::ALL {
            let defaults = Defaults::of(role);
            let local = matches!(role, Role::Loopback | Role::Gateway);
            assert_eq!(defaults.mailboxes.is_some(), local, "{role}");
            assert_eq!(!defaults.listen.is_empty(), local, "{role}");
        }
    }
}
