//! The delivery helper: the one process that writes into mailboxes, as the user whose mailbox it is.
//!
//! Owns: its start, the protocol, and the rights it has. It is started before the runtime, is given a user's name,
//! what the mailbox records and a descriptor of the message, and never writes as uid 0. Programs and files of aliases
//! are other processes' work, which have the list of programs and the directory of files from the configuration that
//! root wrote: they are told a name of the list, or one below the directory, and run nothing by a shell. Must not know a queue, a route or the network.

mod restricted;
mod rights;
mod serve;
mod wire;

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mailstack_runtime::{Mailboxes, Restricted};
use mailstack_smtp::address::DomainName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use self::wire::{Answer, Place, Request};
use crate::delivery::Body;
use crate::delivery::local::Facts;
use crate::host::Root;

pub use serve::main_helper;
pub use wire::Failure;

/// The first argument that makes the program a delivery helper.
pub const COMMAND: &str = "deliver-helper";
/// Processes; each delivers one message at a time, so that one locked mailbox does not hold up all.
const PROCESSES: usize = 2;
/// The longest that one delivery may take; a process that takes longer hangs in its file system.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long a process may take to end once its socket is closed.
const GRACE: Duration = Duration::from_secs(15);
/// How often is looked whether it did.
const TICK: Duration = Duration::from_millis(5);

/// What a helper is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperConfig {
    /// The tree that everything is below.
    pub root: Root,
    /// What it is for.
    pub work: Work,
    /// This host, for the names of Maildir files.
    pub hostname: DomainName,
}

/// What a helper is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// Mailboxes.
    Mailboxes(Mailboxes),
    /// Programs and files of aliases, which must not make mailboxes wait.
    Restricted(Restricted),
}

impl HelperConfig {
    fn to_arguments(&self) -> io::Result<[OsString; 4]> {
        let work = serde_json::to_string(&self.work)?;
        Ok([COMMAND.into(), self.root.as_path().into(), self.hostname.as_str().into(), work.into()])
    }

    /// Undoes what [`HelperConfig::to_arguments`] did, the command itself left out.
    fn from_arguments(arguments: &[OsString]) -> Option<Self> {
        let [root, hostname, work] = arguments else { return None };
        let work = serde_json::from_str(work.to_str()?).ok()?;
        let hostname = hostname.to_str()?.parse().ok()?;
        // The directory that is worked in changes.
        let root = std::path::absolute(root).ok()?;
        Some(Self { root: Root::new(root), work, hostname })
    }
}

/// The running helper. Its processes end when this is dropped.
#[derive(Debug)]
pub struct Helper {
    idle: Mutex<Vec<Channel>>,
    /// As many permits as there are channels that work; closed when there is none.
    free: Semaphore,
    died: Notify,
}

/// One process. The socket is closed before the process is waited for, which ends by that.
#[derive(Debug)]
struct Channel {
    /// Of type SOCK_SEQPACKET, never blocking.
    socket: UnixStream,
    serial: u64,
    /// A delivery whose end the helper still waits for.
    is_open: bool,
    _process: Process,
}

#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let deadline = Instant::now() + GRACE;
        // One that hangs is left to init: the MTA must end, and start others.
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
    }
}

impl Helper {
    /// Starts the helper processes from the program `exe`. Call it before the runtime exists, with the rights that
    /// the helper is to have: as root it delivers as each user, else as whoever it is.
    pub fn spawn(exe: &Path, config: &HelperConfig) -> io::Result<Self> {
        Self::from_commands((0..PROCESSES).map(|_| Command::new(exe)), config)
    }

    /// Starts one process from each command; what the helper is told comes behind the command's arguments.
    pub fn from_commands(commands: impl Iterator<Item = Command>, config: &HelperConfig) -> io::Result<Self> {
        let channels = commands.map(|command| start(command, config)).collect::<io::Result<Vec<_>>>()?;
        let free = Semaphore::new(channels.len());
        Ok(Self { free, idle: Mutex::new(channels), died: Notify::new() })
    }

    /// Delivers a message to a user's mailbox, and returns the mailbox's name when it is durable there.
    pub async fn deliver(&self, user: &str, facts: &Facts, body: &mut impl Body) -> Result<String, Failure> {
        self.hand_over(Place::Mailbox(user.to_owned()), facts, body).await
    }

    /// Runs a program with a message on its standard input, and returns its name once it has ended well. `command` is
    /// the program, of which only the last part of its path counts, and its arguments, parted by blanks.
    pub async fn run(&self, command: &str, facts: &Facts, body: &mut impl Body) -> Result<String, Failure> {
        let mut words = command.split_ascii_whitespace().map(str::to_owned);
        let program = words.next().unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        self.hand_over(Place::Program { name, arguments: words.collect() }, facts, body).await
    }

    /// Appends a message to a file below the directory of files, and returns its name when it is durable there.
    pub async fn append(&self, path: &str, facts: &Facts, body: &mut impl Body) -> Result<String, Failure> {
        self.hand_over(Place::File(path.to_owned()), facts, body).await
    }

    async fn hand_over(&self, to: Place, facts: &Facts, body: &mut impl Body) -> Result<String, Failure> {
        let what = to.to_string();
        let mut lease = self.lease().await.ok_or_else(|| gone("no delivery helper is running"))?;
        let result = tokio::time::timeout(PATIENCE, lease.channel().exchange(to, facts, body)).await;
        match result.unwrap_or(Err(Trouble::Hangs)) {
            Ok(result) => result,
            Err(Trouble::Hangs) => {
                lease.abandon();
                let seconds = PATIENCE.as_secs();
                let text = format!("{what} did not take the message within {seconds} s: its disk hangs");
                Err(Failure { status: "4.2.0".to_owned(), text })
            }
            Err(Trouble::Body(error)) => Err(gone(&format!("the message could not be read: {error}"))),
            Err(Trouble::Channel(error)) => {
                lease.discard();
                Err(gone(&format!("the delivery helper is gone: {error}; restart mailstack")))
            }
        }
    }

    /// Waits until a process of the helper was found dead. Nobody here has the rights to start another: the MTA is
    /// to end, and its supervisor starts both anew.
    pub async fn died(&self) {
        self.died.notified().await;
    }

    async fn lease(&self) -> Option<Lease<'_>> {
        let permit = self.free.acquire().await.ok()?;
        let channel = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Lease { helper: self, channel: Some(channel), permit: Some(permit) })
    }
}

/// A channel in use; it goes back when dropped, also in the middle of a delivery: serials tell answers apart.
#[derive(Debug)]
struct Lease<'a> {
    helper: &'a Helper,
    channel: Option<Channel>,
    permit: Option<SemaphorePermit<'a>>,
}

impl Lease<'_> {
    #[expect(clippy::expect_used, reason = "only drop and discard take it, and both end the lease")]
    fn channel(&mut self) -> &mut Channel {
        self.channel.as_mut().expect("a lease has its channel")
    }

    /// As [`Lease::discard`], for a process that does not end by it.
    fn abandon(mut self) {
        if let Some(channel) = self.channel.take() {
            // It is waited for elsewhere, since it may take for ever.
            tokio::task::spawn_blocking(move || drop(channel));
        }
        self.discard();
    }

    fn discard(mut self) {
        self.channel = None;
        if let Some(permit) = self.permit.take() {
            permit.forget();
        }
        let idle = self.helper.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.is_empty() && self.helper.free.available_permits() == 0 {
            self.helper.free.close();
        }
        self.helper.died.notify_one();
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(mut channel) = self.channel.take() {
            channel.give_up();
            self.helper.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
    }
}

fn start(mut command: Command, config: &HelperConfig) -> io::Result<Channel> {
    let (socket, theirs) = wire::pair()?;
    command.args(config.to_arguments()?).env_clear().stdin(Stdio::from(theirs)).stdout(Stdio::null());
    let process = Process(command.spawn()?);
    let socket = UnixStream::from(socket);
    socket.set_nonblocking(true)?;
    Ok(Channel { socket, serial: 0, is_open: false, _process: process })
}

fn gone(text: &str) -> Failure {
    Failure { status: "4.3.0".to_owned(), text: text.to_owned() }
}

/// What went wrong on this side.
enum Trouble {
    /// No answer came in time.
    Hangs,
    Body(io::Error),
    Channel(io::Error),
}

impl Channel {
    async fn exchange(
        &mut self,
        to: Place,
        facts: &Facts,
        body: &mut impl Body,
    ) -> Result<Result<String, Failure>, Trouble> {
        self.serial += 1;
        let serial = self.serial;
        let socket = self.socket.try_clone().and_then(tokio::net::UnixStream::from_std);
        let socket = socket.map_err(Trouble::Channel)?;
        let (pipe, theirs) = pipe::pipe().map_err(Trouble::Channel)?;
        let theirs = theirs.into_blocking_fd().map_err(Trouble::Channel)?;
        let request = Request::Deliver { serial, to, facts: facts.clone() };
        send(&socket, &request, Some(theirs)).await.map_err(Trouble::Channel)?;
        self.is_open = true;
        if write(pipe, body).await.map_err(Trouble::Body)? {
            send(&socket, &Request::Complete { serial }, None).await.map_err(Trouble::Channel)?;
            self.is_open = false;
        }
        answer(&socket, serial).await.map_err(Trouble::Channel)
    }
}

impl Channel {
    /// Ends a delivery that was left in the middle: the helper holds the lock of a mailbox until it knows.
    fn give_up(&mut self) {
        if std::mem::take(&mut self.is_open) {
            let request = Request::GiveUp { serial: self.serial };
            let _ = wire::send(&self.socket, &request, None);
        }
    }
}

/// Writes the message. False: the helper does not want it.
async fn write(mut pipe: pipe::Sender, body: &mut impl Body) -> io::Result<bool> {
    while let Some(octets) = body.chunk().await? {
        match pipe.write_all(&octets).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

async fn send(socket: &tokio::net::UnixStream, request: &Request, pipe: Option<OwnedFd>) -> io::Result<()> {
    let pipe = pipe.as_ref().map(AsFd::as_fd);
    socket.async_io(Interest::WRITABLE, || wire::send(socket, request, pipe)).await
}

async fn answer(socket: &tokio::net::UnixStream, serial: u64) -> io::Result<Result<String, Failure>> {
    loop {
        match socket.async_io(Interest::READABLE, || wire::receive::<Answer>(socket)).await? {
            Some((answer, _)) if answer.serial == serial => return Ok(answer.result),
            Some(_) => {} // of a delivery that was given up
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
