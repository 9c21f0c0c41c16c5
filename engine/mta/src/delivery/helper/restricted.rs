//! Programs that aliases run and files that they write, in the helper: as one user who is not root.
//!
//! Owns: which program and which file, the time and surroundings of a program, and what its exit code means. A program
//! is one of the list, run without a shell; a file is below the directory, reached by no link. A program is started
//! only with the whole message in hand, and a file is as it was before unless all of it was written.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use mailstack_runtime::Restricted;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Pid, Uid, fchdir, geteuid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags, ResolveFlags, memfd_create, mkdirat, openat2};

use super::rights::Rights;
use super::serve::{failure, refused};
use super::wire::{Failure, Place};
use crate::delivery::local::{Facts, MailboxError, Mbox, write_for_program};
use crate::host::{Root, User};

/// The longest that a program may run; it is ended then, and its message waits.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(120);
/// How long a program may take to end once it is told to.
const GRACE: Duration = Duration::from_secs(5);
/// How often is looked whether a program that says nothing has ended.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Octets that are kept of what a program says.
const MAX_OUTPUT: usize = 1024;
/// The longest wait for the locks of a file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What may be done, and as whom.
pub(super) struct Outlet<'a> {
    pub(super) allowed: &'a Restricted,
    pub(super) root: &'a Root,
    pub(super) rights: Rights,
    pub(super) user: User,
    pub(super) time_limit: Duration,
}

impl Outlet<'_> {
    /// Hands the message to a program or a file.
    pub(super) fn deliver(&self, to: &Place, facts: &Facts, body: &mut dyn Read) -> Result<String, Failure> {
        if self.rights == Rights::AnyUser && self.user.uid == 0 {
            return Err(failure("4.3.5", "nothing is run or written as root"));
        }
        match to {
            Place::Program { name, arguments } => self.run(name, arguments, facts, body),
            Place::File(path) => self.append(Path::new(path), facts, body),
            Place::Mailbox(_) => Err(failure("4.3.5", "no mailbox is delivered to here")),
        }
    }

    fn ids(&self) -> (Uid, Gid) {
        (Uid::from_raw(self.user.uid), Gid::from_raw(self.user.gid))
    }

    fn run(
        &self,
        name: &str,
        arguments: &[String],
        facts: &Facts,
        body: &mut dyn Read,
    ) -> Result<String, Failure> {
        let denied = |what: &str| failure("5.7.1", &format!("{what} is nothing that an alias may run"));
        let path = self.allowed.programs.get(name).ok_or_else(|| denied(name))?;
        if let Some(argument) = arguments.iter().find(|argument| !is_plain(argument)) {
            return Err(denied(&format!("{name} with the argument {argument}")));
        }
        let broken = |error: io::Error| failure("4.3.0", &format!("cannot run {}: {error}", path.display()));
        let mut message =
            File::from(memfd_create("message", MemfdFlags::CLOEXEC).map_err(|e| broken(e.into()))?);
        write_for_program(&mut message, facts, body).map_err(|error| refused(&error))?;
        message.rewind().map_err(broken)?;
        let (output, theirs) = io::pipe().map_err(broken)?;
        let mut command = self.command(path, facts);
        command.args(arguments).stdin(message).stdout(theirs.try_clone().map_err(broken)?).stderr(theirs);
        // Whatever keeps it from being run is for this host's administrator to put right: the message waits.
        let child = command
            .spawn()
            .map_err(|error| failure("4.3.5", &format!("cannot run {}: {error}", path.display())))?;
        drop(command);
        let (ended, said) = self.wait(child, &OwnedFd::from(output)).map_err(broken)?;
        judge(name, ended, self.time_limit, &said)?;
        Ok(format!("|{}", path.display()))
    }

    /// Nothing of the caller's surroundings.
    fn command(&self, path: &Path, facts: &Facts) -> Command {
        let mut command = Command::new(self.root.path(path));
        command
            .current_dir(self.root.path("/"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.user.home)
            .env("LOGNAME", &self.user.name)
            .env("USER", &self.user.name)
            .env("SENDER", &facts.sender)
            .env("RECIPIENT", &facts.delivered_to)
            .process_group(0);
        if self.rights == Rights::AnyUser {
            // Other groups than this one it has none: they are cleared with the user.
            command.uid(self.user.uid).gid(self.user.gid);
        }
        command
    }

    /// Waits for the program's end, and ends it when its time is over. What it left running is not waited for.
    fn wait(&self, mut child: Child, output: &OwnedFd) -> io::Result<(Option<ExitStatus>, Vec<u8>)> {
        let mut said = Vec::new();
        let (begin, mut told) = (Instant::now(), None);
        loop {
            let more = read_some(output, &mut said)?;
            if let Some(status) = child.try_wait()? {
                while said.len() < MAX_OUTPUT && read_some(output, &mut said)? == Heard::Words {}
                return Ok((told.is_none().then_some(status), said));
            }
            if more == Heard::End {
                std::thread::sleep(Duration::from_nanos(TICK.tv_nsec.unsigned_abs()));
            }
            match told {
                None if begin.elapsed() > self.time_limit => {
                    self.signal(&child, Signal::SIGTERM);
                    told = Some(Instant::now());
                }
                Some(at) if at.elapsed() > GRACE => self.signal(&child, Signal::SIGKILL),
                _ => {}
            }
        }
    }

    /// As its user: root without the right to would not be allowed to.
    fn signal(&self, child: &Child, signal: Signal) {
        let (uid, gid) = self.ids();
        let group = Pid::from_raw(child.id().cast_signed());
        let _ = self.rights.act_as(uid, gid, || killpg(group, signal));
    }

    fn append(&self, path: &Path, facts: &Facts, body: &mut dyn Read) -> Result<String, Failure> {
        let outside = || {
            let text = format!("{} is nothing that an alias may write to", path.display());
            failure("5.7.1", &text)
        };
        let jail = self.allowed.file_jail.as_ref().ok_or_else(outside)?;
        let below = path.strip_prefix(jail).map_err(|_| outside())?;
        let name = below.file_name().ok_or_else(outside)?;
        if below.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(outside());
        }
        let parent = below.parent().unwrap_or(Path::new(""));
        let (uid, gid) = self.ids();
        let write = || {
            enter(&self.root.path(jail), parent).map_err(|error| {
                let text = format!("cannot open the directory of {}: {error}", path.display());
                failure("4.2.0", &text)
            })?;
            let owners = vec![geteuid().as_raw()];
            let mbox = Mbox { path: PathBuf::from(name), owners, patience: PATIENCE };
            let directory = jail.join(parent);
            mbox.append(facts, body).map_err(|error: MailboxError| refused(&error.below(&directory)))
        };
        match self.rights.act_as(uid, gid, write) {
            Ok(written) => written.map(|()| path.display().to_string()),
            Err(error) => Err(failure("4.3.0", &format!("cannot act as {}: {error}", self.user.name))),
        }
    }
}

/// Whether a program may be told this: nothing that a shell reads, as `smrsh` has it, for Sendmail hands it to one.
fn is_plain(argument: &str) -> bool {
    !argument.is_empty() && argument.chars().all(|c| c.is_ascii_alphanumeric() || "._+-/:@%=,".contains(c))
}

/// Makes a directory below the jail the working one; missing ones are made, and links are not followed.
fn enter(jail: &Path, parent: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut directory = rustix::fs::open(jail, flags, Mode::empty())?;
    for part in parent.components() {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let open = |at: &OwnedFd| openat2(at, part.as_os_str(), flags, Mode::empty(), resolve);
        let found = open(&directory).or_else(|error| match error {
            rustix::io::Errno::NOENT => {
                mkdirat(&directory, part.as_os_str(), Mode::RWXU)?;
                open(&directory)
            }
            error => Err(error),
        });
        directory = found?;
    }
    Ok(fchdir(directory.as_fd())?)
}

/// What came of a look at a program's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Words,
    Nothing,
    End,
}

/// Waits a moment for output, and keeps what there is room for; the rest is thrown away.
fn read_some(output: &OwnedFd, said: &mut Vec<u8>) -> io::Result<Heard> {
    let mut ready = [PollFd::new(output, PollFlags::IN)];
    if poll(&mut ready, Some(&TICK))? == 0 {
        return Ok(Heard::Nothing);
    }
    let mut octets = [0; 4096];
    let count = rustix::io::read(output, &mut octets)?;
    let room = MAX_OUTPUT.saturating_sub(said.len());
    said.extend_from_slice(&octets[..count.min(room)]);
    Ok(if count == 0 { Heard::End } else { Heard::Words })
}

/// What the end of a program says about the message (sysexits.h; the codes are those of Sendmail's own table). None: it
/// was ended for taking too long.
fn judge(name: &str, ended: Option<ExitStatus>, limit: Duration, said: &[u8]) -> Result<(), Failure> {
    let words = String::from_utf8_lossy(said);
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = if words.is_empty() { words } else { format!(": {words}") };
    let Some(status) = ended else {
        let seconds = limit.as_secs();
        return Err(failure("4.3.0", &format!("{name} was ended after {seconds} s{told}")));
    };
    let Some(code) = status.code() else {
        let signal = status.signal().unwrap_or_default();
        return Err(failure("4.3.0", &format!("{name} was ended by signal {signal}{told}")));
    };
    let status = match code {
        0 => return Ok(()),
        64 => "5.5.4",
        65 => "5.6.0",
        67 => "5.1.1",
        68 => "5.1.2",
        72 | 78 => "5.3.5",
        71 | 74 | 75 => "4.3.0",
        76 => "5.5.0",
        77 => "5.7.1",
        _ => "5.3.0",
    };
    Err(failure(status, &format!("{name} ended with exit code {code}{told}")))
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn an_exit_code_says_what_becomes_of_the_message() {
        let ended = |raw| judge("ticket", Some(ExitStatus::from_raw(raw)), TIME_LIMIT, b" no\n queue\0 ");
        assert_eq!(ended(0), Ok(()));
        for (code, status) in [(75, "4.3.0"), (67, "5.1.1"), (77, "5.7.1"), (1, "5.3.0"), (127, "5.3.0")] {
            let failure = ended(code << 8).unwrap_err();
            assert_eq!(
                (failure.status.as_str(), failure.text.contains("no queue")),
                (status, true),
                "{code}"
            );
        }
        assert_eq!(ended(9).unwrap_err().status, "4.3.0", "a signal");
        assert_eq!(judge("ticket", None, TIME_LIMIT, b"").unwrap_err().text, "ticket was ended after 120 s");
    }
    #[test]
    fn a_program_that_takes_too_long_is_ended_with_all_that_it_started() {
        let tree = tempfile::tempdir().unwrap();
        let (script, note) = (tree.path().join("slow"), tree.path().join("children"));
        std::fs::set_permissions(tree.path(), Permissions::from_mode(0o777)).unwrap();
        // It asks not to be ended, and so does what it starts.
        let text = format!(
            "#!/bin/sh\ntrap '' TERM\necho waiting\nsleep 600 &\necho $$ $! >{}\nwait\nsleep 600\n",
            note.display()
        );
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        let programs = [("slow".to_owned(), "/slow".into())].into();
        let allowed = Restricted { user: "robot".to_owned(), programs, file_jail: None };
        let root = Root::new(tree.path());
        // As oneself: acting as another user would change who the other tests of this process are.
        let (rights, uid) = (Rights::Own, geteuid().as_raw());
        let user =
            User { name: "robot".to_owned(), uid, gid: uid, full_name: String::new(), home: "/".into() };
        let outlet =
            Outlet { allowed: &allowed, root: &root, rights, user, time_limit: Duration::from_millis(300) };
        let facts = Facts {
            sender: String::new(),
            delivered_to: "slow@gw.corp.example".to_owned(),
            at: crate::message::Timestamp(0),
        };
        let begin = Instant::now();
        let failure = outlet.run("slow", &[], &facts, &mut &b"\n"[..]).unwrap_err();
        assert_eq!(
            (failure.status.as_str(), failure.text.contains("waiting")),
            ("4.3.0", true),
            "{failure:?}"
        );
        assert!(begin.elapsed() >= GRACE && begin.elapsed() < GRACE * 3, "{:?}", begin.elapsed());
        for pid in std::fs::read_to_string(note).unwrap().split_whitespace() {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            assert!(state.is_empty() || state.contains(") Z "), "{state}");
        }
    }
}
