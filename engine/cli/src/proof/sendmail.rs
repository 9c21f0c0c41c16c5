//! The candidate where the host's Sendmail runs the role: the real program, with its compiled-in paths.
//!
//! In the mount namespace of the proof every place that it reads or writes (`/etc`, its queues, mailboxes, homes, `/run`,
//! `/dev` with the log socket) is covered by the scratch tree. Needs root, as Sendmail does.

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mailstack_mta::host::Root;
use mailstack_prove::corpus::Lines;
use mailstack_runtime::{Config, Sendmail};
use mailstack_smtp::command::{Command as Smtp, parse};
use nix::mount::{MsFlags, mount};

use super::candidate::{Candidate, LINES};
use super::child::{SYSTEM_PATH, run};
use super::network::HostNetwork;

/// How long the daemon may take to serve.
const START: Duration = Duration::from_secs(10);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// The devices that Sendmail and its mailers use.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
/// Where a machine's load stands. A proof on a busy machine must not be refused for it (`RefuseLA`).
const LOAD: &str = "/proc/loadavg";
/// `EX_NOUSER`, `EX_UNAVAILABLE`: the mail host refused a recipient while the submission program waited.
const REFUSED: [i32; 2] = [67, 69];

/// Covers this host with the scratch tree. `generation` is the candidate's directory.
pub(super) fn cover(root: &Root, generation: &Path, sendmail: &Sendmail) -> io::Result<()> {
    etc(root, generation)?;
    devices(root)?;
    let tree = root.as_path();
    let places = [
        sendmail.daemon_queue.as_path(),
        &sendmail.client_queue,
        Path::new("/var/mail"),
        Path::new("/var/lib/sendmail"),
        Path::new("/home"),
        Path::new("/root"),
    ];
    for place in places.into_iter().filter(|place| place.is_dir()) {
        let scratch = root.path(place);
        fs::create_dir_all(&scratch)?;
        like(&scratch, place)?;
        bind(&scratch, place)?;
    }
    runtime_directories(root, sendmail)?;
    let load = tree.join("loadavg");
    fs::write(&load, "0.00 0.00 0.00 1/1 1\n")?;
    bind(&load, Path::new(LOAD))
}

/// The host's own `/etc`, under the files of the scratch tree and the candidate's `/etc/mail`.
fn etc(root: &Root, generation: &Path) -> io::Result<()> {
    let (scratch, whole) = (root.path("etc"), root.path("whole-etc"));
    fs::create_dir_all(&whole)?;
    copy("/etc/.", &whole)?;
    // Accounts: the host's, and those of the scratch tree that it does not have.
    for name in ["passwd", "group"] {
        let (own, more) = (fs::read_to_string(whole.join(name))?, fs::read_to_string(scratch.join(name))?);
        fs::write(scratch.join(name), both(&own, &more))?;
    }
    fs::write(scratch.join("nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files dns\n")?;
    for name in ["passwd", "group", "hosts", "resolv.conf", "nsswitch.conf"] {
        // A link would lead out of the tree.
        let _ = fs::remove_file(whole.join(name));
        fs::copy(scratch.join(name), whole.join(name))?;
    }
    let mail = whole.join("mail");
    fs::create_dir_all(&mail)?;
    for entry in fs::read_dir(generation.join("etc/mail"))? {
        let entry = entry?;
        let _ = fs::remove_file(mail.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            // The programs that smrsh may run: links.
            true => copy(&entry.path().display().to_string(), &mail)?,
            false => drop(fs::copy(entry.path(), mail.join(entry.file_name()))?),
        }
    }
    bind(&whole, Path::new("/etc"))
}

/// The lines of both, those of the first where a name is in both.
fn both(own: &str, more: &str) -> String {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    let known: Vec<String> = own.lines().map(name).collect();
    let new = more.lines().filter(|line| !known.contains(&name(line)));
    own.lines().chain(new).map(|line| format!("{line}\n")).collect()
}

fn devices(root: &Root) -> io::Result<()> {
    let scratch = root.path("dev");
    fs::create_dir_all(&scratch)?;
    for name in DEVICES {
        fs::write(scratch.join(name), "")?;
        bind(&Path::new("/dev").join(name), &scratch.join(name))?;
    }
    symlink("/proc/self/fd", scratch.join("fd"))?;
    bind(&scratch, Path::new("/dev"))
}

fn runtime_directories(root: &Root, sendmail: &Sendmail) -> io::Result<()> {
    let scratch = root.path("run");
    fs::create_dir_all(&scratch)?;
    bind(&scratch, Path::new("/run"))?;
    let queues = [("mta", &sendmail.daemon_queue), ("msp", &sendmail.client_queue)];
    for (name, queue) in queues.into_iter().filter(|(_, queue)| queue.is_dir()) {
        let (directory, owner) = (sendmail.run.join(name), fs::metadata(queue)?);
        fs::create_dir_all(&directory)?;
        chown(&directory, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// Gives the copy owner and mode of the place that it covers.
fn like(copy: &Path, place: &Path) -> io::Result<()> {
    let meta = fs::metadata(place)?;
    chown(copy, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(copy, Permissions::from_mode(meta.mode() & 0o7777))
}

fn copy(from: &str, to: &Path) -> io::Result<()> {
    run("cp", &["-a", from, &to.display().to_string()], "")
}

fn bind(from: &Path, to: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    let bound = mount(Some(from), to, None::<&str>, flags, None::<&str>);
    bound.map_err(|error| io::Error::other(format!("cannot cover {}: {}", to.display(), error.desc())))
}

impl Candidate {
    /// Starts Sendmail's daemon, where the role has one, and waits until it serves. The second error: what it said.
    pub(super) fn start_sendmail(
        config: &Config,
        sendmail: &Sendmail,
        host: &HostNetwork,
    ) -> io::Result<Result<Self, Vec<String>>> {
        let log = listen_to_syslog()?;
        if config.mailboxes.is_none() {
            return Ok(Ok(Self::without_process(log)));
        }
        let mut command = program(sendmail);
        command
            .args(["-L", "sm-mta", "-bD"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let process = host.within(|| command.spawn())?;
        let pid = process.id().to_string();
        let mut candidate = Self::of_process(process, log);
        let (begin, pid_file) = (Instant::now(), sendmail.run.join("mta/sendmail.pid"));
        loop {
            let told = fs::read_to_string(&pid_file).unwrap_or_default();
            if told.lines().next() == Some(pid.as_str()) {
                return Ok(Ok(candidate));
            }
            if begin.elapsed() > START || candidate.has_ended() {
                return Ok(Err(candidate.end()));
            }
            thread::sleep(LOOK);
        }
    }
}

/// Keeps what is written to the log socket of the covered host.
fn listen_to_syslog() -> io::Result<Arc<Mutex<Vec<String>>>> {
    let socket = UnixDatagram::bind("/dev/log")?;
    fs::set_permissions("/dev/log", Permissions::from_mode(0o666))?;
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = Arc::clone(&log);
    thread::spawn(move || {
        let mut packet = [0; 4096];
        while let Ok(count) = socket.recv(&mut packet) {
            let line = String::from_utf8_lossy(&packet[..count]).into_owned();
            let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if log.len() == LINES {
                log.remove(0);
            }
            // Priority and date stand in front.
            log.push(line.split_once("]: ").map_or(line.clone(), |(_, text)| text.to_owned()));
        }
    });
    Ok(log)
}

fn program(sendmail: &Sendmail) -> Command {
    let mut command = Command::new(&sendmail.program);
    command.env_clear().env("PATH", SYSTEM_PATH).env("LOGNAME", "root").current_dir("/");
    command
}

/// Hands a message in as cron does. Returns whether it was taken, or refused at once by the mail host, of which Sendmail
/// tells the sender by mail.
pub(super) fn submit(
    sendmail: &Sendmail,
    host: &HostNetwork,
    lines: &Lines,
    message: &str,
    said: &mut Vec<String>,
) -> io::Result<bool> {
    let Ok(Smtp::Rcpt(recipient)) = parse(lines.rcpt.as_bytes()) else {
        return Err(io::Error::other(format!("not a recipient: {}", lines.rcpt)));
    };
    let recipient = recipient.to.to_string();
    let mut command = program(sendmail);
    command.args(["-i", "-oem", "--", &recipient]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let ended = host.within(|| hand_over(&mut command, message))?;
    said.push(format!("sendmail -i -oem -- {recipient}: {ended}"));
    Ok(ended.success() || ended.code().is_some_and(|code| REFUSED.contains(&code)))
}

fn hand_over(command: &mut Command, message: &str) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        // What it does not read shows in its status.
        let _ = pipe.write_all(message.replace("\r\n", "\n").as_bytes());
    }
    child.wait()
}
