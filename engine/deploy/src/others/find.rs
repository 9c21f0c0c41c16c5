//! Which other MTAs run on a host, or will with its next start.

use std::path::Path;

use super::init::{self, Process, Script};
use super::known::KNOWN;
use super::units::{self, Unit};
use crate::activation::{ActivationError, systemd_is_running};

/// What there is of an MTA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Its name.
    pub mta: &'static str,
    /// Its units, where systemd runs.
    pub units: Vec<Unit>,
    /// Its scripts, where it does not.
    pub scripts: Vec<Script>,
    /// Its processes, where systemd does not run.
    pub processes: Vec<Process>,
}

/// The other MTAs of this host, but for processes that are mailstack's. Where Sendmail is the engine, only what runs of
/// it counts: its own switches keep it from starting with the host.
pub(crate) fn find(
    root: &Path,
    ours: &[u32],
    is_engine_sendmail: bool,
) -> Result<Vec<Presence>, ActivationError> {
    if root != Path::new("/") {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for mta in KNOWN {
        let is_engine = is_engine_sendmail && mta.name == "Sendmail";
        let mut presence =
            Presence { mta: mta.name, units: Vec::new(), scripts: Vec::new(), processes: Vec::new() };
        if systemd_is_running() {
            presence.units = units::find(mta)?;
            presence.units.retain(|unit| !is_engine || unit.running);
        } else {
            presence.processes = init::processes(mta, ours);
            let running = !presence.processes.is_empty();
            presence.scripts = init::scripts(mta, running);
            presence.scripts.retain(|_| !is_engine || running);
        }
        let is_there =
            !presence.units.is_empty() || !presence.scripts.is_empty() || !presence.processes.is_empty();
        if is_there {
            found.push(presence);
        }
    }
    Ok(found)
}

/// Whether a process of this name is of an MTA that is known.
pub(crate) fn is_known_process(name: &str) -> bool {
    KNOWN.iter().any(|mta| mta.processes.contains(&name))
}
