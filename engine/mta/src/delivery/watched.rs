//! A body whose reader tells no faults of ours from the peer's: what went wrong with it is kept beside.
//!
//! Owns: the first fault. May use the spool. Must not know who reads, nor what is done about it.

use std::io;
use std::sync::{Arc, OnceLock};

use super::Body;
use crate::spool::{self, SpoolError};

/// Where the first fault of a message's bodies is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<OnceLock<SpoolError>>);

impl Watch {
    /// The message from its beginning, watched.
    pub(super) fn over(&self, body: &spool::Body) -> Watched {
        Watched { body: body.clone(), watch: self.clone() }
    }

    /// What went wrong.
    pub(super) fn fault(&self) -> Option<&SpoolError> {
        self.0.get()
    }
}

/// A body that is watched.
pub(super) struct Watched {
    body: spool::Body,
    watch: Watch,
}

impl Body for Watched {
    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.body.next_chunk().await {
            Ok(octets) => Ok(octets),
            Err(fault) => {
                let told = io::Error::other(fault.clone());
                let _ = self.watch.0.set(fault);
                Err(told)
            }
        }
    }
}
