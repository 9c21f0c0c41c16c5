//! The MTA as units of systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{ActivationError, Activator, Running};
use crate::generation::disk::{self, DiskError};

/// Where units of the administrator lie.
const UNITS: &str = "/etc/systemd/system";
/// What systemd's tools read as the host boots.
const AT_BOOT: &[&str] = &["/etc/sysusers.d", "/etc/tmpfiles.d"];
/// The unit of the MTA.
const SERVICE: &str = "mailstack.service";
/// The users that a generation needs, within it.
const SYSUSERS: &str = "etc/sysusers.d/mailstack.conf";
/// The lines of the journal that an error quotes.
const QUOTE: &str = "--lines=8";

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
        // Sendmail's users are its packaging's.
        if let Some(generation) = generation.filter(|generation| generation.join(SYSUSERS).exists()) {
            run("systemd-sysusers", &[&generation.join(SYSUSERS).display().to_string()])?;
        }
        Ok(true)
    }

    fn running(&self) -> Result<Option<Running>, ActivationError> {
        let shown = systemctl(&["show", "--property=MainPID", "--value", SERVICE])?;
        match shown.trim().parse().ok().filter(|pid| *pid != 0) {
            Some(pid) => Ok(Some(Running { pid: Some(pid) })),
            None => Ok(self.is_waiting()?.then_some(Running { pid: None })),
        }
    }

    fn stop(&self) -> Result<(), ActivationError> {
        on("stop", &self.linked(UNITS))
    }

    fn start(&self) -> Result<Running, ActivationError> {
        let units = self.link()?;
        systemctl(&["daemon-reload"])?;
        let has_service = units.iter().any(|unit| unit == SERVICE);
        let enabled: Vec<String> = units.into_iter().filter(|unit| wanted_by(unit).is_some()).collect();
        // A client is started once as well: it may not be able to, and what lies in the drop directory is sent.
        let mut started = enabled;
        if has_service && !started.iter().any(|unit| unit == SERVICE) {
            started.push(SERVICE.to_owned());
        }
        // Of a start that failed too often none is tried again otherwise; a unit that never ran has nothing to reset.
        let _ = on("reset-failed", &started);
        on("restart", &started).map_err(quote)?;
        Ok(self.running()?.unwrap_or(Running { pid: None }))
    }

    fn withdraw(&self) -> Result<(), ActivationError> {
        self.linked(UNITS).iter().try_for_each(|unit| unlink(unit))?;
        for dir in AT_BOOT {
            for name in self.linked(dir) {
                disk::remove(&Path::new(dir).join(name))?;
            }
        }
        systemctl(&["daemon-reload"]).map(drop)
    }
}

impl Systemd {
    /// Links each unit of the live generation, and removes links to units that it no longer has. Returns the units.
    fn link(&self) -> Result<Vec<String>, ActivationError> {
        for dir in AT_BOOT {
            self.link_in(dir)?;
        }
        let wanted = names(&self.generated(UNITS));
        let gone: Vec<String> =
            self.linked(UNITS).into_iter().filter(|unit| !wanted.contains(unit)).collect();
        on("stop", &gone)?;
        gone.iter().try_for_each(|unit| unlink(unit))?;
        self.link_in(UNITS)?;
        wanted.iter().try_for_each(|unit| enable(unit))?;
        Ok(wanted)
    }

    /// Links each file that the live generation has for a directory of the host.
    fn link_in(&self, dir: &str) -> Result<(), ActivationError> {
        let from = self.generated(dir);
        for name in names(&from) {
            let (link, target) = (Path::new(dir).join(&name), from.join(&name));
            if fs::read_link(&link).ok().as_ref() != Some(&target) {
                link.parent().map_or(Ok(()), disk::make_dirs)?;
                disk::point(&link, &target)?;
            }
        }
        Ok(())
    }

    /// Whether a client is there to be started: the MTA is no unit that starts with the host, and all that do are
    /// active.
    fn is_waiting(&self) -> Result<bool, ActivationError> {
        let enabled: Vec<String> =
            self.linked(UNITS).into_iter().filter(|unit| wanted_by(unit).is_some()).collect();
        if enabled.is_empty() || enabled.iter().any(|unit| unit == SERVICE) {
            return Ok(false);
        }
        let words = ["show", "--property=ActiveState", "--value"];
        let words: Vec<&str> = words.into_iter().chain(enabled.iter().map(String::as_str)).collect();
        let shown = systemctl(&words)?;
        Ok(shown.split_whitespace().all(|state| state == "active"))
    }

    /// What the live generation has for a directory of the host.
    fn generated(&self, dir: &str) -> PathBuf {
        self.current.join(dir.trim_start_matches('/'))
    }

    /// The names in a directory of the host that are links into the live generation.
    fn linked(&self, dir: &str) -> Vec<String> {
        let ours = |name: &String| {
            fs::read_link(Path::new(dir).join(name)).is_ok_and(|target| target.starts_with(&self.current))
        };
        names(Path::new(dir)).into_iter().filter(ours).collect()
    }
}

/// The target that starts a unit with the host; others are started by a unit that is.
fn wanted_by(unit: &str) -> Option<String> {
    let text = fs::read_to_string(Path::new(UNITS).join(unit)).ok()?;
    text.lines().find_map(|line| line.strip_prefix("WantedBy=")).map(str::to_owned)
}

/// Makes the host start a unit. `systemctl enable` follows links to their end and would name one generation.
fn enable(unit: &str) -> Result<(), DiskError> {
    let Some(target) = wanted_by(unit) else { return Ok(()) };
    let units = Path::new(UNITS);
    let dir = units.join(format!("{target}.wants"));
    disk::make_dirs(&dir)?;
    disk::point(&dir.join(unit), &units.join(unit))
}

/// Takes a unit from the host, and from the targets that start it. Its file may be gone: the generation is another.
fn unlink(unit: &str) -> Result<(), DiskError> {
    let units = Path::new(UNITS);
    for dir in names(units).iter().filter(|name| name.ends_with(".wants")) {
        disk::remove(&units.join(dir).join(unit))?;
    }
    disk::remove(&units.join(unit))
}

/// Does something to units; nothing where there are none.
fn on(verb: &str, units: &[String]) -> Result<(), ActivationError> {
    if units.is_empty() {
        return Ok(());
    }
    // A template is no unit itself: all that were made of it are meant.
    let units: Vec<String> = units.iter().map(|unit| unit.replace("@.", "@*.")).collect();
    let units = units.iter().map(String::as_str);
    systemctl(&std::iter::once(verb).chain(units).collect::<Vec<_>>()).map(drop)
}

/// What the MTA said before a start failed, in place of the advice to look there.
fn quote(error: ActivationError) -> ActivationError {
    let unit = format!("--unit={SERVICE}");
    let said = run("journalctl", &[&unit, QUOTE, "--output=cat", "--no-pager", "--quiet"]);
    match (error, said) {
        (ActivationError::Command { command, said: advice }, Ok(journal)) if !journal.trim().is_empty() => {
            let first = advice.lines().next().unwrap_or_default();
            ActivationError::Command { command, said: format!("{first}\n{}", journal.trim()) }
        }
        (error, _) => error,
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

/// Runs systemctl; returns what it prints.
pub(crate) fn systemctl(arguments: &[&str]) -> Result<String, ActivationError> {
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
