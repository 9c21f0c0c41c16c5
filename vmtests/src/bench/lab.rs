//! Where it happens: a network namespace for each peer and for the sink, joined by a bridge; what runs in them.
//!
//! Owns: addresses, processes, their end. All of it is below this process, which is the first of a process namespace:
//! nothing is left when it ends.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cells::Cell;
use super::peers::{self, Peer};
use super::usage::Group;
use crate::netns::host::run;

/// The sink's address; its port is 25.
const SINK: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
/// How long a peer may take to listen, or nothing may arrive within a run: OpenSMTPD leaves a next hop alone for a while
/// that was down.
const PATIENCE: Duration = Duration::from_secs(60);

/// The networks and the sink.
pub struct Lab {
    roots: PathBuf,
    place: PathBuf,
    sink_host: Child,
    sink: Option<Child>,
    sink_file: PathBuf,
    /// Who holds the peers' networks.
    hosts: Vec<(Peer, Child)>,
}

/// A peer that runs.
pub struct Running {
    /// Which.
    pub peer: Peer,
    /// Its control group.
    pub group: Group,
    process: Option<Child>,
    trace: PathBuf,
}

/// How a peer is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Plain,
    /// Each sync is noted in a file.
    Counted,
}

/// The system calls that make data durable.
const SYNCS: &str = "fsync,fdatasync,sync_file_range,syncfs,sync,msync";

impl Lab {
    /// Builds the bridge and starts the sink.
    pub fn open(roots: &Path) -> io::Result<Self> {
        let roots = roots.canonicalize()?;
        let place = PathBuf::from("/run/mailstack-bench");
        fs::create_dir_all(&place)?;
        crate::netns::namespaces::mount_type("tmpfs", &place, Some("mode=0755"))?;
        ip("link set lo up")?;
        ip("link add bench type bridge")?;
        ip("addr add 10.99.0.1/24 dev bench")?;
        ip("link set bench up")?;
        let sink_host = network(SINK, "sink")?;
        let sink_file = place.join("sink");
        let mut lab = Self { roots, place, sink_host, sink: None, sink_file, hosts: Vec::new() };
        lab.start_sink()?;
        Ok(lab)
    }

    /// The directory of the roots.
    pub fn roots(&self) -> &Path {
        &self.roots
    }

    /// A peer's root.
    pub fn root(&self, peer: Peer) -> PathBuf {
        self.roots.join(peer.directory())
    }

    /// Starts a sink that has counted nothing.
    pub fn start_sink(&mut self) -> io::Result<()> {
        self.stop_sink();
        let counter = File::create(&self.sink_file)?;
        let mut command = inside(&self.sink_host);
        // It writes its count behind the last one, at each message and session.
        command.arg("chroot").arg(self.root(Peer::Postfix)).args([
            "/usr/sbin/smtp-sink",
            "-u",
            "alice",
            "-c",
        ]);
        command.args([&format!("{SINK}:25"), "2048"]);
        let child = command.stdin(Stdio::null()).stdout(counter).stderr(Stdio::null()).spawn()?;
        self.sink = Some(child);
        wait_for_port(SINK, "the sink")
    }

    /// Ends the sink: the next hop is down.
    pub fn stop_sink(&mut self) {
        if let Some(mut sink) = self.sink.take() {
            let _ = sink.kill();
            let _ = sink.wait();
        }
    }

    /// Messages that the sink has counted.
    pub fn counted(&self) -> io::Result<u64> {
        let mut file = File::open(&self.sink_file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(120)))?;
        let mut tail = String::new();
        file.read_to_string(&mut tail)?;
        // The last number may be half written.
        let whole = tail.rfind('\r').map_or("", |end| &tail[..end]);
        Ok(whole.rsplit_once("mesg=").and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0))
    }

    /// Waits until the sink has counted so many in all; false if nothing more came for long.
    pub fn wait_for(&self, wanted: u64) -> io::Result<bool> {
        let (mut last, mut since) = (self.counted()?, Instant::now());
        while last < wanted {
            std::thread::sleep(Duration::from_millis(1));
            let now = self.counted()?;
            if now != last {
                (last, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts a peer on an empty queue.
    pub fn start(&mut self, peer: Peer, mode: Mode, role: Option<&str>) -> io::Result<Running> {
        self.configure(peer, role)?;
        for queue in peer.queues() {
            peers::remove_files(&self.root(peer).join(queue))?;
        }
        let running = Running {
            peer,
            group: Group::new(&format!("mailstack-bench-{}", peer.directory())),
            process: None,
            trace: self.place.join(format!("{}.err", peer.directory())),
        };
        self.resume(running, mode, role)
    }

    /// Starts a peer that was stopped, on the queue that it left.
    pub fn resume(&mut self, mut running: Running, mode: Mode, role: Option<&str>) -> io::Result<Running> {
        let peer = running.peer;
        if !peer.has_daemon() {
            return Ok(running);
        }
        let mut command = inside(self.host(peer)?);
        command.args(["unshare", "--pid", "--mount", "--ipc", "--uts", "--fork", "--kill-child"]);
        let door =
            running.group.door().map(|door| format!("echo 0 > {}; ", door.display())).unwrap_or_default();
        let script =
            format!("{door}mount -t proc proc \"$0/proc\"; exec {} chroot \"$0\" /serve", tracer(mode));
        command.args(["sh", "-c", &script]).arg(self.root(peer)).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(File::create(&running.trace)?);
        running.process = Some(command.spawn()?);
        let listens = role.is_none() && peer != Peer::Nullmailer;
        match listens {
            true => wait_for_port(address(peer), peer.name())?,
            false => std::thread::sleep(Duration::from_millis(700)),
        }
        Ok(running)
    }

    /// Sends messages through a peer's port with smtp-source; waits until it has got all its 250s.
    pub fn send(&self, to: Option<Peer>, cell: &Cell, messages: u32) -> io::Result<Duration> {
        let target = to.map_or(SINK, address);
        let mut command = Command::new("chroot");
        command.arg(self.root(Peer::Postfix)).arg("/usr/sbin/smtp-source");
        if cell.kept {
            command.arg("-d");
        }
        let sessions = cell.sessions.min(messages);
        command.args([
            "-s",
            &sessions.to_string(),
            "-m",
            &messages.to_string(),
            "-l",
            &cell.size.to_string(),
        ]);
        command.args(["-r", &cell.recipients.to_string(), "-f", "a@source.example", "-t", "c@sink.example"]);
        let begun = Instant::now();
        let output = command.arg(format!("{target}:25")).stdin(Stdio::null()).output()?;
        match output.status.success() {
            true => Ok(begun.elapsed()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                let whom = to.map_or("the sink", Peer::name);
                Err(io::Error::other(format!("smtp-source into {whom}: {}", said.trim())))
            }
        }
    }

    /// A command in a peer's root and network, as a user; its processes count as the peer's.
    pub fn command(&self, running: &Running, user: &str, words: &str) -> io::Result<Command> {
        let mut command = inside(self.host_of(running.peer)?);
        let door =
            running.group.door().map(|door| format!("echo 0 > {}; ", door.display())).unwrap_or_default();
        let script = format!("{door}exec chroot --userspec={user} \"$0\" /bin/sh -c '{words}'");
        command.args(["sh", "-c", &script]).arg(self.root(running.peer)).stdin(Stdio::null());
        Ok(command)
    }

    fn configure(&mut self, peer: Peer, role: Option<&str>) -> io::Result<()> {
        self.host(peer)?;
        let root = self.root(peer);
        let hosts = format!(
            "127.0.0.1 localhost\n10.99.0.1 source.bench.example source\n{SINK} sink.bench.example sink\n"
        );
        fs::write(root.join("etc/hosts"), hosts)?;
        if peer == Peer::Nullmailer {
            let trigger = root.join("var/spool/nullmailer/trigger");
            let _ = chown(&trigger, Some(8), Some(0));
        }
        let port = "25".to_owned();
        let root = root.display().to_string();
        let mut words = vec![root.as_str(), "/configure", "10.99.0.2", &port];
        words.extend(role);
        run("chroot", &words)
    }

    fn host(&mut self, peer: Peer) -> io::Result<&Child> {
        if !self.hosts.iter().any(|(known, _)| *known == peer) {
            self.hosts.push((peer, network(address(peer), peer.directory())?));
        }
        self.host_of(peer)
    }

    fn host_of(&self, peer: Peer) -> io::Result<&Child> {
        let found = self.hosts.iter().find(|(known, _)| *known == peer);
        found.map(|(_, host)| host).ok_or_else(|| io::Error::other("a peer without a network"))
    }
}

impl Running {
    /// Syncs that were noted so far.
    pub fn syncs(&self) -> u64 {
        let text = fs::read(&self.trace).unwrap_or_default();
        let lines = String::from_utf8_lossy(&text).lines().filter(|line| is_sync(line)).count();
        lines as u64
    }

    /// The first process that is outside of the peer's own process namespace.
    fn outer(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// Seconds of processor time so far.
    pub fn seconds(&self) -> io::Result<f64> {
        self.group.seconds(self.first())
    }

    /// Octets of memory that it holds now.
    pub fn memory(&self) -> u64 {
        super::usage::memory(&self.group.processes(self.first()))
    }

    /// The first process of its process namespace.
    fn first(&self) -> Option<u32> {
        let outer = self.outer()?;
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// Ends it as a crash does.
    pub fn stop(&mut self) {
        let first = self.first();
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            // With the first process of a process namespace all of it ends. What became another user outlives its
            // parent in spite of `unshare --kill-child`.
            let processes: Vec<u32> = self.group.processes(first).into_iter().chain(first).collect();
            for process in processes.iter().filter_map(|process| i32::try_from(*process).ok()) {
                let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
            if let Some(mut process) = self.process.take() {
                let _ = process.kill();
                let _ = process.wait();
            }
            if self.group.processes(None).is_empty() || Instant::now() > deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.stop_sink();
        let hosts = self.hosts.iter_mut().map(|(_, host)| host);
        for host in hosts.chain(std::iter::once(&mut self.sink_host)) {
            let _ = host.kill();
            let _ = host.wait();
        }
    }
}

/// Whether a line tells of the beginning of a call that makes data durable.
fn is_sync(line: &str) -> bool {
    let call = line.split_once("] ").map_or(line, |(_, call)| call).trim_start();
    call.split_once('(').is_some_and(|(name, _)| SYNCS.split(',').any(|sync| sync == name))
}

fn tracer(mode: Mode) -> String {
    // With --seccomp-bpf nothing but these calls stops for the tracer. On standard error it holds nothing back.
    let strace = format!("strace -f --seccomp-bpf -qqq -e signal=none -e trace={SYNCS}");
    match mode {
        Mode::Plain => String::new(),
        Mode::Counted => strace,
    }
}

/// The address of a peer.
fn address(peer: Peer) -> Ipv4Addr {
    let place = Peer::ALL.iter().position(|known| *known == peer).unwrap_or(0);
    Ipv4Addr::new(10, 99, 0, 10 + u8::try_from(place).unwrap_or(0))
}

/// A network namespace with an interface at the bridge, held by a process.
fn network(address: Ipv4Addr, name: &str) -> io::Result<Child> {
    let holder = Command::new("unshare").args(["--net", "sleep", "infinity"]).stdin(Stdio::null()).spawn()?;
    let own = fs::read_link("/proc/self/ns/net")?;
    let deadline = Instant::now() + PATIENCE;
    while fs::read_link(format!("/proc/{}/ns/net", holder.id())).is_ok_and(|found| found == own) {
        if Instant::now() > deadline {
            return Err(io::Error::other("unshare --net does not"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let outer = format!("v{name}");
    ip(&format!("link add {outer} type veth peer name eth0 netns {}", holder.id()))?;
    ip(&format!("link set {outer} master bench up"))?;
    for words in [
        "link set lo up".to_owned(),
        format!("addr add {address}/24 dev eth0"),
        "link set eth0 up".to_owned(),
    ] {
        let net = format!("--net=/proc/{}/ns/net", holder.id());
        let words: Vec<&str> = [net.as_str(), "ip"].into_iter().chain(words.split(' ')).collect();
        run("nsenter", &words)?;
    }
    Ok(holder)
}

fn ip(words: &str) -> io::Result<()> {
    run("ip", &words.split(' ').collect::<Vec<_>>())
}

fn inside(host: &Child) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{}/ns/net", host.id()));
    command
}

fn wait_for_port(address: Ipv4Addr, who: &str) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let target = SocketAddr::from((address, 25));
    loop {
        // A greeting, not only a connection: a listener may be there before who answers.
        if let Ok(mut stream) = TcpStream::connect_timeout(&target, Duration::from_secs(1)) {
            let mut greeting = [0; 3];
            let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
            if stream.read_exact(&mut greeting).is_ok() && greeting == *b"220" {
                return Ok(());
            }
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{who} does not answer at {target}")));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_once() {
        assert!(is_sync("[pid    40] fdatasync(10 <unfinished ...>"));
        assert!(is_sync("sync()                  = 0"));
        assert!(!is_sync("[pid    40] <... fdatasync resumed>) = 0"));
        assert!(!is_sync("postfix/master[1]: fatal: fsync(3)"));
    }
}
