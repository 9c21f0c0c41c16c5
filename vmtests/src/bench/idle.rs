//! The memory of what has nothing to do.

use std::io;
use std::time::Duration;

use super::BenchArguments;
use super::cells::IDLE;
use super::lab::{Lab, Mode};
use super::peers::Peer;
use super::table::{Measured, Report};

/// Measures it: as a gateway, and those that can as a null client.
pub fn run(arguments: &BenchArguments, lab: &mut Lab, report: &mut Report) -> io::Result<()> {
    for peer in Peer::ALL.iter().copied().filter(|peer| arguments.wants_peer(*peer) && peer.has_daemon()) {
        let roles: &[Option<&str>] =
            if peer == Peer::Mailstack { &[None, Some("nullclient")] } else { &[None] };
        for role in roles {
            let running = lab.start(peer, Mode::Plain, *role)?;
            std::thread::sleep(Duration::from_secs(2));
            let name = match role {
                Some(role) => format!("{IDLE} {role}"),
                None if Peer::RELAYS.contains(&peer) => format!("{IDLE} relay"),
                None => format!("{IDLE} nullclient"),
            };
            report.add(&name, Some(peer), Measured::Memory { octets: running.memory() });
        }
    }
    Ok(())
}
