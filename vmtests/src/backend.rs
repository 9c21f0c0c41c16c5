//! What a level of proof must offer, and the plan that it builds hosts from.
//!
//! A check is written against this and never sees which level it runs on.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use mailstack_schema::host::{Engine, ServiceBy};

use crate::dns::{DnsError, Zone};
use crate::talk::{Script, Transcript};

/// Everything that is built before the first step: networks, hosts and zones.
#[derive(Clone, Debug)]
pub struct World {
    /// Networks by name: first address and prefix length.
    pub networks: BTreeMap<String, (IpAddr, u8)>,
    /// Hosts by their short name.
    pub hosts: BTreeMap<String, HostPlan>,
    /// What the name server serves.
    pub zones: Vec<Zone>,
}

impl World {
    /// A host by its short name.
    pub fn host(&self, name: &str) -> Result<&HostPlan, BackendError> {
        let unknown = || BackendError::Unknown { kind: "host", name: name.to_owned() };
        self.hosts.get(name).ok_or_else(unknown)
    }
}

/// One host to build.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// Its fully qualified name.
    pub fqdn: String,
    /// Its addresses, each with its network.
    pub addresses: Vec<(String, IpAddr)>,
    /// Login names beside `root`.
    pub users: Vec<String>,
    /// Its host.toml; None for a host that runs no MTA.
    pub declaration: Option<String>,
    /// Who runs its role.
    pub engine: Engine,
    /// Who accepts its connections.
    pub served_by: ServiceBy,
}

/// A program to run on a host.
#[derive(Clone, Debug)]
pub struct Program {
    /// As whom.
    pub user: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its standard input.
    pub input: Vec<u8>,
}

/// Why a level could not do what a step asks.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// This machine lacks something that the level stands on.
    #[error("{0}")]
    Missing(String),
    /// An operation of this machine failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The name server.
    #[error("the name server did not start")]
    Dns(#[from] DnsError),
    /// Something that this level has no means for.
    #[error("the {level} level cannot do this: {event}")]
    Unable {
        /// The level.
        level: &'static str,
        /// What it cannot do.
        event: String,
    },
    /// What a host answered to a request.
    #[error("{host}: {reason}")]
    Host {
        /// Which.
        host: String,
        /// What it said.
        reason: String,
    },
    /// A name that the topology does not have.
    #[error("no such {kind}: {name}")]
    Unknown {
        /// `host` or `user`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A program on a host that failed where it must not.
    #[error("{host}: {command} ended with {status}\n{output}")]
    Program {
        /// The host.
        host: String,
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        output: String,
    },
}

impl BackendError {
    /// A program that ended as it must not, with all that it said.
    pub fn failed(host: &str, program: &Program, output: &Output) -> Self {
        let said = [&output.stdout[..], &output.stderr[..]].concat();
        Self::Program {
            host: host.to_owned(),
            command: program.command.join(" "),
            status: output.status.to_string(),
            output: String::from_utf8_lossy(&said).trim_end().to_owned(),
        }
    }

    /// An error of this machine while doing `what`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}

/// How long a look may take.
const LOOK: Duration = Duration::from_secs(30);

/// What happens to hosts and networks, beside hosts that go down and come up.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A host is joined to its networks, or cut off from them.
    Link(String, bool),
    /// The name server answers, or is silent.
    Dns(bool),
    /// A host's disk is full, or is not.
    Disk(String, bool),
    /// A host's clock goes forward.
    Clock(String, Duration),
    /// What a host sends is late, and so many percent of it is lost.
    Delay(String, Duration, f64),
    /// A host loses its power: what was not flushed is gone.
    PowerCut(String),
}

/// A level of proof with its hosts.
pub trait Backend {
    /// Brings a host up, as it was when it went down; its MTA is not started by this.
    fn up(&mut self, host: &str) -> Result<(), BackendError>;
    /// Takes a host down at once, as a crash does.
    fn down(&mut self, host: &str) -> Result<(), BackendError>;
    /// Runs programs at the same time, each to its end or the deadline; results in the order of the programs.
    fn run(&self, host: &str, programs: &[Program], deadline: Duration) -> Result<Vec<Output>, BackendError>;
    /// Holds an SMTP session from a host.
    fn talk(&self, host: &str, script: &Script) -> Result<Transcript, BackendError>;
    /// A file of a host, or None where there is none. Reads what lies on disk, also of a host that is down.
    fn get(&self, host: &str, path: &str) -> Result<Option<Vec<u8>>, BackendError>;
    /// Writes a file on a running host.
    fn put(&self, host: &str, path: &str, bytes: &[u8]) -> Result<(), BackendError>;
    /// A file of a running host as its kernel shows it.
    fn read(&self, host: &str, path: &str) -> Result<Vec<u8>, BackendError> {
        let command = vec!["cat".to_owned(), path.to_owned()];
        let program = Program { user: "root".to_owned(), command, input: Vec::new() };
        let outputs = self.run(host, std::slice::from_ref(&program), LOOK)?;
        match outputs.into_iter().next() {
            Some(output) if output.status.success() => Ok(output.stdout),
            Some(output) => Err(BackendError::failed(host, &program, &output)),
            None => Ok(Vec::new()),
        }
    }
    /// Lets something happen to a host or a network.
    fn perform(&mut self, event: &Event) -> Result<(), BackendError>;
    /// What was found since the last call by looking at a host's disk behind its back; a failure each.
    fn findings(&mut self) -> Vec<String> {
        Vec::new()
    }
    /// The tree that a host wrote, to keep as evidence.
    fn tree(&self, host: &str) -> Result<PathBuf, BackendError>;
}
