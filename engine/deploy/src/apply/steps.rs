//! The steps, in their order.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mailstack_runtime::{CONFIG_PATH, Config};

use super::furnish::{self, Owner};
use super::{
    ApplyError, Cause, Journal, Note, Obstacle, Proof, Prover, Queued, Step, TakeOver, preflight, takeover,
    verify,
};
use crate::activation::{Activator, Running, START_DEADLINE};
use crate::generation::{Candidate, Contents, Digest, Store, StoreError, Stored};
use crate::lock::Lock;
use crate::others::Before;
use crate::plan::{Plan, Runs, Side, State, Tree, Verb};
use crate::sendmail::links;

/// Between two looks at an MTA that starts.
const LOOK: Duration = Duration::from_millis(20);

/// What must be live in the end.
pub enum Wanted<'a> {
    /// What this makes of a declaration; it is given the generation that is live.
    Made(&'a dyn Fn(Option<&Stored>) -> Result<Contents, Cause>),
    /// A generation that is in the store; None: the one that was live before.
    Stored(Option<&'a str>),
}

/// All that an apply needs.
pub struct Apply<'a> {
    /// The directory that stands for `/`.
    pub root: &'a Path,
    /// Starts and stops the MTA.
    pub activator: &'a dyn Activator,
    /// Proves a generation.
    pub prover: &'a dyn Prover,
    /// What waits in the queue of the built-in MTA that has this configuration.
    pub queued: &'a dyn Fn(&Config) -> Queued,
    /// Wait for a lock that somebody else holds.
    pub wait: bool,
    /// Take over from another MTA; None: refuse where there is one.
    pub take_over: Option<TakeOver>,
}

/// What an apply did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// What was planned, and done.
    pub plan: Plan,
    /// Whether anything was done at all.
    pub changed: bool,
    /// The MTA that runs now.
    pub running: Option<Running>,
    /// How far the generation was proven; None where it was live already.
    pub proof: Option<Proof>,
}

/// A generation that is on its way to be live.
pub(super) struct Target {
    pub(super) digest: Digest,
    pub(super) tree: Tree,
    pub(super) config: Config,
    /// None where it is in the store already.
    pub(super) candidate: Option<Candidate>,
}

impl Target {
    /// The places of all its files, derived ones too.
    pub(super) fn files(&self) -> Vec<&str> {
        self.tree.keys().map(String::as_str).collect()
    }
}

impl Apply<'_> {
    /// Does it all, or nothing: on failure the generation before is live again.
    pub fn run(&self, wanted: &Wanted<'_>, journal: &mut Journal<'_>) -> Result<Done, ApplyError> {
        let store = Store::below(self.root);
        ours(&store).map_err(|cause| ApplyError::new(Step::Preflight, cause))?;
        let mut lock = journal.step(Step::Lock, || Lock::take(&store, self.wait))?;
        let live = journal.step(Step::Generate, || store.current_generation())?;
        let target = journal.step(Step::Generate, || target(&store, wanted, live.as_ref()))?;
        if let Some(candidate) = &target.candidate {
            left_out(candidate, journal);
        }
        let plan = journal.step(Step::Plan, || self.plan(&store, &target))?;
        let running = self.activator.running().map_err(|e| ApplyError::new(Step::Plan, e.into()))?;
        if plan.is_empty() && !self.is_cut_short(&store) && self.is_settled(&store, &target)? {
            return Ok(Done { plan, changed: false, running, proof: None });
        }
        journal.step(Step::Lock, || lock.announce())?;
        self.change(&store, &target, plan, running, journal)
    }

    /// What [`Apply::run`] would do. Writes nothing and takes no lock.
    pub fn preview(&self, wanted: &Wanted<'_>) -> Result<Plan, ApplyError> {
        let store = Store::below(self.root);
        let look = || -> Result<Plan, Cause> {
            ours(&store)?;
            let live = store.current_generation()?;
            self.plan(&store, &target(&store, wanted, live.as_ref())?)
        };
        look().map_err(|cause| ApplyError::new(Step::Plan, cause))
    }

    fn change(
        &self,
        store: &Store,
        target: &Target,
        plan: Plan,
        running: Option<Running>,
        journal: &mut Journal<'_>,
    ) -> Result<Done, ApplyError> {
        let found = journal.step(Step::Preflight, || self.preflight(store, target, running))?;
        journal.step(Step::Write, || write(store, target))?;
        let place = store.place(&target.digest);
        let proof = journal.step(Step::Prove, || self.prover.prove(&place).map_err(Cause::Unproven))?;
        if let Proof::PolicyOnly { reason } = &proof {
            journal.note(Note::PolicyOnly { reason: reason.clone() });
        }
        self.drain(target, journal)?;
        let before = before(store, &target.digest);
        let taken = Before::read(store).map_err(|error| ApplyError::new(Step::Keep, error.into()))?;
        let taking = !found.is_empty() || taken.as_ref().is_some_and(|record| !record.complete);
        let prepared = match taking {
            true => self.take_over(store, target, &found, journal),
            false => Ok(()),
        };
        let prepared = prepared.and_then(|()| {
            journal
                .step(Step::Furnish, || self.furnish(store, target, &place))
                .map_err(|error| (error, taking))
        });
        let live = prepared
            .and_then(|()| self.go_live(store, target, &plan, journal).map_err(|error| (error, true)));
        match live {
            Ok(running) => Ok(Done { plan, changed: true, running: Some(running), proof: Some(proof) }),
            Err((error, false)) => Err(error),
            Err((error, true)) => {
                // What was taken before this run, of a host that has a generation, stays taken.
                let returns = taking && (before.is_none() || taken.is_none());
                let error = self.roll_back(store, before, error, journal);
                Err(if returns { self.return_host(store, target, error, journal) } else { error })
            }
        }
    }

    fn plan(&self, store: &Store, target: &Target) -> Result<Plan, Cause> {
        let good = store.last_good();
        let from = match &good {
            Some(digest) => store.get(digest)?,
            None => None,
        };
        let from = from.map(|stored| (stored.digest().clone(), tree_of(&stored)));
        let state = match self.activator.running()? {
            None => State::Stopped,
            Some(_) if good.is_some() && store.current() == good => State::Running,
            Some(_) => State::Unsettled,
        };
        let from = from.as_ref().map(|(digest, tree)| (digest, tree));
        let runs = match target.config.sendmail {
            Some(_) => Runs::Sendmail,
            None => Runs::Builtin,
        };
        Ok(Plan::between(from, (&target.digest, &target.tree), state, runs))
    }

    /// Whether the host has, beside what the plan compares, all that an apply leaves behind.
    fn is_settled(&self, store: &Store, target: &Target) -> Result<bool, ApplyError> {
        let intact = || -> Result<bool, Cause> {
            let stored = store.get(&target.digest)?;
            Ok(match stored {
                Some(stored) => stored.drift()?.is_empty(),
                None => false,
            })
        };
        let is_furnished = || match &target.config.sendmail {
            Some(sendmail) => furnish::is_furnished_sendmail(self.root, store, sendmail, &target.files()),
            None => {
                links::are_put(self.root, store, &links::of_builtin(&target.files()))
                    && Owner::of(self.root)
                        .is_ok_and(|owner| furnish::is_furnished(self.root, &target.config, owner))
            }
        };
        Ok(store.current().as_ref() == Some(&target.digest)
            && intact().map_err(|cause| ApplyError::new(Step::Plan, cause))?
            && is_furnished())
    }

    /// Returns what a take-over has to deal with.
    fn preflight(
        &self,
        store: &Store,
        target: &Target,
        running: Option<Running>,
    ) -> Result<Vec<Obstacle>, Cause> {
        let config = &target.config;
        let mut found = match &config.sendmail {
            Some(sendmail) => preflight::of_sendmail(self.root, config, sendmail),
            None => Vec::new(),
        };
        found.extend(preflight::obstacles(self.root, config, running.and_then(|running| running.pid)));
        let files = target.files();
        let read = if config.sendmail.is_some() { files } else { links::of_builtin(&files) };
        let foreign = links::foreign(self.root, store, &read).into_iter();
        found.extend(foreign.map(|path| Obstacle::File { path }));
        if config.sendmail.is_some() {
            found.extend(self.left_behind(store)?);
        } else if !self.activator.make_users(None)? {
            found.extend(preflight::no_user(self.root));
        }
        found.extend(preflight::daemons(&self.others(config)?));
        let is_taken = |obstacle: &Obstacle| self.take_over.is_some() && obstacle.can_be_taken_over();
        if found.iter().all(is_taken) {
            return Ok(found);
        }
        if self.take_over.is_none() && self.is_cut_short(store) {
            found.push(Obstacle::CutShort);
        }
        Err(Cause::Obstacles(found))
    }

    /// Mail in the queue of the built-in MTA, where that is live and Sendmail will be. The other way round Sendmail's
    /// queues are those of another MTA.
    fn left_behind(&self, store: &Store) -> Result<Option<Obstacle>, Cause> {
        let builtin = live_config(store)?.filter(|live| live.sendmail.is_none());
        let queued = builtin.map_or(Queued::Nothing, |live| (self.queued)(&live));
        Ok((queued != Queued::Nothing).then_some(Obstacle::OtherEngine { queued }))
    }

    pub(super) fn furnish(&self, store: &Store, target: &Target, generation: &Path) -> Result<(), Cause> {
        let config = &target.config;
        if let Some(sendmail) = &config.sendmail {
            furnish::jail(self.root, &target.config)?;
            return Ok(furnish::furnish_sendmail(self.root, store, sendmail, &target.files())?);
        }
        self.activator.make_users(Some(generation))?;
        let no_user = |name| Cause::Obstacles(vec![Obstacle::NoUser { name }]);
        let owner = Owner::of(self.root).map_err(no_user)?;
        links::put(self.root, store, &links::of_builtin(&target.files()))?;
        Ok(furnish::furnish(self.root, config, owner)?)
    }

    /// From the switch on, a failure is undone.
    fn go_live(
        &self,
        store: &Store,
        target: &Target,
        plan: &Plan,
        journal: &mut Journal<'_>,
    ) -> Result<Running, ApplyError> {
        journal.step(Step::Switch, || store.switch(&target.digest))?;
        let restart = plan.actions.iter().any(|action| action.verb != Verb::Nothing);
        let running = match self.activator.running() {
            Ok(Some(running)) if !restart => running,
            _ => self.restart(journal)?,
        };
        journal.step(Step::Verify, || self.verify(&target.config, running))?;
        let is_new = store.last_good().as_ref() != Some(&target.digest);
        if is_new || self.is_cut_short(store) {
            journal.step(Step::Record, || record(store, &target.digest, is_new))?;
        }
        // Of the generation before; it is good without, and what is left leads nowhere.
        let _ = links::sweep(self.root, store);
        Ok(running)
    }

    pub(super) fn restart(&self, journal: &mut Journal<'_>) -> Result<Running, ApplyError> {
        journal.step(Step::Stop, || self.activator.stop())?;
        journal.step(Step::Start, || self.activator.start())
    }

    pub(super) fn verify(&self, config: &Config, running: Running) -> Result<(), Cause> {
        let begin = Instant::now();
        loop {
            let found = verify::discrepancies(self.root, config, running.pid);
            // Under systemd Sendmail is started before it listens, and does not say when it does.
            let waits = config.sendmail.is_some() && begin.elapsed() < START_DEADLINE;
            match (found.is_empty(), waits) {
                (true, _) => break,
                (false, true) => thread::sleep(LOOK),
                (false, false) => return Err(Cause::Discrepancies(found)),
            }
        }
        self.prover.verify(config).map_err(Cause::Unproven)
    }
}

/// Ends the MTA of a host, under the lock. Returns whether one ran.
pub fn stop(root: &Path, activator: &dyn Activator, wait: bool) -> Result<bool, Cause> {
    let store = Store::below(root);
    ours(&store)?;
    let _lock = Lock::take(&store, wait)?;
    let ran = activator.running()?.is_some();
    activator.stop()?;
    Ok(ran)
}

/// Removes generations of a host but for the newest `keep`, under the lock. Returns those removed.
pub fn collect(root: &Path, keep: usize, wait: bool) -> Result<Vec<Digest>, Cause> {
    let store = Store::below(root);
    ours(&store)?;
    let _lock = Lock::take(&store, wait)?;
    Ok(store.collect(keep)?)
}

/// Whether what is live is this command's to change.
pub(super) fn ours(store: &Store) -> Result<(), Cause> {
    store.foreign().map_or(Ok(()), |place| Err(Cause::Foreign { place }))
}

fn write(store: &Store, target: &Target) -> Result<(), StoreError> {
    store.sweep()?;
    match &target.candidate {
        Some(candidate) => store.put(candidate).map(drop),
        None => Ok(()),
    }
}

fn record(store: &Store, digest: &Digest, is_new: bool) -> Result<(), Cause> {
    if is_new {
        store.record(digest)?;
    }
    Ok(takeover::complete(store)?)
}

/// The generation to go back to should `digest` fail.
fn before(store: &Store, digest: &Digest) -> Option<Stored> {
    store.before(digest).ok().or_else(|| store.get(&store.last_good()?).ok()?)
}

fn left_out(candidate: &Candidate, journal: &mut Journal<'_>) {
    for missing in &candidate.manifest().left_out {
        journal.note(Note::LeftOut { path: missing.path.clone(), reason: missing.reason.clone() });
    }
}

fn target(store: &Store, wanted: &Wanted<'_>, live: Option<&Stored>) -> Result<Target, Cause> {
    match wanted {
        Wanted::Made(make) => {
            let candidate = make(live)?.seal();
            let config = config_of(candidate.file(CONFIG_PATH).unwrap_or_default())?;
            let (digest, tree) = (candidate.digest().clone(), candidate.tree());
            Ok(Target { digest, tree, config, candidate: Some(candidate) })
        }
        Wanted::Stored(prefix) => {
            let stored = match (prefix, live) {
                (Some(prefix), _) => store.find(prefix)?,
                (None, Some(live)) => store.before(live.digest())?,
                (None, None) => return Err(StoreError::NoPrevious.into()),
            };
            let drift = stored.drift()?;
            if !drift.is_empty() {
                return Err(Cause::Drifted { generation: stored.digest().clone(), drift });
            }
            let config = config_of(&stored.file(CONFIG_PATH).unwrap_or_default())?;
            Ok(Target { digest: stored.digest().clone(), tree: tree_of(&stored), config, candidate: None })
        }
    }
}

/// The MTA's configuration in the generation that is live; None where there is none.
pub fn live_config(store: &Store) -> Result<Option<Config>, Cause> {
    match store.current_generation()? {
        Some(stored) => config_of(&stored.file(CONFIG_PATH).unwrap_or_default()).map(Some),
        None => Ok(None),
    }
}

/// The MTA's configuration in a generation.
pub(crate) fn config_of(bytes: &[u8]) -> Result<Config, Cause> {
    toml::from_slice(bytes).map_err(|error| Cause::Config(Box::new(error)))
}

/// The files of a generation on disk, as a plan compares them.
pub(super) fn tree_of(stored: &Stored) -> Tree {
    let side = |path: &str, mode: &str, kind| {
        let bytes = stored.file(path).unwrap_or_default();
        (path.to_owned(), Side { bytes, mode: mode.to_owned(), kind })
    };
    let covered = stored.manifest.files.iter().map(|f| side(&f.path, &f.mode, Some(f.kind)));
    covered.chain(stored.manifest.derived.iter().map(|f| side(&f.path, &f.mode, None))).collect()
}
