//! Where the host's Sendmail is, as its packaging has it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Programs, users and directories of the host's Sendmail. Paths are as below `/`; they are compiled into it, so that it
/// cannot run below another directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sendmail {
    /// The program itself, setgid to the client's group.
    pub program: PathBuf,
    /// What makes maps.
    pub makemap: PathBuf,
    /// Owner of the daemon's queue (`TrustedUser`).
    pub daemon_user: String,
    /// Owner of the client's queue (`RunAsUser` in submit.cf), and the group of the program.
    pub client_user: String,
    /// The daemon's queue (`QueueDirectory`).
    pub daemon_queue: PathBuf,
    /// The submission program's queue.
    pub client_queue: PathBuf,
    /// Holds the directories of the pid files, `mta` and `msp`.
    pub run: PathBuf,
    /// Seconds between two queue runs.
    pub queue_interval: u64,
    /// Whether mailboxes are written by mail.local, as their users, which needs a directory that all may write to.
    #[serde(default = "yes")]
    pub mail_local: bool,
    /// Whether it is not root once a client is connected (`RunAsUser` is the owner of its queue): procmail, which is setuid,
    /// writes mailboxes of the group `mail`.
    #[serde(default, skip_serializing_if = "is_not")]
    pub no_root: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_not(value: &bool) -> bool {
    !value
}

fn yes() -> bool {
    true
}
