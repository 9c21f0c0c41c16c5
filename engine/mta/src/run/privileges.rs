//! Whom the daemon runs as, and the directories that it needs.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use mailstack_runtime::{Config, Paths};
use nix::unistd::{Gid, Uid, chown, geteuid, setgroups, setresgid, setresuid};

use super::RunError;
use crate::host::{Root, Users, group};

/// The user that a daemon started by root becomes.
pub const USER: &str = "mailstack";

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
    pub(super) fn assume(self) -> Result<(), RunError> {
        let Identity::Becomes { uid, gid } = self else { return Ok(()) };
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        setgroups(&[gid])
            .and_then(|()| setresgid(gid, gid, gid))
            .and_then(|()| setresuid(uid, uid, uid))
            .and_then(|()| nix::sys::prctl::set_no_new_privs())
            .map_err(|e| RunError::Privileges(e.into()))?;
        // A kernel that let go of root only in part must not go on.
        match nix::unistd::setuid(Uid::from_raw(0)) {
            Ok(()) => Err(RunError::Privileges(io::Error::other("root could be taken back"))),
            Err(_) => Ok(()),
        }
    }

    fn own(self, path: &Path) -> io::Result<()> {
        match self {
            Identity::Own => Ok(()),
            Identity::Becomes { uid, gid } => {
                chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(io::Error::from)
            }
        }
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
    identity.own(path).map_err(failed)?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed)
}

fn correct(path: &Path, mode: u32) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    let is_drop = mode & 0o1000 != 0;
    if is_drop && meta.mode() & 0o7777 != mode && meta.uid() == geteuid().as_raw() {
        return fs::set_permissions(path, Permissions::from_mode(mode));
    }
    Ok(())
}
