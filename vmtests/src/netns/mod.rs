//! The network-namespace level: every host is a set of namespaces on this machine, joined by bridges.
//!
//! The runner itself is process 1 of a world of its own ([`namespaces::run_in_new_world`]); bridges, hosts and the
//! name server live in it and end with it. `ip` (iproute2) makes the links. Needs root.

pub mod disk;
pub mod host;
pub mod namespaces;
pub mod sendmail;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use mailstack_schema::host::{Engine, ServiceBy};
use nix::sys::signal::Signal;

use crate::backend::{Backend, BackendError, Event, HostPlan, Program, World};
use crate::dns::Service;
use crate::pipes;
use crate::talk::{Script, Transcript};
use host::{HostSpec, User};

/// The name server's place among the hosts.
const NAME_SERVER: &str = "dns";

/// Hosts in namespaces.
pub struct Netns {
    world: World,
    dir: PathBuf,
    common: PathBuf,
    roots: Roots,
    running: BTreeMap<String, RunningHost>,
    name_servers: BTreeMap<String, IpAddr>,
    // Ends with this value.
    _name_server: Option<Killed>,
}

struct RunningHost {
    first: u32,
    links: usize,
    _process: Killed,
}

/// The private roots that hosts have programs of Debian from, where a host needs them.
pub struct Roots {
    /// Sendmail.
    pub sendmail: Option<PathBuf>,
    /// inetd and xinetd.
    pub inetd: Option<PathBuf>,
}

/// A process that is killed and reaped when this goes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Netns {
    /// Prepares networks and the name server in the namespaces of this process. `dir` is empty and holds all that
    /// hosts write; `mailstack` is the binary under test.
    pub fn build(world: World, dir: &Path, mailstack: &Path, roots: Roots) -> Result<Self, BackendError> {
        let common = dir.join("common");
        let bin = common.join("usr/bin");
        fs::create_dir_all(&bin).map_err(BackendError::io(format!("make {}", bin.display())))?;
        fs::copy(mailstack, bin.join("mailstack"))
            .map_err(BackendError::io(format!("take the binary under test, {}", mailstack.display())))?;
        ip("link set lo up")?;
        for network in world.networks.keys() {
            ip(&format!("link add {} type bridge", bridge(network)))?;
            ip(&format!("link set {} up", bridge(network)))?;
        }
        let name_servers =
            world.networks.iter().map(|(name, &(first, _))| (name.clone(), name_server(first))).collect();
        let mut netns = Self {
            world,
            dir: dir.to_owned(),
            common,
            roots,
            running: BTreeMap::new(),
            name_servers,
            _name_server: None,
        };
        netns.start_name_server()?;
        Ok(netns)
    }

    /// Takes everything down: hosts, name server, bridges.
    pub fn close(mut self) -> Result<(), BackendError> {
        self._name_server = None;
        for host in self.running.keys().cloned().collect::<Vec<_>>() {
            self.down(&host)?;
        }
        self.world.networks.keys().try_for_each(|network| ip(&format!("link del {}", bridge(network))))
    }

    /// Gives root's shell on a host; standard streams are this process's.
    pub fn shell(&self, host: &str) -> Result<(), BackendError> {
        let first = self.first_process(host)?.to_string();
        let program = std::env::current_exe().map_err(BackendError::io("find this program"))?;
        let words = ["enter", &first, "root", "0", "/root", "--", "/bin/sh"];
        let shell = Command::new(program).args(words).status();
        shell.map(drop).map_err(BackendError::io(format!("start a shell on {host}")))
    }

    fn start_name_server(&mut self) -> Result<(), BackendError> {
        let plan = HostPlan {
            fqdn: "dns.invalid".to_owned(),
            addresses: self.name_servers.clone().into_iter().collect(),
            users: Vec::new(),
            declaration: None,
            engine: Engine::Builtin,
            served_by: ServiceBy::Daemon,
        };
        self.start(NAME_SERVER, &plan)?;
        let addresses = self.name_servers.values().map(|&ip| SocketAddr::new(ip, 53)).collect();
        let service = Service { addresses, zones: self.world.zones.clone() };
        let first = self.first_process(NAME_SERVER)?;
        let mut child = this_program(&["serve-dns", &first.to_string()], &service, Stdio::inherit())?;
        wait_for_line(&mut child, "the name server")?;
        self._name_server = Some(Killed(child));
        Ok(())
    }

    fn start(&mut self, name: &str, plan: &HostPlan) -> Result<(), BackendError> {
        let spec = self.spec(name, plan);
        disk::make(&spec.dir).map_err(BackendError::io(format!("make the disk of {name}")))?;
        let mut child = this_program(&["host"], &spec, Stdio::inherit())?;
        let line = wait_for_line(&mut child, name)?;
        let first = line
            .trim()
            .parse()
            .map_err(|_| BackendError::Missing(format!("{name}: did not start: {line}")))?;
        self.running.insert(name.to_owned(), RunningHost { first, links: 0, _process: Killed(child) });
        let mut devices: Vec<&str> = Vec::new();
        for (network, address) in &plan.addresses {
            let known = devices.iter().position(|device| device == network);
            let at = known.unwrap_or(devices.len());
            if known.is_none() {
                connect(name, first, at, network)?;
                self.running.entry(name.to_owned()).and_modify(|host| host.links += 1);
                devices.push(network);
            }
            self.add_address(first, at, network, *address)?;
        }
        Ok(())
    }

    fn add_address(&self, first: u32, at: usize, network: &str, address: IpAddr) -> Result<(), BackendError> {
        let unknown = || BackendError::Unknown { kind: "network", name: network.to_owned() };
        let (_, prefix) = self.world.networks.get(network).ok_or_else(unknown)?;
        // Without duplicate address detection, which would keep an IPv6 address from use for a second.
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        ip_inside(first, &format!("addr add {address}/{prefix} dev eth{at}{nodad}"))
    }

    fn spec(&self, name: &str, plan: &HostPlan) -> HostSpec {
        HostSpec {
            dir: self.dir.join(name),
            common: self.common.clone(),
            laid_over: true,
            sendmail: self.roots.sendmail.clone().filter(|_| plan.engine == Engine::Sendmail),
            inetd: self.roots.inetd.clone().filter(|_| plan.served_by != ServiceBy::Daemon),
            ..HostSpec::of(&self.world, name, plan)
        }
    }

    /// The outer ends of a running host's links.
    fn links(&self, host: &str) -> Result<Vec<String>, BackendError> {
        let unknown = || BackendError::Unknown { kind: "running host", name: host.to_owned() };
        let count = self.running.get(host).map(|running| running.links).ok_or_else(unknown)?;
        Ok((0..count).map(|at| link_name(&format!("{host}.{at}"))).collect())
    }

    fn first_process(&self, host: &str) -> Result<u32, BackendError> {
        let unknown = || BackendError::Unknown { kind: "running host", name: host.to_owned() };
        self.running.get(host).map(|running| running.first).ok_or_else(unknown)
    }
}

impl Backend for Netns {
    fn up(&mut self, host: &str) -> Result<(), BackendError> {
        let plan = self.world.host(host)?.clone();
        self.start(host, &plan)
    }

    fn down(&mut self, host: &str) -> Result<(), BackendError> {
        let unknown = || BackendError::Unknown { kind: "running host", name: host.to_owned() };
        let running = self.running.remove(host).ok_or_else(unknown)?;
        // The kernel takes its time over the links of a namespace that has ended; a host may be back before.
        (0..running.links).try_for_each(|at| ip(&format!("link del {}", link_name(&format!("{host}.{at}")))))
    }

    fn run(&self, host: &str, programs: &[Program], deadline: Duration) -> Result<Vec<Output>, BackendError> {
        let first = self.first_process(host)?.to_string();
        let until = Instant::now() + deadline;
        let started = programs.iter().map(|program| {
            let user = User::of(&self.world, host, &program.user)?;
            let (id, home) = (user.id.to_string(), user.home.display().to_string());
            let mut words = vec!["enter", &first, &user.name, &id, &home, "--"];
            words.extend(program.command.iter().map(String::as_str));
            let mut child = spawn(&words, Stdio::piped())?;
            pipes::feed(&mut child, program.input.clone());
            Ok(child)
        });
        let started = started.collect::<Result<Vec<_>, BackendError>>()?;
        started
            .into_iter()
            .zip(programs)
            .map(|(child, program)| finish(host, child, program, until))
            .collect()
    }

    fn talk(&self, host: &str, script: &Script) -> Result<Transcript, BackendError> {
        let first = self.first_process(host)?.to_string();
        let child = this_program(&["talk", &first], script, Stdio::inherit())?;
        let output = child.wait_with_output().map_err(BackendError::io("wait for the SMTP client"))?;
        let json =
            |error: serde_json::Error| BackendError::io("read what the SMTP client said")(error.into());
        serde_json::from_slice(&output.stdout).map_err(json)
    }

    fn get(&self, host: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError> {
        let path = self.tree(host)?.join(path.trim_start_matches('/'));
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(BackendError::io(format!("read {}", path.display()))(error)),
        }
    }

    fn put(&self, host: &str, path: &str, bytes: &[u8]) -> Result<(), BackendError> {
        let command = ["/bin/sh", "-c", "cat >\"$0\"", path].map(str::to_owned).to_vec();
        let program = Program { user: "root".to_owned(), command, input: bytes.to_vec() };
        let outputs = self.run(host, std::slice::from_ref(&program), Duration::from_secs(30))?;
        match outputs.first() {
            Some(output) if !output.status.success() => Err(BackendError::failed(host, &program, output)),
            _ => Ok(()),
        }
    }

    fn perform(&mut self, event: &Event) -> Result<(), BackendError> {
        match event {
            Event::Link(host, joined) => {
                let links = self.links(host)?;
                let word = if *joined { "up" } else { "down" };
                links.iter().try_for_each(|link| ip(&format!("link set {link} {word}")))
            }
            Event::Dns(answers) => {
                let signal = if *answers { Signal::SIGCONT } else { Signal::SIGSTOP };
                let server = self._name_server.as_ref().map(|server| server.0.id());
                let process = server.and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(process), signal)
                    .map_err(|error| BackendError::io("signal the name server")(error.into()))
            }
            Event::Disk(host, full) => {
                disk::limit(&self.dir.join(self.world.host(host).map(|_| host)?), *full)
                    .map_err(BackendError::io(format!("limit the disk of {host}")))
            }
            Event::Delay(host, latency, loss) => {
                let first = self.first_process(host)?;
                (0..self.links(host)?.len()).try_for_each(|at| {
                    let milliseconds = latency.as_millis();
                    inside(
                        first,
                        &format!(
                            "tc qdisc replace dev eth{at} root netem delay {milliseconds}ms loss {loss}%"
                        ),
                    )
                })
            }
            Event::Clock(..) | Event::PowerCut(_) => {
                Err(BackendError::Unable { level: "netns", event: format!("{event:?}") })
            }
        }
    }

    fn tree(&self, host: &str) -> Result<PathBuf, BackendError> {
        self.world.host(host).map(|_| self.dir.join(host).join("upper"))
    }
}

/// The address of the name server in a network: near the end of its last octet, where no topology puts a host.
pub fn name_server(first: IpAddr) -> IpAddr {
    match first {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            IpAddr::from([a, b, c, 253])
        }
        IpAddr::V6(v6) => {
            let mut segments = v6.segments();
            segments[7] = 0xfffd;
            IpAddr::from(segments)
        }
    }
}

fn bridge(network: &str) -> String {
    link_name(&format!("net-{network}"))
}

/// A link's name may have fifteen octets; what is longer is told apart by a number made from it.
fn link_name(name: &str) -> String {
    if name.len() <= 15 {
        return name.to_owned();
    }
    format!("{}{:08x}", name.get(..7).unwrap_or("link-"), number(name))
}

/// A number made from a name, the same each time.
pub fn number(name: &str) -> u32 {
    name.bytes().fold(5381_u32, |sum, byte| sum.wrapping_mul(33) ^ u32::from(byte))
}

/// The hardware address of a link: locally administered, and the same when the host comes back.
pub fn hardware_address(link: &str) -> String {
    let [a, b, c, d] = number(link).to_be_bytes();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

fn ip(words: &str) -> Result<(), BackendError> {
    host::run("ip", &words.split(' ').collect::<Vec<_>>()).map_err(BackendError::io(format!("ip {words}")))
}

/// Joins a host to a network by its interface `eth{at}`.
fn connect(name: &str, first: u32, at: usize, network: &str) -> Result<(), BackendError> {
    let outer = link_name(&format!("{name}.{at}"));
    let address = hardware_address(&outer);
    ip(&format!("link add {outer} type veth peer name eth{at} address {address} netns {first}"))?;
    ip(&format!("link set {outer} master {} up", bridge(network)))?;
    ip_inside(first, &format!("link set eth{at} up"))
}

/// Runs `ip` in the network namespace of a process.
fn ip_inside(process: u32, words: &str) -> Result<(), BackendError> {
    inside(process, &format!("ip {words}"))
}

fn inside(process: u32, words: &str) -> Result<(), BackendError> {
    let words = format!("--net=/proc/{process}/ns/net {words}");
    host::run("nsenter", &words.split(' ').collect::<Vec<_>>()).map_err(BackendError::io(words))
}

/// Starts this program in another part, with a value as JSON on its standard input.
fn this_program(words: &[&str], value: &impl serde::Serialize, stderr: Stdio) -> Result<Child, BackendError> {
    let mut child = spawn(words, stderr)?;
    let json = serde_json::to_vec(value).map_err(|error| BackendError::io("write JSON")(error.into()))?;
    pipes::feed(&mut child, json);
    Ok(child)
}

fn spawn(words: &[&str], stderr: Stdio) -> Result<Child, BackendError> {
    let program = std::env::current_exe().map_err(BackendError::io("find this program"))?;
    Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()
        .map_err(BackendError::io(format!("start {}", words.join(" "))))
}

fn wait_for_line(child: &mut Child, who: &str) -> Result<String, BackendError> {
    let mut line = String::new();
    if let Some(out) = child.stdout.as_mut() {
        BufReader::new(out).read_line(&mut line).map_err(BackendError::io(format!("start {who}")))?;
    }
    if line.is_empty() { Err(BackendError::Missing(format!("{who} did not start"))) } else { Ok(line) }
}

/// Collects a program's output and end.
fn finish(host: &str, child: Child, program: &Program, until: Instant) -> Result<Output, BackendError> {
    let command = program.command.join(" ");
    pipes::finish(child, until).map_err(BackendError::io(format!("{host}: {command}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_fit_and_differ() {
        let (a, b) = (link_name("internalmail-one.0"), link_name("internalmail-two.0"));
        assert!(a.len() <= 15 && b.len() <= 15 && a != b);
        assert_eq!(link_name("web01.0"), "web01.0");
    }

    #[test]
    fn the_name_server_lies_in_its_network() {
        let server = |text: &str| text.parse().map(name_server).map(|ip: IpAddr| ip.to_string());
        assert_eq!(server("192.168.10.0").as_deref(), Ok("192.168.10.253"));
        assert_eq!(server("2001:db8:1::").as_deref(), Ok("2001:db8:1::fffd"));
    }
}
