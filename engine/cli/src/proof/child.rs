//! The child that takes the namespaces, and the first process in them.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getegid, geteuid, sethostname};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, configure_capability_in_ambient_set, set_capabilities,
};

use super::report::{Outcome, Request};
use super::world;

/// The first argument that makes the program the child; a request is read from standard input.
pub const COMMAND: &str = "prove-candidate";
/// The second argument of the first process in the namespaces.
const INSIDE: &str = "inside";
/// How long the first process may live, whatever happens.
const LIFE: Duration = Duration::from_secs(25);
/// Where the programs of a system are: the path of an ordinary user often leaves out some.
pub(super) const SYSTEM_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The whole life of the child. It has one thread. Status 0 where an outcome was said.
pub fn main_child(arguments: &[OsString]) -> ExitCode {
    if arguments.first().is_some_and(|first| first == INSIDE) {
        return say(&first_process().unwrap_or_else(unavailable));
    }
    match take_namespaces() {
        // What was cut short there proves nothing, and must not pass for a host that cannot.
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => say(&unavailable(error)),
    }
}

fn unavailable(error: io::Error) -> Outcome {
    Outcome::Unavailable { reason: error.to_string() }
}

fn say(outcome: &Outcome) -> ExitCode {
    let written = serde_json::to_string(outcome).map_err(io::Error::from);
    match written.and_then(|text| writeln!(io::stdout(), "{text}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Returns how the first process in the namespaces ended.
fn take_namespaces() -> io::Result<ExitStatus> {
    set_pdeathsig(Signal::SIGKILL)?;
    let world = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS;
    if geteuid().is_root() {
        unshare(world).map_err(refused)?;
    } else {
        let (uid, gid) = (geteuid(), getegid());
        unshare(world | CloneFlags::CLONE_NEWUSER).map_err(refused)?;
        map_to_itself(uid.as_raw(), gid.as_raw())?;
        keep_rights()?;
    }
    Command::new(std::env::current_exe()?).args([COMMAND, INSIDE]).status()
}

fn refused(errno: Errno) -> io::Error {
    let why = match errno {
        Errno::ENOSPC => "its limit of namespaces is reached (/proc/sys/user)",
        other => other.desc(),
    };
    io::Error::other(format!("this host refuses namespaces: {why}"))
}

/// An ordinary user is the same in the user namespace, so that the candidate runs as nobody else.
fn map_to_itself(uid: u32, gid: u32) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// What an ordinary user needs in namespaces of its own.
const NEEDED: [CapabilitySet; 3] =
    [CapabilitySet::SYS_ADMIN, CapabilitySet::NET_ADMIN, CapabilitySet::NET_BIND_SERVICE];

/// Rights in the user namespace would be lost with the next program that is started, but for the ambient ones.
fn keep_rights() -> io::Result<()> {
    let own = capabilities(None)?;
    let inheritable = NEEDED.iter().fold(own.inheritable, |all, one| all | *one);
    set_capabilities(None, CapabilitySets { inheritable, ..own })?;
    for right in NEEDED {
        configure_capability_in_ambient_set(right, true)?;
    }
    Ok(())
}

/// Leaves to what this thread starts from now on the right to listen on any port, and no other.
pub(super) fn give_up_rights() -> io::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, false)?;
    Ok(configure_capability_in_ambient_set(CapabilitySet::NET_ADMIN, false)?)
}

/// With this process ends everything in its process namespace, and what it mounted is in no other.
fn first_process() -> io::Result<Outcome> {
    set_pdeathsig(Signal::SIGKILL)?;
    if std::process::id() != 1 {
        return Err(io::Error::other("not the first process of a namespace"));
    }
    std::thread::spawn(|| {
        std::thread::sleep(LIFE);
        std::process::exit(1);
    });
    let request: Request = serde_json::from_reader(io::stdin().lock())?;
    sethostname(request.hostname.as_str())?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    world::prove(&request)
}

/// Runs a program of this host to its end with this input; its standard error is in the error.
pub(super) fn run(program: &str, arguments: &[&str], input: &str) -> io::Result<()> {
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("cannot run {program}: {error}"));
    let own = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{own}:{SYSTEM_PATH}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut pipe) = child.stdin.take() {
        // What it does not read shows in its status.
        let _ = pipe.write_all(input.as_bytes());
    }
    let ended = child.wait_with_output().map_err(failed)?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    Err(io::Error::other(format!("{program}: {}", said.trim())))
}
