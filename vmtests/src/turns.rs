//! Runs that would meet on this machine take turns: the addresses, names and trees that they use are the same in each.

use std::fs::{File, TryLockError};
use std::io;

/// Waits until no other run of this kind is under way, aloud; it is over when the file is dropped. Errors: the disk's.
pub fn take(kind: &str) -> io::Result<File> {
    let file = File::create(std::env::temp_dir().join(format!("{kind}.lock")))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => eprintln!("mailstack-vmtests: waits until another run has ended"),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_later_waits() {
        let kind = format!("mailstack-turns-{}", std::process::id());
        let first = take(&kind).unwrap();
        let later = std::thread::spawn({
            let kind = kind.clone();
            move || take(&kind).map(drop)
        });
        // The lock is held until the other thread was seen to wait for it.
        let waits = || {
            let locks = std::fs::read_to_string("/proc/locks").unwrap();
            locks.lines().any(|line| line.contains("->") && line.contains(&std::process::id().to_string()))
        };
        let begun = std::time::Instant::now();
        while !waits() {
            assert!(begun.elapsed().as_secs() < 20 && !later.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        drop(first);
        later.join().unwrap().unwrap();
        std::fs::remove_file(std::env::temp_dir().join(format!("{kind}.lock"))).unwrap();
    }
}
