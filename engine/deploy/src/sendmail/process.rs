//! Sendmail's processes where no systemd runs: the daemon of the roles that have one, and the runner of the submission
//! program's queue. Each stays in the foreground of a session of its own, so that its process id is known from the
//! start; restarting after a crash is init's work.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mailstack_runtime::{Config, Role, Sendmail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::activation::{ActivationError, Running, START_DEADLINE, STOP_DEADLINE};
use crate::generation::disk;

/// Between two looks at a process that starts or ends.
const LOOK: Duration = Duration::from_millis(5);
/// The most octets of the log that an error quotes.
const QUOTE: usize = 2000;

/// The arguments of the runner for what processes of one client each have queued. It looks often: each message waits for
/// its first attempt there, and how long one waits between two is not said here (`MinQueueAge`).
pub(crate) const SESSIONS_QUEUE: [&str; 4] = ["-L", "sm-mta", "-q5s", "-d99.100"];

/// One process of Sendmail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Takes mail and delivers it.
    Daemon,
    /// Runs the submission program's queue.
    Client,
}

impl Part {
    /// Those that a role has, in the order that they start in.
    pub fn of(role: Role) -> &'static [Part] {
        match role {
            Role::Nullclient | Role::Msp => &[Part::Client],
            Role::Loopback | Role::Gateway => &[Part::Daemon, Part::Client],
        }
    }

    /// The name, as the hidden argument of `mailstack run` has it.
    pub fn name(self) -> &'static str {
        match self {
            Part::Daemon => "daemon",
            Part::Client => "client",
        }
    }

    /// The part of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Part::Daemon, Part::Client].into_iter().find(|part| part.name() == name)
    }

    /// The arguments of the program, in the foreground.
    fn words(self, config: &Config, sendmail: &Sendmail) -> Vec<String> {
        let interval = format!("-q{}s", sendmail.queue_interval);
        let words: &[&str] = match self {
            Part::Daemon if !config.served_by.is_daemon() => &SESSIONS_QUEUE,
            Part::Daemon => &["-L", "sm-mta", "-bD", &interval],
            // 99.100: a queue runner has no other way to stay in the foreground (op.txt, appendix "debugging").
            Part::Client => &["-L", "sm-msp-queue", "-Ac", &interval, "-d99.100"],
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }

    /// What Sendmail writes itself once it serves.
    fn pid_file(self, sendmail: &Sendmail) -> PathBuf {
        let directory = match self {
            Part::Daemon => "mta",
            Part::Client => "msp",
        };
        sendmail.run.join(directory).join("sendmail.pid")
    }
}

/// Becomes a part: notes which process it is, and goes on as Sendmail. Returns only why it did not.
pub fn become_part(part: Part, config: &Config, sendmail: &Sendmail, records: &Path) -> io::Error {
    match note(part, records) {
        Err(error) => error,
        Ok(()) => command(part, config, sendmail)
            .args(part.words(config, sendmail))
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .exec(),
    }
}

/// The program; who serves clients stands back as far as it is declared.
fn command(part: Part, config: &Config, sendmail: &Sendmail) -> Command {
    if part == Part::Client || config.nice == 0 || !config.served_by.is_daemon() {
        return Command::new(&sendmail.program);
    }
    let mut nice = Command::new("/usr/bin/nice");
    nice.args(["-n", &config.nice.to_string()]).arg(&sendmail.program);
    nice
}

/// The process id and its time of start, by which it is told from a later process of the same number.
fn note(part: Part, records: &Path) -> io::Result<()> {
    let own = std::process::id();
    let start = started(own).ok_or_else(|| io::Error::other("/proc tells nothing of this process"))?;
    let (place, fresh) = (record(part, records), records.join(format!("sendmail-{}.new", part.name())));
    fs::write(&fresh, format!("{own} {start}\n"))?;
    fs::rename(fresh, place)
}

fn record(part: Part, records: &Path) -> PathBuf {
    records.join(format!("sendmail-{}.pid", part.name()))
}

/// When a process started, in ticks since the boot (proc(5), field 22).
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    // A zombie has ended.
    (fields.next()? != "Z").then_some(())?;
    fields.nth(18)?.parse().ok()
}

/// The process ids that are noted, whether they run or not.
pub(crate) fn recorded(records: &Path) -> Vec<u32> {
    let pid = |part| {
        let text = fs::read_to_string(record(part, records)).ok()?;
        text.split_once(' ')?.0.parse().ok()
    };
    [Part::Daemon, Part::Client].into_iter().filter_map(pid).collect()
}

/// The processes of this host's Sendmail that mailstack started.
#[derive(Clone, Debug)]
pub struct Processes {
    /// Starts one of them: its name is appended.
    pub command: Vec<OsString>,
    /// Where their ids are noted.
    pub records: PathBuf,
    /// What they say on standard error; the rest goes to syslog.
    pub log: PathBuf,
}

impl Processes {
    /// The process id of a part that runs.
    pub fn alive(&self, part: Part) -> Option<u32> {
        let text = fs::read_to_string(record(part, &self.records)).ok()?;
        let (pid, start) = text.trim().split_once(' ')?;
        let pid = pid.parse().ok()?;
        (started(pid) == start.parse().ok()).then_some(pid)
    }

    /// The daemon, else the runner.
    pub fn running(&self) -> Option<Running> {
        let pid = self.alive(Part::Daemon).or_else(|| self.alive(Part::Client))?;
        Some(Running { pid: Some(pid) })
    }

    /// Ends them, and waits for their end. A process that has a message in its hands goes on with it.
    pub fn stop(&self) -> Result<(), ActivationError> {
        for part in [Part::Daemon, Part::Client] {
            let begin = Instant::now();
            while let Some(pid) = self.alive(part) {
                // It may have ended since.
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
                if begin.elapsed() > STOP_DEADLINE {
                    return Err(ActivationError::StillRuns { pid });
                }
                thread::sleep(LOOK);
            }
            disk::remove(&record(part, &self.records))?;
        }
        Ok(())
    }

    /// Starts those that the role has, and waits until they serve.
    pub fn start(&self, config: &Config, sendmail: &Sendmail) -> Result<Running, ActivationError> {
        disk::make_dirs(&self.records)?;
        self.log.parent().map_or(Ok(()), disk::make_dirs)?;
        for part in Part::of(config.role).iter().filter(|part| self.alive(**part).is_none()) {
            self.start_one(*part, sendmail)?;
        }
        Ok(self.running().unwrap_or(Running { pid: None }))
    }

    fn start_one(&self, part: Part, sendmail: &Sendmail) -> Result<(), ActivationError> {
        let failed = |source| ActivationError::Log { path: self.log.clone(), source };
        let log = OpenOptions::new().create(true).append(true).mode(0o640).open(&self.log).map_err(failed)?;
        let begins = log.metadata().map_err(failed)?.len();
        let mut child = self.spawn(part, log)?;
        let begin = Instant::now();
        while !is_first_line(&part.pid_file(sendmail), child.id()) {
            match child.try_wait() {
                Ok(None) => {}
                Ok(Some(status)) => return Err(ActivationError::Ended { status, log: self.tail(begins) }),
                Err(source) => {
                    let operation = "wait for Sendmail".to_owned();
                    return Err(ActivationError::Process { operation, source });
                }
            }
            if begin.elapsed() > START_DEADLINE {
                let missing = format!("it has not written {}", part.pid_file(sendmail).display());
                return Err(ActivationError::NotReady { pid: child.id(), missing, log: self.tail(begins) });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn spawn(&self, part: Part, log: File) -> Result<Child, ActivationError> {
        let failed = |source| ActivationError::Process {
            operation: format!("start Sendmail's {}", part.name()),
            source,
        };
        let nothing = io::Error::from(io::ErrorKind::InvalidInput);
        let (program, arguments) = self.command.split_first().ok_or(nothing).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(arguments).arg(part.name()).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.spawn().map_err(failed)
    }

    /// What was said since the start.
    fn tail(&self, begins: u64) -> String {
        let all = fs::read(&self.log).unwrap_or_default();
        let new = all.get(usize::try_from(begins).unwrap_or(usize::MAX)..).unwrap_or_default();
        let last = &new[new.len().saturating_sub(QUOTE)..];
        String::from_utf8_lossy(last).trim().to_owned()
    }
}

fn is_first_line(file: &Path, pid: u32) -> bool {
    fs::read_to_string(file).is_ok_and(|text| text.lines().next() == Some(pid.to_string().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let records = tempfile::tempdir().unwrap();
        let processes =
            Processes { command: Vec::new(), records: records.path().to_owned(), log: PathBuf::new() };
        assert_eq!(processes.alive(Part::Daemon), None);
        note(Part::Daemon, records.path()).unwrap();
        assert_eq!(processes.alive(Part::Daemon), Some(std::process::id()));
        let later = format!("{} 1\n", std::process::id());
        fs::write(record(Part::Daemon, records.path()), later).unwrap();
        assert_eq!(processes.alive(Part::Daemon), None);
    }
}
