//! `mailstack apply --foreground`: the first process of a container. It applies, and stays as long as the MTA runs.

use std::path::Path;

use anstream::eprintln;
use mailstack_deploy::activation::ActivationError;
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::activate;
use crate::args::{Change, TakeOverArguments};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;

/// What ends the MTA.
const END: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Makes the host what a declaration says, and stays until its MTA ends.
pub fn apply(
    mut host: HostTree,
    file: &Path,
    take_over: TakeOverArguments,
    change: Change,
) -> Result<Exit, Failure> {
    host.foreground = true;
    // From here on they wait until they are taken below: none is lost while the apply is at work.
    let held = held().map_err(|errno| failed("hold signals back", errno))?;
    let applied = activate::apply(&host, file, take_over, change);
    let Some(paths) = host.live_paths().ok().flatten() else { return applied };
    let activator = host.activator(&paths);
    if !matches!(applied, Ok(Exit::Done)) {
        // The generation before may run again: it does not outlive this process.
        activator.stop()?;
        return applied;
    }
    let Some(pid) = activator.running()?.and_then(|running| running.pid) else { return Ok(Exit::Unable) };
    let mta = match waitpid(Pid::from_raw(pid.cast_signed()), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::StillAlive) => Some(pid),
        // One that ran already, of a process that did not stay.
        Err(Errno::ECHILD) => {
            activator.stop()?;
            activator.start()?.pid
        }
        // It has ended since.
        Ok(_) => None,
        Err(errno) => return Err(failed("wait for the MTA", errno)),
    };
    mta.map_or(Ok(Exit::Unable), |pid| stay(&held, Pid::from_raw(pid.cast_signed())))
}

fn held() -> nix::Result<SigSet> {
    let mut held = SigSet::from(Signal::SIGCHLD);
    held.extend(END);
    held.thread_block()?;
    Ok(held)
}

/// Passes on what ends the MTA, until it has ended.
fn stay(held: &SigSet, mta: Pid) -> Result<Exit, Failure> {
    loop {
        if let Some(exit) = reap(mta).map_err(|errno| failed("wait for the MTA", errno))? {
            return Ok(exit);
        }
        match held.wait().map_err(|errno| failed("wait for a signal", errno))? {
            Signal::SIGCHLD => {}
            signal => {
                eprintln!("{signal}: the MTA is told to end");
                kill(mta, Signal::SIGTERM).map_err(|errno| failed("end the MTA", errno))?;
            }
        }
    }
}

/// Takes leave of every child that has ended: as the first process, also of those whose parents are gone. None while
/// the MTA runs.
fn reap(mta: Pid) -> nix::Result<Option<Exit>> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(WaitStatus::Exited(pid, 0)) if pid == mta => return Ok(Some(Exit::Done)),
            Ok(status) if status.pid() == Some(mta) => return Ok(Some(Exit::Unable)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(Some(Exit::Unable)),
            Err(errno) => return Err(errno),
        }
    }
}

fn failed(operation: &str, errno: Errno) -> Failure {
    Failure::Activation(ActivationError::Process { operation: operation.to_owned(), source: errno.into() })
}
