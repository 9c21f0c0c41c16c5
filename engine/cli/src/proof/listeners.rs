//! The TCP sockets that listen in a network, as the kernel tells them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The TCP sockets that listen in this thread's network (proc(5)).
pub(super) fn listening() -> io::Result<BTreeSet<SocketAddr>> {
    let v4 = fs::read_to_string("/proc/thread-self/net/tcp")?;
    let v6 = fs::read_to_string("/proc/thread-self/net/tcp6").unwrap_or_default();
    Ok(v4.lines().chain(v6.lines()).filter_map(listener).collect())
}

/// `TCP_LISTEN`, in hexadecimal.
const LISTEN: &str = "0A";

fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let (address, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddr::new(hexadecimal(address)?, port))
}

/// Words of 32 bits, each in the order of this machine's octets.
fn hexadecimal(text: &str) -> Option<IpAddr> {
    let words = text.as_bytes().chunks(8).map(|word| {
        let word = std::str::from_utf8(word).ok()?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    });
    let octets = words.collect::<Option<Vec<_>>>()?.concat();
    match octets.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn sockets_of_the_kernel() {
        let read = |local: &str, state: &str| {
            listener(&format!("   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000"))
        };
        assert_eq!(read("0100007F:0019", "0A"), Some("127.0.0.1:25".parse().unwrap()));
        assert_eq!(read("00000000000000000000000001000000:09DD", "0A"), Some("[::1]:2525".parse().unwrap()));
        assert_eq!(read("0100007F:0019", "01"), None);
        assert_eq!(listener("  sl  local_address rem_address   st"), None);
    }
}
