//! `mailstack check`: all that is wrong with declarations.

use std::path::{Path, PathBuf};

use anstream::eprintln;
use mailstack_prove::{Finding, Severity, findings};
use serde::Serialize;

use crate::declaration::Declaration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::topology;
use crate::words::{self, FaultReport};

/// What is said of one file.
#[derive(Serialize)]
struct Report {
    file: PathBuf,
    /// What makes it no declaration.
    faults: Vec<FaultReport>,
    /// What it does wrong.
    findings: Vec<Found>,
    /// What it says must become of messages and does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unmet: Vec<FaultReport>,
}

#[derive(Serialize)]
struct Found {
    severity: Severity,
    /// The file, where it is one that the declaration imports.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    /// The line, from 1, of the key that it comes from.
    line: Option<usize>,
    /// The column in characters, from 1.
    column: Option<usize>,
    key: String,
    message: String,
    help: String,
    #[serde(flatten)]
    finding: Finding,
    #[serde(skip)]
    rendered: String,
}

/// Checks files, and says all that is wrong with each.
pub fn check(files: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let mut worst = Exit::Done;
    let mut reports = Vec::new();
    for file in files {
        let (report, exit) = match topology_in(file) {
            Some(bytes) => check_topology(file, &bytes, json)?,
            None => {
                let (report, exit) = check_one(file, json)?;
                (Any::Host(report), exit)
            }
        };
        worst = worst.max(exit);
        reports.push(report);
    }
    if json { super::print_json(&reports).map(|_| worst) } else { Ok(worst) }
}

/// What is said of a file of either language.
#[derive(Serialize)]
#[serde(untagged)]
enum Any {
    Host(Report),
    Topology(topology::Report),
}

/// The octets of a file that is a topology; one that cannot be read is none.
fn topology_in(file: &Path) -> Option<Vec<u8>> {
    std::fs::read(file).ok().filter(|bytes| topology::is_topology(bytes))
}

fn check_topology(file: &Path, bytes: &[u8], json: bool) -> Result<(Any, Exit), Failure> {
    let report = topology::check(file, bytes);
    if !json {
        report.rendered().for_each(|text| eprintln!("{text}\n"));
        eprintln!("{}", report.sum());
    }
    let exit = report.exit();
    Ok((Any::Topology(report), exit))
}

fn check_one(file: &Path, json: bool) -> Result<(Report, Exit), Failure> {
    let mut report =
        Report { file: file.to_owned(), faults: Vec::new(), findings: Vec::new(), unmet: Vec::new() };
    match Declaration::read(file) {
        Ok(declaration) => {
            let all = findings(&declaration.model.runtime_config());
            report.findings = all.into_iter().map(|one| found(&declaration, one)).collect();
            if !json {
                report.findings.iter().for_each(|found| eprintln!("{}", found.rendered));
            }
            for (unmet, rendered) in words::unmet(&declaration) {
                report.unmet.push(unmet);
                if !json {
                    eprintln!("{rendered}");
                }
            }
            let is_wrong = !report.unmet.is_empty()
                || report.findings.iter().any(|found| found.severity == Severity::Error);
            let exit = if is_wrong { Exit::Declaration } else { Exit::Done };
            if !json && report.findings.is_empty() && report.unmet.is_empty() {
                eprintln!("{}: well ({})", file.display(), super::role(&declaration));
            }
            Ok((report, exit))
        }
        Err(invalid) => {
            report.faults = words::reports(&invalid);
            let (text, exit) = words::failure(&Failure::from(invalid));
            if !json || report.faults.is_empty() {
                eprintln!("{text}");
            }
            Ok((report, exit))
        }
    }
}

fn found(declaration: &Declaration, finding: Finding) -> Found {
    let (FaultReport { file, line, column, key, message, help, .. }, rendered) =
        words::finding(declaration, &finding);
    let (severity, help) = (finding.severity(), help.join("\n"));
    Found { severity, file, line, column, key, message, help, finding, rendered }
}
