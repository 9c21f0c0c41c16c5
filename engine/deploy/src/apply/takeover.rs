//! Taking a host over from another MTA, between the proof and the switch, and giving it back where that failed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use mailstack_runtime::{Config, Role, Sendmail};

use super::furnish::{Program, RECORDS, programs};
use super::steps::{Apply, Target};
use super::{ApplyError, Cause, Journal, Note, Obstacle, Step, Undone, preflight};
use crate::generation::Store;
use crate::generation::disk::{self, DiskError};
use crate::others::{self, Before, Presence};
use crate::sendmail::{links, process};

/// How a host is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeOver {
    /// How long the other MTA has to deliver what is in its queues.
    pub drain: Duration,
    /// Go on where mail is left in them: it stays where it is.
    pub leave_queue: bool,
}

impl Apply<'_> {
    /// Other MTAs that would run beside. The role `msp` is one that may.
    pub(super) fn others(&self, config: &Config) -> Result<Vec<Presence>, Cause> {
        if config.role == Role::Msp {
            return Ok(Vec::new());
        }
        Ok(others::find(self.root, &self.own(), config.sendmail.is_some())?)
    }

    /// Processes of Sendmail that are mailstack's.
    fn own(&self) -> Vec<u32> {
        process::recorded(&self.root.join(RECORDS))
    }

    /// Whether a take-over was begun and mailstack did not go live with it.
    pub(super) fn is_cut_short(&self, store: &Store) -> bool {
        // One that cannot be read is said when it is needed.
        Before::read(store).is_ok_and(|record| record.is_some_and(|record| !record.complete))
    }

    /// Has other MTAs empty their queues; nothing is stopped or changed yet.
    pub(super) fn drain(&self, target: &Target, journal: &mut Journal<'_>) -> Result<(), ApplyError> {
        let Some(take_over) = self.take_over else { return Ok(()) };
        let counted = |queue: &others::Queue| preflight::counts(&target.config, queue);
        if !others::queues(self.root).iter().any(counted) {
            return Ok(());
        }
        let left = journal.told(Step::Drain, |told| {
            let left = others::drain(self.root, take_over.drain, &counted, &mut |left| {
                told(Note::Draining(left.to_vec()))
            });
            match left.is_empty() || take_over.leave_queue {
                true => Ok(left),
                false => Err(Cause::Obstacles(left.into_iter().map(obstacle).collect())),
            }
        })?;
        if !left.is_empty() {
            journal.note(Note::Left(left));
        }
        Ok(())
    }

    /// Keeps what will be replaced, and stops what runs. The error says whether anything was stopped.
    pub(super) fn take_over(
        &self,
        store: &Store,
        target: &Target,
        found: &[Obstacle],
        journal: &mut Journal<'_>,
    ) -> Result<(), (ApplyError, bool)> {
        let record =
            journal.step(Step::Keep, || self.keep(store, target, found)).map_err(|error| (error, false))?;
        journal
            .step(Step::TakeOver, || self.stop_others(store, target, &record))
            .map_err(|error| (error, true))?;
        let names = record.units.iter().map(|unit| unit.name.clone());
        let scripts = record.scripts.iter().map(|script| script.path().display().to_string());
        names.chain(scripts).for_each(|name| journal.note(Note::Stopped { name }));
        let nobodys = record.processes.iter().filter(|_| record.scripts.is_empty());
        nobodys.for_each(|process| journal.note(Note::Orphan { command: process.command.clone() }));
        Ok(())
    }

    fn keep(&self, store: &Store, target: &Target, found: &[Obstacle]) -> Result<Before, Cause> {
        let replaced = found.iter().filter_map(|obstacle| match obstacle {
            Obstacle::Program { path } | Obstacle::File { path } => Some(path.clone()),
            _ => None,
        });
        let replaced: Vec<PathBuf> = replaced.collect();
        if let Some(path) = replaced.iter().find(|path| path.is_dir() && !path.is_symlink()) {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            return Err(DiskError { operation: "keep", path: path.clone(), source }.into());
        }
        let programs = programs(self.root, target.config.sendmail.as_ref());
        let missing: Vec<PathBuf> =
            programs.into_iter().filter(Program::is_missing).map(|it| it.path).collect();
        let presences = self.others(&target.config)?;
        Ok(others::keep(self.root, store, &presences, &replaced, &missing)?)
    }

    fn stop_others(&self, store: &Store, target: &Target, record: &Before) -> Result<(), Cause> {
        others::stop(record, &self.own())?;
        // A program is replaced in one step; of other files some have no successor.
        let etc = self.root.join("etc");
        for place in record.files.iter().map(|kept| others::below(self.root, &kept.path)) {
            if place.starts_with(&etc) && !links::is_ours(store, &place) {
                disk::remove(&place)?;
            }
        }
        let mut left = preflight::daemons(&self.others(&target.config)?);
        let running = self.activator.running()?.and_then(|running| running.pid);
        left.extend(preflight::taken(&target.config, running));
        if !self.take_over.is_some_and(|take_over| take_over.leave_queue) {
            // What came in until it was stopped.
            let counted = |queue: &others::Queue| preflight::counts(&target.config, queue);
            left.extend(others::queues(self.root).into_iter().filter(counted).map(obstacle));
        }
        if left.is_empty() { Ok(()) } else { Err(Cause::Obstacles(left)) }
    }

    /// Gives a host back whose take-over failed, and says in the error how that went.
    pub(super) fn return_host(
        &self,
        store: &Store,
        target: &Target,
        mut error: ApplyError,
        journal: &mut Journal<'_>,
    ) -> ApplyError {
        let to = match &error.undone {
            Undone::To(to) => to.clone(),
            Undone::NotNeeded | Undone::Failed { .. } => return error,
        };
        let returned = journal.step(Step::GiveBack, || -> Result<_, Cause> {
            let Some(record) = Before::read(store)? else { return Ok(Vec::new()) };
            let is_ours = |path: &Path| is_ours(self.root, store, target.config.sendmail.as_ref(), path);
            others::give_files_back(self.root, store, &record, &is_ours)?;
            others::give_back(store, &record)?;
            Ok(given(&record))
        });
        match returned {
            Ok(notes) => notes.into_iter().for_each(|note| journal.note(note)),
            Err(failure) => error.undone = Undone::Failed { to, error: Box::new(failure) },
        }
        error
    }
}

/// What may start again, in words to the user.
pub(super) fn given(record: &Before) -> Vec<Note> {
    let units =
        record.units.iter().map(|unit| Note::Started { name: unit.name.clone(), started: unit.active });
    let scripts = record.scripts.iter().map(|script| {
        let name = script.path().display().to_string();
        Note::Started { name, started: script.running }
    });
    units.chain(scripts).collect()
}

/// Whether something is what mailstack put there.
pub(super) fn is_ours(root: &Path, store: &Store, sendmail: Option<&Sendmail>, path: &Path) -> bool {
    let all = programs(root, None).into_iter().map(|program| (program, true));
    let all = all.chain(programs(root, sendmail).into_iter().map(|program| (program, false)));
    let is_program = |(program, builtin): (Program, bool)| {
        program.path == path
            && !program.is_missing()
            && if builtin { !program.is_foreign() } else { program.is_link() }
    };
    links::is_ours(store, path) || all.into_iter().any(is_program)
}

/// Says in the record, where there is one, that mailstack is live with it.
pub(super) fn complete(store: &Store) -> Result<(), DiskError> {
    match Before::read(store)? {
        Some(mut record) if !record.complete => {
            record.complete = true;
            record.write(store)
        }
        _ => Ok(()),
    }
}

fn obstacle(queue: others::Queue) -> Obstacle {
    Obstacle::Queue { path: queue.path, files: queue.files }
}
