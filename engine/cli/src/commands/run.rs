//! `mailstack run`: the MTA.

use std::path::PathBuf;

use mailstack_mta::run::{RunOptions, run as run_mta};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;

/// Runs the MTA until it is told to end.
pub fn run(
    host: &HostTree,
    config: Option<PathBuf>,
    exit_when_idle: bool,
    detached: bool,
) -> Result<Exit, Failure> {
    if detached {
        // Fails only for the leader of a process group, which is detached already.
        let _ = nix::unistd::setsid();
    }
    let mut options = RunOptions::new(&host.root);
    options.config = Some(config.unwrap_or_else(|| host.live_config()));
    options.exit_when_idle = exit_when_idle;
    run_mta(options)?;
    Ok(Exit::Done)
}
