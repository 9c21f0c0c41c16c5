//! What is on a host before mailstack is, and must not be trampled on.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mailstack_runtime::{Config, Sendmail, ServedBy};

use super::furnish::{Owner, has_user, programs};
use super::no_root::{self, Mail};
use crate::activation::sockets;
use crate::others::{self, Presence, Process, Queue};
use crate::sendmail::users::Users;

/// Something that is in the way.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "obstacle")]
pub enum Obstacle {
    /// A program of another MTA in the place of one of ours.
    Program {
        /// Its place.
        path: PathBuf,
    },
    /// Somebody listens where the declaration wants to.
    Listener {
        /// The address that the declaration wants.
        wanted: SocketAddr,
        /// The address that is listened on.
        taken: SocketAddr,
        /// By whom, where this user may see it: process id and name.
        owner: Option<(u32, String)>,
    },
    /// Mail of another MTA that nobody would deliver any more.
    Queue {
        /// The queue's directory, as below `/`.
        path: PathBuf,
        /// How many files are in it.
        files: usize,
    },
    /// The user that the MTA runs as is not there.
    NoUser {
        /// Its name.
        name: String,
    },
    /// Sendmail cannot run below another directory.
    Below {
        /// The directory that stands for `/`.
        root: PathBuf,
    },
    /// The host's Sendmail is not there.
    NoSendmail {
        /// Where its packaging has the program.
        path: PathBuf,
    },
    /// Sendmail would not run with the permissions that something of it has, or could be tampered with.
    Permissions {
        /// The place.
        path: PathBuf,
        /// What it must be.
        wanted: String,
        /// What it is; None where it is not there.
        found: Option<String>,
    },
    /// The host does not have something as a Sendmail without the rights of root needs it.
    Unfit {
        /// The place.
        path: PathBuf,
        /// What it must be.
        wanted: String,
        /// What it is; None where it is not there.
        found: Option<String>,
        /// The command that makes it so.
        mend: String,
    },
    /// A file of others where Sendmail reads one of the generation's.
    File {
        /// Its place.
        path: PathBuf,
    },
    /// A unit of another MTA that is started, or starts with the host.
    Unit {
        /// Whose.
        mta: &'static str,
        /// Its name.
        name: String,
        /// Whether it is started.
        active: bool,
    },
    /// A script of `/etc/init.d` that starts another MTA with the host.
    Script {
        /// Whose.
        mta: &'static str,
        /// Its place.
        path: PathBuf,
    },
    /// A daemon of another MTA.
    Process {
        /// Whose.
        mta: &'static str,
        /// Its process id.
        pid: u32,
        /// What the kernel calls it.
        name: String,
    },
    /// A take-over was cut short, and this run does not go on with it.
    CutShort,
    /// Mail of the other engine, which would not be delivered any more.
    OtherEngine {
        /// What is known of it.
        queued: Queued,
    },
}

/// What waits in the queue of the built-in MTA.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Queued {
    /// Nothing.
    Nothing,
    /// So many messages, those in the drop directory too.
    Messages(u64),
    /// Nobody says.
    Unknown(String),
}

impl Obstacle {
    /// Whether a take-over deals with it.
    pub fn can_be_taken_over(&self) -> bool {
        match self {
            Obstacle::Listener { owner, .. } => {
                owner.as_ref().is_some_and(|(_, name)| others::is_known_process(name))
            }
            Obstacle::Program { .. }
            | Obstacle::Queue { .. }
            | Obstacle::File { .. }
            | Obstacle::Unit { .. }
            | Obstacle::Script { .. }
            | Obstacle::Process { .. }
            | Obstacle::CutShort => true,
            Obstacle::NoUser { .. }
            | Obstacle::Below { .. }
            | Obstacle::NoSendmail { .. }
            | Obstacle::Permissions { .. }
            | Obstacle::Unfit { .. }
            | Obstacle::OtherEngine { .. } => false,
        }
    }
}

/// The process that holds the sockets of systemd's units.
const INIT: u32 = 1;

/// Everything that is in the way. `ours` is the process id of our own MTA, where it runs.
pub(super) fn obstacles(root: &Path, config: &Config, ours: Option<u32>) -> Vec<Obstacle> {
    let sendmail = config.sendmail.as_ref();
    let foreign = programs(root, sendmail).into_iter().filter(|program| program.is_foreign());
    let mut found: Vec<Obstacle> = foreign.map(|program| Obstacle::Program { path: program.path }).collect();
    // Sendmail would not even start, and the built-in MTA keep the mail back.
    let user = config.restricted.iter().map(|restricted| restricted.user.clone());
    found.extend(user.filter(|name| !has_user(root, name)).map(|name| Obstacle::NoUser { name }));
    found.extend(taken(config, ours));
    let queues = others::queues(root).into_iter().filter(|queue| counts(config, queue));
    found.extend(queues.map(|queue| Obstacle::Queue { path: queue.path, files: queue.files }));
    found
}

/// Whether what is in a queue would not be delivered any more: in Sendmail's own queues it goes on with what waits.
pub(crate) fn counts(config: &Config, queue: &Queue) -> bool {
    config.sendmail.as_ref().is_none_or(|it| ![&it.daemon_queue, &it.client_queue].contains(&&queue.path))
}

/// What there is of other MTAs that would run beside.
pub(super) fn daemons(found: &[Presence]) -> Vec<Obstacle> {
    let mut all = Vec::new();
    for Presence { mta, units, scripts, processes } in found {
        all.extend(units.iter().map(|unit| Obstacle::Unit {
            mta,
            name: unit.name.clone(),
            active: unit.active,
        }));
        all.extend(scripts.iter().map(|script| Obstacle::Script { mta, path: script.path() }));
        let process = |it: &Process| Obstacle::Process { mta, pid: it.pid, name: it.name.clone() };
        all.extend(processes.iter().map(process));
    }
    all
}

/// What the host's Sendmail lacks: it is its packaging's, and verified, never changed.
pub(super) fn of_sendmail(root: &Path, config: &Config, sendmail: &Sendmail) -> Vec<Obstacle> {
    if root != Path::new("/") {
        return vec![Obstacle::Below { root: root.to_owned() }];
    }
    if !sendmail.program.exists() {
        return vec![Obstacle::NoSendmail { path: sendmail.program.clone() }];
    }
    match Users::of(sendmail) {
        Ok(users) => permissions(config, sendmail, users),
        Err(name) => vec![Obstacle::NoUser { name }],
    }
}

/// A wrong owner or mode, in words; what is not there has none.
fn permissions(config: &Config, sendmail: &Sendmail, users: Users) -> Vec<Obstacle> {
    let Users { daemon, client, client_group, .. } = users;
    let (daemon_user, client_user) = (&sendmail.daemon_user, &sendmail.client_user);
    let mut found = Vec::new();
    let mut must = |path: &Path, wanted: String, is_right: &dyn Fn(u32, u32, u32) -> bool| {
        let meta = fs::metadata(path).ok();
        let is = |meta: &fs::Metadata| (meta.uid(), meta.gid(), meta.mode() & 0o7777);
        if meta.as_ref().map(is).is_some_and(|(uid, gid, mode)| is_right(uid, gid, mode)) {
            return;
        }
        let found_words =
            meta.as_ref().map(is).map(|(uid, gid, mode)| format!("{mode:04o}, owner {uid}, group {gid}"));
        found.push(Obstacle::Permissions { path: path.to_owned(), wanted, found: found_words });
    };
    let setgid = format!("2755, owner root, group {client_user}");
    must(&sendmail.program, setgid, &|uid, gid, mode| {
        uid == 0 && gid == client_group && mode & 0o2022 == 0o2000 && mode & 0o111 == 0o111
    });
    // Only Debian's is setgid.
    let setgid = if sendmail.mail_local { 0o2000 } else { 0 };
    let queue = format!("{:04o}, owner {client_user}, group {client_user}", setgid | 0o770);
    must(&sendmail.client_queue, queue, &|uid, gid, mode| {
        uid == client && gid == client_group && mode & (setgid | 0o777) == setgid | 0o770
    });
    if sendmail.no_root {
        let mail = Mail { uid: daemon, gid: users.daemon_group };
        found.extend(no_root::permissions(Path::new("/"), &sendmail.daemon_queue, mail));
        return found;
    }
    must(Path::new("/etc/mail"), "0755, writable by no other".to_owned(), &|uid, _, mode| {
        (uid == 0 || uid == daemon) && mode & 0o022 == 0
    });
    if config.mailboxes.is_some() {
        let queue = format!("2750, owner {daemon_user}");
        must(&sendmail.daemon_queue, queue, &|uid, _, mode| uid == daemon && mode & 0o027 == 0);
        // mail.local is the recipient when it locks a mailbox; the packaging opens the directory for that.
        let mailboxes = "3777".to_owned();
        let open = |_, _, mode: u32| !sendmail.mail_local || mode & 0o1777 == 0o1777;
        must(Path::new("/var/mail"), mailboxes, &open);
    }
    found
}

/// The user that the MTA runs as, where it is not there.
pub(super) fn no_user(root: &Path) -> Option<Obstacle> {
    Owner::of(root).err().map(|name| Obstacle::NoUser { name })
}

/// Who has the ports that are to be listened on. Those that inetd is to have it may have already.
pub(super) fn taken(config: &Config, ours: Option<u32>) -> Vec<Obstacle> {
    if matches!(config.served_by, ServedBy::Inetd | ServedBy::Xinetd) {
        return Vec::new();
    }
    let own = match ours.map(sockets::listened_by) {
        Some(Some(own)) => own,
        // Whose they are is not to be seen, and most are those of the MTA that runs: a port that another one has is
        // found when the new one is started, and cannot listen.
        Some(None) => return Vec::new(),
        None => BTreeSet::new(),
    };
    let is_of_systemd = |inode| {
        config.served_by == ServedBy::Socket && sockets::owner(inode).is_some_and(|(pid, _)| pid == INIT)
    };
    let mut found = Vec::new();
    for listener in sockets::listeners().into_iter().filter(|l| !own.contains(&l.address)) {
        if is_of_systemd(listener.inode) {
            continue;
        }
        for wanted in config.listeners.iter().filter(|wanted| conflict(**wanted, listener.address)) {
            let (wanted, taken) = (*wanted, listener.address);
            found.push(Obstacle::Listener { wanted, taken, owner: sockets::owner(listener.inode) });
        }
    }
    found
}

/// Whether one of these keeps the other from being listened on. A wildcard of IPv6 may take IPv4 too.
fn conflict(wanted: SocketAddr, taken: SocketAddr) -> bool {
    let covers = |wide: IpAddr, other: IpAddr| wide.is_unspecified() && (wide.is_ipv6() || other.is_ipv4());
    wanted.port() == taken.port()
        && (wanted.ip() == taken.ip()
            || covers(taken.ip(), wanted.ip())
            || (covers(wanted.ip(), taken.ip()) && wanted.is_ipv4() == taken.is_ipv4()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_by_the_address_or_a_wildcard() {
        let cases = [
            ("127.0.0.1:25", "127.0.0.1:25", true),
            ("127.0.0.1:25", "0.0.0.0:25", true),
            ("127.0.0.1:25", "[::]:25", true),
            ("0.0.0.0:25", "192.0.2.1:25", true),
            ("[::]:25", "[::1]:25", true),
            ("[::]:25", "127.0.0.1:25", false),
            ("[::1]:25", "0.0.0.0:25", false),
            ("127.0.0.1:25", "127.0.0.2:25", false),
            ("127.0.0.1:25", "127.0.0.1:2525", false),
        ];
        for (wanted, taken, expected) in cases {
            assert_eq!(
                conflict(wanted.parse().unwrap(), taken.parse().unwrap()),
                expected,
                "{wanted} {taken}"
            );
        }
    }
}
