//! `mailstack run`: the MTA.

use std::path::PathBuf;

use mailstack_deploy::apply::RECORDS;
use mailstack_deploy::sendmail::process::{Part, become_part};
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
    part: Option<Part>,
) -> Result<Exit, Failure> {
    if detached {
        // Fails only for the leader of a process group, which is detached already.
        let _ = nix::unistd::setsid();
    }
    if let Some(part) = part {
        return become_sendmail(host, part);
    }
    let mut options = RunOptions::new(&host.root);
    options.config = Some(config.unwrap_or_else(|| host.live_config()));
    options.exit_when_idle = exit_when_idle;
    run_mta(options)?;
    Ok(Exit::Done)
}

/// Goes on as a part of the host's Sendmail.
fn become_sendmail(host: &HostTree, part: Part) -> Result<Exit, Failure> {
    let live = host.live()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    let Some(sendmail) = &live.sendmail else {
        return Err(Failure::Part {
            source: std::io::Error::other("the live generation runs the built-in MTA"),
        });
    };
    let source = become_part(part, &live, sendmail, &host.root.join(RECORDS));
    Err(Failure::Part { source })
}
