//! Which TCP ports are listened on, and by whom: the kernel's own tables.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// A TCP socket that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// The address and port.
    pub address: SocketAddr,
    /// The inode of the socket.
    pub inode: u64,
}

/// The state LISTEN in the kernel's tables.
const LISTEN: &str = "0A";

/// All TCP listeners of this network namespace.
pub fn listeners() -> Vec<Listener> {
    let read = |name| fs::read_to_string(Path::new("/proc/self/net").join(name)).unwrap_or_default();
    let mut found = parse(&read("tcp"));
    found.extend(parse(&read("tcp6")));
    found
}

/// The addresses that a process and its children listen on. None: the kernel does not say whose sockets are whose, since
/// they are another user's and this process lacks CAP_SYS_PTRACE, as root in a container does.
pub fn listened_by(pid: u32) -> Option<BTreeSet<SocketAddr>> {
    let mut inodes = BTreeSet::new();
    for pid in family(pid) {
        match sockets_of(pid) {
            Ok(sockets) => inodes.extend(sockets),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
            // It has ended.
            Err(_) => {}
        }
    }
    Some(listeners().into_iter().filter(|l| inodes.contains(&l.inode)).map(|l| l.address).collect())
}

/// Who listens on a socket, as far as this user may see: process id and name.
pub fn owner(inode: u64) -> Option<(u32, String)> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pid = pids
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| sockets_of(*pid).is_ok_and(|sockets| sockets.contains(&inode)))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, name.trim().to_owned()))
}

/// A process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        next += 1;
    }
    all
}

/// The inodes of a process's sockets. Errors: it has ended, or is not this user's to look at.
fn sockets_of(pid: u32) -> io::Result<BTreeSet<u64>> {
    let inode =
        |target: PathBuf| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
        match fs::read_link(entry.path()) {
            Ok(target) => found.extend(inode(target)),
            // The list is root's to read; what it leads to is guarded more closely.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // Closed meanwhile.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// Reads the text of `/proc/net/tcp` or `tcp6`.
fn parse(text: &str) -> Vec<Listener> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, inode) = (*fields.get(1)?, *fields.get(9)?);
        if *fields.get(3)? != LISTEN {
            return None;
        }
        Some(Listener { address: socket_address(address)?, inode: inode.parse().ok()? })
    };
    text.lines().skip(1).filter_map(line).collect()
}

/// `0100007F:0019`: the address in words of the machine's byte order, the port in hexadecimal.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word =
        |at: usize| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    } else {
        let mut octets = [0; 16];
        for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
            chunk.copy_from_slice(&word(at)?);
        }
        IpAddr::V6(Ipv6Addr::from(octets))
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_kernels_tables_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:0019 00000000:0000 0A 00000000:00000000 00:00000000 00000000   101        0 4711 1\n\
            \x20  1: 0100007F:0019 0100007F:C350 01 00000000:00000000 00:00000000 00000000   101        0 4712 1\n";
        let v6 = "sl\n 0: 00000000000000000000000001000000:09DD 00000000000000000000000000000000:0000 0A \
            00000000:00000000 00:00000000 00000000 0 0 4713 1\n";
        let found: Vec<(String, u64)> =
            [parse(text), parse(v6)].concat().iter().map(|l| (l.address.to_string(), l.inode)).collect();
        assert_eq!(found, [("127.0.0.1:25".to_owned(), 4711), ("[::1]:2525".to_owned(), 4713)]);
    }

    #[test]
    fn a_listener_of_this_process_is_seen_with_its_owner() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert!(listened_by(std::process::id()).is_some_and(|found| found.contains(&address)));
        let listener = listeners().into_iter().find(|l| l.address == address).unwrap();
        assert_eq!(owner(listener.inode).map(|(pid, _)| pid), Some(std::process::id()));
    }
}
