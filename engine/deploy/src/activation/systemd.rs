//! The MTA as units of systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ActivationError, Activator, Running};
use crate::generation::disk;

/// Where units of the administrator lie.
const UNITS: &str = "/etc/systemd/system";
/// The unit of the MTA.
const SERVICE: &str = "mailstack.service";
/// The users that a generation needs, within it.
const SYSUSERS: &str = "etc/sysusers.d/mailstack.conf";

/// Whether systemd is this host's init.
pub fn is_running() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Units that are links into the generation that is live.
#[derive(Clone, Debug)]
pub struct Systemd {
    /// The link to the generation that is live.
    pub current: PathBuf,
}

impl Activator for Systemd {
    fn make_users(&self, generation: Option<&Path>) -> Result<bool, ActivationError> {
        if let Some(generation) = generation {
            run("systemd-sysusers", &[&generation.join(SYSUSERS).display().to_string()])?;
        }
        Ok(true)
    }

    fn running(&self) -> Result<Option<Running>, ActivationError> {
        let shown = systemctl(&["show", "--property=MainPID", "--value", SERVICE])?;
        Ok(shown.trim().parse().ok().filter(|pid| *pid != 0).map(|pid| Running { pid }))
    }

    fn stop(&self) -> Result<(), ActivationError> {
        let linked = self.linked()?;
        if linked.is_empty() {
            return Ok(());
        }
        let units: Vec<&str> = linked.iter().map(String::as_str).collect();
        systemctl(&[&["disable", "--now"], units.as_slice()].concat()).map(drop)
    }

    fn start(&self) -> Result<Running, ActivationError> {
        let units = self.link()?;
        systemctl(&["daemon-reload"])?;
        let started: Vec<&str> =
            units.iter().filter(|unit| self.is_installed(unit)).map(String::as_str).collect();
        systemctl(&[&["enable"], started.as_slice()].concat())?;
        systemctl(&[&["restart"], started.as_slice()].concat())?;
        Ok(self.running()?.unwrap_or(Running { pid: 0 }))
    }
}

impl Systemd {
    /// Links each unit of the live generation, and removes links to units that it no longer has.
    fn link(&self) -> Result<Vec<String>, ActivationError> {
        let from = self.current.join(UNITS.trim_start_matches('/'));
        let wanted = names(&from);
        for gone in self.linked()?.iter().filter(|unit| !wanted.contains(unit)) {
            systemctl(&["disable", "--now", gone])?;
            disk::remove(&Path::new(UNITS).join(gone))?;
        }
        for unit in &wanted {
            let link = Path::new(UNITS).join(unit);
            let target = from.join(unit);
            if fs::read_link(&link).ok().as_ref() != Some(&target) {
                disk::point(&link, &target)?;
            }
        }
        Ok(wanted)
    }

    /// Whether a unit is started with the host; others are started by one that is.
    fn is_installed(&self, unit: &str) -> bool {
        let text = fs::read_to_string(Path::new(UNITS).join(unit)).unwrap_or_default();
        text.lines().any(|line| line == "[Install]")
    }

    /// The units that are linked now.
    fn linked(&self) -> Result<Vec<String>, ActivationError> {
        let ours = |name: &String| {
            fs::read_link(Path::new(UNITS).join(name)).is_ok_and(|target| target.starts_with(&self.current))
        };
        Ok(names(Path::new(UNITS)).into_iter().filter(ours).collect())
    }
}

/// The names in a directory, in order; none where there is no directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn systemctl(arguments: &[&str]) -> Result<String, ActivationError> {
    run("systemctl", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Result<String, ActivationError> {
    let command = format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).output();
    let output =
        output.map_err(|source| ActivationError::Process { operation: format!("run {command}"), source })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(ActivationError::Command { command, said });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
