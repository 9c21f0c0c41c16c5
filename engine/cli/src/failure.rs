//! All that a command can fail with, as types; the words are elsewhere.

use std::io;
use std::path::PathBuf;

use mailstack_deploy::activation::ActivationError;
use mailstack_deploy::apply::{ApplyError, Cause};
use mailstack_deploy::build::BuildError;
use mailstack_deploy::generation::StoreError;
use mailstack_mta::control::ControlError;
use mailstack_mta::run::RunError;
use mailstack_mta::secrets::BadUser;
use mailstack_mta::spool::transfer::TransferError;

use crate::declaration::{Declaration, Invalid};

/// A command failed.
#[derive(Debug)]
pub enum Failure {
    /// Declarations are wrong.
    Declaration(Box<Invalid>),
    /// A declaration's own expectations are not met.
    Unmet(Box<Declaration>),
    /// What tools of the host derive cannot be made.
    Build(BuildError),
    /// An apply or a rollback.
    Apply(Box<ApplyError>),
    /// Something that an apply does, on its own.
    Cause(Box<Cause>),
    /// The store of generations.
    Store(StoreError),
    /// What runs.
    Activation(ActivationError),
    /// The running MTA did not answer.
    Control(ControlError),
    /// The queue as it lies on the disk.
    Transfer(Box<TransferError>),
    /// The MTA did not run.
    Run(Box<RunError>),
    /// A queue of the host's Sendmail cannot be read.
    Queue {
        /// Its directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The host's Sendmail runs the role, and this is not done with its queue.
    NotOfSendmail {
        /// What is not done.
        what: &'static str,
    },
    /// What is said on standard input, or how much of it, cannot be followed.
    Named {
        /// What is wrong.
        text: String,
    },
    /// A part of the host's Sendmail did not start.
    Part {
        /// Why.
        source: io::Error,
    },
    /// No generation was ever live here.
    Nothing {
        /// The root.
        root: PathBuf,
    },
    /// `--root` names nothing that can stand for `/`.
    Root {
        /// What it names.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A user or a password that cannot be kept.
    User(BadUser),
    /// Standard input cannot be read.
    Input(io::Error),
    /// The certificate or its key cannot be used.
    Secret(Box<mailstack_mta::secrets::SecretError>),
    /// A file that was named cannot be written.
    Written {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Standard output is closed or full.
    Output(io::Error),
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Declaration(Box::new(invalid))
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        Self::Apply(Box::new(error))
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::Cause(Box::new(cause))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ActivationError> for Failure {
    fn from(error: ActivationError) -> Self {
        Self::Activation(error)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        Self::Transfer(Box::new(error))
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        Self::Run(Box::new(error))
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
