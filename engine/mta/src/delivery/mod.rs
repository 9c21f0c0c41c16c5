//! Where queued messages go: over SMTP, or into the mailboxes of this host.

use std::future::Future;
use std::io;

use crate::spool;

pub mod helper;
mod lists;
pub mod local;
mod manager;
mod notice;
mod orders;
pub mod remote;
mod watched;

pub use manager::{Context, run};

/// The octets of a message, read in pieces from the front.
pub trait Body: Send {
    /// The next octets, or None at the end.
    fn chunk(&mut self) -> impl Future<Output = io::Result<Option<Vec<u8>>>> + Send;
}

impl Body for spool::Body {
    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.next_chunk().await.map_err(io::Error::other)
    }
}

impl Body for &[u8] {
    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let whole = std::mem::take(self);
        Ok(Some(whole.to_vec()).filter(|octets| !octets.is_empty()))
    }
}
