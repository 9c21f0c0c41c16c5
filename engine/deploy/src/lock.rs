//! One apply at a time: an advisory lock on `var/lib/mailstack/lock`, and who holds it.

use std::fs::{self, File, OpenOptions};
use std::io::{Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::generation::Store;
use crate::generation::disk::{self, At, DiskError};

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// Since when, in seconds since 1970.
    pub since: u64,
}

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else has it.
    #[error("{} is locked", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who has it; None while it has not said so yet.
        holder: Option<Holder>,
    },
    /// This host's disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// The lock, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of a store; with `wait` blocks until it is free. Writes nothing to a lock file that is there:
    /// an apply that changes nothing leaves no trace.
    pub fn take(store: &Store, wait: bool) -> Result<Self, LockError> {
        disk::make_dirs(store.dir())?;
        let path = store.dir().join("lock");
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o644);
        let file = file.open(&path).at("open", &path)?;
        let how = if wait { FlockArg::LockExclusive } else { FlockArg::LockExclusiveNonblock };
        match Flock::lock(file, how) {
            Ok(file) => Ok(Self { file, path }),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                let holder = holder(&path);
                Err(LockError::Held { path, holder })
            }
            Err((_, error)) => Err(DiskError { operation: "lock", path, source: error.into() }.into()),
        }
    }

    /// Says in the lock file who holds it. Called before the first change.
    pub fn announce(&mut self) -> Result<(), DiskError> {
        let me = Holder {
            pid: std::process::id(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            since: crate::generation::seconds(SystemTime::now()),
        };
        #[expect(clippy::expect_used, reason = "numbers and a string always serialise")]
        let text = serde_json::to_string(&me).expect("a holder serialises") + "\n";
        self.file.set_len(0).at("write", &self.path)?;
        self.file.rewind().at("write", &self.path)?;
        self.file.write_all(text.as_bytes()).at("write", &self.path)
    }
}

/// Who holds the lock, as far as it has said so: what a process that is gone left there does not count.
fn holder(path: &Path) -> Option<Holder> {
    let holder: Holder = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    Path::new("/proc").join(holder.pid.to_string()).exists().then_some(holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_learns_who_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::below(root.path());
        let mut first = Lock::take(&store, false).unwrap();
        let unsaid = Lock::take(&store, false);
        assert!(matches!(unsaid, Err(LockError::Held { holder: None, .. })), "{unsaid:?}");
        first.announce().unwrap();
        match Lock::take(&store, false) {
            Err(LockError::Held { holder: Some(holder), .. }) => assert_eq!(holder.pid, std::process::id()),
            other => panic!("{other:?}"),
        }
        drop(first);
        Lock::take(&store, false).unwrap();
    }

    #[test]
    fn one_that_waits_gets_it_in_the_end() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::below(root.path());
        let first = Lock::take(&store, false).unwrap();
        let waiting = std::thread::spawn({
            let store = store.clone();
            move || Lock::take(&store, true).is_ok()
        });
        drop(first);
        assert!(waiting.join().unwrap());
    }

    #[test]
    fn taking_it_writes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::below(root.path());
        drop(Lock::take(&store, false).unwrap());
        let before = fs::metadata(store.dir().join("lock")).unwrap().modified().unwrap();
        drop(Lock::take(&store, false).unwrap());
        assert_eq!(fs::metadata(store.dir().join("lock")).unwrap().modified().unwrap(), before);
    }
}
