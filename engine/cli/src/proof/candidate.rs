//! The candidate as a process: the real program on its scratch tree.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mailstack_mta::host::Root;
use mailstack_runtime::CONFIG_PATH;

use super::child::{SYSTEM_PATH, give_up_rights};
use super::network::HostNetwork;

/// How long it may take to be ready.
const START: Duration = Duration::from_secs(10);
/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_millis(50);
/// How long the end of its log is waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Lines of its log that are kept.
pub(super) const LINES: usize = 200;

/// A candidate that runs; it ends with its process namespace at the latest.
pub(super) struct Candidate {
    /// None: the role has none while nobody hands mail in.
    process: Option<Child>,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Candidate {
    /// Starts it on its host and waits until it is ready. The second error: it ended, or was not ready in time.
    pub(super) fn start(root: &Root, host: &HostNetwork) -> io::Result<Result<Self, Vec<String>>> {
        let notify = root.path("notify");
        let ready = UnixDatagram::bind(&notify)?;
        ready.set_read_timeout(Some(LOOK))?;
        // The candidate has given up root when it tells.
        fs::set_permissions(&notify, Permissions::from_mode(0o666))?;
        let mut process = host.within(|| {
            give_up_rights()?;
            command(root)?.env("NOTIFY_SOCKET", &notify).spawn()
        })?;
        let log = Arc::default();
        let reader = keep_log(&mut process, &log);
        let mut candidate = Self { process: Some(process), log, reader };
        match candidate.is_ready(&ready) {
            true => Ok(Ok(candidate)),
            false => Ok(Err(candidate.end())),
        }
    }

    fn is_ready(&mut self, told: &UnixDatagram) -> bool {
        let begin = Instant::now();
        let mut words = [0; 64];
        while begin.elapsed() < START && !self.has_ended() {
            if told.recv(&mut words).is_ok_and(|count| words[..count].starts_with(b"READY=1")) {
                return true;
            }
        }
        false
    }

    /// One that runs already; what it says on standard error is kept too.
    pub(super) fn of_process(mut process: Child, log: Arc<Mutex<Vec<String>>>) -> Self {
        let reader = keep_log(&mut process, &log);
        Self { process: Some(process), log, reader }
    }

    /// One that is started by who hands mail in.
    pub(super) fn without_process(log: Arc<Mutex<Vec<String>>>) -> Self {
        Self { process: None, log, reader: None }
    }

    pub(super) fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| !matches!(process.try_wait(), Ok(None)))
    }

    /// What it wrote so far.
    pub(super) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn end(mut self) -> Vec<String> {
        if let Some(process) = &mut self.process {
            // Both fail only for a process that has ended.
            let _ = process.kill();
            let _ = process.wait();
        }
        let begin = Instant::now();
        // Its last words; a process that it left behind may keep the pipe open.
        while self.reader.as_ref().is_some_and(|reader| !reader.is_finished()) && begin.elapsed() < LAST_WORDS
        {
            thread::sleep(Duration::from_millis(1));
        }
        self.log()
    }
}

fn command(root: &Root) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("run").arg("--root").arg(root.as_path()).arg("--config").arg(root.path(CONFIG_PATH));
    command.env_clear().env("PATH", SYSTEM_PATH).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

fn keep_log(process: &mut Child, log: &Arc<Mutex<Vec<String>>>) -> Option<JoinHandle<()>> {
    let stderr = process.stderr.take()?;
    let log = Arc::clone(log);
    Some(thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == LINES {
                log.remove(0);
            }
            log.push(line);
        }
    }))
}
