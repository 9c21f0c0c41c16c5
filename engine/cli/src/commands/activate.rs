//! `mailstack apply`, `rollback` and `stop`: all that changes what runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anstream::eprintln;
use mailstack_deploy::activation::sockets;
use mailstack_deploy::apply::{self, Apply, Cause, Done, Journal, Proof, Queued, TakeOver, Wanted};
use mailstack_deploy::build::contents;
use mailstack_deploy::generation::{Contents, Stored};
use mailstack_deploy::plan::Plan;
use mailstack_mta::control::{Client, ControlError};
use mailstack_mta::host::Root;
use mailstack_mta::spool::transfer;
use mailstack_mta::submission::drop;
use mailstack_runtime::{Config, Paths};
use serde::Serialize;

use super::status::UNSEEN;
use crate::args::{Change, TakeOverArguments};
use crate::declaration::Declaration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::progress::Progress;
use crate::proof::CandidateProver;

/// What an apply did, as `--json` has it.
#[derive(Serialize)]
struct Report<'a> {
    changed: bool,
    plan: &'a Plan,
    pid: Option<u32>,
    /// None: the generation was live already.
    proof: Option<&'static str>,
}

/// Makes the host what a declaration says.
pub fn apply(
    host: &HostTree,
    file: &Path,
    take_over: TakeOverArguments,
    change: Change,
) -> Result<Exit, Failure> {
    let declaration = Declaration::proven(file)?;
    let paths = declaration.model.runtime_config().paths;
    let make = |live: Option<&Stored>| make(&declaration, live);
    let TakeOverArguments { take_over, drain, leave_queue } = take_over;
    let take_over = take_over.then_some(TakeOver { drain: Duration::from_secs(drain), leave_queue });
    go(host, &paths, &Wanted::Made(&make), take_over, change)
}

/// Goes back to a generation.
pub fn rollback(host: &HostTree, to: Option<&str>, change: Change) -> Result<Exit, Failure> {
    let paths = host.live_paths()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    go(host, &paths, &Wanted::Stored(to), None, change)
}

/// What an apply of a file would do.
pub fn preview(host: &HostTree, file: &Path) -> Result<Plan, Failure> {
    let declaration = Declaration::proven(file)?;
    let activator = host.activator(&declaration.model.runtime_config().paths);
    let make = |live: Option<&Stored>| make(&declaration, live);
    let prover = CandidateProver::new(&host.root);
    let queued = |config: &Config| queued(host, config);
    let apply = Apply {
        root: &host.root,
        activator: activator.as_ref(),
        prover: &prover,
        queued: &queued,
        wait: false,
        take_over: None,
    };
    Ok(apply.preview(&Wanted::Made(&make))?)
}

/// Ends the MTA.
pub fn stop(host: &HostTree, wait: bool) -> Result<Exit, Failure> {
    let Some(paths) = host.live_paths()? else {
        eprintln!("nothing was ever applied below {}", host.root.display());
        return Ok(Exit::Done);
    };
    let ran = apply::stop(&host.root, host.activator(&paths).as_ref(), wait)?;
    eprintln!("{}", if ran { "the MTA has ended" } else { "the MTA does not run" });
    Ok(Exit::Done)
}

fn make(declaration: &Declaration, live: Option<&Stored>) -> Result<Contents, Cause> {
    let mut contents = contents(&declaration.model, &declaration.source, live)
        .map_err(|error| Cause::Build(Box::new(error)))?;
    contents.imported.clone_from(&declaration.imported);
    Ok(contents)
}

fn go(
    host: &HostTree,
    paths: &Paths,
    wanted: &Wanted<'_>,
    take_over: Option<TakeOver>,
    change: Change,
) -> Result<Exit, Failure> {
    let activator = host.activator(paths);
    let prover = CandidateProver::new(&host.root);
    let queued = |config: &Config| queued(host, config);
    let apply = Apply {
        root: &host.root,
        activator: activator.as_ref(),
        prover: &prover,
        queued: &queued,
        wait: change.wait,
        take_over,
    };
    let progress = Progress::new();
    let mut listener = |event| progress.take(&event);
    let done = apply.run(wanted, &mut Journal::new(&mut listener))?;
    std::mem::drop(progress);
    report(&done, change.json)
}

/// What waits in the queue of the built-in MTA.
pub(super) fn queued(host: &HostTree, config: &Config) -> Queued {
    let (root, paths) = (Root::new(&host.root), &config.paths);
    let dropped = drop::count(&root.path(&paths.drop)).unwrap_or_default();
    let is_new = fs::read_dir(root.path(&paths.spool)).is_ok_and(|mut entries| entries.next().is_none());
    match Client::connect(&root, paths).and_then(|mut client| client.status()) {
        Ok(status) if status.queued + status.dropped == 0 => Queued::Nothing,
        Ok(status) => Queued::Messages(status.queued + status.dropped),
        Err(_) if is_new && dropped == 0 => Queued::Nothing,
        Err(ControlError::NotRunning { .. }) => on_disk(&root.path(&paths.spool), dropped),
        Err(error) => Queued::Unknown(error.to_string()),
    }
}

/// What waits where no MTA runs that could say it.
fn on_disk(spool: &Path, dropped: u64) -> Queued {
    match transfer::verify(spool) {
        Ok(found) if found.messages + dropped == 0 && found.unreadable.is_empty() => Queued::Nothing,
        Ok(found) => {
            let unreadable = u64::try_from(found.unreadable.len()).unwrap_or(u64::MAX);
            Queued::Messages(found.messages.saturating_add(dropped).saturating_add(unreadable))
        }
        Err(error) => Queued::Unknown(error.to_string()),
    }
}

fn report(done: &Done, json: bool) -> Result<Exit, Failure> {
    let pid = done.running.and_then(|running| running.pid);
    if json {
        let proof = done.proof.as_ref().map(|proof| match proof {
            Proof::Ran { .. } => "ran",
            Proof::PolicyOnly { .. } => "policy_only",
        });
        return super::print_json(&Report { changed: done.changed, plan: &done.plan, pid, proof });
    }
    let digest = done.plan.to.short();
    if !done.changed {
        eprintln!("nothing to do: generation {digest} is live");
        return Ok(Exit::Done);
    }
    if let Some(Proof::Ran { probes }) = done.proof {
        eprintln!("proven by {probes} probes");
    }
    let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    eprintln!("generation {digest} is live{process}");
    if pid.is_some_and(|pid| sockets::listened_by(pid).is_none()) {
        eprintln!("not checked: {UNSEEN}");
    }
    Ok(Exit::Done)
}
