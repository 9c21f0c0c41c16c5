//! The two locks that programs take on an mbox: fcntl on the file, and the file with `.lock` behind its name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// The wait between two tries.
const STEP: Duration = Duration::from_millis(20);
/// A `.lock` file of this age was left behind by a program that died, as liblockfile takes it.
const STALE: Duration = Duration::from_secs(300);

/// Waits until the file is locked for writing, as long as it stays open. False: not before the deadline.
pub(super) fn lock_file(file: &File, deadline: Instant) -> io::Result<bool> {
    loop {
        // An open file description's lock stands against POSIX locks, and between threads too.
        match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file())) {
            Ok(_) => return Ok(true),
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) if Instant::now() < deadline => {
                std::thread::sleep(STEP);
            }
            Err(Errno::EAGAIN | Errno::EACCES | Errno::EINTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn whole_file() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 }
}

/// A `.lock` file; removed when dropped.
#[derive(Debug)]
pub(super) struct DotLock {
    /// None where the directory takes no files from us, as with a mailbox directory that is not ours.
    path: Option<PathBuf>,
}

impl DotLock {
    /// Waits until the `.lock` file is ours. None: not before the deadline.
    pub(super) fn take(mailbox: &Path, deadline: Instant) -> io::Result<Option<Self>> {
        let mut name = OsString::from(mailbox);
        name.push(".lock");
        let path = PathBuf::from(name);
        loop {
            match create(&path) {
                Ok(()) => return Ok(Some(Self { path: Some(path) })),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if is_not_ours(&error) => return Ok(Some(Self { path: None })),
                Err(error) => return Err(error),
            }
            if remove_stale(&path) {
                continue;
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(STEP);
        }
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    write!(file, "{}", std::process::id()).inspect_err(|_| {
        let _ = fs::remove_file(path);
    })
}

fn is_not_ours(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Whether a lock that nobody holds any more was removed.
fn remove_stale(path: &Path) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else { return false };
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(found.mtime()).unwrap_or(0));
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    age > STALE && fs::remove_file(path).is_ok()
}
