//! The whole daemon in a process of its own: this test binary, started again.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use mailstack_mta::control::{Client, Status};
use mailstack_mta::run::{RunError, RunOptions, run};
use mailstack_mta::secrets::{self, Certificate};
use mailstack_mta::submission::{Request, Submitted, submit};
use mailstack_policy::ReversePath;
use mailstack_runtime::{CONFIG_PATH, ServerTls};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::certificates::Authority;

/// Names the tree to the process that is started.
const ROOT: &str = "MAILSTACK_TEST_DAEMON_ROOT";
/// Who a daemon started by root becomes here.
const UID: u32 = 64_990;

/// Not a test: what the started process runs.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    match run(RunOptions::new(root)) {
        Ok(()) => {}
        Err(RunError::Running { pid, .. }) => println!("running as {pid:?}"),
        Err(e) => panic!("{e:?}"),
    }
}

/// A daemon that is told to stop when dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(root: &Root) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "server::daemon::child", "--nocapture"]).env(ROOT, root.as_path());
    command
}

/// Starts a daemon and waits until it says that it is ready.
fn start(root: &Root) -> Daemon {
    let path = root.path("notify");
    let _ = std::fs::remove_file(&path);
    let notified = UnixDatagram::bind(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    notified.set_read_timeout(Some(DEADLINE)).unwrap();
    let child = command(root).env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).spawn().unwrap();
    let daemon = Daemon(child);
    let mut state = [0; 32];
    let read = notified.recv(&mut state).expect("not ready in time");
    assert_eq!(&state[..read], b"READY=1");
    daemon
}

fn stop(mut daemon: Daemon) {
    kill(Pid::from_raw(daemon.0.id() as i32), Signal::SIGTERM).unwrap();
    assert!(daemon.0.wait().unwrap().success());
}

/// A tree for a host without mailboxes, whose mail host does not answer.
fn prepare(directory: &Path) -> Root {
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let root = Root::new(directory.join("tree"));
    std::fs::create_dir_all(root.path("etc/mailstack")).unwrap();
    let passwd = format!("root:x:0:0::/:\nmailstack:x:{UID}:{UID}::/:\n");
    std::fs::write(root.path("etc/passwd"), passwd).unwrap();
    std::fs::write(root.path("etc/group"), format!("mailstack:x:{UID}:\n")).unwrap();
    let hop = "mail_hosts = [{ host = { address = \"127.0.0.1\" }, port = 1 }]";
    let text = CONFIG
        .replace("mail_hosts = []", hop)
        .replace("[mailboxes]\nformat = \"mbox\"\npath = \"/var/mail\"\n", "")
        .replace("local_mailboxes = true", "local_mailboxes = false")
        .replace("listeners = []", "listeners = [\"127.0.0.1:0\"]");
    std::fs::write(root.path(CONFIG_PATH), text).unwrap();
    root
}

fn status(root: &Root) -> Status {
    Client::connect(root, &config().paths).unwrap().status().unwrap()
}

#[test]
fn a_daemon_starts_once_takes_mail_and_keeps_it_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let root = prepare(directory.path());
    let daemon = start(&root);
    let pid = daemon.0.id();
    let found = status(&root);
    assert_eq!((found.pid, found.hostname.as_str(), found.queued), (pid, "gw.corp.example", 0));
    assert!(found.listening[0].starts_with("127.0.0.1:"), "{found:?}");
    if nix::unistd::geteuid().is_root() {
        let process = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(process.contains(&format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}")), "{process}");
        assert!(process.contains("CapPrm:\t0000000000000000"), "{process}");
    }
    let second = command(&root).output().unwrap();
    let said = String::from_utf8(second.stdout).unwrap();
    assert!(said.contains(&format!("running as Some({pid})")), "{said}");
    let request = Request::new(ReversePath::Null, vec!["root".parse().unwrap()]);
    let submitted = submit(&root, &config(), &request, &mut b"Subject: x\n\nbody\n".as_slice()).unwrap();
    assert!(matches!(submitted, Submitted::Queued { .. }), "{submitted:?}");
    stop(daemon);
    let again = start(&root);
    assert_eq!(status(&root).queued, 1);
    stop(again);
}

#[test]
fn a_client_role_refuses_a_listener_that_it_is_given() {
    let directory = tempfile::tempdir().unwrap();
    let root = prepare(directory.path());
    let text = std::fs::read_to_string(root.path(CONFIG_PATH)).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    for role in ["nullclient", "msp"] {
        let text = text.replace("role = \"gateway\"", &format!("role = \"{role}\""));
        std::fs::write(root.path(CONFIG_PATH), text).unwrap();
        let given = r#"LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&0 </dev/null"#;
        let mut shell = Command::new("/bin/sh");
        let command = command(&root);
        shell.args(["-c", given]).arg(command.get_program()).args(command.get_args());
        let socket = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let output = shell.env(ROOT, root.as_path()).stdin(Stdio::from(socket)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("NeverListens") && said.contains(&at),
            "{role}: {said}"
        );
    }
}

#[test]
fn a_renewed_certificate_is_taken_in_without_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let root = prepare(directory.path());
    let authority = Authority::new();
    let put = |year| {
        let leaf = authority.sign_until(&["gw.corp.example"], year);
        for (name, text) in [("cert.pem", leaf.certificate), ("key.pem", leaf.key)] {
            let path = root.path("etc").join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        }
    };
    put(2100);
    let path = root.path(CONFIG_PATH);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut read: mailstack_runtime::Config = toml::from_str(&text).unwrap();
    let server = ServerTls { certificate: "/etc/cert.pem".into(), key: "/etc/key.pem".into() };
    read.tls.server = Some(server);
    std::fs::write(&path, toml::to_string(&read).unwrap()).unwrap();
    let daemon = start(&root);
    let expires = || status(&root).certificate_expires.unwrap();
    let first = expires();
    put(2090);
    assert_eq!(expires(), first);
    let (_, renewed) = secrets::certificate(&root, &read, "mailstack").unwrap().unwrap();
    let renew = |renewed| Client::connect(&root, &config().paths).unwrap().renew(renewed);
    renew(renewed).unwrap();
    let second = expires();
    assert!(second < first);
    // What cannot be used changes nothing.
    let bad = Certificate { certificate: "x".to_owned(), key: String::new() };
    assert!(renew(bad).unwrap_err().to_string().contains("no PEM certificate"));
    assert_eq!(expires(), second);
    put(2080);
    let hangup = || kill(Pid::from_raw(daemon.0.id() as i32), Signal::SIGHUP).unwrap();
    if nix::unistd::geteuid().is_root() {
        // Root's alone: the daemon has given that up.
        hangup();
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert_eq!(expires(), second);
        for name in ["cert.pem", "key.pem"] {
            let path = root.path("etc").join(name);
            std::os::unix::fs::chown(&path, None, Some(UID)).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        }
    }
    hangup();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while expires() == second {
        assert!(std::time::Instant::now() < until, "it is not taken in");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    stop(daemon);
}
