//! The helper's side: one request after the other, until the MTA is gone.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use mailstack_runtime::{MailboxFormat, Mailboxes};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, geteuid, setegid};

use super::rights::Rights;
use super::wire::{self, Answer, Failure, Place, Request};
use super::{HelperConfig, Work, restricted};
use crate::delivery::local::{Facts, MailboxError, Maildir, Mbox};
use crate::host::{Root, User, Users, group};
use crate::run::confine::{Part, filter};
use crate::sysexits::{EX_OSERR, EX_USAGE};

/// The longest wait for the locks of an mbox.
const PATIENCE: Duration = Duration::from_secs(10);
/// Users in whose name root's mail is delivered, the first that there is.
const FOR_ROOT: [&str; 3] = ["mailstack", "mail", "nobody"];

/// The whole life of a helper process: `arguments` are those behind the command's name, standard input is the
/// socket. Status [`EX_USAGE`] for arguments that are none, [`EX_OSERR`] where its rights cannot be reduced.
pub fn main_helper(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let Some(config) = HelperConfig::from_arguments(&arguments) else {
        return ExitCode::from(EX_USAGE);
    };
    // A signal to the whole group must not end it before the MTA has: it ends when its socket is closed.
    // Nor must a mailbox over the limit of a file's size, which is an error of the write as well.
    let not_ended_by = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGXFSZ]);
    if not_ended_by.thread_block().is_err() {
        return ExitCode::from(EX_OSERR);
    }
    let server = io::stdin().as_fd().try_clone_to_owned().and_then(|socket| Server::new(socket, config));
    match server.and_then(Server::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailstack: delivery helper: {error}");
            ExitCode::from(EX_OSERR)
        }
    }
}

/// Nobody knows what a program of an alias needs: where there are some, what they may do is their user's rights.
fn confine(work: &Work) {
    if matches!(work, Work::Restricted(restricted) if !restricted.programs.is_empty()) {
        return;
    }
    if let Err(reason) = filter(&Part::Mailboxes) {
        eprintln!("mailstack: delivery helper: system calls are not filtered: {reason}");
    }
}

struct Server {
    channel: Channel,
    config: HelperConfig,
    users: Users,
    rights: Rights,
    delivered: u64,
}

impl Server {
    fn new(socket: OwnedFd, config: HelperConfig) -> io::Result<Self> {
        umask(Mode::from_bits_truncate(0o077));
        if let Work::Mailboxes(mailboxes) = &config.work
            && mailboxes.format == MailboxFormat::Mbox
        {
            enter(&config.root, mailboxes)?;
        }
        // Whatever a program of an alias is, its setuid and setgid bits have no effect.
        nix::sys::prctl::set_no_new_privs()?;
        let users = Users::of(&config.root);
        let channel = Channel { socket, ahead: None };
        let rights = Rights::reduce()?;
        confine(&config.work);
        Ok(Self { channel, users, rights, config, delivered: 0 })
    }

    fn run(mut self) -> io::Result<()> {
        while let Some((request, descriptor)) = self.channel.next()? {
            let Request::Deliver { serial, to, facts } = request else { continue };
            let result = match descriptor {
                Some(descriptor) => self.deliver(serial, &to, &facts, descriptor),
                None => Err(failure("4.3.0", "no message came along")),
            };
            wire::send(&self.channel.socket, &Answer { serial, result }, None)?;
        }
        Ok(())
    }

    fn deliver(&mut self, serial: u64, to: &Place, facts: &Facts, pipe: OwnedFd) -> Result<String, Failure> {
        let work = self.config.work.clone();
        match (&work, to) {
            (Work::Mailboxes(mailboxes), Place::Mailbox(name)) => {
                self.deliver_to(mailboxes, serial, name, facts, pipe)
            }
            (Work::Restricted(allowed), Place::Program { .. } | Place::File(_)) => {
                let user = self.user(&allowed.user).map_err(|unknown| Failure {
                    status: "4.3.5".to_owned(),
                    text: format!("{}: programs and files need the user {}", unknown.text, allowed.user),
                })?;
                let outlet = restricted::Outlet {
                    allowed,
                    root: &self.config.root,
                    rights: self.rights,
                    user,
                    time_limit: restricted::TIME_LIMIT,
                };
                let mut body =
                    Message { pipe: File::from(pipe), channel: &mut self.channel, serial, complete: false };
                outlet.deliver(to, facts, &mut body)
            }
            _ => Err(failure("4.3.5", "this delivery helper is for something else")),
        }
    }

    fn deliver_to(
        &mut self,
        mailboxes: &Mailboxes,
        serial: u64,
        name: &str,
        facts: &Facts,
        pipe: OwnedFd,
    ) -> Result<String, Failure> {
        let user = self.user(name)?;
        let owner = self.owner(mailboxes, &user)?;
        self.delivered += 1;
        let group = match mailboxes.format {
            MailboxFormat::Mbox => mailbox_group(owner.gid),
            MailboxFormat::Maildir | MailboxFormat::Lmtp => owner.gid,
        };
        if mailboxes.format == MailboxFormat::Mbox {
            self.rights.provide(&user.name, Uid::from_raw(owner.uid), Gid::from_raw(group));
        }
        let file_name = unique_name(self.delivered, &self.config);
        let mut body =
            Message { pipe: File::from(pipe), channel: &mut self.channel, serial, complete: false };
        let root = &self.config.root;
        let act = || write(root, mailboxes, &user, owner.uid, &file_name, facts, &mut body);
        match self.rights.act_as(Uid::from_raw(owner.uid), Gid::from_raw(group), act) {
            Ok(written) => written,
            Err(error) => Err(failure("4.3.0", &format!("cannot act as {}: {error}", owner.name))),
        }
    }

    fn user(&self, name: &str) -> Result<User, Failure> {
        let unreadable = |error| failure("4.3.0", &format!("the users cannot be read: {error}"));
        let is_file_name = !name.starts_with('.') && !name.contains(['/', '\0']);
        let found = if is_file_name { self.users.by_name(name).map_err(unreadable)? } else { None };
        found.ok_or_else(|| failure("5.1.1", &format!("{name}: user unknown")))
    }

    /// The user in whose name is written: the recipient, or for root's mail one who is not root.
    fn owner(&self, mailboxes: &Mailboxes, user: &User) -> Result<User, Failure> {
        if self.rights == Rights::Own || user.uid != 0 {
            return Ok(user.clone());
        }
        if mailboxes.format == MailboxFormat::Maildir {
            return Err(failure("4.2.0", "nothing is delivered as root: give root an alias"));
        }
        let find = |name: &&str| self.users.by_name(name).ok().flatten().filter(|user| user.uid != 0);
        FOR_ROOT.iter().find_map(find).ok_or_else(|| failure("4.3.5", "root's mail needs the user mailstack"))
    }
}

fn write(
    root: &Root,
    mailboxes: &Mailboxes,
    user: &User,
    owner: u32,
    file_name: &str,
    facts: &Facts,
    body: &mut dyn Read,
) -> Result<String, Failure> {
    match mailboxes.format {
        MailboxFormat::Mbox => {
            let own = geteuid().as_raw();
            let owners = if user.uid == 0 { vec![own, owner, 0] } else { vec![own] };
            let directory = root.path(&mailboxes.path);
            let mbox = Mbox { path: PathBuf::from(&user.name), owners, patience: PATIENCE };
            mbox.append(facts, body).map_err(|error| refused(&error.below(&directory)))?;
            Ok(directory.join(&user.name).display().to_string())
        }
        // No helper is started for it.
        MailboxFormat::Lmtp => Err(failure("4.3.5", "mailboxes of a server are not written by the helper")),
        MailboxFormat::Maildir => {
            let home = root.path(&user.home);
            let maildir = Maildir { home, path: mailboxes.path.clone() };
            let file = maildir.deliver(file_name, facts, body).map_err(|error| refused(&error))?;
            Ok(file.display().to_string())
        }
    }
}

pub(super) fn refused(error: &MailboxError) -> Failure {
    if matches!(error, MailboxError::Torn { .. }) {
        eprintln!("mailstack: delivery helper: {error}");
    }
    failure(error.status(), &error.to_string())
}

pub(super) fn failure(status: &str, text: &str) -> Failure {
    Failure { status: status.to_owned(), text: text.to_owned() }
}

/// Makes the directory of the mailboxes the working directory: what is above it need not be open to their owners.
fn enter(root: &Root, mailboxes: &Mailboxes) -> io::Result<()> {
    let directory = root.path(&mailboxes.path);
    if !directory.exists() {
        make(root, &directory)?;
    }
    std::env::set_current_dir(directory)
}

/// As packages make it: group mail, which may add mailboxes and lock files.
fn make(root: &Root, directory: &Path) -> io::Result<()> {
    if let Some(parent) = directory.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let mail = group(root, "mail").ok().flatten().filter(|_| geteuid().is_root());
    if let Some(mail) = &mail {
        setegid(Gid::from_raw(mail.gid))?;
    }
    // Without the group its users can at least reach what is provided for them, whatever the umask.
    let mode = if mail.is_some() { 0o2775 } else { 0o755 };
    let made = DirBuilder::new().create(directory);
    let made = made.and_then(|()| fs::set_permissions(directory, Permissions::from_mode(mode)));
    if mail.is_some() {
        setegid(Gid::from_raw(0))?;
    }
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()), // the other process was first
        made => made,
    }
}

/// The group that may add mailboxes to the working directory; never root's.
fn mailbox_group(own: u32) -> u32 {
    fs::metadata(".").map(|found| found.gid()).ok().filter(|&gid| gid != 0).unwrap_or(own)
}

/// As the Maildir specification has it: time, what makes it unique on this host, the host.
fn unique_name(delivered: u64, config: &HelperConfig) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!(
        "{}.M{}P{}Q{delivered}.{}",
        now.as_secs(),
        now.subsec_micros(),
        std::process::id(),
        config.hostname
    )
}

/// The socket, and the request that was read in place of a [`Request::Complete`].
struct Channel {
    socket: OwnedFd,
    ahead: Option<(Request, Option<OwnedFd>)>,
}

impl Channel {
    fn next(&mut self) -> io::Result<Option<(Request, Option<OwnedFd>)>> {
        match self.ahead.take() {
            Some(request) => Ok(Some(request)),
            None => wire::receive(&self.socket),
        }
    }

    /// Whether the MTA wrote the message to its end, and did not just stop.
    fn is_complete(&mut self, of: u64) -> io::Result<bool> {
        match self.next()? {
            Some((Request::Complete { serial }, _)) => Ok(serial == of),
            Some((Request::GiveUp { .. }, _)) => Ok(false),
            other => {
                self.ahead = other;
                Ok(false)
            }
        }
    }
}

/// The message as it comes; an error in place of its end where the MTA gave it up.
struct Message<'a> {
    pipe: File,
    channel: &'a mut Channel,
    serial: u64,
    complete: bool,
}

impl Read for Message<'_> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let count = self.pipe.read(octets)?;
        if count == 0 && !self.complete {
            self.complete = self.channel.is_complete(self.serial)?;
            if !self.complete {
                return Err(io::Error::other("given up by the mail system"));
            }
        }
        Ok(count)
    }
}
