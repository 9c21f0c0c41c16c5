//! What a run says: a line per step while it runs, and the whole as JSON, JUnit XML and a page.

pub mod html;
pub mod junit;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::evidence::Evidence;
use crate::plan::Plan;

/// What became of one topology.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// The topology's name.
    pub topology: String,
    /// What it shows.
    pub description: Option<String>,
    /// Its networks by name: the addresses of each.
    pub networks: BTreeMap<String, String>,
    /// Its hosts, in the order of their names.
    pub hosts: Vec<HostReport>,
    /// The level it ran at.
    pub level: String,
    /// Its steps, in order, as far as they ran; bringing the hosts up is the first.
    pub steps: Vec<StepReport>,
    /// What chance was drawn from, where there was any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// All of it, in seconds.
    pub seconds: f64,
}

/// One host of a topology.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HostReport {
    /// Its fully qualified name.
    pub fqdn: String,
    /// What runs there, in words.
    pub runs: String,
    /// Its addresses, each with its network.
    pub addresses: Vec<(String, String)>,
}

/// What became of one step.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// What failed; none for a step that passed.
    pub failures: Vec<String>,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it left behind.
    pub evidence: Evidence,
}

impl Report {
    /// A report of a topology at a level, without a step yet.
    pub fn of(plan: &Plan, level: &str) -> Self {
        let host = |host: &crate::backend::HostPlan| HostReport {
            fqdn: host.fqdn.clone(),
            runs: match &host.declaration {
                Some(text) => format!("{}, {:?}", role(text), host.engine).to_lowercase(),
                None => "no MTA".to_owned(),
            },
            addresses: host.addresses.iter().map(|(on, address)| (on.clone(), address.to_string())).collect(),
        };
        let networks = plan.topology.network.iter();
        Self {
            topology: plan.topology.name.clone(),
            description: plan.topology.description.clone(),
            networks: networks.map(|(name, network)| (name.clone(), network.subnet.clone())).collect(),
            hosts: plan.world.hosts.values().map(host).collect(),
            level: level.to_owned(),
            ..Self::default()
        }
    }

    /// The steps that passed and those that failed.
    pub fn counts(&self) -> (usize, usize) {
        let passed = self.steps.iter().filter(|step| step.failures.is_empty()).count();
        (passed, self.steps.len() - passed)
    }
}

/// The role that a declaration says.
fn role(text: &str) -> String {
    let table = text.parse::<toml::Table>().ok();
    let role = table.as_ref().and_then(|table| table.get("role")).and_then(toml::Value::as_str);
    role.unwrap_or("a role that is not said").to_owned()
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Says what happens, for people: on standard output, or on standard error where that is taken for JSON.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    /// Standard output is taken.
    pub aside: bool,
}

impl Voice {
    /// Says a heading for a topology.
    pub fn heading(self, name: &str, description: Option<&str>, hosts: usize) {
        let description = description.map(|text| format!(": {text}")).unwrap_or_default();
        self.say(&format!("{name}{description} ({hosts} hosts)"));
    }

    /// Shows on a terminal which step is under way, until its result takes the line.
    pub fn under_way(self, name: &str) {
        if !self.aside && io::stdout().is_terminal() {
            // Lost progress is no failure.
            let _ = write!(io::stdout(), "  ....          {name}\r").and_then(|()| io::stdout().flush());
        }
    }

    /// Says what became of a step.
    pub fn step(self, step: &StepReport) {
        let (style, word) = if step.failures.is_empty() { (GOOD, "ok") } else { (BAD, "FAIL") };
        self.say(&format!("  {style}{word:<4}{style:#} {:>6.2} s  {}", step.seconds, step.name));
        for line in step.failures.iter().flat_map(|failure| failure.lines()) {
            self.say(&format!("                 {line}"));
        }
    }

    /// Says the sum: the last line is `N passed, N failed`.
    pub fn sum(self, reports: &[Report], elapsed: Duration) {
        let counts = reports.iter().map(Report::counts);
        let (passed, failed) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        let topologies = if reports.len() == 1 { "topology" } else { "topologies" };
        self.say(&format!("{} {topologies} in {:.1} s", reports.len(), elapsed.as_secs_f64()));
        self.say(&format!("{passed} passed, {failed} failed"));
    }

    /// Says a line.
    pub fn say(self, line: &str) {
        if self.aside {
            anstream::eprintln!("{line}");
        } else {
            say(line);
        }
    }
}

/// Prints a line. Who has stopped reading, as head does, is no failure: hosts are still to be taken down.
pub fn say(line: &str) {
    let _ = writeln!(anstream::stdout(), "{line}");
}
