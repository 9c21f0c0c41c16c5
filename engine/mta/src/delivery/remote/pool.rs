//! Connections that wait for another message to the same destination.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

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
    by_destination: BTreeMap<Destination, Vec<(u64, Box<Connection>)>>,
    count: usize,
    next: u64,
}

impl Pool {
    /// A connection to the destination; it may have been closed by the peer in the meantime.
    pub(super) fn take(&self, destination: &Destination) -> Option<Box<Connection>> {
        self.lock().remove(destination, None)
    }

    /// Keeps a connection for a while, then says QUIT. One too many says it at once.
    pub(super) async fn put(&self, destination: Destination, connection: Box<Connection>) {
        let kept = if connection.used < MAX_USES {
            self.lock().insert(&destination, connection)
        } else {
            Err(connection)
        };
        match kept {
            Ok(number) => {
                tokio::spawn(expire(Arc::downgrade(&self.0), destination, number));
            }
            Err(connection) => connection.quit().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn expire(idle: Weak<Mutex<Idle>>, destination: Destination, number: u64) {
    tokio::time::sleep(IDLE).await;
    let Some(idle) = idle.upgrade() else { return };
    let expired = idle.lock().unwrap_or_else(PoisonError::into_inner).remove(&destination, Some(number));
    if let Some(connection) = expired {
        connection.quit().await;
    }
}

impl Idle {
    fn insert(
        &mut self,
        destination: &Destination,
        connection: Box<Connection>,
    ) -> Result<u64, Box<Connection>> {
        if self.count >= MAX_IDLE {
            return Err(connection);
        }
        self.count += 1;
        self.next += 1;
        self.by_destination.entry(destination.clone()).or_default().push((self.next, connection));
        Ok(self.next)
    }

    /// Removes the connection of that number, or the last one that was put in.
    fn remove(&mut self, destination: &Destination, number: Option<u64>) -> Option<Box<Connection>> {
        let waiting = self.by_destination.get_mut(destination)?;
        let at = match number {
            Some(number) => waiting.iter().position(|(found, _)| *found == number)?,
            None => waiting.len().checked_sub(1)?,
        };
        let (_, connection) = waiting.remove(at);
        if waiting.is_empty() {
            self.by_destination.remove(destination);
        }
        self.count -= 1;
        Some(connection)
    }
}
