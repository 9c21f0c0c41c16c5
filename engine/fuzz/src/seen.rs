//! What an input came to, as a target tells it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The most things that one input is kept for: an endless session is not endlessly new.
const MOST: usize = 4096;

thread_local! {
    static SEEN: RefCell<HashSet<u64>> = RefCell::default();
}

/// Tells that the input has come to this. Costs nothing but memory where nobody asks.
pub fn note(what: impl Hash) {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    SEEN.with_borrow_mut(|seen| {
        if seen.len() < MOST {
            seen.insert(hasher.finish());
        }
    });
}

/// What this thread was told since it was last asked.
pub(crate) fn take() -> HashSet<u64> {
    SEEN.take()
}
