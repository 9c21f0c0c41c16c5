//! What a level of proof must offer, and the plan that it builds hosts from.
//!
//! A check is written against this and never sees which level it runs on.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use mailstack_schema::host::Engine;

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
    /// The tree that a host wrote, to keep as evidence.
    fn tree(&self, host: &str) -> Result<PathBuf, BackendError>;
}
