//! Why a daemon does not run, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::dns::ResolverError;
use crate::secrets::SecretError;
use crate::spool::SpoolError;

/// Why [`super::run`] did not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration cannot be read.
    #[error("cannot read the configuration {}", path.display())]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The configuration is not what a configuration must be.
    #[error("the configuration {} cannot be understood", path.display())]
    ParseConfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The configuration was written by another version.
    #[error("the configuration {} is of version {found}, this program reads version {}", path.display(), mailstack_runtime::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it names.
        found: i64,
    },
    /// The configuration is for the host's Sendmail.
    #[error("the configuration {} has the host's Sendmail run the role", path.display())]
    OtherEngine {
        /// The file.
        path: PathBuf,
    },
    /// Started by root, and the user to become does not exist, or is root again.
    #[error("started by root, and {} has no unprivileged user {user}", passwd.display())]
    NoUser {
        /// The user.
        user: String,
        /// The passwd that was read.
        passwd: PathBuf,
    },
    /// The users cannot be read.
    #[error("cannot read {}", path.display())]
    Users {
        /// The passwd.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another daemon serves this tree.
    #[error("already running{}: {} is locked", pid.map(|pid| format!(" as process {pid}")).unwrap_or_default(), path.display())]
    Running {
        /// The pid file.
        path: PathBuf,
        /// The process that holds it, where the file says.
        pid: Option<u32>,
    },
    /// The pid file cannot be used.
    #[error("cannot lock the pid file {}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A directory is missing and cannot be made.
    #[error("cannot make the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A TCP address cannot be listened at.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A Unix socket cannot be bound.
    #[error("cannot bind the socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A socket that systemd gave cannot be used.
    #[error("a socket given by systemd (LISTEN_FDS) cannot be used")]
    Inherited(#[source] io::Error),
    /// systemd gave a socket of the network to a role that never listens there.
    #[error("a socket given by systemd (LISTEN_FDS) listens at {address}, where this role never does")]
    NeverListens {
        /// Where.
        address: SocketAddr,
    },
    /// The delivery helper cannot be started.
    #[error("cannot start the delivery helper")]
    Helper(#[source] io::Error),
    /// Mail is accepted and no longer delivered: a process of the delivery helper died, and only a new start, which
    /// still has the rights, can make another; or the queue takes no outcomes any more.
    #[error("the delivery helper died, or the queue was closed; mail waits for the next start")]
    DeliveryEnded,
    /// A key, a certificate or another secret cannot be used.
    #[error(transparent)]
    Secrets(SecretError),
    /// Root could not be given up.
    #[error("cannot give up root")]
    Privileges(#[source] io::Error),
    /// The runtime, a signal handler or a socket could not be set up.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// The resolver's files cannot be read.
    #[error(transparent)]
    Resolver(ResolverError),
    /// The queue cannot be opened.
    #[error("cannot open the queue {}", path.display())]
    Queue {
        /// The spool.
        path: PathBuf,
        /// Why.
        #[source]
        source: SpoolError,
    },
}

impl RunError {
    /// What to do about it, where the error itself does not say.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            RunError::ReadConfig { .. } => "apply a host.toml first: `mailstack apply FILE`".to_owned(),
            RunError::OtherEngine { .. } => {
                "`mailstack apply` starts it; for this MTA: `engine = \"builtin\"`".to_owned()
            }
            RunError::ParseConfig { .. } | RunError::Version { .. } => {
                "apply the host.toml again with this version: `mailstack apply FILE`".to_owned()
            }
            RunError::NoUser { user, .. } => {
                format!(
                    "make it (`useradd --system --user-group {user}`), name another, or start as an ordinary user"
                )
            }
            RunError::Running { .. } => "stop that one first".to_owned(),
            RunError::Listen { address, source } => return listen_help(*address, source),
            RunError::PidFile { .. } | RunError::Directory { .. } | RunError::Socket { .. } => {
                "give the user that runs mailstack the right to write there, or run with --root DIR"
                    .to_owned()
            }
            RunError::NeverListens { .. } => {
                "take that ListenStream= out of the socket unit: `systemctl cat mailstack.socket`".to_owned()
            }
            RunError::Secrets(error) => error.help(),
            RunError::DeliveryEnded => "start mailstack again, and look for the reason in the log".to_owned(),
            _ => return None,
        };
        Some(help)
    }
}

fn listen_help(address: SocketAddr, source: &io::Error) -> Option<String> {
    let help = match source.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another program listens there: `ss -ltnp 'sport = :{}'`", address.port())
        }
        io::ErrorKind::PermissionDenied => "start as root, or listen at a port over 1023".to_owned(),
        io::ErrorKind::AddrNotAvailable => {
            "no interface of this host has the address: correct `listen`".to_owned()
        }
        _ => return None,
    };
    Some(help)
}
