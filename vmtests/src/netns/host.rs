//! One host under test: its first process, and programs that run on it.
//!
//! A host has network, mount, process and name namespaces of its own. Its file tree is this machine's, read-only
//! below an upper layer that keeps what the host writes, so that a host that went down comes up as it was. What
//! is this machine's own (its MTA, accounts, addresses) is covered before anything runs.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use serde::{Deserialize, Serialize};

use super::namespaces as ns;
use super::sendmail;
use crate::backend::{BackendError, HostPlan, World};
use crate::served;

/// Everything that a host's first process must know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its fully qualified name.
    pub name: String,
    /// Holds `upper`, `work` and the mount point `root`.
    pub dir: PathBuf,
    /// A tree laid over this machine's for every host: the binary under test.
    pub common: PathBuf,
    /// Files written on first start, by absolute path.
    pub files: Vec<(PathBuf, String)>,
    /// Accounts, `root` and the system's beside.
    pub users: Vec<User>,
    /// Whether its file tree is this machine's, so that what is this machine's own must be covered.
    pub laid_over: bool,
    /// A private root with Sendmail in it, where the host has it.
    pub sendmail: Option<PathBuf>,
    /// A private root with inetd and xinetd in it, where one of them listens for the host.
    pub inetd: Option<PathBuf>,
}

/// An account on a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The user id, and the id of the group of the same name.
    pub id: u32,
    /// The home directory.
    pub home: PathBuf,
}

/// The first user id of a topology's users.
const FIRST_USER: u32 = 1000;

impl HostSpec {
    /// What a host has at every level: names, addresses, name servers, its declaration, its users.
    pub fn of(world: &World, name: &str, plan: &HostPlan) -> Self {
        let short = plan.fqdn.split('.').next().unwrap_or(name);
        let own = plan.addresses.iter().map(|(_, address)| format!("{address} {} {short}\n", plan.fqdn));
        let hosts = format!("127.0.0.1 localhost\n::1 localhost\n{}", own.collect::<String>());
        let here: BTreeSet<&String> = plan.addresses.iter().map(|(network, _)| network).collect();
        let servers = here.into_iter().filter_map(|network| world.networks.get(network));
        let servers: String =
            servers.map(|&(first, _)| format!("nameserver {}\n", super::name_server(first))).collect();
        let resolv = format!("{servers}options timeout:2 attempts:2\n");
        let mut files = vec![("/etc/hosts".into(), hosts), ("/etc/resolv.conf".into(), resolv)];
        files.extend(plan.declaration.clone().map(|text| (PathBuf::from("/etc/mailstack/host.toml"), text)));
        Self {
            name: plan.fqdn.clone(),
            dir: PathBuf::new(),
            common: PathBuf::new(),
            files,
            users: accounts(&plan.users),
            laid_over: false,
            sendmail: None,
            inetd: None,
        }
    }
}

impl User {
    /// A user of a host by name; `root` is on every host.
    pub fn of(world: &World, host: &str, name: &str) -> Result<Self, BackendError> {
        if name == "root" {
            return Ok(Self { name: name.to_owned(), id: 0, home: "/root".into() });
        }
        let found = accounts(&world.host(host)?.users).into_iter().find(|user| user.name == name);
        found.ok_or_else(|| BackendError::Unknown { kind: "user", name: format!("{name} on {host}") })
    }
}

fn accounts(names: &[String]) -> Vec<User> {
    let user =
        |(name, id): (&String, u32)| User { name: name.clone(), id, home: Path::new("/home").join(name) };
    names.iter().zip(FIRST_USER..).map(user).collect()
}

/// What of this machine a host must not see: another MTA, its tables, queues and mailboxes.
const COVERED: &[&str] = &[
    "/etc/aliases",
    "/etc/mail",
    "/etc/mailstack",
    "/etc/postfix",
    "/etc/exim4",
    "/usr/sbin/sendmail",
    "/usr/lib/sendmail",
    "/usr/bin/mailq",
    "/usr/bin/newaliases",
    "/var/lib/mailstack",
    "/var/spool/mailstack",
    "/var/mail",
    "/var/spool/mail",
    "/var/spool/mqueue",
    "/var/spool/mqueue-client",
    "/var/lib/sendmail",
];

/// Builds the host's world, starts its first process, says that process's id on standard output and waits.
pub fn start(spec: &HostSpec) -> io::Result<ExitCode> {
    ns::die_with_parent()?;
    ns::unshare_host()?;
    nix::unistd::sethostname(&spec.name)?;
    ns::make_mounts_private()?;
    let root = lay_out(spec)?;
    let mut first = Command::new(std::env::current_exe()?)
        .arg("host-first-process")
        .arg(&root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut ready = [0; 1];
    let mut from_first =
        first.stdout.take().ok_or_else(|| io::Error::other("no pipe from the first process"))?;
    from_first.read_exact(&mut ready)?;
    println!("{}", first.id());
    io::stdout().flush()?;
    Ok(ns::exit_code(first.wait()?))
}

/// The first process of a host: takes the tree as its root, says so, and reaps whatever is left to it.
pub fn first_process(root: &Path) -> io::Result<ExitCode> {
    ns::die_with_parent()?;
    ns::mount_type("proc", &root.join("proc"), None)?;
    sendmail::cover_load(root)?;
    ns::switch_root(root)?;
    sendmail::keep_log()?;
    run("ip", &["link", "set", "lo", "up"])?;
    io::stdout().write_all(b"\n")?;
    io::stdout().flush()?;
    let children = nix::sys::signal::SigSet::from(Signal::SIGCHLD);
    children.thread_block()?;
    loop {
        // A signal that came before the wait stays pending, as it is blocked.
        children.wait()?;
        while waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG))
            .is_ok_and(|status| status != nix::sys::wait::WaitStatus::StillAlive)
        {}
    }
}

fn lay_out(spec: &HostSpec) -> io::Result<PathBuf> {
    let (upper, work, root) = (spec.dir.join("upper"), spec.dir.join("work"), spec.dir.join("root"));
    let first_start = !upper.exists();
    for dir in [&upper, &work, &root] {
        fs::create_dir_all(dir)?;
    }
    // The upper layer's mode is the mode of the host's root directory.
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755))?;
    ns::mount_overlay(&format!("{}:/", spec.common.display()), &upper, &work, &root)?;
    if first_start {
        furnish(spec, &root)?;
        if let Some(sendmail) = &spec.sendmail {
            sendmail::install(sendmail, &root)?;
        }
        if let Some(inetd) = &spec.inetd {
            served::install(inetd, &root)?;
        }
    }
    match spec.sendmail {
        Some(_) => sendmail::own_devices(&root)?,
        None => ns::bind(Path::new("/dev"), &root.join("dev"))?,
    }
    ns::mount_type("tmpfs", &root.join("run"), Some("mode=0755"))?;
    ns::mount_type("tmpfs", &root.join("tmp"), Some("mode=1777"))?;
    Ok(root)
}

/// Makes accounts, files and directories as after an installation, and removes what is this machine's own.
pub fn furnish(spec: &HostSpec, root: &Path) -> io::Result<()> {
    for covered in COVERED.iter().filter(|_| spec.laid_over) {
        remove(&below(root, Path::new(covered)))?;
    }
    let mail = root.join("var/mail");
    fs::create_dir_all(&mail)?;
    chown(&mail, Some(0), Some(MAIL_GROUP))?;
    fs::set_permissions(&mail, fs::Permissions::from_mode(0o2775))?;
    write(root, Path::new("/etc/passwd"), &passwd(&spec.users))?;
    write(root, Path::new("/etc/group"), &group(&spec.users))?;
    write(root, Path::new("/etc/hostname"), &format!("{}\n", spec.name))?;
    for (path, text) in &spec.files {
        write(root, path, text)?;
    }
    spec.users.iter().try_for_each(|user| make_home(root, user))
}

fn make_home(root: &Path, user: &User) -> io::Result<()> {
    let home = below(root, &user.home);
    fs::create_dir_all(&home)?;
    chown(&home, Some(user.id), Some(user.id))?;
    fs::set_permissions(&home, fs::Permissions::from_mode(0o750))
}

fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| match error.kind() {
        // One that is mounted, as in a container, is written in place.
        io::ErrorKind::NotFound | io::ErrorKind::ResourceBusy => Ok(()),
        _ => Err(error),
    })
}

pub(super) fn write(root: &Path, path: &Path, text: &str) -> io::Result<()> {
    let path = below(root, path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    remove(&path)?;
    fs::write(&path, text)
}

pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The id of Debian's group `mail`.
const MAIL_GROUP: u32 = 8;
/// The id of the MTA's user and group on hosts under test.
const MAILSTACK: u32 = 990;

fn passwd(users: &[User]) -> String {
    let system = format!(
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n\
         mail:x:8:8:mail:/var/mail:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
         mailstack:x:{MAILSTACK}:{MAILSTACK}:mailstack:/nonexistent:/usr/sbin/nologin\n{}",
        sendmail::PASSWD
    );
    let line = |user: &User| format!("{0}:x:{1}:{1}::{2}:/bin/sh\n", user.name, user.id, user.home.display());
    users.iter().filter(|user| user.id != 0).fold(system, |text, user| text + &line(user))
}

fn group(users: &[User]) -> String {
    let system = format!(
        "root:x:0:\ndaemon:x:1:\nmail:x:8:\nnogroup:x:65534:\nmailstack:x:{MAILSTACK}:\n{}",
        sendmail::GROUP
    );
    let line = |user: &User| format!("{0}:x:{1}:\n", user.name, user.id);
    users.iter().filter(|user| user.id != 0).fold(system, |text, user| text + &line(user))
}

/// Runs a program on a host as a user and waits; its standard streams are this process's.
pub fn enter(pid: u32, user: &User, command: &[String]) -> io::Result<ExitCode> {
    ns::die_with_parent()?;
    ns::join_host(pid)?;
    ns::become_user(user.id, user.id)?;
    Ok(ns::exit_code(self::command(user, command)?.status()?))
}

/// A program as a user starts it: environment and directory; who runs it is the caller's.
pub fn command(user: &User, words: &[String]) -> io::Result<Command> {
    let (program, arguments) = words.split_first().ok_or_else(|| io::Error::other("no command to run"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", &user.home)
        .env("USER", &user.name)
        .env("LOGNAME", &user.name)
        .env("SHELL", "/bin/sh")
        .env("LANG", "C.UTF-8")
        .current_dir(if Path::new(&user.home).is_dir() { user.home.as_path() } else { Path::new("/") });
    Ok(command)
}

/// Runs a program of this machine to its end; its standard error is in the error.
pub fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program} {}: {}", arguments.join(" "), said.trim())))
}
