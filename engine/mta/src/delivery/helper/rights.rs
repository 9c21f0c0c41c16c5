//! The rights of the helper: what it keeps, and as whom it writes.

use std::io;

use nix::unistd::{Gid, Uid, geteuid, setegid, seteuid, setgroups};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

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
        let keep = CapabilitySet::SETUID | CapabilitySet::SETGID;
        let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
        set_capabilities(None, sets)?;
        Ok(Rights::AnyUser)
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
