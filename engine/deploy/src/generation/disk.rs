//! The door to the host's files for this crate: explicit modes, and a file is synced with the directory it is in.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::generate::LINK;

/// Something on this host's disk could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}", path.display())]
pub struct DiskError {
    /// What was tried, as a verb.
    pub operation: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

/// Puts the operation and the path to an error of the system.
pub(crate) trait At<T> {
    /// The result with what was tried, and on what.
    fn at(self, operation: &'static str, path: &Path) -> Result<T, DiskError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError { operation, path: path.to_owned(), source })
    }
}

impl<T> At<T> for nix::Result<T> {
    fn at(self, operation: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(io::Error::from).at(operation, path)
    }
}

/// Writes a file that is not there yet, with exactly this mode whatever the umask, and syncs it. With the mode of a link
/// it is one, to where the octets say.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    if mode == LINK {
        let target = Path::new(OsStr::from_bytes(bytes));
        return symlink(target, path).at("make the link", path);
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).at("create", path)?;
    file.write_all(bytes).at("write", path)?;
    file.set_permissions(Permissions::from_mode(mode)).at("set the mode of", path)?;
    file.sync_all().at("sync", path)
}

/// The octets of a file, or of a link where it leads.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::symlink_metadata(path)?.is_symlink() {
        true => Ok(fs::read_link(path)?.into_os_string().into_vec()),
        false => fs::read(path),
    }
}

/// Makes a directory and its parents where they are missing; those made have mode 0755 whatever the umask.
pub(crate) fn make_dirs(path: &Path) -> Result<(), DiskError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.at("make the directory", path)?,
    }
    set_mode(path, 0o755)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Sets the mode, bits above 0777 included.
pub(crate) fn set_mode(path: &Path, mode: u32) -> Result<(), DiskError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).at("set the mode of", path)
}

/// Syncs a directory: what was created, renamed or removed in it survives a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<(), DiskError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).at("open", path)?.sync_all().at("sync", path)
}

/// Syncs every directory of a tree.
pub(crate) fn sync_tree(path: &Path) -> Result<(), DiskError> {
    for entry in fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?;
        if entry.file_type().at("look at", path)?.is_dir() {
            sync_tree(&entry.path())?;
        }
    }
    sync_dir(path)
}

/// Renames, and syncs the directory of the new name.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), DiskError> {
    fs::rename(from, to).at("rename into place", to)?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// Makes `link` point to `target` in one step, whatever it pointed to before.
pub(crate) fn point(link: &Path, target: &Path) -> Result<(), DiskError> {
    let mut fresh = link.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    remove(&fresh)?;
    symlink(target, &fresh).at("make the link", &fresh)?;
    rename(&fresh, link)
}

/// Exchanges two directories in one step.
pub(crate) fn exchange(one: &Path, other: &Path) -> Result<(), DiskError> {
    let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
    nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, one, nix::fcntl::AT_FDCWD, other, flags)
        .at("exchange", other)?;
    other.parent().map_or(Ok(()), sync_dir)
}

/// Removes whatever is there, a directory with all below it; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), DiskError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at("remove", path),
    }
}
