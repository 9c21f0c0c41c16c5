//! What was measured, and how it is told: progress, text, Markdown, JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use serde::Serialize;

use super::BenchArguments;
use super::lab::Lab;
use super::peers::Peer;
use super::usage::Group;

/// One run through one peer.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    /// Messages sent.
    pub messages: u32,
    /// Until the sink had counted all of them.
    pub seconds: f64,
    /// Until smtp-source had got all its 250s.
    pub accepted: f64,
    /// Seconds of the peer's processor time.
    pub cpu: Option<f64>,
    /// Messages that did not come.
    pub missing: u64,
}

impl Run {
    /// Messages a second, end to end.
    pub fn rate(&self) -> f64 {
        f64::from(self.messages) / self.seconds
    }

    fn cpu_ms(&self) -> Option<f64> {
        self.cpu.map(|seconds| seconds * 1000.0 / f64::from(self.messages))
    }

    /// Milliseconds that a session waits for a message to be accepted, its commands included.
    fn accept_ms(&self) -> f64 {
        self.accepted * 1000.0 / f64::from(self.messages)
    }
}

/// One thing that was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Measured {
    /// A round of a cell.
    Round {
        /// Which.
        round: u32,
        /// What came out.
        run: Run,
    },
    /// What is only seen with a tracer and many looks.
    Observed {
        /// Calls of fsync and its like.
        syncs_per_message: f64,
        /// The most octets of proportional set size.
        peak_memory: u64,
        /// Messages that did not come.
        missing: u64,
    },
    /// `sendmail -t`.
    Submission {
        /// Which round.
        round: u32,
        /// Of one call.
        milliseconds: f64,
        /// The loop with `true` in the place of sendmail.
        empty: bool,
        /// Messages that did not come.
        missing: u64,
    },
    /// Proportional set size.
    Memory {
        /// In octets.
        octets: u64,
    },
    /// A backlog.
    Backlog {
        /// Messages in it.
        messages: u32,
        /// Seconds until all were taken in.
        filled: f64,
        /// Seconds to list them.
        list: f64,
        /// Seconds from the start on that queue to the greeting.
        restart: f64,
        /// Messages a second from the flush to the sink.
        flush_rate: f64,
        /// Octets of memory after the restart.
        memory: u64,
        /// Messages that did not come.
        missing: u64,
    },
}

impl Measured {
    fn missing(&self) -> u64 {
        match self {
            Measured::Round { run, .. } => run.missing,
            Measured::Observed { missing, .. }
            | Measured::Submission { missing, .. }
            | Measured::Backlog { missing, .. } => *missing,
            Measured::Memory { .. } => 0,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct Entry {
    cell: String,
    peer: Option<Peer>,
    #[serde(flatten)]
    measured: Measured,
}

#[derive(Clone, Debug, Serialize)]
struct Contestant {
    peer: Peer,
    version: String,
    sync_policy: &'static str,
}

/// Everything that was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    machine: String,
    cpu_measured_by: &'static str,
    peers: Vec<Contestant>,
    entries: Vec<Entry>,
}

/// The numbers of one peer in one cell.
#[derive(Default)]
struct Column {
    rates: Vec<f64>,
    accepts: Vec<f64>,
    cpu: Vec<f64>,
    syncs: Option<f64>,
    memory: Option<u64>,
}

impl Report {
    /// An empty report of this machine.
    pub fn new(lab: &Lab, arguments: &BenchArguments) -> Self {
        let wanted = Peer::ALL.iter().copied().filter(|peer| arguments.wants_peer(*peer));
        let peers = wanted.map(|peer| Contestant {
            peer,
            version: peer.version(lab.roots()),
            sync_policy: peer.sync_policy(),
        });
        let peers = peers.collect();
        let cpu_measured_by = Group::new("mailstack-bench-probe").method();
        Self { machine: machine(lab), cpu_measured_by, peers, entries: Vec::new() }
    }

    /// Adds what was measured, and tells of it.
    pub fn add(&mut self, cell: &str, peer: Option<Peer>, measured: Measured) {
        eprintln!("{cell}: {}: {}", peer.map_or("no MTA", Peer::name), told(&measured));
        self.entries.push(Entry { cell: cell.to_owned(), peer, measured });
    }

    /// Whether every message arrived.
    pub fn is_complete(&self) -> bool {
        let missing = self.entries.iter().filter(|entry| entry.measured.missing() > 0);
        missing.map(|entry| eprintln!("{}: messages are missing in the sink", entry.cell)).count() == 0
    }

    /// As lines for a terminal.
    pub fn text(&self) -> String {
        self.markdown()
    }

    /// As Markdown: the machine, the peers, a table for each kind of cell.
    pub fn markdown(&self) -> String {
        let mut out = format!("{}; processor time by {}.\n\n", self.machine, self.cpu_measured_by);
        out.push_str("| peer | version | sync policy |\n|---|---|---|\n");
        for peer in &self.peers {
            let _ = writeln!(out, "| {} | {} | {} |", peer.peer.name(), peer.version, peer.sync_policy);
        }
        self.relays(&mut out);
        self.submissions(&mut out);
        self.idle(&mut out);
        self.backlogs(&mut out);
        out
    }

    fn cells(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for entry in &self.entries {
            if !names.contains(&entry.cell) {
                names.push(entry.cell.clone());
            }
        }
        names
    }

    fn columns(&self, cell: &str) -> Vec<(Option<Peer>, Column)> {
        let mut columns: Vec<(Option<Peer>, Column)> = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.cell == cell) {
            if !columns.iter().any(|(peer, _)| *peer == entry.peer) {
                columns.push((entry.peer, Column::default()));
            }
            let Some((_, column)) = columns.iter_mut().find(|(peer, _)| *peer == entry.peer) else {
                continue;
            };
            match &entry.measured {
                Measured::Round { run, .. } => {
                    column.rates.push(run.rate());
                    column.accepts.push(run.accept_ms());
                    column.cpu.extend(run.cpu_ms());
                }
                Measured::Observed { syncs_per_message, peak_memory, .. } => {
                    column.syncs = Some(*syncs_per_message);
                    column.memory = Some(*peak_memory);
                }
                _ => {}
            }
        }
        columns.retain(|(_, column)| !column.rates.is_empty());
        columns
    }

    fn relays(&self, out: &mut String) {
        let header = "| peer | end to end/s (range) | of Postfix | accepted, ms each | CPU ms/message | of Postfix \
                      | syncs/message | peak PSS MB |\n|---|---|---|---|---|---|---|---|\n";
        for cell in self.cells() {
            let columns = self.columns(&cell);
            if columns.is_empty() {
                continue;
            }
            let _ = write!(out, "\n**{cell}**\n\n{header}");
            let postfix =
                columns.iter().find(|(peer, _)| *peer == Some(Peer::Postfix)).map(|(_, column)| column);
            for (peer, column) in &columns {
                let _ = writeln!(out, "{}", line(*peer, column, postfix));
            }
        }
    }

    fn submissions(&self, out: &mut String) {
        let mut times: BTreeMap<Peer, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
        for entry in &self.entries {
            if let (Some(peer), Measured::Submission { milliseconds, empty, .. }) =
                (entry.peer, &entry.measured)
            {
                let (calls, loops) = times.entry(peer).or_default();
                if *empty { loops } else { calls }.push(*milliseconds);
            }
        }
        if times.is_empty() {
            return;
        }
        out.push_str(
            "\n**`sendmail -t`**\n\n| peer | ms a call (range) | the empty loop, ms |\n|---|---|---|\n",
        );
        for (peer, (calls, loops)) in times {
            let _ = writeln!(out, "| {} | {} | {:.1} |", peer.name(), spread(&calls, 1), median(&loops));
        }
    }

    fn idle(&self, out: &mut String) {
        let idle = self.entries.iter().filter_map(|entry| match (entry.peer, &entry.measured) {
            (Some(peer), Measured::Memory { octets }) => Some((&entry.cell, peer, *octets)),
            _ => None,
        });
        let mut lines = idle
            .map(|(cell, peer, octets)| format!("| {} | {cell} | {} |\n", peer.name(), megabytes(octets)));
        if let Some(first) = lines.next() {
            let _ = write!(out, "\n**Idle**\n\n| peer | as | PSS MB |\n|---|---|---|\n{first}");
            lines.for_each(|line| out.push_str(&line));
        }
    }

    fn backlogs(&self, out: &mut String) {
        let mut begun = false;
        for entry in &self.entries {
            let (Some(peer), Measured::Backlog { messages, filled, list, restart, flush_rate, memory, .. }) =
                (entry.peer, &entry.measured)
            else {
                continue;
            };
            if !std::mem::replace(&mut begun, true) {
                out.push_str("\n**Backlog, 4 KB, next hop down**\n\n| peer | messages | taken in/s | list, s | restart, s | flush/s | PSS MB after restart |\n|---|---|---|---|---|---|---|\n");
            }
            let taken = f64::from(*messages) / filled;
            let _ = writeln!(
                out,
                "| {} | {messages} | {taken:.0} | {list:.2} | {restart:.2} | {flush_rate:.0} | {} |",
                peer.name(),
                megabytes(*memory)
            );
        }
    }
}

fn line(peer: Option<Peer>, column: &Column, postfix: Option<&Column>) -> String {
    let ratio = |own: &[f64], of: fn(&Column) -> &Vec<f64>, digits: usize| match postfix {
        Some(postfix) if !own.is_empty() && !of(postfix).is_empty() => {
            format!("{:.digits$}x", median(own) / median(of(postfix)))
        }
        _ => String::new(),
    };
    let cpu = if column.cpu.is_empty() { String::new() } else { format!("{:.3}", median(&column.cpu)) };
    format!(
        "| {} | {} | {} | {:.2} | {cpu} | {} | {} | {} |",
        peer.map_or("no MTA", Peer::name),
        spread(&column.rates, 0),
        ratio(&column.rates, |postfix| &postfix.rates, 1),
        median(&column.accepts),
        ratio(&column.cpu, |postfix| &postfix.cpu, 2),
        column.syncs.map(|syncs| format!("{syncs:.2}")).unwrap_or_default(),
        column.memory.map(megabytes).unwrap_or_default(),
    )
}

fn told(measured: &Measured) -> String {
    match measured {
        Measured::Round { round, run } => {
            let cpu = run.cpu_ms().map(|cpu| format!(", CPU {cpu:.3} ms each")).unwrap_or_default();
            let missing = if run.missing > 0 { format!(", {} MISSING", run.missing) } else { String::new() };
            format!("round {}: {} messages, {:.0}/s{cpu}{missing}", round + 1, run.messages, run.rate())
        }
        Measured::Observed { syncs_per_message, peak_memory, .. } => {
            format!("{syncs_per_message:.2} syncs a message, at most {} MB", megabytes(*peak_memory))
        }
        Measured::Submission { milliseconds, empty, .. } => {
            format!("{milliseconds:.2} ms a call{}", if *empty { " of true" } else { "" })
        }
        Measured::Memory { octets } => format!("{} MB", megabytes(*octets)),
        Measured::Backlog { messages, list, restart, flush_rate, .. } => {
            format!(
                "{messages} listed in {list:.2} s, restarted in {restart:.2} s, flushed at {flush_rate:.0}/s"
            )
        }
    }
}

fn megabytes(octets: u64) -> String {
    format!("{:.1}", octets as f64 / 1_000_000.0)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.get((sorted.len().max(1) - 1) / 2), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => (low + high) / 2.0,
        _ => f64::NAN,
    }
}

fn spread(values: &[f64], digits: usize) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    format!("{:.digits$} ({least:.digits$}-{most:.digits$})", median(values))
}

/// The machine in a line: processors, memory, kernel, the disk below the roots.
fn machine(lab: &Lab) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let gigabytes = memory.trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) / 1_000_000.0;
    let kernel = read("/proc/sys/kernel/osrelease");
    let mounts = read("/proc/mounts");
    let below = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let (device, point, kind) = (*fields.first()?, *fields.get(1)?, *fields.get(2)?);
        lab.roots().starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    };
    let disk = mounts.lines().filter_map(below).max_by_key(|(length, _)| *length).map(|(_, disk)| disk);
    format!(
        "{cpus} processors ({model}), {gigabytes:.0} GB, Linux {}, {}",
        kernel.trim(),
        disk.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(spread(&[10.0, 30.0, 20.0], 0), "20 (10-30)");
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_line_compares_with_postfix() {
        let column = |rates: &[f64], cpu: &[f64]| Column {
            rates: rates.to_vec(),
            accepts: vec![1.0],
            cpu: cpu.to_vec(),
            syncs: Some(0.1),
            memory: Some(12_300_000),
        };
        let (own, postfix) = (column(&[4000.0], &[0.2]), column(&[500.0], &[2.0]));
        let line = line(Some(Peer::Mailstack), &own, Some(&postfix));
        assert_eq!(line, "| mailstack | 4000 (4000-4000) | 8.0x | 1.00 | 0.200 | 0.10x | 0.10 | 12.3 |");
    }
}
