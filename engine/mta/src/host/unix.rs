//! Unix sockets at paths of any length.
//!
//! The kernel takes 107 octets of path. A longer one is reached through its directory's descriptor:
//! `/proc/self/fd/N/NAME`.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// The longest path that `sockaddr_un` holds with its closing NUL.
const LONGEST: usize = 107;

/// Binds a listening socket with the permissions `mode`. A socket that nobody serves any more is replaced. Errors:
/// `AddrInUse` where somebody serves it, `AlreadyExists` where something else lies there, and the kernel's.
///
/// It is bound beside its place as `NAME.new` and renamed, for nobody may find it with the permissions of the umask.
pub fn bind(path: &Path, mode: u32) -> io::Result<UnixListener> {
    clear(path)?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    clear(&beside)?;
    let listener = at(&beside, |path| UnixListener::bind(path))?;
    std::fs::set_permissions(&beside, Permissions::from_mode(mode))?;
    std::fs::rename(&beside, path)?;
    Ok(listener)
}

/// Connects to the socket. Errors: `NotFound` and `ConnectionRefused` where nobody serves it.
pub fn connect(path: &Path) -> io::Result<UnixStream> {
    at(path, |path| UnixStream::connect(path))
}

fn clear(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(meta) if !meta.file_type().is_socket() => Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) => match connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(_) => std::fs::remove_file(path),
        },
    }
}

fn at<T>(path: &Path, act: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST {
        return act(path);
    }
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let name = path.file_name().ok_or_else(invalid)?;
    let directory = open_directory(path.parent().ok_or_else(invalid)?)?;
    act(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

/// Opened as a place only: a directory that may be passed through need not be readable.
fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binds_and_connects_at_any_length() {
        let dir = tempfile::tempdir().unwrap();
        for parts in [1, 12] {
            let deep = (0..parts).fold(dir.path().to_owned(), |path, _| path.join("a-long-directory"));
            std::fs::create_dir_all(&deep).unwrap();
            let path = deep.join("submit.sock");
            let listener = bind(&path, 0o666).unwrap();
            let client = connect(&path).unwrap();
            assert_eq!(bind(&path, 0o666).unwrap_err().kind(), io::ErrorKind::AddrInUse);
            drop((listener, client));
            assert_eq!(connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            bind(&path, 0o600).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn nobody_sees_other_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("submit.sock");
        let seen = std::thread::scope(|scope| {
            let watched = scope.spawn(|| {
                loop {
                    if let Ok(meta) = std::fs::symlink_metadata(&path) {
                        return meta.permissions().mode() & 0o777;
                    }
                }
            });
            // Time for the other thread to look again and again.
            std::thread::yield_now();
            let listener = bind(&path, 0o601).unwrap();
            let seen = watched.join().unwrap();
            drop(listener);
            seen
        });
        assert_eq!(seen, 0o601);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "kept").unwrap();
        assert_eq!(bind(&path, 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(path.exists());
    }
}
