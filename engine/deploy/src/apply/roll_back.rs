//! The way back from a generation that could not be made live.

use mailstack_runtime::{CONFIG_PATH, Config};

use super::steps::{Apply, Target, config_of, tree_of};
use super::{ApplyError, Cause, Journal, Step, Undone};
use crate::generation::{Store, Stored};
use crate::sendmail::links;

impl Apply<'_> {
    /// Makes the generation before the live one again, and says in the error how that went.
    pub(super) fn roll_back(
        &self,
        store: &Store,
        before: Option<Stored>,
        mut error: ApplyError,
        journal: &mut Journal<'_>,
    ) -> ApplyError {
        let to = before.as_ref().map(|stored| stored.digest().clone());
        let undone = match &before {
            Some(stored) => self.return_to(store, stored, journal),
            None => journal.step(Step::RollBack, || -> Result<(), Cause> {
                self.activator.stop()?;
                self.activator.withdraw()?;
                store.switch_off()?;
                Ok(links::sweep(self.root, store)?)
            }),
        };
        error.undone = match undone {
            Ok(()) => Undone::To(to),
            Err(failure) => Undone::Failed { to, error: Box::new(failure) },
        };
        error
    }

    fn return_to(&self, store: &Store, before: &Stored, journal: &mut Journal<'_>) -> Result<(), ApplyError> {
        let config = journal.step(Step::RollBack, || -> Result<Config, Cause> {
            store.switch(before.digest())?;
            config_of(&before.file(CONFIG_PATH).unwrap_or_default())
        })?;
        // The programs and links that it had: those of the other engine may be there.
        journal.step(Step::RollBack, || self.refurnish(store, before, &config))?;
        let running = self.restart(journal)?;
        journal.step(Step::Verify, || self.verify(&config, running))
    }

    fn refurnish(&self, store: &Store, before: &Stored, config: &Config) -> Result<(), Cause> {
        let tree = tree_of(before);
        let (digest, config) = (before.digest().clone(), config.clone());
        let target = Target { digest, tree, config, candidate: None };
        self.furnish(store, &target, &before.dir)?;
        Ok(links::sweep(self.root, store)?)
    }
}
