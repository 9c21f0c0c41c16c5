//! What the running MTA can still do: what its role needs, and nothing else.
//!
//! Owns: the filter of system calls (seccomp) and the bounds of files (Landlock), made of the configuration once all is
//! bound and root is given up, and put on the calling thread before there is another: every later one inherits both, and
//! nothing takes them back. Must not know SMTP.
//!
//! What is not on the list of allowed calls is refused, for a list of forbidden ones has nothing to say of what a later
//! kernel adds, nor of the x32 numbers of the same calls. Such a list breaks where a libc takes a newer call than the
//! one that was seen, so what no list names answers ENOSYS, as an older kernel does, and every libc falls back (glibc:
//! clone3 to clone). What is forbidden by name answers EPERM: nobody is killed for it, since a process that ends by
//! itself is mail that waits, and an error is in the log.
//!
//! Seccomp alone keeps a role from listening, from running a program, and from whatever gains rights. It sees numbers, no
//! paths: where writing ends is Landlock's matter, and without it that of the rights that the MTA's user has.

use mailstack_runtime::{Config, Role};
use serde::{Deserialize, Serialize};

use crate::event::{Event, Events};
use crate::host::Root;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod calls;
mod files;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod syscalls;
#[cfg(test)]
mod tests;

/// What the kernel enforces of a running MTA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// System calls are filtered.
    pub seccomp: bool,
    /// The version of Landlock's interface that bounds files; 0: none does.
    pub landlock: u32,
}

/// Confines the calling thread, and all that it starts from here on, to what the role needs. `accepts`: the
/// descriptors that a client role accepts at.
///
/// What the kernel refuses is told and goes without: a container, or a kernel, that has no filter still has mail.
pub(super) fn confine(root: &Root, config: &Config, accepts: &[i32], events: &Events) -> Confinement {
    // Landlock comes first: the filter allows none of its calls.
    let landlock = files::restrict(&files::Places::of(root, config)).unwrap_or_else(|reason| {
        events.warn(format!("files are not bounded by Landlock: {reason}"));
        0
    });
    let part = match is_client(config.role) {
        true => Part::Client { accepts: accepts.to_vec() },
        false => Part::Receiver,
    };
    let seccomp = match filter(&part) {
        Ok(()) => true,
        Err(reason) => {
            events.warn(format!("system calls are not filtered: {reason}"));
            false
        }
    };
    let confinement = Confinement { seccomp, landlock };
    events.emit(Event::Confined { seccomp, landlock });
    confinement
}

/// Whose calls they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// An MTA that accepts nothing of the network. No descriptor goes out or comes in.
    Client {
        /// The descriptors that it accepts at, all of Unix sockets.
        accepts: Vec<i32>,
    },
    /// An MTA that does. It hands messages to its helper, and takes connections that others accepted.
    Receiver,
    /// The delivery helper for mailboxes: the rights of users over files, and no network.
    Mailboxes,
}

/// Filters the system calls of this thread, and of all that it starts. Errors: the kernel refuses, or the processor is one
/// that no filter is made for.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub(crate) fn filter(part: &Part) -> Result<(), String> {
    syscalls::filter(part)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub(crate) fn filter(_: &Part) -> Result<(), String> {
    Err(format!("no filter is made for {}", std::env::consts::ARCH))
}

/// Whether the role never accepts anything of the network.
pub(super) fn is_client(role: Role) -> bool {
    matches!(role, Role::Nullclient | Role::Msp)
}
