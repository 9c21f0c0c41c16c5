//! The real daemon under load: what is sent to it, what arrives at its next hop, and whether the account balances.

pub mod account;
pub mod daemon;
mod endurance;
mod kill;
pub mod sender;
pub mod sink;

use std::time::{Duration, Instant};

/// The longest that anything here may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A small generator of repeatable chance (xorshift64*).
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
