//! How many sessions there are, in all and of each client.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts sessions against two limits.
#[derive(Debug)]
pub(crate) struct Connections<K> {
    counts: Mutex<Counts<K>>,
    all: u32,
    per_client: u32,
    idle: Notify,
}

#[derive(Debug)]
struct Counts<K> {
    all: u32,
    clients: HashMap<K, u32>,
}

/// The right to one session; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot<K: Eq + Hash> {
    connections: Arc<Connections<K>>,
    client: K,
}

impl<K: Eq + Hash + Clone> Connections<K> {
    /// At most `all` sessions, and `per_client` of one client.
    pub(crate) fn new(all: u32, per_client: u32) -> Arc<Self> {
        let counts = Mutex::new(Counts { all: 0, clients: HashMap::new() });
        Arc::new(Self { counts, all, per_client, idle: Notify::new() })
    }

    /// Admits one more session of this client, or None over a limit.
    pub(crate) fn admit(self: &Arc<Self>, client: K) -> Option<Slot<K>> {
        let mut counts = self.counts();
        let of_client = counts.clients.get(&client).copied().unwrap_or(0);
        if counts.all >= self.all || of_client >= self.per_client {
            return None;
        }
        counts.all += 1;
        counts.clients.insert(client.clone(), of_client + 1);
        Some(Slot { connections: Arc::clone(self), client })
    }
}

impl<K> Connections<K> {
    /// Sessions at this moment.
    pub(super) fn count(&self) -> u32 {
        self.counts().all
    }

    /// Waits until there is no session.
    pub(super) async fn none(&self) {
        loop {
            let changed = self.idle.notified();
            if self.count() == 0 {
                return;
            }
            changed.await;
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts<K>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Slot<K> {
    /// Sessions of the same client at this moment.
    pub(super) fn of_client(&self) -> u32 {
        self.connections.counts().clients.get(&self.client).copied().unwrap_or(0)
    }
}

impl<K: Eq + Hash> Drop for Slot<K> {
    fn drop(&mut self) {
        let mut counts = self.connections.counts();
        counts.all -= 1;
        if let Some(of_client) = counts.clients.get_mut(&self.client) {
            *of_client -= 1;
            if *of_client == 0 {
                counts.clients.remove(&self.client);
            }
        }
        if counts.all == 0 {
            self.connections.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_slots_come_back() {
        let connections = Connections::new(3, 2);
        let first = connections.admit("a").unwrap();
        let second = connections.admit("a").unwrap();
        assert!(connections.admit("a").is_none());
        let third = connections.admit("b").unwrap();
        assert!(connections.admit("c").is_none());
        drop(first);
        assert!(connections.admit("c").is_some());
        drop((second, third));
        assert_eq!(connections.count(), 0);
        assert!(connections.counts().clients.is_empty());
    }
}
