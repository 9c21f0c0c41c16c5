//! What the kernel keeps a running MTA from, as it says of every thread of it and of its helpers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{Host, binary, free_port};

/// No capability.
const NONE: &str = "0000000000000000";

/// The lines of a status, each with its value (proc_pid_status(5)).
fn status(path: &Path) -> BTreeMap<String, String> {
    let text = fs::read_to_string(path).unwrap();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

/// The threads of a process, and the processes that it started.
fn threads(pid: &str) -> (Vec<PathBuf>, Vec<String>) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let tasks: Vec<PathBuf> = tasks.collect();
    let children =
        tasks.iter().map(|task| fs::read_to_string(task.join("children")).unwrap()).collect::<String>();
    (tasks, children.split_whitespace().map(str::to_owned).collect())
}

/// Has a program of the host send a message.
fn submit(host: &Host, to: &str) {
    let mut sendmail = Command::new(binary());
    sendmail.args(["sendmail", to]).env("MAILSTACK_ROOT", host.root()).stdin(Stdio::piped());
    let mut running = sendmail.spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"Subject: x\n\nwords\n").unwrap();
    assert!(running.wait().unwrap().success());
}

/// Waits until a file below the directory, or it, has the message.
fn arrives(at: &Path) {
    let begin = Instant::now();
    let texts = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path());
        entries.chain([dir.to_owned()]).filter_map(|path| fs::read_to_string(path).ok()).collect()
    };
    while !texts(at).iter().any(|text| text.contains("words")) {
        assert!(begin.elapsed() < Duration::from_secs(30), "nothing arrives in {}", at.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn confined_helpers_deliver() {
    let files = "file_jail = \"/srv/archive\"\ndefault_user = \"robot\"\n[aliases]\nroot = \"robot\"\nall = \"/srv/archive/2026/all\"\n";
    for (mailboxes, place) in [
        ("[mailboxes]\nformat = \"mbox\"\n", "var/mail/robot"),
        ("[mailboxes]\nformat = \"maildir\"\npath = \"Maildir\"\n", "home/robot/Maildir/new"),
    ] {
        let host = with_robot();
        let home = host.path("home/robot");
        fs::create_dir_all(&home).unwrap();
        if fs::metadata("/proc/self").unwrap().uid() == 0 {
            std::os::unix::fs::chown(&home, Some(64_998), Some(64_998)).unwrap();
        }
        let listen = format!("listen = [\"127.0.0.1:{}\"]\n", free_port());
        host.put("etc/mailstack/host.toml", &declared("loopback", &(listen + files + mailboxes)));
        host.apply().with(0);
        for to in ["robot", "all"] {
            submit(&host, to);
        }
        arrives(&host.path(place));
        arrives(&host.path("srv/archive/2026/all"));
    }
}

fn declared(role: &str, keys: &str) -> String {
    format!("schema = 1\nrole = \"{role}\"\nhostname = \"box.corp.example\"\n{keys}")
}

/// A host with one more user.
fn with_robot() -> Host {
    let host = Host::new();
    let passwd = fs::read_to_string(host.path("etc/passwd")).unwrap();
    host.put("etc/passwd", &(passwd + "robot:x:64998:64998::/home/robot:/usr/sbin/nologin\n"));
    host
}

/// What each role is declared with, and how many helpers it has that are confined, and that are not.
fn roles() -> [(&'static str, String, usize, usize); 6] {
    let to = "mail_host = \"[192.0.2.1]\"\n";
    let listen = || format!("listen = [\"127.0.0.1:{}\"]\n", free_port());
    let programs = "programs = [\"/usr/local/bin/ticket\"]\ndefault_user = \"robot\"\n";
    let jail = "file_jail = \"/srv/archive\"\ndefault_user = \"robot\"\n";
    let lmtp = "[mailboxes]\nformat = \"lmtp\"\n";
    [
        ("nullclient", format!("{to}masquerade.domain = \"corp.example\"\n"), 0, 0),
        ("msp", to.to_owned(), 0, 0),
        ("loopback", listen(), 2, 0),
        ("loopback", listen() + jail, 4, 0),
        ("loopback", listen() + programs, 2, 2),
        ("gateway", listen() + lmtp, 0, 0),
    ]
}

#[test]
fn in_every_role_no_thread_has_a_right_and_every_one_is_confined() {
    for (role, keys, confined, free) in roles() {
        let host = with_robot();
        host.put("usr/local/bin/ticket", "#!/bin/sh\n");
        let text = declared(role, &keys);
        host.put("etc/mailstack/host.toml", &text);
        host.apply().with(0);
        let told = host.mailstack(&["status"]).out;
        assert!(told.contains("system calls by seccomp"), "{text}{told}");
        let pid = fs::read_to_string(host.path("run/mailstack/mailstack.pid")).unwrap();
        let (tasks, helpers) = threads(pid.trim());
        for task in tasks {
            let found = status(&task.join("status"));
            let rights = ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| found[set].as_str());
            assert_eq!(rights, [NONE; 4], "{text}");
            assert_eq!(
                [&found["Seccomp"], &found["Seccomp_filters"], &found["NoNewPrivs"]],
                ["2", "2", "1"],
                "{text}"
            );
        }
        let found: Vec<_> =
            helpers.iter().map(|helper| status(Path::new(&format!("/proc/{helper}/status")))).collect();
        assert!(found.iter().all(|helper| helper["NoNewPrivs"] == "1"), "{text}{found:?}");
        let with = |mode: &str| found.iter().filter(|helper| helper["Seccomp"] == mode).count();
        assert_eq!((with("2"), with("0")), (confined, free), "{text}");
    }
}
