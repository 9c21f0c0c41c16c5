//! One daemon under a locked pid file, where no systemd runs. Restarting after a crash is init's work.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{ActivationError, Activator, Running, START_DEADLINE, STOP_DEADLINE};
use crate::generation::disk;

/// The log of the daemon, below the root.
pub const LOG: &str = "var/log/mailstack.log";
/// Between two looks at a process that starts or ends.
const LOOK: Duration = Duration::from_millis(5);
/// The most octets of the log that an error quotes.
const QUOTE: usize = 2000;

/// Where a daemon is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The locked file that holds its process id.
    pub pid_file: PathBuf,
    /// The socket that it listens on once it is ready.
    pub control_socket: PathBuf,
    /// Its standard output and error.
    pub log: PathBuf,
}

/// The MTA as a process of its own.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// Where it is seen.
    pub places: Places,
    /// Whether whoever starts it stays: its log is what that one has for standard error.
    pub foreground: bool,
}

impl Activator for Daemon {
    fn running(&self) -> Result<Option<Running>, ActivationError> {
        let begin = Instant::now();
        // A process that just took the lock has not written itself into the file yet.
        while is_locked(&self.places.pid_file) {
            let pid = read_pid(&self.places.pid_file);
            if pid.is_some() || begin.elapsed() > STOP_DEADLINE {
                return Ok(Some(Running { pid }));
            }
            thread::sleep(LOOK);
        }
        Ok(None)
    }

    fn stop(&self) -> Result<(), ActivationError> {
        let begin = Instant::now();
        let mut told = None;
        while is_locked(&self.places.pid_file) {
            // As above; what the file says until then is a process that was killed.
            let pid = read_pid(&self.places.pid_file);
            if let Some(pid) = pid.filter(|pid| told != Some(*pid)) {
                end(pid)?;
                told = Some(pid);
            }
            if begin.elapsed() > STOP_DEADLINE {
                return Err(ActivationError::StillRuns { pid: told.unwrap_or_default() });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn start(&self) -> Result<Running, ActivationError> {
        for place in [&self.places.pid_file, &self.places.control_socket] {
            place.parent().map_or(Ok(()), disk::make_dirs)?;
        }
        let (log, begins) = match self.foreground {
            true => (None, 0),
            false => self.open_log().map(|(log, begins)| (Some(log), begins))?,
        };
        let mut child = self.spawn(log)?;
        let begin = Instant::now();
        loop {
            let missing = match self.missing(child.id()) {
                None => return Ok(Running { pid: Some(child.id()) }),
                Some(missing) => missing,
            };
            self.check_alive(&mut child, begins)?;
            if begin.elapsed() > START_DEADLINE {
                let (pid, log) = (child.id(), self.tail(begins));
                return Err(ActivationError::NotReady { pid, missing, log });
            }
            thread::sleep(LOOK);
        }
    }
}

impl Daemon {
    fn open_log(&self) -> Result<(File, u64), ActivationError> {
        let path = &self.places.log;
        path.parent().map_or(Ok(()), disk::make_dirs)?;
        let open = || {
            let log = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
            let length = log.metadata()?.len();
            Ok((log, length))
        };
        open().map_err(|source| ActivationError::Log { path: path.clone(), source })
    }

    fn spawn(&self, log: Option<File>) -> Result<Child, ActivationError> {
        let failed = |source| ActivationError::Process {
            operation: format!("start {}", self.command.join(" ".as_ref()).display()),
            source,
        };
        let nothing = io::Error::from(io::ErrorKind::InvalidInput);
        let (program, arguments) = self.command.split_first().ok_or(nothing).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).current_dir("/").stdin(Stdio::null());
        if let Some(log) = log {
            command.stdout(log.try_clone().map_err(failed)?).stderr(log);
        }
        command.spawn().map_err(failed)
    }

    /// What a started daemon still lacks; None once it is ready.
    fn missing(&self, pid: u32) -> Option<String> {
        let Places { pid_file, control_socket, .. } = &self.places;
        if read_pid(pid_file) != Some(pid) {
            return Some(format!("it has not written {}", pid_file.display()));
        }
        let answers = connect(control_socket);
        answers.err().map(|error| format!("{}: {error}", control_socket.display()))
    }

    fn check_alive(&self, child: &mut Child, begins: u64) -> Result<(), ActivationError> {
        match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(ActivationError::Ended { status, log: self.tail(begins) }),
            Err(source) => Err(ActivationError::Process { operation: "wait for the MTA".to_owned(), source }),
        }
    }

    /// What the daemon said since it was started.
    fn tail(&self, begins: u64) -> String {
        if self.foreground {
            return String::new();
        }
        let all = fs::read(&self.places.log).unwrap_or_default();
        let new = all.get(usize::try_from(begins).unwrap_or(usize::MAX)..).unwrap_or_default();
        let last = &new[new.len().saturating_sub(QUOTE)..];
        String::from_utf8_lossy(last).trim().to_owned()
    }
}

fn end(pid: u32) -> Result<(), ActivationError> {
    match kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => {
            Err(ActivationError::Process { operation: format!("end process {pid}"), source: error.into() })
        }
    }
}

fn read_pid(path: &Path) -> Option<u32> {
    // Neither a group of processes nor this one.
    fs::read_to_string(path)
        .ok()?
        .trim()
        .parse()
        .ok()
        .filter(|pid| (1..=i32::MAX.cast_unsigned()).contains(pid))
}

/// Whether a process holds the lock of this file. A process that ends, however it ends, holds none.
fn is_locked(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, nix::errno::Errno::EWOULDBLOCK)))
}

/// Connects to a Unix socket. The path of a socket is bounded by 107 octets, so it is reached through its directory.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let parent = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    UnixStream::connect(Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_took_the_lock_and_is_not_named_yet_is_ended_too() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let (pid_file, control_socket, log) = (place("pid"), place("control"), place("log"));
        // Of a process that was killed.
        let mut killed = Command::new("true").spawn().unwrap();
        killed.wait().unwrap();
        fs::write(&pid_file, killed.id().to_string()).unwrap();
        let lock = Flock::lock(File::open(&pid_file).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        let daemon = Daemon {
            command: Vec::new(),
            places: Places { pid_file: pid_file.clone(), control_socket, log },
            foreground: false,
        };
        thread::scope(|scope| {
            let stopped = scope.spawn(|| daemon.stop());
            let mut mta = Command::new("sleep").arg("600").spawn().unwrap();
            thread::sleep(10 * LOOK);
            fs::write(&pid_file, mta.id().to_string()).unwrap();
            mta.wait().unwrap();
            drop(lock);
            stopped.join().unwrap().unwrap();
        });
        assert_eq!(daemon.running().unwrap(), None);
    }
}
