//! Why an export or an import was not made.

use std::io;
use std::path::{Path, PathBuf};

use super::super::error::SpoolError;

/// The most faults that are told at once.
pub(super) const MAX_FAULTS: usize = 50;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The spool cannot be used.
    #[error("cannot use the queue in {}", path.display())]
    Spool {
        /// Its directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: SpoolError,
    },
    /// A file of the export cannot be used.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An export needs a directory of its own.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The export is not what an export must be; nothing was taken in.
    #[error("{} is no export that can be taken in: nothing was", path.display())]
    Malformed {
        /// The directory.
        path: PathBuf,
        /// What is wrong, the first of them.
        faults: Vec<Fault>,
        /// How many there are.
        count: usize,
    },
    /// It was taken into another queue.
    #[error("{} was imported before, into another queue", path.display())]
    Elsewhere {
        /// The directory.
        path: PathBuf,
    },
}

/// Something that is wrong with a file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name.
    pub file: String,
    /// Line and column from 1, where it is in one place.
    pub place: Option<(usize, usize)>,
    /// What.
    pub reason: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.place {
            Some((line, column)) => write!(f, "{}:{line}:{column}: {}", self.file, self.reason),
            None => write!(f, "{}: {}", self.file, self.reason),
        }
    }
}

impl TransferError {
    pub(super) fn file(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { operation, path: path.to_owned(), source }
    }

    pub(super) fn spool(path: &Path, source: SpoolError) -> Self {
        Self::Spool { path: path.to_owned(), source }
    }
}
