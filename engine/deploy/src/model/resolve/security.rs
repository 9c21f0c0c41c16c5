//! TLS, authentication and mail hosts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use mailstack_policy::DomainName;
use mailstack_policy::rules::NextHop;
use mailstack_runtime::{Auth, AuthMechanism, ListenerKind, MailHostTls, ServerTls, Tls, TlsPolicy};
use mailstack_schema::host::{self, AMailHost, Gateway, Host, Listen, LoopbackTls, MailHosts as Written};
use mailstack_schema::spans::{child, element};

use super::Faults;
use crate::model::defaults::Defaults;
use crate::model::fault::FaultKind;
use crate::model::{MailHosts, parse};

/// The ports that RFC 6409 and RFC 8314 give to submission.
const SUBMISSION: u16 = 587;
const SUBMISSIONS: u16 = 465;
/// What mailstack generates, or keeps mail in.
const GENERATED: [&str; 4] = ["/var/lib/mailstack", "/etc/mail", "/var/spool/mailstack", "/run/mailstack"];

/// TLS, both ways.
pub(super) fn tls(host: &Host, defaults: &Defaults, faults: &mut Faults) -> Tls {
    let written = match host {
        Host::Nullclient(host) => of_client(host.tls.as_ref()),
        Host::Msp(host) => of_client(host.tls.as_ref()),
        Host::Loopback(host) => host.tls.clone().unwrap_or_default(),
        Host::Gateway(host) => host.tls.clone().unwrap_or_default().loopback,
    };
    let outgoing = policy(written.common.outgoing.unwrap_or(defaults.tls.outgoing));
    let ca_file = written.common.ca_file.as_deref().unwrap_or(&defaults.tls.ca_file);
    Tls {
        outgoing,
        ca_file: place("tls.ca_file", ca_file, faults).unwrap_or_default(),
        server: if let Host::Gateway(host) = host { server(host, faults) } else { None },
        peers: peers(written.peers.as_ref(), faults),
        mail_hosts: written_mail_hosts(host)
            .map(|hosts| said_of(hosts, outgoing, faults))
            .unwrap_or_default(),
    }
}

fn of_client(written: Option<&host::Tls>) -> LoopbackTls {
    LoopbackTls { common: written.cloned().unwrap_or_default(), peers: None }
}

fn written_mail_hosts(host: &Host) -> Option<&Written> {
    match host {
        Host::Nullclient(host) => Some(&host.mail_host),
        Host::Msp(host) => Some(&host.mail_host),
        Host::Loopback(host) => host.local.mail_host.as_ref(),
        Host::Gateway(host) => host.local.mail_host.as_ref(),
    }
}

/// Whether some mail host is shown credentials.
pub(super) fn has_credentials(host: &Host) -> bool {
    let hosts = written_mail_hosts(host).map(Written::all).unwrap_or_default();
    hosts.iter().any(|host| matches!(host, AMailHost::Said(host) if host.credentials.is_some()))
}

fn policy(written: host::TlsPolicy) -> TlsPolicy {
    match written {
        host::TlsPolicy::None => TlsPolicy::None,
        host::TlsPolicy::Opportunistic => TlsPolicy::Opportunistic,
        host::TlsPolicy::Verified => TlsPolicy::Verified,
    }
}

fn server(host: &Gateway, faults: &mut Faults) -> Option<ServerTls> {
    let written = host.tls.as_ref()?;
    let mut file = |key: &str, text: &Option<String>| place(&child("tls", key), text.as_deref()?, faults);
    let (certificate, key) = (file("certificate", &written.certificate), file("key", &written.key));
    for (one, other, path, needed) in [
        (&written.certificate, &written.key, "tls.certificate", "tls.key"),
        (&written.key, &written.certificate, "tls.key", "tls.certificate"),
    ] {
        if one.is_some() && other.is_none() {
            faults.add(path, FaultKind::Without { needed: needed.to_owned() });
        }
    }
    Some(ServerTls { certificate: certificate?, key: key? })
}

fn peers(
    written: Option<&BTreeMap<String, host::TlsPolicy>>,
    faults: &mut Faults,
) -> BTreeMap<DomainName, TlsPolicy> {
    let mut peers = BTreeMap::new();
    for (text, said) in written.into_iter().flatten() {
        let path = child("tls.peers", text);
        let Some(domain) = faults.keep_key(&path, parse::domain(text)) else { continue };
        if peers.insert(domain, policy(*said)).is_some() {
            faults.add(&path, FaultKind::Twice { text: text.clone(), other: "tls.peers".to_owned() });
        }
    }
    peers
}

/// What is said of the mail hosts themselves.
fn said_of(written: &Written, outgoing: TlsPolicy, faults: &mut Faults) -> Vec<MailHostTls> {
    let mut said = Vec::new();
    for (index, one) in written.all().into_iter().enumerate() {
        let path = path_of(written, index);
        let (hop, tls, credentials) = match &one {
            AMailHost::Name(text) => (parse::mail_host(text).ok(), None, None),
            AMailHost::Said(host) => {
                (parse::mail_host(&composed(host)).ok(), host.tls.map(policy), host.credentials.as_deref())
            }
        };
        let Some(hop) = hop else { continue };
        let applies = tls.unwrap_or(outgoing);
        if hop.port == SUBMISSIONS && applies == TlsPolicy::None {
            faults.add(&path, FaultKind::TlsPort);
        }
        let place = credentials.and_then(|text| place(&child(&path, "credentials"), text, faults));
        if place.is_some() && applies != TlsPolicy::Verified {
            faults.add(child(&path, "credentials"), FaultKind::CredentialsInClear);
        }
        if tls.is_some() || place.is_some() {
            said.push(MailHostTls { hop, policy: tls, credentials: place });
        }
    }
    said
}

/// Users who may send to anywhere.
pub(super) fn auth(host: &Host, defaults: &Defaults, faults: &mut Faults) -> Option<Auth> {
    let Host::Gateway(host) = host else { return None };
    let written = host.auth.as_ref()?;
    if host.tls.as_ref().is_none_or(|tls| tls.certificate.is_none()) {
        faults.add("auth", FaultKind::Without { needed: "tls.certificate".to_owned() });
    }
    if written.mechanisms.as_ref().is_some_and(Vec::is_empty) {
        faults.add("auth.mechanisms", FaultKind::Empty);
    }
    let mechanisms = written.mechanisms.as_ref().or(defaults.auth_mechanisms.as_ref())?;
    let realm = written.realm.as_deref().and_then(|text| faults.keep("auth.realm", parse::domain(text)));
    let users = place("auth.users", &written.users, faults)?;
    Some(Auth { mechanisms: mechanisms.iter().copied().map(mechanism).collect(), realm, users })
}

fn mechanism(written: host::AuthMechanism) -> AuthMechanism {
    match written {
        host::AuthMechanism::Plain => AuthMechanism::Plain,
        host::AuthMechanism::Login => AuthMechanism::Login,
        host::AuthMechanism::ScramSha256 => AuthMechanism::ScramSha256,
    }
}

/// What the listeners are for that are not for SMTP between hosts: as it is said, or by the port.
pub(super) fn listener_kinds(
    host: &Gateway,
    written: &[Listen],
    faults: &mut Faults,
) -> BTreeMap<SocketAddr, ListenerKind> {
    let has_certificate = host.tls.as_ref().is_some_and(|tls| tls.certificate.is_some());
    let mut kinds = BTreeMap::new();
    for (index, one) in written.iter().enumerate() {
        let Ok(at) = parse::listen(one.address()) else { continue };
        let kind = match (one.kind(), at.port()) {
            (Some(host::ListenerKind::Smtp), _) => continue,
            (Some(host::ListenerKind::Submission), _) | (None, SUBMISSION) => ListenerKind::Submission,
            (Some(host::ListenerKind::Submissions), _) | (None, SUBMISSIONS) => ListenerKind::Submissions,
            (None, _) => continue,
        };
        let (path, text) = (element("listen", index), one.address().to_owned());
        if host.auth.is_none() {
            faults.add(&path, FaultKind::SubmissionWithoutAuth { text });
        } else if !has_certificate {
            faults.add(&path, FaultKind::Without { needed: "tls.certificate".to_owned() });
        }
        kinds.insert(at, kind);
    }
    kinds
}

/// The mail hosts, all with one port.
pub(super) fn mail_hosts(written: &Written, faults: &mut Faults) -> Option<MailHosts> {
    let mut hosts: Vec<NextHop> = Vec::new();
    for (index, one) in written.all().into_iter().enumerate() {
        let path = path_of(written, index);
        let text = match one {
            AMailHost::Name(text) => text,
            AMailHost::Said(host) => composed(&host),
        };
        let Some(hop) = faults.keep(&path, parse::mail_host(&text)) else { continue };
        let first = hosts.first().unwrap_or(&hop);
        if first.port != hop.port {
            faults.add(path.as_str(), FaultKind::MailHostPorts { first: first.port, port: hop.port });
        }
        match hosts.iter().position(|other| *other == hop) {
            Some(other) => {
                faults.add(path, FaultKind::Twice { text, other: path_of(written, other) });
            }
            None => hosts.push(hop),
        }
    }
    if written.all().is_empty() {
        faults.add("mail_host", FaultKind::Empty);
    }
    MailHosts::new(hosts)
}

fn path_of(written: &Written, index: usize) -> String {
    match written {
        Written::One(_) | Written::Said(_) => "mail_host".to_owned(),
        Written::Many(_) => element("mail_host", index),
    }
}

/// As a mail host is written in one text.
fn composed(host: &host::MailHost) -> String {
    host.port.map_or_else(|| host.host.clone(), |port| format!("{}:{port}", host.host))
}

/// An absolute path that no generation has, in characters that Sendmail takes in one too.
fn place(path: &str, text: &str, faults: &mut Faults) -> Option<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let place = Path::new(text);
    let has_only_names =
        place.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let is_generated = GENERATED.iter().any(|generated| place.starts_with(generated));
    if place.is_absolute() && has_only_names && !is_generated && text.chars().all(plain) && text.len() > 1 {
        return Some(place.to_owned());
    }
    faults.add(path, FaultKind::Place { text: text.to_owned() });
    None
}
