//! The first process of the world: makes it, runs the candidate in it, and says what came of every probe.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use mailstack_mta::host::Root;
use mailstack_policy::{Address, DomainName};
use mailstack_prove::{Attempt, NextHopAnswer, Probe};
use mailstack_runtime::Config;
use mailstack_smtp::command::{Command, parse};

use super::arrivals::Arrivals;
use super::candidate::Candidate;
use super::judge::Judge;
use super::names::{Answers, serve};
use super::network::{self, HostNetwork, has_ipv6};
use super::plan::Plan;
use super::report::{Outcome, ProofReport, Request};
use super::scratch;
use super::sendmail;
use super::sink::Sink;

/// Everything that a probe is made with.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) root: Root,
    pub(super) host: HostNetwork,
    pub(super) hostname: DomainName,
    pub(super) promised: Config,
    pub(super) config: Config,
    pub(super) arrivals: Arrivals,
}

/// Proves a candidate. Errors: the world cannot be made.
pub(super) fn prove(request: &Request) -> io::Result<Outcome> {
    let begin = Instant::now();
    let world = World::make(request)?;
    let started = match &world.config.sendmail {
        Some(sendmail) => Candidate::start_sendmail(&world.config, sendmail, &world.host)?,
        None => Candidate::start(&world.root, &world.host)?,
    };
    let candidate = match started {
        Ok(candidate) => candidate,
        Err(log) => return Ok(Outcome::NotStarted { log }),
    };
    let results = Judge::new(&world).judge();
    let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Outcome::Ran(ProofReport { results, log: candidate.log(), millis }))
}

impl World {
    fn make(request: &Request) -> io::Result<Self> {
        let config: Config = toml::from_str(&request.config).map_err(io::Error::other)?;
        let promised = match &request.promised {
            Some(text) => toml::from_str(text).map_err(io::Error::other)?,
            None => config.clone(),
        };
        let plan = Plan::new(&config, &promised, &request.hostname, has_ipv6());
        let root = Root::new(scratch::mount_memory()?);
        scratch::write(&root, request, &config, &plan)?;
        let host = network::lay(&plan)?;
        if let (Some(sendmail), Some(generation)) = (&config.sendmail, &request.generation) {
            sendmail::cover(&root, generation, sendmail)?;
        }
        let hostname = request.hostname.clone();
        let world = Self { plan, root, host, hostname, promised, config, arrivals: Arrivals::default() };
        world.people()?;
        Ok(world)
    }

    /// Starts the name server and the hosts that mail is sent on to.
    fn people(&self) -> io::Result<()> {
        let socket = UdpSocket::bind((self.plan.name_server, 53))?;
        let answers = Answers { v4: self.plan.sink_v4, v6: self.plan.sink_v6 };
        thread::spawn(move || serve(&socket, answers));
        let sink = Sink { arrivals: self.arrivals.clone(), unknown: Arc::new(unknown(&self.plan.probes)) };
        for address in &self.plan.sinks {
            sink.serve(listen(*address)?);
        }
        let beside = || self.plan.sinks_beside.iter().map(|address| listen(*address)).collect();
        let beside: Vec<TcpListener> = self.host.within(beside)?;
        beside.into_iter().for_each(|listener| sink.serve(listener));
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let failed =
        |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    TcpListener::bind(address).map_err(failed)
}

/// The recipients that the next hop must refuse.
fn unknown(probes: &[Probe]) -> Vec<Address> {
    let refused = |probe: &Probe| match &probe.attempt {
        Attempt::Message { lines, next_hop: NextHopAnswer::Refuses } => match parse(lines.rcpt.as_bytes()) {
            Ok(Command::Rcpt(request)) => Some(request.to),
            _ => None,
        },
        _ => None,
    };
    probes.iter().filter_map(refused).collect()
}
