//! Entering and leaving namespaces: the few system calls that the network-namespace level stands on.
//!
//! Owns: how a process gets its own world, and how one joins another's. A process that unshares or joins must
//! have a single thread, so each of these runs at the start of a program of its own, never in the runner.

use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, chdir, pivot_root, setgid, setgroups, setuid};

/// Runs this program again with `arguments`, as process 1 of new process, mount and network namespaces, and
/// waits for it; the variable `mark` is set there. All that it starts ends with it, however it ends: nothing is
/// left to sweep.
pub fn run_in_new_world(arguments: &[std::ffi::OsString], mark: &str) -> io::Result<ExitCode> {
    unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
    let status = Command::new(std::env::current_exe()?).args(arguments).env(mark, "1").status()?;
    Ok(exit_code(status))
}

/// The exit code of a child as a shell tells it: 128 and the signal for one that was killed.
pub fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// Ends this process when the one that started it ends.
pub fn die_with_parent() -> io::Result<()> {
    Ok(set_pdeathsig(Signal::SIGKILL)?)
}

/// Keeps mounts made from here on to this mount namespace.
pub fn make_mounts_private() -> io::Result<()> {
    Ok(mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

/// Mounts a file system of this type.
pub fn mount_type(kind: &str, target: &Path, options: Option<&str>) -> io::Result<()> {
    Ok(mount(Some(kind), target, Some(kind), MsFlags::empty(), options)?)
}

/// Lays `lower` (several, first on top, with `:` in between) under a writable `upper`.
pub fn mount_overlay(lower: &str, upper: &Path, work: &Path, target: &Path) -> io::Result<()> {
    let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
    mount_type("overlay", target, Some(&options))
}

/// Shows `source`, with what is mounted below it, at `target`.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?)
}

/// Makes `root` the root of this mount namespace and forgets the old one.
pub fn switch_root(root: &Path) -> io::Result<()> {
    chdir(root)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    Ok(chdir("/")?)
}

/// Gives this process network, mount, host name and (for its children) process namespaces of its own.
pub fn unshare_host() -> io::Result<()> {
    let all = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    Ok(unshare(all)?)
}

/// Joins the network namespace of a process.
pub fn join_network(pid: u32) -> io::Result<()> {
    Ok(setns(File::open(format!("/proc/{pid}/ns/net"))?, CloneFlags::CLONE_NEWNET)?)
}

/// Joins all namespaces of a host's first process; children are in its process namespace, this one is not.
pub fn join_host(pid: u32) -> io::Result<()> {
    let kinds = [
        ("ipc", CloneFlags::CLONE_NEWIPC),
        ("uts", CloneFlags::CLONE_NEWUTS),
        ("net", CloneFlags::CLONE_NEWNET),
        ("pid", CloneFlags::CLONE_NEWPID),
        ("mnt", CloneFlags::CLONE_NEWNS),
    ];
    let opened = kinds
        .iter()
        .map(|(name, flag)| Ok((File::open(format!("/proc/{pid}/ns/{name}"))?, *flag)))
        .collect::<io::Result<Vec<_>>>()?;
    for (namespace, flag) in opened {
        setns(namespace, flag)?;
    }
    Ok(chdir("/")?)
}

/// Becomes this user for good.
pub fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let gid = Gid::from_raw(gid);
    setgroups(&[gid])?;
    setgid(gid)?;
    Ok(setuid(Uid::from_raw(uid))?)
}
