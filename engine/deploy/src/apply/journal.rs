//! The steps of an apply, and what is said while they are done.

use std::time::{Duration, Instant};

use super::{ApplyError, Cause};

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Keep others from doing the same at the same time.
    Lock,
    /// Make the files from the declaration.
    Generate,
    /// Compare with what is live.
    Plan,
    /// Look at what is on the host already.
    Preflight,
    /// Put the generation on disk.
    Write,
    /// Prove it while it is not live.
    Prove,
    /// Make directories, and the programs that hand mail in.
    Furnish,
    /// Make it the live one.
    Switch,
    /// End the MTA that runs.
    Stop,
    /// Start the MTA.
    Start,
    /// Check ports, permissions and refusals of what is live.
    Verify,
    /// Record that it is good.
    Record,
    /// Go back to the generation before.
    RollBack,
}

/// Something that the user must hear, beside the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A derived file is not there.
    LeftOut {
        /// The place that it would have.
        path: String,
        /// Why it is not there.
        reason: String,
    },
    /// The candidate could not be run before it went live.
    PolicyOnly {
        /// Why.
        reason: String,
    },
}

/// What happens, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A step begins.
    Begin(Step),
    /// A step is done.
    End(Step, Duration),
    /// A step failed.
    Failed(Step),
    /// Something to hear.
    Note(Note),
}

/// Tells a listener what happens.
pub struct Journal<'a> {
    listener: &'a mut dyn FnMut(Event),
}

impl<'a> Journal<'a> {
    /// A journal that tells this listener.
    pub fn new(listener: &'a mut dyn FnMut(Event)) -> Self {
        Self { listener }
    }

    /// Does one step; its failure knows the step.
    pub fn step<T, E: Into<Cause>>(
        &mut self,
        step: Step,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, ApplyError> {
        (self.listener)(Event::Begin(step));
        let begin = Instant::now();
        match work() {
            Ok(value) => {
                (self.listener)(Event::End(step, begin.elapsed()));
                Ok(value)
            }
            Err(cause) => {
                (self.listener)(Event::Failed(step));
                Err(ApplyError::new(step, cause.into()))
            }
        }
    }

    /// Says something beside the steps.
    pub fn note(&mut self, note: Note) {
        (self.listener)(Event::Note(note));
    }
}
