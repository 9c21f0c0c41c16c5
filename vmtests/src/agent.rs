//! A host's side of levels where the runner cannot enter it: one request in, one reply out, as JSON lines.
//!
//! In a container each request is a program of its own; in a virtual machine one agent answers all of them.

use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::netns::host::{self, HostSpec, User};
use crate::pipes;
use crate::talk::{Script, Transcript, talk};

/// What the runner asks of a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make accounts and files, as after an installation.
    Furnish(HostSpec),
    /// Run programs at the same time, each to its end or so many milliseconds.
    Run(Vec<Job>, u64),
    /// Hold an SMTP session.
    Talk(Script),
    /// Read a file.
    Get(PathBuf),
    /// Write a file, with the directories above it.
    Put(PathBuf, Vec<u8>),
    /// Start a program that stays, and wait for its first line.
    Start(Vec<String>),
    /// Set the clock forward by so many seconds.
    Clock(i64),
    /// Write out what is not on disk yet.
    Sync,
}

/// A program, and who runs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The user.
    pub user: User,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its standard input.
    pub input: Vec<u8>,
}

/// What a host answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// How the programs ended, in their order.
    Ran(Vec<Ended>),
    /// The SMTP session.
    Said(Transcript),
    /// The file, where there is one.
    Got(Option<Vec<u8>>),
    /// It could not be done.
    Failed(String),
}

/// How a program ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ended {
    /// As `wait` tells it.
    pub status: i32,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Answers one request on the standard streams.
pub fn once() -> io::Result<()> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let reply = answer_line(&line);
    io::stdout().write_all(&reply)?;
    io::stdout().flush()
}

/// Answers a request as it came, with a line.
pub fn answer_line(line: &str) -> Vec<u8> {
    let reply = serde_json::from_str(line).map_err(io::Error::from).and_then(answer);
    let reply = reply.unwrap_or_else(|error| Reply::Failed(error.to_string()));
    let mut bytes = serde_json::to_vec(&reply).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

fn answer(request: Request) -> io::Result<Reply> {
    Ok(match request {
        Request::Furnish(spec) => host::furnish(&spec, Path::new("/")).map(|()| Reply::Done)?,
        Request::Run(jobs, milliseconds) => run(&jobs, Duration::from_millis(milliseconds))?,
        Request::Talk(script) => Reply::Said(talk(&script)),
        Request::Get(path) => match fs::read(&path) {
            Ok(bytes) => Reply::Got(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Reply::Got(None),
            Err(error) => return Err(error),
        },
        Request::Put(path, bytes) => {
            path.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::write(&path, bytes).map(|()| Reply::Done)?
        }
        Request::Start(words) => stay(&words)?,
        Request::Clock(seconds) => forward(seconds)?,
        Request::Sync => {
            nix::unistd::sync();
            Reply::Done
        }
    })
}

fn run(jobs: &[Job], deadline: Duration) -> io::Result<Reply> {
    let until = Instant::now() + deadline;
    let children = jobs.iter().map(start).collect::<io::Result<Vec<_>>>()?;
    let ended = |child: Child| {
        let Output { status, stdout, stderr } = pipes::finish(child, until)?;
        Ok(Ended { status: std::os::unix::process::ExitStatusExt::into_raw(status), stdout, stderr })
    };
    children.into_iter().map(ended).collect::<io::Result<_>>().map(Reply::Ran)
}

fn start(job: &Job) -> io::Result<Child> {
    let mut command = host::command(&job.user, &job.command)?;
    if job.user.id != 0 {
        command.uid(job.user.id).gid(job.user.id);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", job.command.join(" "))))?;
    pipes::feed(&mut child, job.input.clone());
    Ok(child)
}

fn forward(seconds: i64) -> io::Result<Reply> {
    let clock = nix::time::ClockId::CLOCK_REALTIME;
    let now = nix::time::clock_gettime(clock)?;
    let then = nix::sys::time::TimeSpec::new(now.tv_sec() + seconds, now.tv_nsec());
    nix::time::clock_settime(clock, then)?;
    Ok(Reply::Done)
}

fn stay(words: &[String]) -> io::Result<Reply> {
    let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("no command to run"))?;
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut line = String::new();
    let out = child?.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
    io::BufReader::new(out).read_line(&mut line)?;
    if line.is_empty() { Err(io::Error::other(format!("{program} did not start"))) } else { Ok(Reply::Done) }
}

/// Stays as the first process of a container, and reaps whatever is left to it.
pub fn idle() -> ! {
    loop {
        if nix::sys::wait::waitpid(None, None).is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Answers requests on a port of the machine until it is switched off.
pub fn serve(port: &Path) -> io::Result<()> {
    // A port takes one open file.
    let mut output = fs::OpenOptions::new().read(true).write(true).open(port)?;
    let mut input = io::BufReader::new(output.try_clone()?);
    let mut line = String::new();
    loop {
        // Nobody is at the other end yet: a read ends at once.
        if input.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        output.write_all(&answer_line(&line))?;
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> User {
        User { name: "root".to_owned(), id: 0, home: "/".into() }
    }

    #[test]
    fn programs_run_at_the_same_time_and_are_cut_off() {
        let job = |script: &str, input: &str| Job {
            user: me(),
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            input: input.as_bytes().to_vec(),
        };
        let jobs = [job("cat; exit 3", "hello"), job("exec sleep 100", "")];
        let Ok(Reply::Ran(ended)) = run(&jobs, Duration::from_millis(300)) else { panic!("did not run") };
        assert_eq!((ended[0].stdout.as_slice(), ended[0].status), (&b"hello"[..], 3 << 8));
        assert_eq!(ended[1].status, 9, "it was not killed");
    }

    #[test]
    fn what_is_no_request_is_answered_so() {
        let reply = String::from_utf8(answer_line("nonsense")).expect("text");
        assert!(reply.starts_with("{\"Failed\""), "{reply}");
    }
}
