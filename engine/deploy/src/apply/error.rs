//! Why an apply failed, and in which state it left the host.

use std::error::Error;
use std::path::PathBuf;

use super::{Discrepancy, Obstacle, Queued, Step};
use crate::activation::ActivationError;
use crate::generation::disk::DiskError;
use crate::generation::{Digest, Drift, StoreError};
use crate::lock::LockError;

/// What went wrong in a step.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Somebody else applies.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store of generations.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// This host's disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A generation that was changed on disk is not made live.
    #[error("generation {} was changed on disk", generation.short())]
    Drifted {
        /// Which.
        generation: Digest,
        /// How.
        drift: Vec<Drift>,
    },
    /// Another tool says what is live on this host.
    #[error("what is live on this host is not this command's to change")]
    Foreign {
        /// The generation that it keeps.
        place: PathBuf,
    },
    /// The files could not be made.
    #[error("the generation cannot be made")]
    Build(#[source] Box<dyn Error + Send + Sync>),
    /// A generation whose MTA configuration this mailstack does not read.
    #[error("the MTA's configuration in the generation cannot be read")]
    Config(#[source] Box<dyn Error + Send + Sync>),
    /// Something is on the host already.
    #[error("something on this host is in the way")]
    Obstacles(Vec<Obstacle>),
    /// Mail waits that nobody would deliver any more.
    #[error("mail waits in mailstack's queue")]
    QueueStays(Queued),
    /// The candidate does not do what its role promises.
    #[error("the generation does not do what its role promises")]
    Unproven(#[source] Box<dyn Error + Send + Sync>),
    /// Starting or stopping.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// What runs is not what was declared.
    #[error("what runs is not what was declared")]
    Discrepancies(Vec<Discrepancy>),
}

/// What an apply that failed left behind.
#[derive(Debug)]
pub enum Undone {
    /// It failed before anything that runs was touched.
    NotNeeded,
    /// The generation before is live again; None: nothing is, as before.
    To(Option<Digest>),
    /// Going back failed too.
    Failed {
        /// Where to; None: to nothing.
        to: Option<Digest>,
        /// Why.
        error: Box<ApplyError>,
    },
}

/// An apply failed.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct ApplyError {
    /// In which step.
    pub step: Step,
    /// Why.
    #[source]
    pub cause: Cause,
    /// In which state the host is now.
    pub undone: Undone,
}

impl ApplyError {
    /// A failure of a step that changed nothing that runs.
    pub(super) fn new(step: Step, cause: Cause) -> Self {
        Self { step, cause, undone: Undone::NotNeeded }
    }
}
