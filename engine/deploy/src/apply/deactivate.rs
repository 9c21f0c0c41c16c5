//! From mailstack back to what the host had before.

use std::path::Path;

use mailstack_runtime::Config;

use super::steps::ours;
use super::takeover::{given, is_ours};
use super::{ApplyError, Cause, Journal, Note, Queued, Step, live_config};
use crate::activation::Activator;
use crate::generation::Store;
use crate::lock::Lock;
use crate::others::{self, Before};
use crate::sendmail::{links, queue};

/// All that a deactivation needs.
pub struct Deactivate<'a> {
    /// The directory that stands for `/`.
    pub root: &'a Path,
    /// Starts and stops the MTA; None where nothing is live.
    pub activator: Option<&'a dyn Activator>,
    /// What waits in the queue of the built-in MTA that has this configuration.
    pub queued: &'a dyn Fn(&Config) -> Queued,
    /// Wait for a lock that somebody else holds.
    pub wait: bool,
    /// Go on where mail waits: it stays where it is.
    pub leave_queue: bool,
}

/// What a deactivation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Whether anything was live, or an MTA had been taken over.
    pub changed: bool,
    /// The MTAs that were given the host back.
    pub to: Vec<String>,
}

impl Deactivate<'_> {
    /// Ends the MTA, takes away what leads to it, and gives back what was taken over. Generations and queue stay.
    pub fn run(&self, journal: &mut Journal<'_>) -> Result<Given, ApplyError> {
        let store = Store::below(self.root);
        ours(&store).map_err(|cause| ApplyError::new(Step::Preflight, cause))?;
        let mut lock = journal.step(Step::Lock, || Lock::take(&store, self.wait))?;
        let live = journal.step(Step::Preflight, || live_config(&store))?;
        let record = journal.step(Step::Preflight, || Before::read(&store))?;
        if live.is_none() && record.is_none() {
            // Copies whose record is gone: a run was cut short at its very end.
            journal.step(Step::GiveBack, || Before::remove(&store))?;
            return Ok(Given { changed: false, to: Vec::new() });
        }
        journal.step(Step::Lock, || lock.announce())?;
        let queued = live.as_ref().map_or(Queued::Nothing, |live| self.queued(live, record.as_ref()));
        if queued != Queued::Nothing && !self.leave_queue {
            return Err(ApplyError::new(Step::Preflight, Cause::QueueStays(queued)));
        }
        if queued != Queued::Nothing {
            journal.note(Note::QueueStays(queued));
        }
        if let Some(activator) = self.activator {
            journal.step(Step::Stop, || activator.stop())?;
        }
        if let Some(record) = &record {
            self.files(&store, live.as_ref(), record, journal)?;
        }
        journal.step(Step::Withdraw, || self.withdraw(&store))?;
        let Some(record) = record else { return Ok(Given { changed: true, to: Vec::new() }) };
        let orphans = journal.step(Step::GiveBack, || others::give_back(&store, &record))?;
        given(&record).into_iter().for_each(|note| journal.note(note));
        orphans.into_iter().for_each(|process| journal.note(Note::Orphan { command: process.command }));
        Ok(Given { changed: true, to: record.mtas })
    }

    /// What nobody would deliver any more.
    fn queued(&self, live: &Config, record: Option<&Before>) -> Queued {
        let Some(sendmail) = &live.sendmail else { return (self.queued)(live) };
        // Sendmail goes on with its own queues.
        let goes_on = record.is_some_and(|record| record.mtas.iter().any(|name| name == "Sendmail"));
        match queue::list(sendmail).len() {
            waiting if waiting > 0 && !goes_on => {
                Queued::Messages(u64::try_from(waiting).unwrap_or(u64::MAX))
            }
            _ => Queued::Nothing,
        }
    }

    fn files(
        &self,
        store: &Store,
        live: Option<&Config>,
        record: &Before,
        journal: &mut Journal<'_>,
    ) -> Result<(), ApplyError> {
        let sendmail = live.and_then(|live| live.sendmail.as_ref());
        let is_ours = |path: &Path| is_ours(self.root, store, sendmail, path);
        let stay =
            journal.step(Step::GiveBack, || others::give_files_back(self.root, store, record, &is_ours))?;
        stay.into_iter().for_each(|path| journal.note(Note::Stays { path }));
        Ok(())
    }

    fn withdraw(&self, store: &Store) -> Result<(), Cause> {
        if let Some(activator) = self.activator {
            activator.withdraw()?;
        }
        // First this: a generation of before is not gone back to, should a later apply fail.
        store.forget()?;
        store.switch_off()?;
        if let Some(activator) = self.activator {
            // One that an apply which was killed had only just started.
            activator.stop()?;
        }
        Ok(links::sweep(self.root, store)?)
    }
}
