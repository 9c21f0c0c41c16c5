//! TLS, authentication, and mail hosts that are more than a name. Secrets are places, never what is in them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One mail host or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum MailHosts {
    /// `"mailhost.corp.example"`
    One(String),
    /// One with more to say of it.
    Said(MailHost),
    /// Several, in order of preference.
    Many(#[schemars(length(min = 1))] Vec<AMailHost>),
}

/// A mail host in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AMailHost {
    /// `"mailhost.corp.example"`
    Name(String),
    /// One with more to say of it.
    Said(MailHost),
}

/// A mail host, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MailHost {
    /// `host` (by MX), `[host]` or `[192.0.2.1]`. Sendmail: `SMART_HOST`.
    #[schemars(extend("examples" = ["mailhost.corp.example", "[192.0.2.1]"]))]
    pub host: String,
    /// Its port; 465 is TLS from the first octet on. Sendmail: `RELAY_MAILER_ARGS`. Port: 25 unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535), extend("examples" = [587]))]
    pub port: Option<u16>,
    /// Whether TLS is used with it; `tls.outgoing` unless written. Sendmail: access `TLS_Srv:`, `Try_TLS:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["verified"]))]
    pub tls: Option<TlsPolicy>,
    /// The file with `user` and `password` to show to it, over verified TLS alone. Sendmail: `FEATURE(authinfo)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/mailstack/credentials/mailhost"]))]
    pub credentials: Option<String>,
}

impl MailHosts {
    /// The hosts in order.
    pub fn all(&self) -> Vec<AMailHost> {
        match self {
            MailHosts::One(text) => vec![AMailHost::Name(text.clone())],
            MailHosts::Said(host) => vec![AMailHost::Said(host.clone())],
            MailHosts::Many(hosts) => hosts.clone(),
        }
    }
}

/// Whether TLS is used with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TlsPolicy {
    /// Never.
    None,
    /// Where it is offered, whoever it is with.
    Opportunistic,
    /// With a certificate that is valid for the host, or the mail waits.
    Verified,
}

/// TLS of a role that only sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tls {
    /// Whether TLS is used where nothing else is said of the host. Sendmail: access `TLS_Srv:`, `Try_TLS:`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["verified"]))]
    pub outgoing: Option<TlsPolicy>,
    /// The certificates that other hosts are verified by, PEM. Sendmail: `confCACERT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/ssl/certs/ca-certificates.crt"]))]
    pub ca_file: Option<String>,
}

/// TLS of a loopback MTA.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LoopbackTls {
    /// What every role has.
    #[serde(flatten)]
    pub common: Tls,
    /// By the domain of the recipient or the name of the next host. Sendmail: access `TLS_Rcpt:`, `TLS_Srv:`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"partner.example": "verified"}]))]
    pub peers: Option<BTreeMap<String, TlsPolicy>>,
}

/// TLS of a gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayTls {
    /// What a loopback MTA has.
    #[serde(flatten)]
    pub loopback: LoopbackTls,
    /// This host's certificate and those that it is signed by, PEM. Sendmail: `confSERVER_CERT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/mailstack/tls/cert.pem"]))]
    pub certificate: Option<String>,
    /// Its key, PEM, which nobody but root and mailstack may read. Sendmail: `confSERVER_KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/etc/mailstack/tls/key.pem"]))]
    pub key: Option<String>,
}

/// Who may authenticate, and how; they may send to anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Auth {
    /// The mechanisms, offered over TLS and to this host itself. Sendmail: `confAUTH_MECHANISMS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), extend("examples" = [["SCRAM-SHA-256", "PLAIN"]]))]
    pub mechanisms: Option<Vec<AuthMechanism>>,
    /// `user@REALM` is `user`. Sendmail: `confAUTH_REALM`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["corp.example"]))]
    pub realm: Option<String>,
    /// The file of users, a line each, as `mailstack auth hash` makes it. Sendmail: `sasldb2`.
    #[schemars(extend("examples" = ["/etc/mailstack/credentials/users"]))]
    pub users: String,
}

/// How a client shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Listen {
    /// An address, with `:port` where it is not 25; 587 and 465 are for submission.
    Address(String),
    /// What another port is for.
    Said(Listener),
}

/// A place to listen at, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// The address, with its port. Sendmail: `DAEMON_OPTIONS` `Addr=`, `Port=`.
    #[schemars(extend("examples" = ["192.0.2.1:2525"]))]
    pub address: String,
    /// What it is for; by the port unless written. Sendmail: `DAEMON_OPTIONS` `M=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["submission"]))]
    pub kind: Option<ListenerKind>,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListenerKind {
    /// SMTP between hosts.
    Smtp,
    /// Submission: AUTH first.
    Submission,
    /// The same, over TLS from the first octet on.
    Submissions,
}

impl Listen {
    /// The address as written.
    pub fn address(&self) -> &str {
        match self {
            Listen::Address(text) => text,
            Listen::Said(listener) => &listener.address,
        }
    }

    /// What is said of it.
    pub fn kind(&self) -> Option<ListenerKind> {
        match self {
            Listen::Address(_) => None,
            Listen::Said(listener) => listener.kind,
        }
    }
}
