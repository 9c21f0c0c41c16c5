//! Where no systemd runs: scripts in `/etc/init.d`, the links that start them with the host, and processes by their pid
//! files.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::known::Mta;
use crate::activation::{ActivationError, STOP_DEADLINE};
use crate::generation::disk::{self, DiskError};

const SCRIPTS: &str = "/etc/init.d";
/// Between two looks at a process that ends.
const LOOK: Duration = Duration::from_millis(50);

/// How a script was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Script {
    /// Its name.
    pub name: String,
    /// What starts it with the host: `/etc/rc2.d/S01postfix`.
    pub links: Vec<PathBuf>,
    /// Whether its daemon ran.
    pub running: bool,
}

impl Script {
    /// Its place.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(SCRIPTS).join(&self.name)
    }
}

/// A process that an MTA's pid file names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    /// Its process id.
    pub pid: u32,
    /// What the kernel calls it.
    pub name: String,
    /// Its command line.
    pub command: String,
}

/// The scripts of an MTA that start with the host, or whose daemon runs.
pub(super) fn scripts(mta: &Mta, running: bool) -> Vec<Script> {
    let script = |name: &&str| {
        let there = Path::new(SCRIPTS).join(name).is_file();
        let script = Script { name: (*name).to_owned(), links: links(name, 'S'), running };
        (there && (running || !script.links.is_empty())).then_some(script)
    };
    mta.scripts.iter().filter_map(script).collect()
}

/// The processes of an MTA that run, but for those that are mailstack's.
pub(super) fn processes(mta: &Mta, ours: &[u32]) -> Vec<Process> {
    let process = |file: &&str| {
        let pid = fs::read_to_string(file).ok()?.lines().next()?.trim().parse().ok()?;
        let name = name_of(pid)?;
        let is_its = mta.processes.contains(&name.as_str()) && !ours.contains(&pid);
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&words).replace('\0', " ").trim().to_owned();
        is_its.then_some(Process { pid, name, command })
    };
    mta.pid_files.iter().filter_map(process).collect()
}

/// What the kernel calls a process that has not ended.
fn name_of(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    (!rest.trim_start().starts_with('Z')).then(|| name.to_owned())
}

/// The links of a script that are of this kind: `S` starts it, `K` ends it.
fn links(name: &str, kind: char) -> Vec<PathBuf> {
    let is_link = |file: &str| {
        file.strip_prefix(kind).and_then(|rest| rest.get(2..)) == Some(name)
            && file.as_bytes()[1..3].iter().all(u8::is_ascii_digit)
    };
    let levels =
        ["0", "1", "2", "3", "4", "5", "6", "S"].map(|level| PathBuf::from(format!("/etc/rc{level}.d")));
    let mut found: Vec<PathBuf> = levels
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok())
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_link))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// As `update-rc.d NAME disable` does: what would start the script ends it. Can be called again.
pub(super) fn disable(script: &Script) -> Result<(), DiskError> {
    for link in script.links.iter().filter(|link| link.symlink_metadata().is_ok()) {
        disk::rename(link, &disabled(link, &script.name))?;
    }
    Ok(())
}

/// Each link as it was. Can be called again.
pub(super) fn enable(script: &Script) -> Result<(), DiskError> {
    for link in script.links.iter().filter(|link| link.symlink_metadata().is_err()) {
        let from = disabled(link, &script.name);
        if from.symlink_metadata().is_ok() {
            disk::rename(&from, link)?;
        }
    }
    Ok(())
}

fn disabled(link: &Path, name: &str) -> PathBuf {
    link.with_file_name(format!("K01{name}"))
}

/// Has the MTA's own scripts end it, then its processes by their ids; waits until none is left.
pub(super) fn stop(mta: &Mta, ours: &[u32]) -> Result<(), ActivationError> {
    if processes(mta, ours).is_empty() {
        return Ok(());
    }
    for name in mta.scripts.iter().filter(|name| Path::new(SCRIPTS).join(name).is_file()) {
        // One that does not end it is no failure yet.
        let _ = run(name, "stop");
    }
    let begin = Instant::now();
    loop {
        let left = processes(mta, ours);
        let Some(first) = left.first() else { return Ok(()) };
        for process in &left {
            // It may have ended since.
            let _ = kill(Pid::from_raw(process.pid.cast_signed()), Signal::SIGTERM);
        }
        if begin.elapsed() > STOP_DEADLINE {
            return Err(ActivationError::StillRuns { pid: first.pid });
        }
        thread::sleep(LOOK);
    }
}

/// Has a script start its MTA.
pub(super) fn start(script: &Script) -> Result<(), ActivationError> {
    run(&script.name, "start")
}

/// Runs a script of `/etc/init.d`. A daemon that it starts may keep what it was given for output, so that is none.
fn run(name: &str, verb: &str) -> Result<(), ActivationError> {
    let path = Path::new(SCRIPTS).join(name);
    let command = format!("{} {verb}", path.display());
    let mut script = Command::new(&path);
    script.arg(verb).current_dir("/").process_group(0);
    script.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    script.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let failed = |source| ActivationError::Process { operation: format!("run {command}"), source };
    let mut child = script.spawn().map_err(failed)?;
    let begin = Instant::now();
    loop {
        match child.try_wait().map_err(failed)? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(ActivationError::Command { command, said: status.to_string() }),
            None if begin.elapsed() > STOP_DEADLINE => {
                let _ = child.kill();
                let said = format!("it did not end within {} s", STOP_DEADLINE.as_secs());
                return Err(ActivationError::Command { command, said });
            }
            None => thread::sleep(LOOK),
        }
    }
}
