//! The locked pid file: one daemon per tree.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use super::RunError;

/// Holds the lock; dropped, it names nobody and lets go. The file stays: removing it would race with the next holder.
#[derive(Debug)]
pub(super) struct PidFile(File);

impl Drop for PidFile {
    fn drop(&mut self) {
        // Only a process that is killed leaves its number behind.
        let _ = self.0.set_len(0);
    }
}

impl PidFile {
    /// Locks the file and writes this process into it. Errors: [`RunError::Running`] where another holds it.
    pub(super) fn take(path: &Path) -> Result<Self, RunError> {
        let failed = |source| RunError::PidFile { path: path.to_owned(), source };
        // Opened as root, in a directory that is not root's: neither a link is followed, nor another file's text lost.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let mut options = OpenOptions::new();
        let open = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(flags.bits())
            .open(path);
        let mut file = open.map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(failed(std::io::Error::other("it is no regular file of one link")));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(running(path, &mut file)),
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self(file))
    }
}

fn running(path: &Path, file: &mut File) -> RunError {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    RunError::Running { path: path.to_owned(), pid: text.trim().parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        std::fs::write(&path, "99999999 left behind\n").unwrap();
        let held = PidFile::take(&path).unwrap();
        match PidFile::take(&path) {
            Err(RunError::Running { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
            other => panic!("{other:?}"),
        }
        drop(held);
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        PidFile::take(&path).unwrap();
    }

    #[test]
    fn no_other_file_is_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "kept").unwrap();
        let (soft, hard) = (dir.path().join("soft"), dir.path().join("hard"));
        std::os::unix::fs::symlink(&victim, &soft).unwrap();
        assert!(PidFile::take(&soft).is_err());
        std::fs::hard_link(&victim, &hard).unwrap();
        assert!(PidFile::take(&hard).is_err());
        assert_eq!(std::fs::read(&victim).unwrap(), b"kept");
    }
}
