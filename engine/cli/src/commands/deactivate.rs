//! `mailstack deactivate`: the host as it was before mailstack.

use anstream::eprintln;
use mailstack_deploy::apply::{Deactivate, Given, Journal};
use mailstack_runtime::Config;

use super::activate::queued;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::progress::Progress;

/// Ends the MTA, and gives the host back.
pub fn deactivate(host: &HostTree, leave_queue: bool, wait: bool) -> Result<Exit, Failure> {
    let activator = host.live_paths()?.map(|paths| host.activator(&paths));
    let queued = |config: &Config| queued(host, config);
    let deactivate =
        Deactivate { root: &host.root, activator: activator.as_deref(), queued: &queued, wait, leave_queue };
    let progress = Progress::new();
    let mut listener = |event| progress.take(&event);
    let given = deactivate.run(&mut Journal::new(&mut listener))?;
    std::mem::drop(progress);
    let Given { changed, to } = given;
    match (changed, to.is_empty()) {
        (false, _) => eprintln!("nothing to do: mailstack is not active below {}", host.root.display()),
        (true, true) => eprintln!("mailstack is not active any more; generations and queue stay"),
        (true, false) => {
            eprintln!("the host is {}'s again; generations and queue of mailstack stay", to.join(" and "))
        }
    }
    Ok(Exit::Done)
}
