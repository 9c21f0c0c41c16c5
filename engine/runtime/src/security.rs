//! TLS and authentication, both ways. Secrets stand here as places, never as what is in them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

use mailstack_policy::DomainName;
use mailstack_policy::rules::NextHop;
use serde::{Deserialize, Serialize};

use crate::Config;

impl Config {
    /// What a listener is for.
    pub fn listener_kind(&self, address: &SocketAddr) -> ListenerKind {
        self.listener_kinds.get(address).copied().unwrap_or(ListenerKind::Smtp)
    }

    /// What the listener is for that a connection to this address of the host came to; None: there is none.
    pub fn kind_of_connection(&self, address: &SocketAddr) -> Option<ListenerKind> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let all = |any: IpAddr| SocketAddr::new(any, address.port());
        let wide = match address {
            SocketAddr::V4(_) => [all(Ipv4Addr::UNSPECIFIED.into()), all(Ipv6Addr::UNSPECIFIED.into())],
            SocketAddr::V6(_) => [all(Ipv6Addr::UNSPECIFIED.into()); 2],
        };
        let at = [[address].as_slice(), &wide].concat();
        at.iter().find(|at| self.listeners.contains(at)).map(|at| self.listener_kind(at))
    }

    /// The places of all secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Path> {
        let key = self.tls.server.iter().map(|server| server.key.as_path());
        let users = self.auth.iter().map(|auth| auth.users.as_path());
        let credentials = self.tls.mail_hosts.iter().filter_map(|host| host.credentials.as_deref());
        key.chain(users).chain(credentials)
    }

    /// The same without TLS and authentication: where it is tried among hosts that have no certificates.
    pub fn in_clear(&self) -> Config {
        let tls = Tls { outgoing: TlsPolicy::None, ..Tls::default() };
        Config { tls, auth: None, ..self.clone() }
    }
}

/// The name of a secret among systemd's credentials: its path with hyphens, `etc-mailstack-credentials-mailhost`.
pub fn credential_name(path: &Path) -> String {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("-")
}

/// TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Whether TLS is used where nothing else is said of the destination.
    pub outgoing: TlsPolicy,
    /// The certificates that others are verified by: PEM (`confCACERT`).
    pub ca_file: PathBuf,
    /// What this server shows; None: no STARTTLS is offered.
    pub server: Option<ServerTls>,
    /// By the domain of the recipient, or the name of the mail host (`TLS_Rcpt:`, `TLS_Srv:`).
    #[serde(default)]
    pub peers: BTreeMap<DomainName, TlsPolicy>,
    /// What is said of a mail host itself.
    #[serde(default)]
    pub mail_hosts: Vec<MailHostTls>,
}

impl Default for Tls {
    /// TLS where it is offered, Debian's certificates, and none of this host's own.
    fn default() -> Self {
        Self {
            outgoing: TlsPolicy::Opportunistic,
            ca_file: "/etc/ssl/certs/ca-certificates.crt".into(),
            server: None,
            peers: BTreeMap::new(),
            mail_hosts: Vec::new(),
        }
    }
}

/// Whether TLS is used towards a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsPolicy {
    /// No (`Try_TLS: NO`).
    None,
    /// Where it is offered, whatever the certificate.
    Opportunistic,
    /// With a certificate that is valid for the host, or not at all (`VERIFY`).
    Verified,
}

/// A server's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// The certificate and those that it is signed by, in order: PEM (`confSERVER_CERT`).
    pub certificate: PathBuf,
    /// Its key: PEM, to be read by this host's MTA alone (`confSERVER_KEY`).
    pub key: PathBuf,
}

/// What is said of a mail host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailHostTls {
    /// Which.
    pub hop: NextHop,
    /// Whether TLS is used; None: as for any other destination.
    pub policy: Option<TlsPolicy>,
    /// The file of user and password (`AuthInfo:`); only with [`TlsPolicy::Verified`].
    pub credentials: Option<PathBuf>,
}

/// Authentication of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Never none (`confAUTH_MECHANISMS`).
    pub mechanisms: BTreeSet<AuthMechanism>,
    /// `user@REALM` is `user` (`confAUTH_REALM`).
    pub realm: Option<DomainName>,
    /// The file of users: `NAME:SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER` a line (RFC 5803).
    pub users: PathBuf,
}

/// How a client shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AuthMechanism {
    /// RFC 4616
    #[serde(rename = "PLAIN")]
    Plain,
    /// What many devices speak.
    #[serde(rename = "LOGIN")]
    Login,
    /// RFC 7677
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
}

impl AuthMechanism {
    /// Its registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            AuthMechanism::Plain => "PLAIN",
            AuthMechanism::Login => "LOGIN",
            AuthMechanism::ScramSha256 => "SCRAM-SHA-256",
        }
    }
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ListenerKind {
    /// SMTP between hosts (port 25).
    Smtp,
    /// Submission: AUTH first (RFC 6409, port 587; `M=Ea`).
    Submission,
    /// The same, over TLS from the first octet on (RFC 8314 3.3, port 465; `M=s`).
    Submissions,
}
