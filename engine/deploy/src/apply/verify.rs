//! Whether what runs is what was declared: ports and permissions, as the kernel sees them.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mailstack_runtime::{Config, Sendmail, ServedBy};

use super::furnish::{DROP_MODE, Owner, SPOOL_MODE, below, is_directory};
use super::preflight::{self, Obstacle};
use crate::activation::sockets as tcp;

/// One difference between what runs and what was declared.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "discrepancy")]
pub enum Discrepancy {
    /// The MTA does not run.
    NotRunning,
    /// It does not listen where it must.
    NotListening {
        /// The declared address.
        address: SocketAddr,
    },
    /// Nobody listens where inetd, xinetd or systemd is to do it.
    Unserved {
        /// The declared address.
        address: SocketAddr,
        /// Who is to listen.
        by: ServedBy,
    },
    /// It listens where it must not.
    Listening {
        /// The address.
        address: SocketAddr,
    },
    /// A directory or socket has other permissions or another owner.
    Permissions {
        /// Its place.
        path: PathBuf,
        /// The mode that it must have, four octal digits.
        wanted: String,
        /// The mode that it has; None where it is not there.
        found: Option<String>,
    },
}

/// Compares the MTA that has this process id, or waits for its first client, with its configuration. Where the kernel
/// does not say whose sockets are whose, somebody must listen where it is declared; that was free before it started.
pub(crate) fn discrepancies(root: &Path, config: &Config, pid: Option<u32>) -> Vec<Discrepancy> {
    let declared = if config.served_by.is_daemon() { sockets(config) } else { BTreeSet::new() };
    let listening = match pid.map(tcp::listened_by) {
        Some(Some(listening)) => listening,
        Some(None) => declared.intersection(&anybody()).copied().collect(),
        None => BTreeSet::new(),
    };
    let mut found = ports(&declared, &listening, has_ipv6());
    found.extend(match &config.sendmail {
        Some(sendmail) => of_sendmail(root, config, sendmail),
        None => permissions(root, config),
    });
    found
}

/// The sockets that the declared listeners make. Sendmail listens for both families on one socket of IPv6 where all
/// addresses of both are declared: a second one would find its port in use.
pub fn sockets(config: &Config) -> BTreeSet<SocketAddr> {
    let both = |at: &SocketAddr| SocketAddr::from((Ipv6Addr::UNSPECIFIED, at.port()));
    let is_taken =
        |at: &SocketAddr| config.sendmail.is_some() && at.is_ipv4() && config.listeners.contains(&both(at));
    config.listeners.iter().filter(|at| !is_taken(at)).copied().collect()
}

/// The declared addresses that another program is to listen on, and nobody does.
pub(crate) fn unserved(config: &Config) -> Vec<Discrepancy> {
    if config.served_by.is_daemon() {
        return Vec::new();
    }
    let found = anybody();
    let is_listened = |at: &SocketAddr| {
        let all = |any: IpAddr| found.contains(&SocketAddr::new(any, at.port()));
        found.contains(at)
            || all(Ipv6Addr::UNSPECIFIED.into())
            || (at.is_ipv4() && all(Ipv4Addr::UNSPECIFIED.into()))
    };
    let ipv6 = has_ipv6();
    let missing = config.listeners.iter().filter(|at| (ipv6 || at.is_ipv4()) && !is_listened(at));
    missing.map(|at| Discrepancy::Unserved { address: *at, by: config.served_by }).collect()
}

/// Where anybody listens.
fn anybody() -> BTreeSet<SocketAddr> {
    tcp::listeners().into_iter().map(|listener| listener.address).collect()
}

/// Whether this host has IPv6 at all; an address of it that cannot be listened on is no discrepancy otherwise.
fn has_ipv6() -> bool {
    fs::read_to_string("/proc/self/net/if_inet6").is_ok_and(|text| !text.is_empty())
}

fn ports(declared: &BTreeSet<SocketAddr>, found: &BTreeSet<SocketAddr>, ipv6: bool) -> Vec<Discrepancy> {
    let needed = |address: &&SocketAddr| ipv6 || address.is_ipv4();
    let missing =
        declared.difference(found).filter(needed).map(|a| Discrepancy::NotListening { address: *a });
    missing.chain(found.difference(declared).map(|a| Discrepancy::Listening { address: *a })).collect()
}

/// What the host's Sendmail lacks now that it had when it was started.
fn of_sendmail(root: &Path, config: &Config, sendmail: &Sendmail) -> Vec<Discrepancy> {
    let found = preflight::of_sendmail(root, config, sendmail).into_iter();
    found
        .map(|obstacle| match obstacle {
            Obstacle::Permissions { path, wanted, found } | Obstacle::Unfit { path, wanted, found, .. } => {
                Discrepancy::Permissions { path, wanted, found }
            }
            Obstacle::NoSendmail { path } => {
                Discrepancy::Permissions { path, wanted: "2755".to_owned(), found: None }
            }
            _ => Discrepancy::NotRunning,
        })
        .collect()
}

fn permissions(root: &Path, config: &Config) -> Vec<Discrepancy> {
    let Ok(owner) = Owner::of(root) else { return Vec::new() };
    let paths = &config.paths;
    let mut found = Vec::new();
    for (path, mode) in [(&paths.spool, SPOOL_MODE), (&paths.drop, DROP_MODE)] {
        let path = below(root, path);
        if !is_directory(&path, mode, owner) {
            found.push(Discrepancy::Permissions { found: mode_of(&path), wanted: octal(mode), path });
        }
    }
    // Any program of the host may hand mail in, and ask what is queued.
    for path in [&paths.submission_socket, &paths.control_socket] {
        let path = below(root, path);
        let open = |mode: u32| mode & 0o006 == 0o006;
        if !fs::metadata(&path).is_ok_and(|meta| open(meta.permissions().mode())) {
            found.push(Discrepancy::Permissions { found: mode_of(&path), wanted: octal(0o666), path });
        }
    }
    found
}

fn mode_of(path: &Path) -> Option<String> {
    fs::symlink_metadata(path).ok().map(|meta| octal(meta.permissions().mode() & 0o7777))
}

fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_is_declared_and_every_declared_port_is_open() {
        let set = |list: &[&str]| list.iter().map(|a| a.parse().unwrap()).collect::<BTreeSet<SocketAddr>>();
        let address = |text: &str| text.parse().unwrap();
        let loopback = set(&["127.0.0.1:25", "[::1]:25"]);
        assert_eq!(ports(&loopback, &loopback, true), []);
        assert_eq!(ports(&loopback, &set(&["127.0.0.1:25"]), false), []);
        let off = ports(&loopback, &set(&["127.0.0.1:25", "0.0.0.0:25"]), true);
        let expected = [
            Discrepancy::NotListening { address: address("[::1]:25") },
            Discrepancy::Listening { address: address("0.0.0.0:25") },
        ];
        assert_eq!(off, expected);
        let nullclient = ports(&BTreeSet::new(), &set(&["127.0.0.1:25"]), true);
        assert_eq!(nullclient, [Discrepancy::Listening { address: address("127.0.0.1:25") }]);
    }
}
