//! A loopback MTA in a tree of its own, started and killed as often as one likes.

use std::fs::{File, OpenOptions};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::sink::Sink;
use super::wait_until;
use crate::host::{Host, binary, free_port};

/// A host whose MTA sends everything on to a sink.
pub struct World {
    pub host: Host,
    pub sink: Sink,
    pub port: u16,
}

/// A daemon that runs; killed when dropped.
pub struct Daemon(pub Child);

impl Daemon {
    /// SIGKILL: it does not get to say anything.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As an operator ends it.
    pub fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl World {
    /// A host that was applied, and does not run.
    pub fn new(more: &str) -> Self {
        let (host, sink, port) = (Host::new(), Sink::start(), free_port());
        let hop = sink.port;
        host.put(
            "etc/mailstack/host.toml",
            &format!(
                "schema = 1\nrole = \"loopback\"\nhostname = \"box.corp.example\"\n\
                 listen = [\"127.0.0.1:{port}\"]\nmail_host = \"[127.0.0.1]:{hop}\"\n\
                 queue.first_retry = \"1s\"\nqueue.longest_retry = \"2s\"\n{more}"
            ),
        );
        host.apply().with(0);
        host.mailstack(&["stop"]).with(0);
        Self { host, sink, port }
    }

    /// Starts the MTA and waits until it answers.
    pub fn start(&self) -> Daemon {
        self.start_by(Command::new(binary()))
    }

    /// As [`World::start`], by a command that becomes `mailstack` with the arguments behind it.
    pub fn start_by(&self, mut command: Command) -> Daemon {
        let log = || OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        command.args(["run", "--root"]).arg(self.host.root());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log());
        let daemon = Daemon(command.spawn().unwrap());
        let control = self.host.path("run/mailstack/control");
        wait_until("the MTA answers", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok() && UnixStream::connect(&control).is_ok()
        });
        daemon
    }

    pub fn log(&self) -> PathBuf {
        self.host.path("daemon.log")
    }

    /// The lines of all daemons so far.
    pub fn lines(&self) -> Vec<String> {
        let text = File::open(self.log()).and_then(std::io::read_to_string).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The queue ids that are queued, of a daemon that runs.
    pub fn queued(&self) -> usize {
        let listed = self.host.mailstack(&["queue", "list", "--json"]).with(0).out;
        listed.matches("\"sender\"").count()
    }
}
