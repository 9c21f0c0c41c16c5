//! What is said of a topology: each finding with the lines of both hosts, and what to change.

use std::path::{Path, PathBuf};

use annotate_snippets::Level;
use mailstack_prove::Finding;
use mailstack_prove::fleet::{Answer, End, FleetFinding, Lost, Stuck};
use mailstack_schema::spans::child;
use serde::Serialize;

use super::read::{Spot, Topology};
use super::steps::Unmet;
use crate::declaration::Invalid;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sources::Place;
use crate::words::{self, FaultReport, Words};

/// All that is said of a topology.
#[derive(Serialize)]
pub struct Report {
    file: PathBuf,
    hosts: usize,
    /// Steps that policy can follow, and all of them.
    #[serde(skip)]
    steps: (usize, usize),
    /// What makes it no topology.
    faults: Vec<FaultReport>,
    /// What is wrong with the fleet, and what its steps expect in vain.
    findings: Vec<Found>,
    #[serde(skip)]
    rendered: Vec<String>,
    #[serde(skip)]
    exit: Exit,
}

/// One finding.
#[derive(Serialize)]
pub struct Found {
    message: String,
    places: Vec<At>,
    notes: Vec<String>,
    help: Vec<String>,
    /// None: an expectation of a step.
    #[serde(flatten)]
    finding: Option<FleetFinding>,
    #[serde(skip)]
    rendered: String,
}

#[derive(Serialize)]
struct At {
    key: String,
    #[serde(flatten)]
    place: Place,
}

impl Report {
    /// The report of a topology that was read.
    pub fn new(file: &Path, hosts: usize, steps: (usize, usize), findings: Vec<Found>) -> Self {
        let exit = if findings.is_empty() { Exit::Done } else { Exit::Declaration };
        let rendered = findings.iter().map(|found| found.rendered.clone()).collect();
        Self { file: file.to_owned(), hosts, steps, faults: Vec::new(), findings, rendered, exit }
    }

    /// The report of files with faults.
    pub fn of_faults(file: &Path, invalid: Vec<Invalid>) -> Self {
        let faults = invalid.iter().flat_map(words::reports).collect();
        let (mut rendered, mut exit) = (Vec::new(), Exit::Declaration);
        for one in invalid {
            let (text, code) = words::failure(&Failure::from(one));
            rendered.push(text);
            exit = exit.max(code);
        }
        Self { file: file.to_owned(), hosts: 0, steps: (0, 0), faults, findings: Vec::new(), rendered, exit }
    }

    /// Each finding as text.
    pub fn rendered(&self) -> impl Iterator<Item = &str> {
        self.rendered.iter().map(String::as_str)
    }

    /// The last line.
    pub fn sum(&self) -> String {
        let file = self.file.display();
        match (self.exit, self.findings.len()) {
            (Exit::Done, _) if self.steps.0 < self.steps.1 => format!(
                "{file}: well ({} hosts; {} of {} steps followed: the next needs hosts that run)",
                self.hosts, self.steps.0, self.steps.1
            ),
            (Exit::Done, _) => format!("{file}: well ({} hosts)", self.hosts),
            (_, 0) => format!("{file}: not read"),
            (_, 1) => format!("{file}: 1 finding ({} hosts)", self.hosts),
            (_, count) => format!("{file}: {count} findings ({} hosts)", self.hosts),
        }
    }

    /// How a command ends that checked it.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

/// Something found, as it is told.
fn found(words: Words, spots: &[Spot<'_>], finding: Option<FleetFinding>) -> Found {
    let place = |spot: &Spot<'_>| At { key: spot.key.clone(), place: spot.sources.place(&spot.span) };
    let rendered = words::at_places(&words, Level::ERROR, spots);
    let Words { title, notes, help } = words;
    Found { message: title, places: spots.iter().map(place).collect(), notes, help, finding, rendered }
}

/// An expectation of a step.
pub fn of_unmet(topology: &Topology, unmet: Unmet) -> Found {
    let words = Words::new(format!("not so: {}", unmet.expected)).note(format!("instead {}", unmet.instead));
    let mut spots: Vec<Spot<'_>> = topology.at(&unmet.path).into_iter().collect();
    spots.extend(unmet.host.iter().map(|host| topology.spot(host, unmet.keys)));
    found(words.help("change the expectation, or the host that decides"), &spots, None)
}

/// Something wrong between hosts.
pub fn of_finding(topology: &Topology, finding: FleetFinding) -> Found {
    let spot = |host: &str, keys: &[&str]| topology.spot(host, keys);
    let (words, spots) = match &finding {
        FleetFinding::MailHostUnreachable { host, index, stuck } => {
            let words = Words::new(format!("mail host of {host}: {}", self::stuck(stuck)));
            let (other, help) = unreachable(stuck);
            let spots =
                mail_host(topology, host, *index).chain(other.map(|other| spot(other, &["listen", "role"])));
            (words.help(help), spots.collect())
        }
        FleetFinding::MailHostRefuses { host, index, other, client } => {
            let words = Words::new(format!("mail host of {host}: {other} does not relay for {client}"));
            let there = spot(other, &["relay.networks", "relay", "role"]);
            let help = format!("let relay.networks of {other} hold {client}");
            (words.help(help), mail_host(topology, host, *index).chain([there]).collect())
        }
        FleetFinding::BlackHole { host, user, address, bounces, replies, lost } => {
            let what = match (bounces, replies) {
                (true, true) => "bounces and replies",
                (true, false) => "bounces",
                _ => "replies",
            };
            let (other, why, help) = self::lost(lost);
            let words = Words::new(format!("black hole: {what} for {user} of {host} go to {address}: {why}"));
            let here = spot(host, &["masquerade.domain", "masquerade", "hostname", "role"]);
            let there = (other != *host && !other.is_empty())
                .then(|| spot(&other, &["local_domains", "mailertable", "listen", "role"]));
            (words.help(help), std::iter::once(here).chain(there).collect())
        }
        FleetFinding::Loop { host, other, path, domain } => {
            let words =
                Words::new(format!("loop: mail for {domain} goes {} and back to {other}", path.join(", ")));
            let entry = child("mailertable", domain.as_str());
            let keys = [entry.as_str(), "mailertable", "mail_host", "role"];
            let last = path.last().filter(|last| *last != other).unwrap_or(host);
            let spots = vec![spot(other, &keys), spot(last, &keys)];
            (
                words.help(format!("let {domain} end at one of them: local_domains, or another next hop")),
                spots,
            )
        }
        FleetFinding::OpenRelay { host, what } => {
            let keys: &[&str] = match what {
                Finding::TrustsEveryone { .. } => &["relay.networks", "relay"],
                _ => &["relay.domains", "relay", "mailertable"],
            };
            let words = Words::new(format!("{host}: {what}"));
            (words.help("narrow relay.networks and relay.domains to what is yours"), vec![spot(host, keys)])
        }
        FleetFinding::UnknownSenderDomain { host, domain } => {
            let words = Words::new(format!("senders of {host} appear in {domain}, which no zone knows"));
            let words = words.note("others refuse such senders: 553 5.1.8");
            let help = format!("add `@ MX 10 …` to a zone of {domain}, or use a domain that receives mail");
            (words.help(help), vec![spot(host, &["masquerade.domain", "masquerade"])])
        }
        FleetFinding::MasqueradesDiffer { host, other, domain, becomes } => {
            let title = format!("senders of {host} appear in {domain}, and {other} makes {becomes} of that");
            let spots = vec![
                spot(host, &["masquerade.domain", "masquerade"]),
                spot(other, &["masquerade.domain", "masquerade"]),
            ];
            (Words::new(title).help("let both say the same domain, or one of them none"), spots)
        }
    };
    let spots: Vec<Spot<'_>> = spots;
    found(words, &spots, Some(finding))
}

fn mail_host<'t>(
    topology: &'t Topology,
    host: &str,
    index: usize,
) -> impl Iterator<Item = Spot<'t>> + use<'t> {
    let element = format!("mail_host[{index}]");
    std::iter::once(topology.spot(host, &[&element, "mail_host", "role"]))
}

/// Why a host cannot be reached, in words.
pub fn stuck(stuck: &Stuck) -> String {
    match stuck {
        Stuck::NoName { name } => format!("no zone has an address for {name}"),
        Stuck::NoHost { at } => format!("no host has the address {}", at.ip()),
        Stuck::NoNetwork { host, at } => format!("{host} ({}) is in no network of it", at.ip()),
        Stuck::Deaf { host, at } => format!("{host} does not listen at {at}"),
        Stuck::Down { host } => format!("{host} is down"),
    }
}

/// The other host, and what to do.
fn unreachable(stuck: &Stuck) -> (Option<&String>, String) {
    match stuck {
        Stuck::NoName { name } => (None, format!("add an address of {name} to a zone, or name another host")),
        Stuck::NoHost { .. } => (None, "correct the address in the zone, or name another host".to_owned()),
        Stuck::NoNetwork { host, .. } => (Some(host), format!("give {host} an address in a network of both")),
        Stuck::Deaf { host, at } => (Some(host), format!("let {host} listen at {at}, or name another host")),
        Stuck::Down { host } => (Some(host), format!("bring {host} up")),
    }
}

/// The host where mail is lost, why, and what to do.
fn lost(lost: &Lost) -> (String, String, String) {
    match lost {
        Lost::Waits { at, stuck } => {
            let why = format!("it waits at {at}: {}", self::stuck(stuck));
            let other = unreachable(stuck).0.unwrap_or(at).clone();
            (
                other,
                why,
                "masquerade as a domain that receives mail, or let its mail exchanger listen".to_owned(),
            )
        }
        Lost::Refused { by, code } => {
            let help =
                format!("let {by} know the address: a user, an alias, or a mailertable entry to who does");
            (by.clone(), format!("{by} refuses it with {code}"), help)
        }
        Lost::Loops { at } => {
            (at.clone(), format!("it comes back to {at}"), "let the domain end somewhere".to_owned())
        }
    }
}

/// What becomes of a message, in words.
pub fn fates(ends: &[End]) -> String {
    let one = |end: &End| {
        let from = &end.from;
        match &end.answer {
            Answer::Delivered(at) => format!("it is delivered to {} on {} from {from}", at.user, at.host),
            Answer::Refused { by, code, enhanced, to, .. } => {
                let enhanced = enhanced.as_deref().unwrap_or_default();
                format!("{by} refuses <{to}> with {code} {enhanced}")
            }
            Answer::Waits(wait) => {
                let at = end.path.last().map_or("", String::as_str);
                format!("it waits at {at} for <{}>: {}", wait.to, stuck(&wait.stuck))
            }
            Answer::Loops { host, to } => format!("mail for <{to}> comes back to {host}"),
        }
    };
    if ends.is_empty() {
        "nothing is sent".to_owned()
    } else {
        ends.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}
