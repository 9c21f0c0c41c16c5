//! The name of a client, while it is looked up and when it is known.

use std::sync::OnceLock;

use tokio::sync::Notify;

use crate::dns::{NameFault, Reverse};

/// What the name service says of a client's address (`{client_resolve}`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// It has a name.
    As(Reverse),
    /// It has none.
    Not,
    /// The name service does not answer.
    Unknown,
}

impl From<Result<Option<Reverse>, NameFault>> for Named {
    fn from(found: Result<Option<Reverse>, NameFault>) -> Self {
        match found {
            Ok(Some(reverse)) => Named::As(reverse),
            Ok(None) => Named::Not,
            Err(NameFault) => Named::Unknown,
        }
    }
}

/// The look-up of one client's name. It is always ended by whoever began it.
#[derive(Debug, Default)]
pub(super) struct Naming {
    found: OnceLock<Named>,
    ended: Notify,
}

impl Naming {
    /// Ends the look-up.
    pub(super) fn end(&self, found: Named) {
        let _ = self.found.set(found);
        self.ended.notify_waiters();
    }

    /// The name so far; None: not known yet, or there is none.
    pub(super) fn reverse(&self) -> Option<&Reverse> {
        match self.found.get() {
            Some(Named::As(reverse)) => Some(reverse),
            _ => None,
        }
    }

    /// What is found, once that is known.
    pub(super) async fn wait(&self) -> Named {
        loop {
            let ended = self.ended.notified();
            if let Some(found) = self.found.get() {
                return found.clone();
            }
            ended.await;
        }
    }
}
