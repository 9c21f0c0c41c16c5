//! Makes the probes, and compares what came of them with what was promised.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mailstack_deploy::apply::sockets;
use mailstack_prove::corpus::Lines;
use mailstack_prove::{Attempt, Expectation, Probe, Source};

use super::envelopes::{Clients, Verdict};
use super::listeners::listening;
use super::messages::{Sent, await_arrival, hand_in};
use super::report::ProbeResult;
use super::world::World;

/// The probes of a world.
pub(super) struct Judge<'a> {
    world: &'a World,
    clients: Clients,
}

/// Whether a probe ended as it must, and what was seen.
pub(super) struct Seen {
    pub(super) passed: bool,
    pub(super) evidence: Vec<String>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        Self { world, clients: Clients::default() }
    }

    /// Makes every probe. Messages are handed in first, and looked for last.
    pub(super) fn judge(mut self) -> Vec<ProbeResult> {
        let world = self.world;
        let probes = &world.plan.probes;
        let sent: Vec<Option<Sent>> =
            probes.iter().enumerate().map(|(at, probe)| hand_in(world, at, probe)).collect();
        let begin = Instant::now();
        let at_once: Vec<Option<Seen>> = probes.iter().map(|probe| self.at_once(probe)).collect();
        let seen =
            sent.into_iter().zip(at_once).zip(probes).map(|((sent, seen), probe)| match (sent, seen) {
                (_, Some(seen)) => seen,
                (Some(sent), None) => await_arrival(world, sent, probe, begin),
                (None, None) => Seen { passed: false, evidence: vec!["was not tried".to_owned()] },
            });
        seen.zip(probes).map(|(seen, probe)| result(probe, seen)).collect()
    }

    /// What can be said without waiting for mail.
    fn at_once(&mut self, probe: &Probe) -> Option<Seen> {
        match (&probe.attempt, &probe.expect, probe.source) {
            (Attempt::Listeners, Expectation::ListensOn(_), _) => Some(self.listeners()),
            (Attempt::Envelope(lines), expect, Source::Untrusted(source) | Source::Trusted(source)) => {
                Some(self.envelope(source, lines, expect))
            }
            _ => None,
        }
    }

    fn listeners(&self) -> Seen {
        let plan = &self.world.plan;
        let promised: BTreeSet<SocketAddr> = sockets(&self.world.promised)
            .into_iter()
            .filter(|at| plan.sink_v6.is_some() || at.is_ipv4())
            .collect();
        match self.world.host.within(listening) {
            Ok(mut found) => {
                found.retain(|address| !plan.sinks_beside.contains(address));
                let listed: Vec<String> = found.iter().map(SocketAddr::to_string).collect();
                let text = if listed.is_empty() { "nowhere".to_owned() } else { listed.join(" ") };
                Seen { passed: found == promised, evidence: vec![format!("listens on: {text}")] }
            }
            Err(error) => Seen { passed: false, evidence: vec![error.to_string()] },
        }
    }

    fn envelope(&mut self, source: IpAddr, lines: &Lines, expect: &Expectation) -> Seen {
        let Some(target) = self.world.plan.target(&self.world.promised, source) else {
            return Seen {
                passed: false,
                evidence: vec!["no listener can be reached from there".to_owned()],
            };
        };
        let ended = self.clients.attempt(source, target, lines);
        let wanted = match expect {
            Expectation::Accepted => Verdict::Accepted,
            _ => Verdict::Refused,
        };
        Seen { passed: ended.verdict == wanted, evidence: ended.said }
    }
}

fn result(probe: &Probe, seen: Seen) -> ProbeResult {
    let promise = serde_json::to_value(probe.promise).ok();
    ProbeResult {
        promise: promise.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned(),
        probe: probe.to_string(),
        expected: probe.expect.to_string(),
        passed: seen.passed,
        evidence: seen.evidence,
    }
}
