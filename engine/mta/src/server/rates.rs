//! How often clients connect: each of them within a minute, all of them within a second.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The time over which the connections of one client are counted (`ConnectionRateWindowSize`).
const WINDOW: Duration = Duration::from_secs(60);
/// The parts that the window moves on by.
const PARTS: usize = 6;
/// The most clients that are counted; beyond it those that have been silent are forgotten.
const MOST: usize = 20_000;

/// Counts the connections of each client.
#[derive(Debug)]
pub(super) struct Rates<K> {
    begun: Instant,
    clients: Mutex<HashMap<K, Recent>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    /// The last part of the window in which the client came.
    last: u64,
    counts: [u32; PARTS],
}

impl Recent {
    fn move_to(&mut self, part: u64) {
        for passed in (self.last + 1)..=part.min(self.last + PARTS as u64) {
            self.counts[passed as usize % PARTS] = 0;
        }
        self.last = part;
    }
}

impl<K: Eq + Hash> Rates<K> {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), clients: Mutex::new(HashMap::new()) }
    }

    /// Counts one more connection; returns how many there were within the window.
    pub(super) fn count(&self, client: K) -> u32 {
        let part = self.begun.elapsed().as_secs() / (WINDOW.as_secs() / PARTS as u64);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MOST {
            clients.retain(|_, recent| recent.last + PARTS as u64 > part);
        }
        if clients.len() >= MOST {
            // So many at once are an attack: nobody's count is worth the memory.
            clients.clear();
        }
        let recent = clients.entry(client).or_insert(Recent { last: part, counts: [0; PARTS] });
        recent.move_to(part);
        let slot = &mut recent.counts[part as usize % PARTS];
        *slot = slot.saturating_add(1);
        recent.counts.iter().sum()
    }
}

/// Spreads the connections of all clients over time (`ConnectionRateThrottle`): what is over waits.
#[derive(Debug)]
pub(super) struct Throttle {
    each: u32,
    second: Instant,
    taken: u32,
}

impl Throttle {
    /// At most `each` a second; 0: no limit.
    pub(super) fn new(each: u32) -> Self {
        Self { each, second: Instant::now(), taken: 0 }
    }

    /// Waits until one more may be taken.
    pub(super) async fn pass(&mut self) {
        if self.each == 0 {
            return;
        }
        if self.second.elapsed() >= Duration::from_secs(1) {
            (self.second, self.taken) = (Instant::now(), 0);
        }
        if self.taken >= self.each {
            tokio::time::sleep_until(self.second + Duration::from_secs(1)).await;
            (self.second, self.taken) = (Instant::now(), 0);
        }
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_is_counted_and_then_forgotten() {
        let rates = Rates::new();
        assert_eq!([rates.count("a"), rates.count("a"), rates.count("b")], [1, 2, 1]);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(rates.count("a"), 3);
        tokio::time::advance(Duration::from_secs(35)).await;
        assert_eq!(rates.count("a"), 2, "the first two are over a minute old");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(rates.count("a"), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_the_rate_waits() {
        let (mut throttle, begun) = (Throttle::new(2), Instant::now());
        for _ in 0..5 {
            throttle.pass().await;
        }
        assert_eq!(begun.elapsed().as_secs(), 2);
    }
}
