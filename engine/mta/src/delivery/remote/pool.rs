//! Connections that wait for another message to the same destination.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use crate::queue::Destination;

/// How long a connection waits.
const IDLE: Duration = Duration::from_secs(2);
/// Connections that wait, over all destinations.
const MAX_IDLE: usize = 64;
/// Transactions over one connection.
const MAX_USES: u32 = 1000;

/// The connections that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool(Arc<Mutex<Idle>>);

#[derive(Debug, Default)]
struct Idle {
    /// The one that waits longest comes first.
    by_destination: BTreeMap<Destination, Vec<(Instant, Box<Connection>)>>,
    count: usize,
    /// A task looks after them.
    is_swept: bool,
}

impl Pool {
    /// A connection to the destination; it may have been closed by the peer in the meantime.
    pub(super) fn take(&self, destination: &Destination) -> Option<Box<Connection>> {
        self.lock().take(destination)
    }

    /// Keeps a connection for a while, then says QUIT. One too many says it at once.
    pub(super) async fn put(&self, destination: Destination, connection: Box<Connection>) {
        let kept = if connection.used < MAX_USES {
            self.lock().insert(&destination, connection)
        } else {
            Err(connection)
        };
        match kept {
            Ok(true) => drop(tokio::spawn(sweep(Arc::downgrade(&self.0)))),
            Ok(false) => {}
            Err(connection) => connection.quit().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes leave of the connections that waited too long, until none waits: one task for all of them.
async fn sweep(idle: Weak<Mutex<Idle>>) {
    loop {
        tokio::time::sleep(IDLE / 4).await;
        let Some(idle) = idle.upgrade() else { return };
        let (expired, is_over) = {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            let expired = idle.expired(Instant::now());
            idle.is_swept = idle.count > 0;
            (expired, !idle.is_swept)
        };
        for connection in expired {
            tokio::spawn(connection.quit());
        }
        if is_over {
            return;
        }
    }
}

impl Idle {
    /// Returns whether somebody has to look after them from now on.
    fn insert(
        &mut self,
        destination: &Destination,
        connection: Box<Connection>,
    ) -> Result<bool, Box<Connection>> {
        if self.count >= MAX_IDLE {
            return Err(connection);
        }
        self.count += 1;
        let waiting = (Instant::now(), connection);
        match self.by_destination.get_mut(destination) {
            Some(others) => others.push(waiting),
            None => drop(self.by_destination.insert(destination.clone(), vec![waiting])),
        }
        Ok(!std::mem::replace(&mut self.is_swept, true))
    }

    /// Removes the last one that was put in.
    fn take(&mut self, destination: &Destination) -> Option<Box<Connection>> {
        let (_, connection) = self.by_destination.get_mut(destination)?.pop()?;
        self.count -= 1;
        Some(connection)
    }

    /// Removes those that waited too long.
    #[expect(clippy::vec_box, reason = "a connection stays in the box that it came in")]
    fn expired(&mut self, now: Instant) -> Vec<Box<Connection>> {
        let mut expired = Vec::new();
        for waiting in self.by_destination.values_mut() {
            let fresh = waiting.iter().position(|(since, _)| now.duration_since(*since) < IDLE);
            let gone = waiting.drain(..fresh.unwrap_or(waiting.len()));
            expired.extend(gone.map(|(_, connection)| connection));
        }
        self.by_destination.retain(|_, waiting| !waiting.is_empty());
        self.count -= expired.len();
        expired
    }
}
