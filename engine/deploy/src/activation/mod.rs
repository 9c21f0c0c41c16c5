//! What runs: starting, stopping and looking at the MTA of a host.
//!
//! Owns processes and units. Must not know what a configuration says, but for the places that it names.

mod daemon;
mod engines;
pub mod sockets;
mod systemd;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

pub use daemon::{Daemon, LOG, Places};
pub use engines::Engines;
pub(crate) use systemd::systemctl;
pub use systemd::{Systemd, is_running as systemd_is_running};

use crate::generation::disk::DiskError;

/// How long an MTA has to be ready once it is started.
pub const START_DEADLINE: Duration = Duration::from_secs(20);
/// How long an MTA has to end once it is asked to.
pub const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// An MTA that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its process id. None: it has nothing to do, and init starts it for the first who hands mail in.
    pub pid: Option<u32>,
}

/// The MTA could not be started, stopped or looked at.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    /// This host's disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A program of this host did not do what it was asked for.
    #[error("{command} failed: {said}")]
    Command {
        /// Its command line.
        command: String,
        /// What it wrote on standard error.
        said: String,
    },
    /// A program could not be run, or a process not be signalled.
    #[error("cannot {operation}")]
    Process {
        /// What was tried.
        operation: String,
        /// What the system said.
        source: io::Error,
    },
    /// The MTA ended before it was ready.
    #[error("the MTA ended before it was ready ({status}){}", said(.log))]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        log: String,
    },
    /// The MTA runs and does not get ready.
    #[error("the MTA (process {pid}) is not ready after {} s: {missing}{}", START_DEADLINE.as_secs(), said(.log))]
    NotReady {
        /// Its process id.
        pid: u32,
        /// What is missing.
        missing: String,
        /// What it said last.
        log: String,
    },
    /// The MTA was asked to end and goes on. It is not killed: it may be in the middle of a message.
    #[error("the MTA (process {pid}) still runs {} s after it was asked to end", STOP_DEADLINE.as_secs())]
    StillRuns {
        /// Its process id.
        pid: u32,
    },
    /// The log of the MTA.
    #[error("the log {} cannot be opened", path.display())]
    Log {
        /// Its place.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; it said: {log}") }
}

/// Starts and stops the MTA of a host. Each function can be called again after it was cut short.
pub trait Activator {
    /// Makes the users that a generation, which lies here, needs; false where that is the administrator's work.
    fn make_users(&self, generation: Option<&Path>) -> Result<bool, ActivationError> {
        let _ = generation;
        Ok(false)
    }

    /// What runs now.
    fn running(&self) -> Result<Option<Running>, ActivationError>;

    /// Ends what runs and waits for its end; nothing running is fine.
    fn stop(&self) -> Result<(), ActivationError>;

    /// Starts the MTA with the generation that is live and waits until it is ready.
    fn start(&self) -> Result<Running, ActivationError>;

    /// Takes back what makes the MTA start with the host, once it has ended: nothing is live any more.
    fn withdraw(&self) -> Result<(), ActivationError> {
        Ok(())
    }
}
