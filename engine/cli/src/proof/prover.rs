//! The proof as an apply asks for it.

use std::error::Error;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use mailstack_deploy::apply::{Proof, Prover};
use mailstack_mta::host::{Root, own_name};
use mailstack_mta::run::USER;
use mailstack_mta::secrets::{SecretError, Secrets};
use mailstack_policy::{Client, DomainName, Here};
use mailstack_prove::corpus::Lines;
use mailstack_prove::{Finding, Severity, findings_at};
use mailstack_runtime::{CONFIG_PATH, Config, ListenerKind, Role, Tls};

use super::child::COMMAND;
use super::envelopes::{Clients, Verdict};
use super::report::{Outcome, ProofReport, Request};

/// How long a whole proof may take; the child gives up before.
const PATIENCE: Duration = Duration::from_secs(30);
/// Lines of a log that are quoted.
const QUOTED: usize = 4;
/// A domain that nobody has (RFC 2606 2).
const FOREIGN: &str = "relay-probe.invalid";

/// Proves generations for the host below a root: first by their decisions, then by running them.
#[derive(Clone, Debug)]
pub struct CandidateProver {
    root: PathBuf,
}

/// Why a generation is not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Its configuration cannot be read: a bug here, or a generation of another version.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A key, a certificate or another secret cannot be used.
    #[error("{}: {}", .0, .0.help())]
    Secrets(#[source] SecretError),
    /// Its decisions are wrong.
    #[error("{}", Lined(.0))]
    Findings(Vec<Finding>),
    /// It did not keep a promise when it ran.
    #[error("{}", Broken(.0))]
    Broken(Box<ProofReport>),
    /// It did not come up.
    #[error("the candidate did not come up; it said: {}", .log.join("; "))]
    NotStarted {
        /// The end of what it wrote.
        log: Vec<String>,
    },
    /// What is live takes mail that it must refuse.
    #[error("{listener} relays for {client}: {}", .said.join(", "))]
    LiveRelay {
        /// Where it listens.
        listener: SocketAddr,
        /// For whom.
        client: IpAddr,
        /// The dialogue.
        said: Vec<String>,
    },
    /// The child did not say anything that can be read: a bug here.
    #[error("the proof was cut short")]
    Child(#[source] io::Error),
}

/// Findings, one to a line.
struct Lined<'a>(&'a [Finding]);

impl fmt::Display for Lined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

/// The promises that were not kept, each with the first probe that shows it.
struct Broken<'a>(&'a ProofReport);

impl fmt::Display for Broken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: Vec<&str> = Vec::new();
        for result in self.0.failed() {
            if told.contains(&result.promise.as_str()) {
                continue;
            }
            let separator = if told.is_empty() { "" } else { "\n" };
            let count = self.0.failed().filter(|other| other.promise == result.promise).count();
            write!(f, "{separator}promise {} is not kept ({count} of its probes)", result.promise)?;
            write!(f, "\n  {}\n  must be: {}", result.probe, result.expected)?;
            result.evidence.iter().try_for_each(|line| write!(f, "\n  seen: {line}"))?;
            told.push(&result.promise);
        }
        let undelivered = self.0.log.iter().filter(|line| line.contains("stat=Deferred"));
        undelivered.take(QUOTED).try_for_each(|line| write!(f, "\n  log: {line}"))
    }
}

impl CandidateProver {
    /// A prover for the host below this directory.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn run(&self, generation: &Path) -> Result<Proof, ProofError> {
        let path = generation.join(CONFIG_PATH);
        let unreadable =
            |source: Box<dyn Error + Send + Sync>| ProofError::Unreadable { path: path.clone(), source };
        let text = fs::read_to_string(&path).map_err(|error| unreadable(error.into()))?;
        let config: Config = toml::from_str(&text).map_err(|error| unreadable(error.into()))?;
        let hostname = self.hostname(&config);
        decisions(&config, &hostname)?;
        // What it needs on this host and a scratch host has not: looked at here, and left out there.
        Secrets::read(&Root::new(&self.root), &config, USER).map_err(ProofError::Secrets)?;
        let text = if config.tls == Tls::default() && config.auth.is_none() {
            text
        } else {
            toml::to_string(&config.in_clear()).map_err(|error| unreadable(error.into()))?
        };
        let generation = config.sendmail.as_ref().map(|_| generation.to_owned());
        let request = Request { config: text, promised: None, generation, hostname };
        match ask(&request).map_err(ProofError::Child)? {
            Outcome::Ran(report) if report.failed().next().is_none() => {
                Ok(Proof::Ran { probes: report.results.len() })
            }
            Outcome::Ran(report) => Err(ProofError::Broken(Box::new(report))),
            Outcome::NotStarted { log } => Err(ProofError::NotStarted { log }),
            Outcome::Unavailable { reason } => Ok(Proof::PolicyOnly { reason }),
        }
    }

    fn hostname(&self, config: &Config) -> DomainName {
        config.hostname.clone().unwrap_or_else(|| own_name(&Root::new(&self.root)).name)
    }

    /// A gateway, from an address of this host that it does not trust; a host that has none cannot say.
    fn relays_for(&self, config: &Config) -> Result<(), ProofError> {
        // Sendmail takes every address of this host for this host, which may always relay; from elsewhere it was probed
        // before the switch.
        if config.role != Role::Gateway || config.sendmail.is_some() {
            return Ok(());
        }
        let foreigners = own_addresses().into_iter();
        let foreigners = foreigners.filter(|addr| !Client::Network { addr: *addr }.may_relay(&config.rules));
        let pairs = foreigners.filter_map(|client| Some((client, listener_at(config, client)?)));
        // The null sender: that of another domain may be refused for itself.
        let lines = Lines::new("<>", &format!("<probe@{FOREIGN}>"));
        for (client, listener) in pairs {
            let ended = Clients::default().attempt(client, listener, &lines);
            if ended.verdict == Verdict::Accepted {
                return Err(ProofError::LiveRelay { listener, client, said: ended.said });
            }
        }
        Ok(())
    }
}

impl Prover for CandidateProver {
    fn prove(&self, generation: &Path) -> Result<Proof, Box<dyn Error + Send + Sync>> {
        Ok(self.run(generation)?)
    }

    fn verify(&self, config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
        decisions(config, &self.hostname(config))?;
        Ok(self.relays_for(config)?)
    }
}

fn decisions(config: &Config, hostname: &DomainName) -> Result<(), ProofError> {
    let addresses: Vec<IpAddr> =
        config.listeners.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified()).collect();
    let mut found = findings_at(config, Here::new(hostname, &addresses));
    found.retain(|finding| finding.severity() == Severity::Error);
    if found.is_empty() { Ok(()) } else { Err(ProofError::Findings(found)) }
}

/// The addresses of this host but for the loopback and link-local ones.
fn own_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let usable = |address: &IpAddr| match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    interfaces.filter_map(|interface| interface.address.and_then(address)).filter(usable).collect()
}

/// Where this address of the host is listened on.
fn listener_at(config: &Config, address: IpAddr) -> Option<SocketAddr> {
    let same = |listener: &&SocketAddr| {
        listener.ip() == address
            || (listener.ip().is_unspecified() && listener.is_ipv4() == address.is_ipv4())
    };
    let between_hosts = |listener: &&SocketAddr| config.listener_kind(listener) == ListenerKind::Smtp;
    config
        .listeners
        .iter()
        .filter(between_hosts)
        .find(same)
        .map(|listener| SocketAddr::new(address, listener.port()))
}

/// Asks a child, and waits for what it says. It ends when this thread does.
fn ask(request: &Request) -> io::Result<Outcome> {
    let text = serde_json::to_string(request)?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .env_remove("MAILSTACK_ROOT")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // A child that does not read says why.
        let _ = pipe.write_all(text.as_bytes());
    }
    let said = listen(&mut child);
    // It has ended, or must.
    let _ = child.kill();
    child.wait()?;
    Ok(serde_json::from_str(&said?)?)
}

fn listen(child: &mut Child) -> io::Result<String> {
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (teller, told) = mpsc::channel();
    thread::spawn(move || {
        let mut text = String::new();
        // Nobody listens once the time is over.
        let _ = teller.send(stdout.read_to_string(&mut text).map(|_| text));
    });
    told.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::report::ProbeResult;

    #[test]
    fn a_broken_promise_is_told_once_with_its_evidence() {
        let result = |promise: &str, passed| ProbeResult {
            promise: promise.to_owned(),
            probe: "from outside (198.51.100.77): MAIL FROM:<a@b>, RCPT TO:<c@d>".to_owned(),
            expected: "refused".to_owned(),
            passed,
            evidence: vec!["C: RCPT TO:<c@d>".to_owned(), "S: 250 2.1.5 ok".to_owned()],
        };
        let results =
            ["listens", "no_foreign_relay", "no_foreign_relay"].map(|name| result(name, name == "listens"));
        let report = ProofReport {
            results: results.into(),
            log: vec!["1: to=<x>, stat=Deferred".to_owned()],
            millis: 1,
        };
        assert_eq!(
            ProofError::Broken(Box::new(report)).to_string(),
            "promise no_foreign_relay is not kept (2 of its probes)\n  from outside (198.51.100.77): MAIL \
             FROM:<a@b>, RCPT TO:<c@d>\n  must be: refused\n  seen: C: RCPT TO:<c@d>\n  seen: S: 250 2.1.5 ok\n  log: 1: \
             to=<x>, stat=Deferred"
        );
    }
}
