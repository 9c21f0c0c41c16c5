//! What a declaration means: a value that can only hold what is valid.
//!
//! Owns: role defaults, parsing of every text that a declaration holds, the contradictions between keys, and the
//! canonical form that a generation is named by. May use: the types of schema, policy and runtime. Must not know
//! files, processes or the host that it runs on.

mod defaults;
mod fault;
mod parse;
mod resolve;
pub(crate) mod sendmail;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use mailstack_policy::DomainName;
use mailstack_policy::access::Access;
use mailstack_policy::rules::{
    AliasTarget, Generics, Mailer, MailertableKey, Masquerade, NextHop, Qualify, Rules, Virtuser, VirtuserKey,
};
use mailstack_prove::expect::Expectation;
use mailstack_runtime::{
    Auth, Checks, Config, Limits, ListenerKind, MailboxFormat, Mailboxes, Paths, Privacy, Queue, Restricted,
    Role, Sendmail, ServedBy, Tls, VERSION,
};
use mailstack_schema::Written;
use mailstack_schema::host::{Host, PrivacyFlag};
use serde::Serialize;

use sendmail::Packaging;

pub use fault::{FaultKind, ModelFault, time};
pub(crate) use resolve::schedule;

/// A resolved declaration: defaults filled in, every text parsed, no contradiction left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    pub(crate) platform: Platform,
    /// Where the cf library lies; None: where the platform has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cf_dir: Option<PathBuf>,
    #[serde(skip_serializing_if = "Engine::is_builtin")]
    pub(crate) engine: Engine,
    pub(crate) hostname: Option<DomainName>,
    pub(crate) limits: Limits,
    pub(crate) queue: Queue,
    #[serde(skip_serializing_if = "Flush::is_default")]
    pub(crate) flush: Flush,
    pub(crate) tls: Tls,
    pub(crate) auth: Option<Auth>,
    pub(crate) role: RoleModel,
    /// No part of what is deployed: another expectation is not another generation.
    #[serde(skip)]
    pub(crate) expectations: Vec<Expectation>,
}

/// What runs a client's queue, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Flush {
    pub(crate) by: FlushBy,
    /// Seconds between two runs; None: as often as the first retry is due.
    pub(crate) interval: Option<u64>,
}

/// What runs a client's queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FlushBy {
    /// A timer of systemd.
    #[default]
    Timer,
    /// cron.
    Cron,
    /// A process that stays.
    Resident,
}

impl Flush {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Who runs the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// mailstack's own MTA.
    Builtin,
    /// The host's Sendmail.
    Sendmail,
}

impl Engine {
    fn is_builtin(&self) -> bool {
        *self == Self::Builtin
    }
}

/// Which packaging of Sendmail the `.mc` is written for (`OSTYPE`, users and directories).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// Debian and its descendants.
    Debian,
    /// Red Hat and its descendants.
    Redhat,
    /// SUSE.
    Suse,
}

/// Names that must take mail (RFC 5321 4.5.1), and what they mean where no alias says it.
pub(crate) const ALWAYS_ALIASED: [(&str, &str); 2] =
    [("mailer-daemon", "postmaster"), ("postmaster", "root")];

/// The role, and what only that role can say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleModel {
    Nullclient(NullClient),
    Msp(Msp),
    Loopback(Mta),
    Gateway(Mta, Relay),
}

/// A null client: all its mail appears to come from, and bare names go to, one name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct NullClient {
    pub(crate) mail_hosts: MailHosts,
    /// The declared masquerading, or the name of the first mail host (as `FEATURE(nullclient)` has it).
    pub(crate) appears_as: DomainName,
    pub(crate) exposed_users: BTreeSet<String>,
}

/// Message submission only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Msp {
    pub(crate) mail_hosts: MailHosts,
    pub(crate) masquerade: Option<Masquerade>,
}

/// What both roles with mailboxes have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mta {
    pub(crate) mail_hosts: Option<MailHosts>,
    pub(crate) masquerade: Option<Masquerade>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generics: Option<Generics>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) virtual_domains: BTreeSet<DomainName>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) virtusertable: BTreeMap<VirtuserKey, Virtuser>,
    pub(crate) listeners: BTreeSet<SocketAddr>,
    /// Those that are not for SMTP between hosts.
    pub(crate) listener_kinds: BTreeMap<SocketAddr, ListenerKind>,
    pub(crate) local_domains: BTreeSet<DomainName>,
    pub(crate) aliases: BTreeMap<String, Vec<AliasTarget>>,
    pub(crate) mailertable: BTreeMap<MailertableKey, Mailer>,
    pub(crate) mailboxes: Mailboxes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restricted: Option<Restricted>,
    /// Whether the host's Sendmail is not root once a client is connected.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) no_root: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) greeting: String,
    pub(crate) privacy: BTreeSet<Privacy>,
}

/// Whom a gateway relays for, and what it checks of its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Relay {
    pub(crate) networks: BTreeSet<IpNet>,
    pub(crate) domains: BTreeSet<DomainName>,
    #[serde(skip_serializing_if = "Access::is_empty")]
    pub(crate) access: Access,
    pub(crate) checks: Checks,
    #[serde(skip_serializing_if = "Service::is_default")]
    pub(crate) service: Service,
}

/// Who accepts connections, and how much serving them stands back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Service {
    pub(crate) by: ServedBy,
    /// 0 to 19.
    pub(crate) nice: u8,
}

impl Service {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Mail hosts in order of preference; never none, and all with one port, since Sendmail's host lists
/// (`a:b`) have one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MailHosts(Vec<NextHop>);

impl MailHosts {
    /// The hosts, or None for an empty list.
    pub(crate) fn new(hosts: Vec<NextHop>) -> Option<Self> {
        let first = hosts.first()?.port;
        hosts.iter().all(|hop| hop.port == first).then_some(Self(hosts))
    }

    pub(crate) fn hosts(&self) -> &[NextHop] {
        &self.0
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.first().map_or(25, |hop| hop.port)
    }
}

impl Model {
    /// Resolves what was written. Errors: everything that is wrong with it, in the order of the keys below.
    pub fn resolve(written: &Written<Host>) -> Result<Self, Vec<ModelFault>> {
        resolve::model(&written.value)
    }

    /// The role.
    pub fn role(&self) -> Role {
        match self.role {
            RoleModel::Nullclient(_) => Role::Nullclient,
            RoleModel::Msp(_) => Role::Msp,
            RoleModel::Loopback(_) => Role::Loopback,
            RoleModel::Gateway(..) => Role::Gateway,
        }
    }

    /// What must become of messages, in the order in which it is written.
    pub fn expectations(&self) -> &[Expectation] {
        &self.expectations
    }

    /// Who runs it.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// Where Sendmail's cf library lies on the host that builds.
    pub fn cf_dir(&self) -> PathBuf {
        self.cf_dir.clone().unwrap_or_else(|| self.packaging().library.into())
    }

    /// Seconds between two queue runs of a client.
    pub(crate) fn flush_interval(&self) -> u64 {
        self.flush.interval.unwrap_or(self.queue.first_retry)
    }

    /// Sendmail as the platform has it.
    pub(crate) fn sendmail(&self) -> Sendmail {
        let sendmail = sendmail::of(self.platform, self.flush_interval());
        if self.mta().is_some_and(|mta| mta.no_root) { sendmail::without_root(sendmail) } else { sendmail }
    }

    /// What the platform has where.
    pub(crate) fn packaging(&self) -> Packaging {
        Packaging::of(self.platform)
    }

    /// The canonical resolved declaration, as JSON with ordered keys: two declarations that mean the same have
    /// the same text.
    pub fn canonical(&self) -> String {
        #[expect(clippy::expect_used, reason = "maps with text keys and no floats: JSON can say all of it")]
        serde_json::to_string_pretty(self).expect("the model is JSON")
    }

    /// What the built-in MTA runs by.
    pub fn runtime_config(&self) -> Config {
        let mta = self.mta();
        Config {
            version: VERSION,
            role: self.role(),
            hostname: self.hostname.clone(),
            sendmail: (self.engine == Engine::Sendmail).then(|| self.sendmail()),
            listeners: mta.map(|mta| mta.listeners.clone()).unwrap_or_default(),
            listener_kinds: mta.map(|mta| mta.listener_kinds.clone()).unwrap_or_default(),
            served_by: self.service().by,
            nice: self.service().nice,
            paths: paths(),
            limits: self.limits.clone(),
            checks: self.checks().cloned().unwrap_or_default(),
            greeting: mta.map(|mta| mta.greeting.clone()).unwrap_or_default(),
            privacy: mta.map_or_else(Privacy::careful, |mta| mta.privacy.clone()),
            queue: self.queue.clone(),
            mailboxes: mta.map(|mta| mta.mailboxes.clone()),
            restricted: mta.and_then(|mta| mta.restricted.clone()),
            tls: self.tls.clone(),
            auth: self.auth.clone(),
            rules: self.rules(),
        }
    }

    /// All that decides about addresses.
    fn rules(&self) -> Rules {
        match &self.role {
            RoleModel::Nullclient(client) => client.rules(),
            RoleModel::Msp(msp) => msp.rules(),
            RoleModel::Loopback(mta) => mta.rules(),
            RoleModel::Gateway(mta, relay) => Rules {
                relay_domains: relay.domains.clone(),
                relay_networks: relay.networks.clone(),
                access: relay.access.clone(),
                ..mta.rules()
            },
        }
    }

    /// What a gateway checks.
    fn checks(&self) -> Option<&Checks> {
        match &self.role {
            RoleModel::Gateway(_, relay) => Some(&relay.checks),
            _ => None,
        }
    }

    /// Who accepts connections.
    pub(crate) fn service(&self) -> Service {
        match &self.role {
            RoleModel::Gateway(_, relay) => relay.service,
            _ => Service::default(),
        }
    }

    /// What the roles with mailboxes have.
    pub(crate) fn mta(&self) -> Option<&Mta> {
        match &self.role {
            RoleModel::Loopback(mta) | RoleModel::Gateway(mta, _) => Some(mta),
            RoleModel::Nullclient(_) | RoleModel::Msp(_) => None,
        }
    }
}

impl NullClient {
    /// Envelope and header, senders and recipients: `FEATURE(nullclient)` rewrites them all.
    pub(crate) fn masquerade(&self) -> Masquerade {
        Masquerade {
            domain: self.appears_as.clone(),
            envelope: true,
            recipients: true,
            domains: BTreeSet::new(),
            whole_domain: false,
            limited: false,
            exceptions: BTreeSet::new(),
            exposed_users: self.exposed_users.clone(),
        }
    }

    fn rules(&self) -> Rules {
        Rules {
            qualify: Qualify::Domain(self.appears_as.clone()),
            masquerade: Some(self.masquerade()),
            ..client_rules(&self.mail_hosts)
        }
    }
}

impl Msp {
    /// `FEATURE(msp)` completes a bare recipient with the masquerade only where the envelope has it too.
    fn rules(&self) -> Rules {
        let domain = self.masquerade.as_ref().filter(|masquerade| masquerade.envelope);
        Rules {
            qualify: domain.map_or(Qualify::OwnHost, |masquerade| Qualify::Domain(masquerade.domain.clone())),
            masquerade: self.masquerade.clone(),
            ..client_rules(&self.mail_hosts)
        }
    }
}

impl Mta {
    /// The directory of files of aliases and those below it that the aliases name, the upper ones first.
    pub(crate) fn jail_directories(&self) -> BTreeSet<PathBuf> {
        self.restricted.as_ref().map(|restricted| restricted.directories(&self.aliases)).unwrap_or_default()
    }

    fn rules(&self) -> Rules {
        Rules {
            qualify: Qualify::OwnHost,
            local_mailboxes: true,
            local_domains: self.local_domains.clone(),
            relay_domains: BTreeSet::new(),
            relay_networks: BTreeSet::new(),
            access: Access::new(),
            masquerade: self.masquerade.clone(),
            generics: self.generics.clone(),
            virtual_domains: self.virtual_domains.clone(),
            virtusertable: self.virtusertable.clone(),
            aliases: self.aliases.clone(),
            mailertable: self.mailertable.clone(),
            mail_hosts: self.mail_hosts.as_ref().map(|hosts| hosts.hosts().to_vec()).unwrap_or_default(),
        }
    }
}

fn mailbox_format(written: mailstack_schema::host::MailboxFormat) -> MailboxFormat {
    match written {
        mailstack_schema::host::MailboxFormat::Mbox => MailboxFormat::Mbox,
        mailstack_schema::host::MailboxFormat::Maildir => MailboxFormat::Maildir,
        mailstack_schema::host::MailboxFormat::Lmtp => MailboxFormat::Lmtp,
    }
}

/// The flags, with what `goaway` stands for in its place.
fn privacy(written: &[PrivacyFlag]) -> BTreeSet<Privacy> {
    let flags = |flag: &PrivacyFlag| match flag {
        PrivacyFlag::Goaway => Privacy::GOAWAY.to_vec(),
        PrivacyFlag::Needmailhelo => vec![Privacy::Needmailhelo],
        PrivacyFlag::Needexpnhelo => vec![Privacy::Needexpnhelo],
        PrivacyFlag::Needvrfyhelo => vec![Privacy::Needvrfyhelo],
        PrivacyFlag::Noexpn => vec![Privacy::Noexpn],
        PrivacyFlag::Novrfy => vec![Privacy::Novrfy],
        PrivacyFlag::Noverb => vec![Privacy::Noverb],
        PrivacyFlag::Noetrn => vec![Privacy::Noetrn],
        PrivacyFlag::Noreceipts => vec![Privacy::Noreceipts],
        PrivacyFlag::Restrictmailq => vec![Privacy::Restrictmailq],
        PrivacyFlag::Restrictqrun => vec![Privacy::Restrictqrun],
        PrivacyFlag::Nobodyreturn => vec![Privacy::Nobodyreturn],
        PrivacyFlag::Authwarnings => vec![Privacy::Authwarnings],
    };
    written.iter().flat_map(flags).collect()
}

/// The rules of a role that delivers nothing here.
fn client_rules(mail_hosts: &MailHosts) -> Rules {
    Rules {
        qualify: Qualify::OwnHost,
        local_mailboxes: false,
        local_domains: BTreeSet::new(),
        relay_domains: BTreeSet::new(),
        relay_networks: BTreeSet::new(),
        access: Access::new(),
        masquerade: None,
        generics: None,
        virtual_domains: BTreeSet::new(),
        virtusertable: BTreeMap::new(),
        aliases: BTreeMap::new(),
        mailertable: BTreeMap::new(),
        mail_hosts: mail_hosts.hosts().to_vec(),
    }
}

/// The places that the units and the packaging know too.
fn paths() -> Paths {
    Paths {
        spool: "/var/spool/mailstack".into(),
        submission_socket: "/run/mailstack/submit".into(),
        drop: "/var/spool/mailstack-drop".into(),
        control_socket: "/run/mailstack/control".into(),
        pid_file: "/run/mailstack/mailstack.pid".into(),
    }
}
