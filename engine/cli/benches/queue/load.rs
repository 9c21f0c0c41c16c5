//! What the tests put the daemon under load with.

use std::time::{Duration, Instant};

#[path = "../../tests/it/load/daemon.rs"]
pub mod daemon;
#[path = "../../tests/it/load/sender.rs"]
pub mod sender;
#[path = "../../tests/it/load/sink.rs"]
pub mod sink;

/// Waits until something is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(300), "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
