//! The network of the world: two network namespaces and a cable. One is the candidate's host, which has its own
//! addresses and nothing else; the other has those of everybody else.

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::child::run;
use super::plan::Plan;

/// This thread's network namespace.
const OWN: &str = "/proc/thread-self/ns/net";
/// The hosts of a link know each other by these (RFC 4291 2.5.6).
const HOST_LINK: &str = "fe80::2";
const WORLD_LINK: &str = "fe80::1";

/// The network namespace of the candidate's host.
pub(super) struct HostNetwork(File);

impl HostNetwork {
    /// Does something on the candidate's host; the thread that calls stays in the world.
    pub(super) fn within<T: Send>(&self, act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_a_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET)?;
            act()
        })
    }
}

fn on_a_thread<T: Send>(act: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let ended = thread::scope(|scope| scope.spawn(act).join());
    ended.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
}

/// Whether this kernel has IPv6 in a new network.
pub(super) fn has_ipv6() -> bool {
    let off = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    off.is_ok_and(|text| text.trim() == "0")
}

/// Lays the cable and gives everybody their addresses. The caller is the first process of its namespace.
pub(super) fn lay(plan: &Plan) -> io::Result<HostNetwork> {
    let ipv6 = plan.sink_v6.is_some();
    let host = on_a_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let network = File::open(OWN)?;
        ip(&host_commands(plan, ipv6))?;
        Ok(network)
    })?;
    ip(&world_commands(plan, ipv6))?;
    // A route needs the far end of its cable.
    let host = HostNetwork(host);
    host.within(|| ip(&host_routes(ipv6)))?;
    Ok(host)
}

fn ip(commands: &[String]) -> io::Result<()> {
    run("ip", &["-batch", "-"], &(commands.join("\n") + "\n"))
}

fn host_commands(plan: &Plan, ipv6: bool) -> Vec<String> {
    let mut commands = vec![
        "link set lo up".to_owned(),
        "link add mail0 type veth peer name world0".to_owned(),
        "link set world0 netns 1".to_owned(),
        "link set mail0 up".to_owned(),
    ];
    commands.extend(plan.host.iter().map(|address| add(address, "mail0")));
    if ipv6 {
        commands.push(format!("addr add {HOST_LINK}/64 dev mail0 nodad"));
    }
    commands
}

fn host_routes(ipv6: bool) -> Vec<String> {
    let mut commands = vec!["route add 0.0.0.0/0 dev mail0".to_owned()];
    if ipv6 {
        commands.push(format!("route add ::/0 via {WORLD_LINK} dev mail0"));
    }
    commands
}

fn world_commands(plan: &Plan, ipv6: bool) -> Vec<String> {
    let mut commands = vec!["link set lo up".to_owned(), "link set world0 up".to_owned()];
    if ipv6 {
        commands.push(format!("addr add {WORLD_LINK}/64 dev world0 nodad"));
    }
    commands.extend(plan.others.iter().map(|address| add(address, "lo")));
    commands.extend(plan.host.iter().map(|address| match address {
        IpAddr::V4(address) => format!("route add {address}/32 dev world0"),
        IpAddr::V6(address) => format!("route add {address}/128 via {HOST_LINK} dev world0"),
    }));
    commands
}

/// Duplicates need not be looked for (RFC 4862 5.4) in a network that nobody else is in.
fn add(address: &IpAddr, device: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("addr add {address}/32 dev {device}"),
        IpAddr::V6(address) => format!("addr add {address}/128 dev {device} nodad"),
    }
}
