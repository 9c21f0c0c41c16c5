//! host.toml as types: a union by role, each role holding its own keys and no others.
//!
//! Owns the language as written; an absent key is None. Its default stands in the role's profile and nowhere here: the
//! export adds it to the description. Domain names, sizes
//! and durations are texts here. Must not know what a valid combination is: that is the model.

mod engine;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::schema::{Document, VERSION};

pub use checks::{Checks, Dnsbl, PrivacyFlag};
pub use engine::{Engine, Permissions};
pub use expect::Expectation;
pub use generics::Generics;
pub use security::{
    AMailHost, Auth, AuthMechanism, GatewayTls, Listen, Listener, ListenerKind, LoopbackTls, MailHost,
    MailHosts, Tls, TlsPolicy,
};
pub use service::{Service, ServiceBy};

mod checks;
pub mod expect;
mod generics;
mod security;
mod service;

/// How one host takes part in mail: its role, and what the role needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "role", rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "there is one of it, read once")]
pub enum Host {
    /// All mail of the host goes to the mail host; nothing is delivered here and nothing listens (`nullclient`).
    Nullclient(Nullclient),
    /// Message submission only, beside any MTA of the host (`msp`, `submit.cf`).
    Msp(Msp),
    /// An MTA for the host's own programs, on loopback addresses alone.
    Loopback(Loopback),
    /// A border relay: takes mail for its domains, relays for its networks, refuses all else.
    Gateway(Gateway),
}

impl Document for Host {
    const NAME: &'static str = "host";

    fn kept() -> &'static OnceLock<Value> {
        static KEPT: OnceLock<Value> = OnceLock::new();
        &KEPT
    }
}

impl Host {
    /// Returns the role.
    pub fn role(&self) -> Role {
        match self {
            Host::Nullclient(_) => Role::Nullclient,
            Host::Msp(_) => Role::Msp,
            Host::Loopback(_) => Role::Loopback,
            Host::Gateway(_) => Role::Gateway,
        }
    }

    /// Returns the keys that every role has.
    pub fn common(&self) -> &Common {
        match self {
            Host::Nullclient(host) => &host.common,
            Host::Msp(host) => &host.common,
            Host::Loopback(host) => &host.common,
            Host::Gateway(host) => &host.common,
        }
    }
}

/// A host's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Owns all mail of the host and sends it to the mail host.
    Nullclient,
    /// Submits only, beside any MTA.
    Msp,
    /// An MTA on loopback addresses.
    Loopback,
    /// A border relay.
    Gateway,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Nullclient, Role::Msp, Role::Loopback, Role::Gateway];

    /// Returns the role as the `role` key spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Nullclient => "nullclient",
            Role::Msp => "msp",
            Role::Loopback => "loopback",
            Role::Gateway => "gateway",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        Role::ALL.into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// A text that names no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such role: nullclient, msp, loopback and gateway are the roles")]
pub struct UnknownRole;

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The keys that every role has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Common {
    /// Version of the language that this file is written in. Sendmail: none. Always 1.
    #[schemars(extend("const" = VERSION), extend("examples" = [VERSION]))]
    pub schema: u32,
    /// Files laid under this one, from its own directory: tables merge key by key, of all else this file's is taken,
    /// then that of the later import. Sendmail: none. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["site.toml"]]))]
    pub imports: Option<Vec<String>>,
    /// The host's fully qualified name. Sendmail: `$j`, `confDOMAIN_NAME`. Default: found at run time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["gw.corp.example"]))]
    pub hostname: Option<String>,
    /// Which packaging of Sendmail the generated `.mc` is for. Sendmail: `OSTYPE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["debian"]))]
    pub platform: Option<Platform>,
    /// Where Sendmail's cf library lies on the host that builds, the directory of `m4/cf.m4`. Sendmail: `_CF_DIR_`. Default: the platform's: `/usr/share/sendmail/cf`, `/usr/share/sendmail-cf` or `/usr/share/sendmail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/usr/share/sendmail/cf"]))]
    pub cf_dir: Option<String>,
    /// Who runs the role: mailstack's own MTA, or the host's Sendmail. Sendmail: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["sendmail"]))]
    pub engine: Option<Engine>,
    /// The most that is taken of anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"message_size": "25MiB"}]))]
    pub limits: Option<Limits>,
    /// When mail that waits is tried again, and for how long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"first_retry": "5m"}]))]
    pub queue: Option<Queue>,
    /// What must become of messages, proven before anything is applied. Sendmail: none. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[{"to": "root", "leaves": {"for": "mailhost.corp.example"}}]]))]
    pub expect: Option<Vec<Expectation>>,
}

/// A packaging of Sendmail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Platform {
    /// Debian and what derives from it.
    Debian,
    /// Red Hat Enterprise Linux, Fedora and what derives from them.
    Redhat,
    /// SUSE Linux Enterprise and openSUSE.
    Suse,
}

/// The keys of a null client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nullclient {
    /// What every role has.
    #[serde(flatten)]
    pub common: Common,
    /// Where all mail goes, in order of preference. Sendmail: `FEATURE(nullclient)`. Port: 25 unless written.
    #[schemars(extend("examples" = ["mailhost.corp.example", ["[mail1.corp.example]:587", "[192.0.2.1]"], {"host": "mailhost.corp.example", "port": 587, "tls": "verified", "credentials": "/etc/mailstack/credentials/mailhost"}]))]
    pub mail_host: MailHosts,
    /// How addresses of this host are made to look. Sendmail: `MASQUERADE_AS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"domain": "corp.example"}]))]
    pub masquerade: Option<ClientMasquerade>,
    /// TLS with other hosts. Sendmail: STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"outgoing": "verified"}]))]
    pub tls: Option<Tls>,
}

/// The keys of a submission-only host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Msp {
    /// What every role has.
    #[serde(flatten)]
    pub common: Common,
    /// Where all mail is submitted, in order of preference. Sendmail: `FEATURE(msp)`. Port: 25 unless written.
    #[schemars(extend("examples" = ["mailhost.corp.example", ["[127.0.0.1]:587", "[192.0.2.1]"]]))]
    pub mail_host: MailHosts,
    /// How addresses of this host are made to look. Sendmail: `MASQUERADE_AS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"domain": "corp.example"}]))]
    pub masquerade: Option<ClientMasquerade>,
    /// TLS with other hosts. Sendmail: STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"outgoing": "verified"}]))]
    pub tls: Option<Tls>,
}

/// The keys of a loopback MTA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Loopback {
    /// What every role has.
    #[serde(flatten)]
    pub common: Common,
    /// What every role with mailboxes has.
    #[serde(flatten)]
    pub local: Local,
    /// Where it listens: loopback addresses. Sendmail: `DAEMON_OPTIONS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["127.0.0.1:2525", "[::1]:2525"]]))]
    pub listen: Option<Vec<String>>,
    /// TLS with other hosts. Sendmail: STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"outgoing": "verified"}]))]
    pub tls: Option<LoopbackTls>,
}

/// The keys of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gateway {
    /// What every role has.
    #[serde(flatten)]
    pub common: Common,
    /// What every role with mailboxes has.
    #[serde(flatten)]
    pub local: Local,
    /// Where it listens; ports 587 and 465 are for submission. Sendmail: `DAEMON_OPTIONS`. Port: 25 unless written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["192.0.2.1", "[::1]:2525", "192.0.2.1:465"]]))]
    pub listen: Option<Vec<Listen>>,
    /// Who accepts what comes to `listen`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"by": "xinetd", "nice": 10}]))]
    pub service: Option<Service>,
    /// TLS, with clients and with other hosts. Sendmail: STARTTLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"certificate": "/etc/mailstack/tls/cert.pem", "key": "/etc/mailstack/tls/key.pem"}]))]
    pub tls: Option<GatewayTls>,
    /// Users who may send to anywhere. Sendmail: `TRUST_AUTH_MECH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"users": "/etc/mailstack/credentials/users"}]))]
    pub auth: Option<Auth>,
    /// Whom it relays for; all others may only send to its own domains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"networks": ["192.168.10.0/24"]}]))]
    pub relay: Option<Relay>,
    /// Clients (`Connect:`), senders (`From:`), recipients (`To:`), or all of them without a tag, by network, domain, `user@` or `user@domain`: RELAY, OK, REJECT, DISCARD or `ERROR:D.S.N:CODE text`. Sendmail: `/etc/mail/access`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"From:spammer@bad.example": "REJECT", "Connect:203.0.113.0/24": "ERROR:5.7.1:550 not from there"}]))]
    pub access: Option<BTreeMap<String, String>>,
    /// Lists of clients whose mail is refused; a list that does not answer refuses nobody. Sendmail: `FEATURE(dnsbl)`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [[{"zone": "bl.dnsbl.example"}]]))]
    pub dnsbl: Option<Vec<Dnsbl>>,
    /// What is checked of a client before its mail is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"greet_pause": 5}]))]
    pub checks: Option<Checks>,
}

/// The keys of the roles that have mailboxes: loopback and gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Local {
    /// Where mail that does not end here goes, in order of preference. Sendmail: `SMART_HOST`. Default: directly by MX.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["mailhost.corp.example"]))]
    pub mail_host: Option<MailHosts>,
    /// Domains whose mail ends here, beside the host's own name. Sendmail: class `w`, `local-host-names`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["corp.example"]]))]
    pub local_domains: Option<Vec<String>>,
    /// Domains of which only the addresses that `virtusertable` names exist, and postmaster. Sendmail: class `w`; `VIRTUSER_DOMAIN` would let their hosts relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["virt.example"]]))]
    pub virtual_domains: Option<Vec<String>>,
    /// What an address of a local or virtual domain means: `user@domain`, `user+*@domain`, `@domain`. Sendmail: `virtusertable`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"sales@virt.example": "alice@corp.example", "@virt.example": "%1%3@corp.example"}]))]
    pub virtusertable: Option<BTreeMap<String, String>>,
    /// What stands in the greeting behind the host's name and `ESMTP`; no name nor version of a program. Sendmail: `confSMTP_LOGIN_MSG`. Default: nothing, or Sendmail's date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["mail gateway of corp.example"]))]
    pub greeting: Option<String>,
    /// What clients and users are not told, or must do first. Sendmail: `confPRIVACY_FLAGS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["goaway", "noetrn"]]))]
    pub privacy: Option<Vec<PrivacyFlag>>,
    /// How addresses of this host are made to look. Sendmail: `MASQUERADE_AS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"domain": "corp.example"}]))]
    pub masquerade: Option<Masquerade>,
    /// Which senders `genericstable` is for, beside those of the host's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"domains": ["corp.example"]}]))]
    pub generics: Option<Generics>,
    /// The address that a sender appears as: `user`, `user@domain`, `user+*@domain`, `@domain`. Sendmail: `genericstable`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"joe": "Joe.Bloggs@corp.example"}]))]
    pub genericstable: Option<BTreeMap<String, String>>,
    /// Programs that an alias may run (`"|/path argument"`), without a shell; one that runs what it is told has no place here. Sendmail: `FEATURE(smrsh)` and its directory. Default: none; with Sendmail its own rules for `.forward`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["/usr/local/bin/ticket"]]))]
    pub programs: Option<Vec<String>>,
    /// The directory that a file of an alias (`"/path"`) must be below. Sendmail: `confSAFE_FILE_ENV`. Default: no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/var/mail-archive"]))]
    pub file_jail: Option<String>,
    /// As whom programs of aliases are run and their files written; never root. Sendmail: `confDEF_USER_ID`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["daemon"]))]
    pub default_user: Option<String>,
    /// Who owns queue and mailboxes, and whom the MTA runs as once a client is connected; only with `engine = "sendmail"` of Debian, and verified, never set. Sendmail: `confRUN_AS_USER`, `confTRUSTED_USER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["no-root"]))]
    pub permissions: Option<Permissions>,
    /// Local names and where their mail goes: addresses, users, `\user`, `:include:/path`, `|program`, `/file`; `owner-NAME` is the sender to the members of NAME. Sendmail: `/etc/mail/aliases`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"root": "root@corp.example"}]))]
    pub aliases: Option<BTreeMap<String, OneOrMany>>,
    /// Next hop by recipient domain, `domain` or `.domain`. Sendmail: `mailertable`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"corp.example": "smtp:[internalmail.corp.example]"}]))]
    pub mailertable: Option<BTreeMap<String, String>>,
    /// Where mail that ends here is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"format": "maildir", "path": "Maildir"}]))]
    pub mailboxes: Option<Mailboxes>,
}

/// Masquerading of a role without mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientMasquerade {
    /// The domain that addresses of this host appear in. Sendmail: `MASQUERADE_AS`.
    #[schemars(extend("examples" = ["corp.example"]))]
    pub domain: String,
    /// Whether the envelope sender is rewritten too. Sendmail: `FEATURE(masquerade_envelope)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub envelope: Option<bool>,
    /// Whether recipients in the header are rewritten too. Sendmail: `FEATURE(allmasquerade)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub recipients: Option<bool>,
    /// Users whose addresses are left as they are. Sendmail: `EXPOSED_USER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["backup"]]))]
    pub exposed_users: Option<Vec<String>>,
}

/// Masquerading of a role with mailboxes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Masquerade {
    /// What every masquerading has.
    #[serde(flatten)]
    pub common: ClientMasquerade,
    /// Further domains to rewrite, beside the host's own. Sendmail: `MASQUERADE_DOMAIN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["lab.corp.example"]]))]
    pub domains: Option<Vec<String>>,
    /// Whether `domains` covers the hosts below them too. Sendmail: `FEATURE(masquerade_entire_domain)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub whole_domain: Option<bool>,
    /// Domains that are left as they are, with the hosts below them, whatever covers them. Sendmail: `MASQUERADE_EXCEPTION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["lists.corp.example"]]))]
    pub exceptions: Option<Vec<String>>,
    /// Whether `local_domains` are rewritten too. Sendmail: false is `FEATURE(limited_masquerade)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [false]))]
    pub local_domains: Option<bool>,
}

/// Whom a gateway relays for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relay {
    /// Networks (CIDR) whose hosts may relay to anywhere. Sendmail: access `Connect:… RELAY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["192.168.10.0/24", "2001:db8:10::/48"]]))]
    pub networks: Option<Vec<String>>,
    /// Domains, with all below them, that mail is relayed to from anywhere. Sendmail: class `R`, `relay-domains`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["corp.example"]]))]
    pub domains: Option<Vec<String>>,
}

/// Where mail that ends here is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mailboxes {
    /// The form of a mailbox. Sendmail: `MAILER(local)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["maildir"]))]
    pub format: Option<MailboxFormat>,
    /// Directory of the mailboxes: absolute for mbox, relative to the user's home for maildir; with lmtp the server's Unix socket, or `[address]:port`. Sendmail: `LOCAL_MAILER_PATH`'s own, `FEATURE(local_lmtp)`. With maildir: `Maildir`; with lmtp: `/run/dovecot/lmtp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["/var/mail", "Maildir", "/run/dovecot/lmtp", "[127.0.0.1]:24"]))]
    pub path: Option<String>,
}

/// The form of a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MailboxFormat {
    /// One file per user.
    Mbox,
    /// One directory per user, one file per message.
    Maildir,
    /// Whatever the server keeps that takes them by LMTP (RFC 2033): Dovecot, say.
    Lmtp,
}

/// The most that is taken of anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// The largest message. Sendmail: `confMAX_MESSAGE_SIZE`. Unit: octets, or a text with KiB, MiB or GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["25MiB", 26214400]))]
    pub message_size: Option<Amount>,
    /// The most recipients of one message. Sendmail: `confMAX_RCPTS_PER_MESSAGE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [100]))]
    pub recipients_per_message: Option<u32>,
    /// The largest header. Sendmail: `confMAX_HEADERS_LENGTH`. Unit: octets, or a text with KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["32KiB"]))]
    pub header_size: Option<Amount>,
    /// Room that must be left on the queue's file system before a message is taken. Sendmail: `confMIN_FREE_BLOCKS`. Unit: octets, or a text with MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["100MiB"]))]
    pub free_space: Option<Amount>,
    /// The most `Received` lines: beyond it a message loops. Sendmail: `confMAX_HOP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000), extend("examples" = [25]))]
    pub hops: Option<u32>,
    /// The most connections at once. Sendmail: `confMAX_DAEMON_CHILDREN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [100]))]
    pub connections: Option<u32>,
    /// The most connections at once from one address. Sendmail: `FEATURE(conncontrol)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000), extend("examples" = [20]))]
    pub connections_per_client: Option<u32>,
}

/// When mail that waits is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queue {
    /// Time until the first retry. Sendmail: `confMIN_QUEUE_AGE`. Unit: s, m, h, d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["5m"]))]
    pub first_retry: Option<String>,
    /// The longest time between two tries. Sendmail: `confMAX_QUEUE_AGE`. Unit: s, m, h, d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["1h"]))]
    pub longest_retry: Option<String>,
    /// How long a message is tried before it bounces. Sendmail: `confTO_QUEUERETURN`. Unit: s, m, h, d.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["5d"]))]
    pub lifetime: Option<String>,
    /// What sends the mail that waits on a client (nullclient, msp); never two of them. Sendmail: `QUEUE_MODE`, `-q`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["resident"]))]
    pub flush: Option<Flush>,
    /// Time between two queue runs of a client. Sendmail: `QUEUE_INTERVAL`, `-q5m`. Unit: s, m, h, d. Not written: as `first_retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["10m"]))]
    pub flush_interval: Option<String>,
    /// The most connections at once to one destination. Sendmail: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000), extend("examples" = [5]))]
    pub connections_per_destination: Option<u32>,
}

/// What runs a client's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Flush {
    /// A timer of systemd.
    Timer,
    /// A line in `/etc/cron.d`.
    Cron,
    /// A process that stays.
    Resident,
}

/// One text or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `"a"`
    One(String),
    /// `["a", "b"]`
    Many(#[schemars(length(min = 1))] Vec<String>),
}

impl OneOrMany {
    /// Returns the texts in order; never empty when read from a file.
    pub fn as_slice(&self) -> &[String] {
        match self {
            OneOrMany::One(text) => std::slice::from_ref(text),
            OneOrMany::Many(texts) => texts,
        }
    }
}

/// A number of octets: an integer, or a text with a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// Octets.
    Octets(#[schemars(range(min = 1, max = 1_099_511_627_776_u64))] u64),
    /// `25MiB`
    Text(#[schemars(regex(pattern = crate::value::SIZE))] String),
}
