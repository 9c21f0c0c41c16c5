//! The static level: nothing runs but `mailstack check`, which proves a topology by the policy alone.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use mailstack_schema::topology::Level;
use serde::Deserialize;

use crate::evidence::Evidence;
use crate::plan::Plan;
use crate::report::{Report, StepReport, Voice};

/// The one report of `mailstack check --json` on a topology.
#[derive(Deserialize)]
struct Checked {
    hosts: usize,
    faults: Vec<Finding>,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    message: String,
    #[serde(default)]
    places: Vec<Place>,
    #[serde(default)]
    notes: Vec<String>,
    help: Vec<String>,
    line: Option<usize>,
}

#[derive(Deserialize)]
struct Place {
    file: String,
    line: usize,
}

impl Finding {
    /// The message, where it stands, and what to do; a line each.
    fn words(&self) -> String {
        let places = self.places.iter().map(|place| format!("  {}:{}", place.file, place.line));
        let line = self.line.map(|line| format!("  line {line}"));
        let rest = self.notes.iter().chain(&self.help).map(|text| format!("  {text}"));
        let lines = std::iter::once(self.message.clone()).chain(places).chain(line).chain(rest);
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Checks one topology.
pub fn check(mailstack: &Path, file: &Path, plan: &Plan, voice: Voice) -> io::Result<Report> {
    let started = Instant::now();
    let output = Command::new(mailstack).args(["check", "--json"]).arg(file).output()?;
    let reports: Vec<Checked> = serde_json::from_slice(&output.stdout).map_err(|error| {
        io::Error::other(format!(
            "{}: {error}: {}",
            mailstack.display(),
            String::from_utf8_lossy(&output.stderr)
        ))
    })?;
    let hosts = reports.iter().map(|report| report.hosts).sum();
    let all = reports.iter().flat_map(|report| report.faults.iter().chain(&report.findings));
    let failures: Vec<String> = all.map(Finding::words).collect();
    // Whatever it printed: what it ends with counts.
    let failures = match (failures.is_empty(), output.status.success()) {
        (true, false) => vec![String::from_utf8_lossy(&output.stderr).into_owned()],
        _ => failures,
    };
    voice.heading(&plan.topology.name, None, hosts);
    let seconds = started.elapsed().as_secs_f64();
    let all = plan.topology.step.len();
    let needs_hosts =
        |step: &mailstack_schema::topology::Step| !step.action.levels().contains(&Level::Static);
    let name = match plan.topology.step.iter().position(needs_hosts) {
        Some(at) => {
            format!("the policy of all hosts, and {at} of {all} steps: the next needs hosts that run")
        }
        None => "the policy of all hosts, and every step".to_owned(),
    };
    let step = StepReport { name, failures, seconds, evidence: Evidence::default() };
    voice.step(&step);
    Ok(Report { steps: vec![step], seconds, ..Report::of(plan, "static") })
}

/// How a run ends: 0 only where everything passed.
pub fn exit(reports: &[Report]) -> ExitCode {
    let all_passed = reports.iter().all(|report| report.counts().1 == 0);
    if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
