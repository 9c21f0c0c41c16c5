//! The configuration of the built-in MTA: written by deploy as `etc/mailstack/mta.toml`, read by the MTA.
//!
//! The one type in which the two halves of mailstack meet. Types only. A path here is as below `/`; where
//! everything lives below another directory, the MTA puts that prefix in front when it runs.

mod checks;
mod sendmail;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mailstack_policy::DomainName;
use mailstack_policy::rules::{AliasTarget, Rules};
use serde::{Deserialize, Serialize};

mod security;
mod service;

pub use checks::{Checks, Dnsbl, Privacy};
pub use security::{
    Auth, AuthMechanism, ListenerKind, MailHostTls, ServerTls, Tls, TlsPolicy, credential_name,
};
pub use sendmail::Sendmail;
pub use service::ServedBy;

/// The version of this format. An MTA refuses a configuration of any other.
pub const VERSION: u32 = 1;

/// The place of the configuration in a generation.
pub const CONFIG_PATH: &str = "etc/mailstack/mta.toml";

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// The role that the host has.
    pub role: Role,
    /// The name of the host, `$j`; None: the fully qualified name that it has when the MTA starts.
    pub hostname: Option<DomainName>,
    /// The host's Sendmail, where it runs the role; None: the built-in MTA does, and reads this file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sendmail: Option<Sendmail>,
    /// Where SMTP is accepted over TCP; empty for a role that does not receive.
    pub listeners: BTreeSet<SocketAddr>,
    /// What the listeners are for that are not for SMTP between hosts.
    #[serde(default)]
    pub listener_kinds: BTreeMap<SocketAddr, ListenerKind>,
    /// Who accepts what comes to the listeners.
    #[serde(default, skip_serializing_if = "ServedBy::is_daemon")]
    pub served_by: ServedBy,
    /// How much the MTA stands back behind other programs, 0 to 19 (nice(1)).
    #[serde(default, skip_serializing_if = "service::is_usual")]
    pub nice: u8,
    /// Directories and sockets.
    pub paths: Paths,
    /// What bounds a session and a message.
    pub limits: Limits,
    /// What is checked of clients of the network.
    #[serde(default)]
    pub checks: Checks,
    /// What stands in the greeting behind the host's name and `ESMTP` (`SmtpGreetingMessage`).
    #[serde(default)]
    pub greeting: String,
    /// What nobody is told, and what must come first (`PrivacyOptions`).
    #[serde(default = "Privacy::careful")]
    pub privacy: BTreeSet<Privacy>,
    /// Retries and when they end.
    pub queue: Queue,
    /// Mailboxes, where the host has them.
    pub mailboxes: Option<Mailboxes>,
    /// What aliases may do beside naming addresses; None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restricted: Option<Restricted>,
    /// TLS, both ways.
    #[serde(default)]
    pub tls: Tls,
    /// Authentication of clients; None: there is none.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// All that decides about addresses.
    pub rules: Rules,
}

/// What the host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sends all mail of the host to a mail host; receives nothing.
    Nullclient,
    /// Message submission only, beside whatever MTA there may be.
    Msp,
    /// An MTA for the programs of this host.
    Loopback,
    /// A border relay.
    Gateway,
}

/// Directories and sockets, as below `/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Paths {
    /// The queue.
    pub spool: PathBuf,
    /// Where `sendmail` hands mail in: a Unix stream socket that speaks SMTP.
    pub submission_socket: PathBuf,
    /// Where `sendmail` leaves mail when nobody serves the socket.
    pub drop: PathBuf,
    /// Where `mailstack queue` and `mailstack status` ask.
    pub control_socket: PathBuf,
    /// The locked file that holds the daemon's process id.
    pub pid_file: PathBuf,
}

/// Limits of sessions and messages. All but `recipients` apply to the submission socket and the drop directory too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Octets of a message (`MaxMessageSize`).
    pub message_size: u64,
    /// Recipients of one transaction (`MaxRecipientsPerMessage`). For clients of the network: a program of this host
    /// may name 10,000 at once, for nobody splits its message.
    pub recipients: u32,
    /// Octets of a header block (`MaxHeadersLength`).
    pub header_size: u32,
    /// Octets that must be left on the spool's file system before a message is taken (`MinFreeBlocks`).
    #[serde(default)]
    pub free_space: u64,
    /// `Received:` lines before a message is taken to loop (`MaxHopCount`).
    pub hops: u32,
    /// Sessions at once, over all listeners (`MaxDaemonChildren`).
    pub connections: u32,
    /// Sessions at once from one address.
    pub connections_per_client: u32,
}

/// When delivery is tried again, and when it ends. All times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// The wait before the second attempt; it doubles from there (`MinQueueAge`).
    pub first_retry: u64,
    /// The longest wait between attempts.
    pub longest_retry: u64,
    /// The age at which a message is returned (`Timeout.queuereturn`).
    pub lifetime: u64,
    /// Outgoing connections at once to one destination.
    pub connections_per_destination: u32,
}

/// The mailboxes of local users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mailboxes {
    /// How messages are kept.
    pub format: MailboxFormat,
    /// mbox: the directory that holds one file per user, absolute. Maildir: the directory below the user's home,
    /// relative. LMTP: the server's Unix socket, absolute, or `[address]:port`.
    pub path: PathBuf,
}

/// Programs that aliases may run and files that they may write, always as one user who is not root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restricted {
    /// As whom (`DefaultUser`).
    pub user: String,
    /// The programs, by the name that an alias chooses them by (the directory of `smrsh`).
    pub programs: BTreeMap<String, PathBuf>,
    /// The directory that all files must be below (`SafeFileEnvironment`); None: no file is written.
    pub file_jail: Option<PathBuf>,
}

impl Restricted {
    /// The directory of files, and those below it that aliases name; the upper ones first. None where there is none.
    pub fn directories(&self, aliases: &BTreeMap<String, Vec<AliasTarget>>) -> BTreeSet<PathBuf> {
        let Some(jail) = &self.file_jail else { return BTreeSet::new() };
        let files = aliases.values().flatten().filter_map(|target| match target {
            AliasTarget::File(path) => Path::new(path).parent(),
            _ => None,
        });
        let above = files.flat_map(Path::ancestors).filter(|path| path.starts_with(jail));
        above.chain([jail.as_path()]).map(Path::to_owned).collect()
    }
}

/// How a mailbox keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailboxFormat {
    /// One file, `From ` lines in between (RFC 4155, the mboxrd variant).
    Mbox,
    /// One file per message.
    Maildir,
    /// By a server that speaks LMTP (RFC 2033).
    Lmtp,
}
