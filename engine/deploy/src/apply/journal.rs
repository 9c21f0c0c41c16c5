//! The steps of an apply, and what is said while they are done.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::{ApplyError, Cause, Queued};
use crate::others::Queue;

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
    /// Have another MTA deliver what is in its queue.
    Drain,
    /// Note how the host is, and copy what will be replaced.
    Keep,
    /// Stop another MTA, and keep it from starting.
    TakeOver,
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
    /// Take away what leads to a generation.
    Withdraw,
    /// Give the host back to the MTA that it had.
    GiveBack,
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
    /// What is left in the queues of another MTA, while it empties them.
    Draining(Vec<Queue>),
    /// Mail that stays in the queues of another MTA, where nobody delivers it.
    Left(Vec<Queue>),
    /// Something of another MTA was kept from starting, and ended.
    Stopped {
        /// Its unit, script or command.
        name: String,
    },
    /// Something of another MTA may start again.
    Started {
        /// Its unit, script or command.
        name: String,
        /// Whether it was started.
        started: bool,
    },
    /// A process of another MTA that no unit and no script starts.
    Orphan {
        /// Its command.
        command: String,
    },
    /// A file is neither mailstack's nor what was kept, and stays.
    Stays {
        /// Its place.
        path: PathBuf,
    },
    /// Mail that stays in the queue of mailstack's MTA, where nobody delivers it.
    QueueStays(Queued),
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
        self.told(step, |_| work())
    }

    /// Does one step that has something to say meanwhile.
    pub fn told<T, E: Into<Cause>>(
        &mut self,
        step: Step,
        work: impl FnOnce(&mut dyn FnMut(Note)) -> Result<T, E>,
    ) -> Result<T, ApplyError> {
        (self.listener)(Event::Begin(step));
        let begin = Instant::now();
        match work(&mut |note| (self.listener)(Event::Note(note))) {
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
