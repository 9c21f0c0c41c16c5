//! Mailboxes of this host: mbox files and Maildirs.
//!
//! Owns: the form in which a message lies in a mailbox, its locks, and what makes it durable there. May use files,
//! with the rights of whoever calls. Must not know users, privileges, a queue or a socket.

pub mod lmtp;
mod lock;
mod maildir;
mod mbox;
mod text;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::message::Timestamp;

pub use maildir::Maildir;
pub use mbox::Mbox;
pub use text::has_been_delivered_to;

/// What a mailbox records of the envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The reverse-path without brackets; empty for the null sender.
    pub sender: String,
    /// The recipient's address (`Delivered-To:`).
    pub delivered_to: String,
    /// When it is delivered.
    pub at: Timestamp,
}

/// Why a message does not lie in a mailbox. Nothing of it does, unless it is [`MailboxError::Torn`].
#[derive(Debug, thiserror::Error)]
pub enum MailboxError {
    /// Another program held the lock all the time.
    #[error("{} is locked", .path.display())]
    Locked {
        /// The mailbox.
        path: PathBuf,
    },
    /// A link, a directory, a file with several names or of a foreign owner.
    #[error("{} is {what}", .path.display())]
    Refused {
        /// The mailbox.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file operation failed.
    #[error("cannot {operation} {}: {source}", .path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What was written of it could not be taken back.
    #[error(
        "{} may end in half a message from octet {end} on, which could not be cut off ({source}): look at it; {why}",
        .path.display()
    )]
    Torn {
        /// The mailbox.
        path: PathBuf,
        /// Octets that it had before.
        end: u64,
        /// Why the message was not written.
        why: Box<MailboxError>,
        /// Why it could not be cut off.
        source: io::Error,
    },
    /// The message could not be read.
    #[error("the message could not be read: {0}")]
    Body(io::Error),
}

impl MailboxError {
    /// RFC 3463 status. Always temporary: the message waits until somebody has put the mailbox right.
    pub fn status(&self) -> &'static str {
        match self {
            MailboxError::File { source, .. } if is_full(source) => "4.2.2",
            MailboxError::Locked { .. } | MailboxError::Refused { .. } | MailboxError::File { .. } => "4.2.0",
            MailboxError::Body(_) => "4.3.0",
            MailboxError::Torn { why, .. } => why.status(),
        }
    }

    /// The same with the mailbox named below the directory that its path was relative to.
    pub fn below(mut self, directory: &Path) -> Self {
        match &mut self {
            MailboxError::Locked { path }
            | MailboxError::Refused { path, .. }
            | MailboxError::Torn { path, .. }
            | MailboxError::File { path, .. } => *path = directory.join(&path),
            MailboxError::Body(_) => {}
        }
        self
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Writes a message as a program is to read it: lines end in LF, a `From ` line in front, nothing quoted.
pub fn write_for_program(file: &mut File, facts: &Facts, body: &mut dyn Read) -> Result<(), MailboxError> {
    let form = text::Form::Program;
    mbox::copy(form, body, file, text::preamble(form, facts), Path::new("the message"))
}

/// Adds operation and path to an error.
fn at(operation: &'static str, path: &Path) -> impl Fn(io::Error) -> MailboxError {
    move |source| MailboxError::File { operation, path: path.to_owned(), source }
}

fn sync_directory(path: &Path) -> Result<(), MailboxError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::fs::File::open(path).and_then(|directory| directory.sync_all()).map_err(at("sync", path))
}

#[cfg(test)]
mod tests;
