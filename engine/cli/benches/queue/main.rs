//! What a long queue costs, and what shared syncs give, measured with the real program and the real disk.
//!
//! `cargo bench -p mailstack --bench queue -- million [MESSAGES]`: restart to first delivery, `queue list --limit 50`,
//! memory. `… -- linear [MESSAGES]`: the rate with a long queue for a dead destination beside that of an empty one.
//! `… -- group`: the rate of one and of twenty sessions while a sync takes five milliseconds.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made fails by panicking")]

mod backlog;
mod group;
mod linear;
mod million;

#[path = "../../../mta/src/spool/tests/hooked.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod hooked;

#[path = "../../tests/it/host.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod host;

#[expect(dead_code, reason = "the tests use more of it")]
mod load;

use mailstack_mta::spool::{Disk, DiskFile};

fn main() {
    // Cargo hands its own flags on.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let count = |default: u64| words.get(1).map_or(default, |text| text.parse().unwrap());
    match words.first().map(String::as_str) {
        Some("million") => million::measure(count(1_000_000)),
        Some("linear") => linear::measure(count(100_000)),
        Some("group") => group::measure(),
        _ => println!("usage: cargo bench -p mailstack --bench queue -- million [N] | linear [N] | group"),
    }
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
