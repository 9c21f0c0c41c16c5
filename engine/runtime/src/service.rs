//! Who waits for connections of the network, and at what priority they are served.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Config, Paths};

/// Who listens on the addresses of an MTA, and accepts what comes there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServedBy {
    /// The MTA itself (`-bd`).
    #[default]
    Daemon,
    /// inetd, which starts `sendmail -bs` on each connection.
    Inetd,
    /// xinetd, likewise.
    Xinetd,
    /// A socket unit of systemd with `Accept=yes`, likewise.
    Socket,
}

impl ServedBy {
    /// Whether the MTA listens itself.
    pub fn is_daemon(&self) -> bool {
        *self == Self::Daemon
    }
}

pub(crate) fn is_usual(nice: &u8) -> bool {
    *nice == 0
}

impl Paths {
    /// Where `sendmail -bs` hands a connection of the network over to the MTA: a Unix stream socket beside the control
    /// socket. There only where the MTA does not listen itself.
    pub fn session_socket(&self) -> PathBuf {
        self.control_socket.with_file_name("session")
    }
}

impl Config {
    /// The same with an MTA that listens itself: what a candidate is proven as.
    pub fn as_daemon(&self) -> Config {
        Config { served_by: ServedBy::Daemon, ..self.clone() }
    }
}
