//! The rights of the helper: what it keeps, and as whom it writes.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, fchown};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid, setgroups};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// As whom the helper can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// As whoever it is, which is not root.
    Own,
    /// As any user but root.
    AnyUser,
}

impl Rights {
    /// Finds out what this process may do, and gives up the rest of it. The process has one thread.
    pub(super) fn reduce() -> io::Result<Self> {
        if !geteuid().is_root() {
            return Ok(Rights::Own);
        }
        setgroups(&[])?;
        let keep = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN;
        let keep = capabilities(None)?.permitted & keep;
        let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets)?;
        Ok(Rights::AnyUser)
    }

    /// Makes an empty file of that user in the working directory, where there is none and the directory is root's
    /// alone. Whatever fails here fails again, and is told, when the user writes.
    pub(super) fn provide(self, name: &str, user: Uid, group: Gid) {
        if self == Rights::AnyUser && !user.is_root() && fs::symlink_metadata(name).is_err() {
            let _ = provide(name, user, group);
        }
    }

    /// Does something as that user; without the right to change, as oneself. Errors: the kernel refuses it.
    pub(super) fn act_as<T>(self, user: Uid, group: Gid, act: impl FnOnce() -> T) -> io::Result<T> {
        match self {
            Rights::Own => Ok(act()),
            Rights::AnyUser if user.is_root() => Err(io::ErrorKind::PermissionDenied.into()),
            Rights::AnyUser => {
                let _as_user = AsUser::enter(user, group)?;
                Ok(act())
            }
        }
    }
}

/// The file gets its name last: under it there is never one of root's.
fn provide(name: &str, user: Uid, group: Gid) -> io::Result<()> {
    let temporary = format!(".{name}.{}", std::process::id());
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let made = fchown(&file, Some(user.as_raw()), Some(group.as_raw()))
        .and_then(|()| {
            Ok(renameat2(AT_FDCWD, temporary.as_str(), AT_FDCWD, name, RenameFlags::RENAME_NOREPLACE)?)
        })
        .and_then(|()| fs::File::open(".")?.sync_all());
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made
}

/// As long as it lives the process acts as another user.
struct AsUser;

impl AsUser {
    fn enter(user: Uid, group: Gid) -> io::Result<Self> {
        let as_user = AsUser; // leaves also when only half entered
        setgroups(&[group])?;
        setegid(group)?;
        seteuid(user)?;
        Ok(as_user)
    }

    fn leave() -> nix::Result<()> {
        seteuid(Uid::from_raw(0))?;
        setegid(Gid::from_raw(0))?;
        setgroups(&[])
    }
}

impl Drop for AsUser {
    fn drop(&mut self) {
        if Self::leave().is_err() {
            // Going on as the wrong user would write into the wrong mailbox.
            std::process::abort();
        }
    }
}
