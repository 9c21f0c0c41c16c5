//! What is on a host before mailstack is, and must not be trampled on.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use mailstack_runtime::Config;

use super::furnish::{Owner, programs};
use crate::activation::sockets;

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
        /// The queue's directory.
        path: PathBuf,
        /// How many files are in it.
        files: usize,
    },
    /// The user that the MTA runs as is not there.
    NoUser {
        /// Its name.
        name: String,
    },
}

/// Queues of other MTAs, where they are after their own installation.
const QUEUES: &[&str] = &[
    "/var/spool/mqueue",
    "/var/spool/mqueue-client",
    "/var/spool/postfix/maildrop",
    "/var/spool/postfix/incoming",
    "/var/spool/postfix/active",
    "/var/spool/postfix/deferred",
    "/var/spool/postfix/hold",
    "/var/spool/exim4/input",
    "/var/spool/smtpd/queue",
    "/var/spool/nullmailer/queue",
];

/// Everything that is in the way. `ours` is the process id of our own MTA, where it runs.
pub(super) fn obstacles(root: &Path, config: &Config, ours: Option<u32>) -> Vec<Obstacle> {
    let foreign = programs(root).into_iter().filter(|program| program.is_foreign());
    let mut found: Vec<Obstacle> = foreign.map(|program| Obstacle::Program { path: program.path }).collect();
    found.extend(taken(&config.listeners, ours));
    if root == Path::new("/") {
        found.extend(QUEUES.iter().filter_map(|path| queue(Path::new(path))));
    }
    found
}

/// The user that the MTA runs as, where it is not there.
pub(super) fn no_user(root: &Path) -> Option<Obstacle> {
    Owner::of(root).err().map(|name| Obstacle::NoUser { name })
}

fn taken(wanted: &BTreeSet<SocketAddr>, ours: Option<u32>) -> Vec<Obstacle> {
    let own = ours.map(sockets::listened_by).unwrap_or_default();
    let mut found = Vec::new();
    for listener in sockets::listeners().into_iter().filter(|l| !own.contains(&l.address)) {
        for wanted in wanted.iter().filter(|wanted| conflict(**wanted, listener.address)) {
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

fn queue(path: &Path) -> Option<Obstacle> {
    let files = count_files(path);
    (files > 0).then(|| Obstacle::Queue { path: path.to_owned(), files })
}

fn count_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let count = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => count_files(&entry.path()),
        Ok(kind) if kind.is_file() => 1,
        _ => 0,
    };
    entries.map(count).sum()
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

    #[test]
    fn a_foreign_queue_with_mail_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(queue(dir.path()), None);
        fs::create_dir(dir.path().join("A")).unwrap();
        fs::write(dir.path().join("A/qf1"), "").unwrap();
        assert_eq!(queue(dir.path()), Some(Obstacle::Queue { path: dir.path().to_owned(), files: 1 }));
    }
}
