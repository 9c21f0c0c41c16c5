//! Messages that a program of the candidate's host hands in, and where they arrive.

use std::collections::BTreeSet;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use mailstack_mta::host::unix;
use mailstack_policy::{Address, Here, ReversePath, rewrite_header};
use mailstack_prove::corpus::Lines;
use mailstack_prove::{Attempt, Expectation, NextHopAnswer, Probe};

use super::arrivals::{Arrival, in_mailboxes};
use super::dialogue::{Dialogue, PATIENCE};
use super::judge::Seen;
use super::scratch::stand_in;
use super::sendmail;
use super::world::World;

/// How long a message may be on its way.
const DELIVERY: Duration = Duration::from_secs(6);
/// Between two looks at what arrived.
const LOOK: Duration = Duration::from_millis(5);

/// A message that was handed in, and is on its way.
pub(super) struct Sent {
    mark: String,
    said: Vec<String>,
    taken: bool,
}

/// Hands the message of a probe in; None: it has none.
pub(super) fn hand_in(world: &World, at: usize, probe: &Probe) -> Option<Sent> {
    let Attempt::Message { lines, .. } = &probe.attempt else { return None };
    let mark = format!("mailstack-proof-{at}");
    let mut said = Vec::new();
    let taken = submit(world, lines, &mark, &mut said);
    said.extend(taken.as_ref().err().map(io::Error::to_string));
    Some(Sent { mark, said, taken: taken.unwrap_or(false) })
}

/// As a program of the host does. Returns whether the message was taken.
fn submit(world: &World, lines: &Lines, mark: &str, said: &mut Vec<String>) -> io::Result<bool> {
    let message = message(world, mark);
    if let Some(sendmail) = &world.config.sendmail {
        return sendmail::submit(sendmail, &world.host, lines, &message, said);
    }
    let stream = unix::connect(&world.root.path(&world.config.paths.submission_socket))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let opened = Dialogue::open(stream, "localhost")?;
    let mut dialogue = opened.map_err(|reply| io::Error::other(reply.to_string()))?;
    let mut taken = true;
    for line in [&lines.mail, &lines.rcpt, "DATA"] {
        taken = taken && dialogue.say(line)?.code() < 400;
    }
    taken = taken && dialogue.send(&message)?.is_positive();
    said.extend(dialogue.take_said());
    Ok(taken)
}

fn message(world: &World, mark: &str) -> String {
    let people = people(world);
    format!("{people}Message-ID: <{mark}@proof.example>\r\nSubject: {mark}\r\n\r\nA proof.\r\n")
}

/// The fields that a configuration may rewrite, as programs write them: with the host's own name, and bare.
fn people(world: &World) -> String {
    format!("From: root@{}\r\nTo: root\r\n", world.hostname)
}

/// The same as the promised rules rewrite them.
fn promised_people(world: &World) -> Vec<String> {
    let addresses: Vec<_> = world.plan.host.iter().copied().collect();
    let here = Here::new(&world.hostname, &addresses);
    let written = people(world);
    let rewritten = rewrite_header(&world.promised.rules, here, written.as_bytes());
    String::from_utf8_lossy(&rewritten).lines().map(str::to_owned).collect()
}

/// Waits until the message is everywhere that it must be, or is somewhere that it must not be.
pub(super) fn await_arrival(world: &World, sent: Sent, probe: &Probe, begin: Instant) -> Seen {
    let Some(wanted) = Wanted::of(world, probe).filter(|_| sent.taken) else {
        return Seen { passed: false, evidence: sent.said };
    };
    loop {
        let arrived = arrived(world, &sent.mark);
        let too_late = begin.elapsed() > DELIVERY;
        if let Some(passed) = wanted.compare(&arrived).or_else(|| too_late.then_some(false)) {
            let mut evidence = sent.said;
            evidence.extend(arrived.iter().flat_map(|arrival| wanted.describe(arrival)));
            return Seen { passed, evidence };
        }
        thread::sleep(LOOK);
    }
}

fn arrived(world: &World, mark: &str) -> Vec<Arrival> {
    let mut all = world.arrivals.all();
    if let Some(mailboxes) = &stand_in(&world.config) {
        let written_by = world.config.sendmail.as_ref().map(|_| &world.hostname);
        all.extend(in_mailboxes(&world.root, mailboxes, written_by));
    }
    all.retain(|arrival| arrival.bears(mark));
    all
}

/// What must arrive.
struct Wanted<'a> {
    sender: &'a ReversePath,
    recipients: BTreeSet<String>,
    /// Header fields, whole; none where what arrives is a notice about the message.
    fields: Vec<String>,
}

impl<'a> Wanted<'a> {
    fn of(world: &World, probe: &'a Probe) -> Option<Self> {
        let Expectation::Leaves { sender, recipients } = &probe.expect else { return None };
        let itself = matches!(probe.attempt, Attempt::Message { next_hop: NextHopAnswer::Takes, .. });
        let fields = if itself { promised_people(world) } else { Vec::new() };
        Some(Self { sender, recipients: recipients.iter().map(ToString::to_string).collect(), fields })
    }

    /// Whether all that must arrive has, and nothing else; None where it still may.
    fn compare(&self, arrived: &[Arrival]) -> Option<bool> {
        if self.recipients.is_empty() {
            return Some(false); // nobody would ever see it
        }
        let found: BTreeSet<String> =
            arrived.iter().flat_map(|arrival| &arrival.recipients).map(Address::to_string).collect();
        let as_promised = |arrival: &Arrival| arrival.sender == *self.sender && self.has_fields(arrival);
        if !arrived.iter().all(as_promised) || !found.is_subset(&self.recipients) {
            return Some(false);
        }
        (found == self.recipients).then_some(true)
    }

    fn has_fields(&self, arrival: &Arrival) -> bool {
        let header = arrival.header();
        self.fields.iter().all(|field| header.contains(field))
    }

    fn describe(&self, arrival: &Arrival) -> Vec<String> {
        let mut lines = vec![arrival.to_string()];
        if !self.has_fields(arrival) {
            let of_people = |line: &String| line.starts_with("From:") || line.starts_with("To:");
            lines.extend(arrival.header().into_iter().filter(of_people).map(|line| format!("with {line}")));
            lines.extend(self.fields.iter().map(|field| format!("must be {field}")));
        }
        lines
    }
}
