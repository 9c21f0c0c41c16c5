//! A topology file, proven by policy alone: its hosts and zones as a fleet, what is wrong with it, and its steps.
//!
//! Nothing runs. Owns the reading of the file and of those that it names, and the places that findings stand at.

mod read;
mod report;
mod steps;

use std::path::Path;

pub use read::{Spot, is_topology};
pub use report::Report;

/// Checks a topology.
pub fn check(file: &Path, bytes: &[u8]) -> Report {
    let topology = match read::read(file, bytes) {
        Ok(topology) => topology,
        Err(faults) => return Report::of_faults(file, faults),
    };
    let findings = mailstack_prove::fleet::fleet_findings(&topology.fleet);
    let findings = findings.into_iter().map(|finding| report::of_finding(&topology, finding));
    let unmet = steps::unmet(&topology).into_iter().map(|unmet| report::of_unmet(&topology, unmet));
    let count = (steps::followed(&topology.written), topology.written.step.len());
    Report::new(file, topology.fleet.hosts.len(), count, findings.chain(unmet).collect())
}
