//! Whom the daemon runs as, and the directories that it needs.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use mailstack_runtime::{Config, Paths};
use nix::fcntl::OFlag;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::RunError;
use crate::event::Events;
use crate::host::{Root, Users, group};

/// The user that a daemon started by root becomes.
pub const USER: &str = "mailstack";

/// Descriptors beside those of sessions: spool, deliveries, the name service, the runtime.
const RESERVED_FILES: u64 = 256;

/// Whom the daemon runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Whoever started it.
    Own,
    /// Started by root, it becomes this user.
    Becomes { uid: u32, gid: u32 },
}

impl Identity {
    /// Decides it. Errors: started by root, and there is no such user, or it is root again.
    pub(super) fn find(root: &Root, user: &str) -> Result<Self, RunError> {
        if !geteuid().is_root() {
            return Ok(Identity::Own);
        }
        let missing = || RunError::NoUser { user: user.to_owned(), passwd: root.etc("passwd") };
        let failed = |source| RunError::Users { path: root.etc("passwd"), source };
        let found = Users::of(root).by_name(user).map_err(failed)?.ok_or_else(missing)?;
        if found.uid == 0 {
            return Err(missing());
        }
        let gid = group(root, user).ok().flatten().map_or(found.gid, |group| group.gid);
        Ok(Identity::Becomes { uid: found.uid, gid })
    }

    /// Gives up root, for good: real, effective and saved ids, all groups.
    ///
    /// Whoever it is, it gives up its capabilities (systemd may have given some for the helper and the ports) and
    /// what set-user-id programs would give.
    pub(super) fn assume(self) -> Result<(), RunError> {
        if let Identity::Becomes { uid, gid } = self {
            become_user(Uid::from_raw(uid), Gid::from_raw(gid))?;
        }
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, none).map_err(|e| RunError::Privileges(e.into()))?;
        nix::sys::prctl::set_no_new_privs().map_err(|e| RunError::Privileges(e.into()))
    }

    fn own(self, directory: &File) -> io::Result<()> {
        match self {
            Identity::Own => Ok(()),
            Identity::Becomes { uid, gid } => std::os::unix::fs::fchown(directory, Some(uid), Some(gid)),
        }
    }
}

fn become_user(uid: Uid, gid: Gid) -> Result<(), RunError> {
    setgroups(&[gid])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|e| RunError::Privileges(e.into()))?;
    // A kernel that let go of root only in part must not go on.
    match nix::unistd::setuid(Uid::from_raw(0)) {
        Ok(()) => Err(RunError::Privileges(io::Error::other("root could be taken back"))),
        Err(_) => Ok(()),
    }
}

/// What bounds this process, whatever its caller left: new files are nobody else's, a crash writes no mail into a
/// core file, and there are descriptors for `sessions` where the hard limit allows them. Returns how many
/// descriptors there are.
pub(super) fn bound_process(sessions: u64) -> Result<u64, RunError> {
    let failed = |e: nix::Error| RunError::Privileges(e.into());
    umask(Mode::from_bits_truncate(0o022));
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).map_err(failed)?;
    setrlimit(Resource::RLIMIT_CORE, 0, hard).map_err(failed)?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    let files = soft.max(hard.min(sessions.saturating_mul(2).saturating_add(RESERVED_FILES)));
    setrlimit(Resource::RLIMIT_NOFILE, files, hard).map_err(failed)?;
    Ok(files)
}

/// Lets other programs go first. Where the kernel refuses, that is said: mail is served all the same.
pub(super) fn stand_back(nice: u8, events: &Events) {
    if nice > 0
        && let Err(error) = rustix::process::setpriority_process(None, nice.into())
    {
        events.warn(format!("service.nice: {error}"));
    }
}

/// Makes the directories that are missing. What is there stays as it is, but the mode of the drop directory: chown
/// and systemd's own settings may have changed it, and mail would be stuck.
pub(super) fn prepare(root: &Root, config: &Config, identity: Identity) -> Result<(), RunError> {
    let Paths { spool, submission_socket, drop, control_socket, pid_file } = &config.paths;
    for socket in [submission_socket, control_socket, pid_file] {
        if let Some(directory) = root.path(socket).parent() {
            make(directory, 0o755, identity)?;
        }
    }
    make(&root.path(spool), 0o700, identity)?;
    make(&root.path(drop), 0o3777, identity)
}

fn make(path: &Path, mode: u32, identity: Identity) -> Result<(), RunError> {
    let failed = |source| RunError::Directory { path: path.to_owned(), source };
    if fs::metadata(path).is_ok_and(|meta| meta.is_dir()) {
        return correct(path, mode).map_err(failed);
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
    let made = open(path).map_err(failed)?;
    identity.own(&made).map_err(failed)?;
    made.set_permissions(Permissions::from_mode(mode)).map_err(failed)
}

/// The directory itself, never what a link in its place names: this runs as root, and the place may be another's.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

fn correct(path: &Path, mode: u32) -> io::Result<()> {
    let is_drop = mode & 0o1000 != 0;
    if !is_drop {
        return Ok(());
    }
    let directory = open(path)?;
    let meta = directory.metadata()?;
    if meta.mode() & 0o7777 != mode && meta.uid() == geteuid().as_raw() {
        return directory.set_permissions(Permissions::from_mode(mode));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mode_is_given_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (other, link) = (dir.path().join("other"), dir.path().join("drop"));
        fs::create_dir(&other).unwrap();
        fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&other, &link).unwrap();
        assert!(make(&link, 0o3777, Identity::Own).is_err());
        assert_eq!(fs::metadata(&other).unwrap().mode() & 0o7777, 0o755);
    }

    #[test]
    fn a_missing_drop_directory_is_made_and_a_wrong_mode_corrected() {
        let dir = tempfile::tempdir().unwrap();
        let drop = dir.path().join("drop");
        for _ in 0..2 {
            make(&drop, 0o3777, Identity::Own).unwrap();
            assert_eq!(fs::metadata(&drop).unwrap().mode() & 0o7777, 0o3777);
            fs::set_permissions(&drop, Permissions::from_mode(0o755)).unwrap();
        }
    }
}
