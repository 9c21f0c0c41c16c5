//! From a declaration to the real daemon, and back.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{Ended, Host, binary, free_port};
use crate::load::wait_until;

/// All that is below a directory but the daemon's log: path, inode, time of the last change.
fn snapshot(dir: &Path) -> Vec<(String, u64, i64, i64)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        all.push((path.display().to_string(), meta.ino(), meta.ctime(), meta.ctime_nsec()));
        if meta.is_dir() && !path.ends_with("var/log") {
            all.extend(snapshot(&path));
        }
    }
    all.sort();
    all
}

fn greeting(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut buffer = [0; 128];
    let read = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..read]).into_owned()
}

fn current(host: &Host) -> String {
    fs::read_link(host.path("var/lib/mailstack/current")).unwrap().display().to_string()
}

#[test]
fn a_declaration_becomes_a_running_mta_and_a_second_apply_writes_nothing() {
    let host = Host::new();
    let port = free_port();
    host.declare(&format!("127.0.0.1:{port}"));
    let applied = host.apply().with(0);
    assert_eq!(applied.out, "", "standard output is data");
    assert!(greeting(port).starts_with("220 box.corp.example"));

    // The MTA listens before all of its directories are there; this is the last.
    wait_until("the MTA has started", || host.path("var/spool/mailstack-drop/refused").exists());
    let before = snapshot(host.root());
    let again = host.apply().with(0);
    assert!(again.err.starts_with("nothing to do"), "{}", again.err);
    assert_eq!(snapshot(host.root()), before);

    host.mailstack(&["status"]).with(0);
    host.mailstack(&["stop"]).with(0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    host.mailstack(&["status"]).with(7);
}

/// An apply that stays, once it has said that the generation is live.
fn stays(host: &Host) -> std::process::Child {
    // The tests themselves may run in the background of a shell, which ignores what a terminal sends.
    let mut apply = Command::new("env");
    apply
        .arg("--default-signal=HUP,INT,QUIT")
        .arg(binary())
        .args(["apply", "--foreground"])
        .arg(host.path("etc/mailstack/host.toml"))
        .env("MAILSTACK_ROOT", host.root());
    let mut child = apply.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("is live")), "it ended before");
    // The log goes on there.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn an_apply_in_the_foreground_ends_with_its_mta() {
    let host = Host::new();
    let port = free_port();
    host.declare(&format!("127.0.0.1:{port}"));
    let signal = |process: u32, name: &str| {
        let killed = Command::new("kill").args([name, &process.to_string()]).status().unwrap();
        assert!(killed.success());
    };
    // Empty for the moment in which it is written anew.
    let pid = || {
        let text = fs::read_to_string(host.path("run/mailstack/mailstack.pid")).unwrap();
        text.trim().parse::<u32>().unwrap_or_default()
    };

    for name in ["-TERM", "-INT"] {
        let mut child = stays(&host);
        signal(child.id(), name);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{name}");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "{name}: it runs on");
    }
    let mut child = stays(&host);
    signal(pid(), "-KILL");
    assert_eq!(child.wait().unwrap().code(), Some(7));

    // What another process started is not left beside it.
    host.apply().with(0);
    let before = pid();
    let mut child = stays(&host);
    let begin = Instant::now();
    while [0, before].contains(&pid()) {
        assert!(begin.elapsed() < Duration::from_secs(20), "the one before runs on");
        std::thread::sleep(Duration::from_millis(10));
    }
    host.mailstack(&["stop"]).with(0);
    assert_eq!(child.wait().unwrap().code(), Some(0));

    host.put("etc/mailstack/host.toml", &unstartable());
    host.mailstack(&["apply", "--foreground", host.path("etc/mailstack/host.toml").to_str().unwrap()])
        .with(4);
    assert!(
        TcpStream::connect(("127.0.0.1", port)).is_err(),
        "the generation before runs on, and nobody stays with it"
    );
}

#[test]
fn who_may_not_look_is_told_so_and_nothing_untrue() {
    let host = Host::new();
    let port = free_port();
    host.declare(&format!("127.0.0.1:{port}"));
    host.apply().with(0);
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: asking as another user needs root");
        return;
    }
    let mut command = Command::new(binary());
    command.args(["status", "--root"]).arg(host.root()).uid(64_998).gid(64_998);
    let status = Ended::from(command.output().unwrap()).with(0);
    assert!(status.out.contains(&format!("127.0.0.1:{port}")), "{}", status.out);
    assert!(status.out.contains("ask as root"), "{}", status.out);
    assert_eq!(status.err, "");
}

#[test]
fn the_sendmail_program_hands_a_message_in() {
    let host = Host::new();
    fs::create_dir_all(host.path("var/mail")).unwrap();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    host.apply().with(0);
    let mut sendmail =
        Command::new(host.path("usr/sbin/sendmail")).arg("root").stdin(Stdio::piped()).spawn().unwrap();
    sendmail.stdin.take().unwrap().write_all(b"Subject: hello\n\nIt works.\n").unwrap();
    assert!(sendmail.wait().unwrap().success());
    let (mailbox, begin) = (host.path("var/mail/root"), Instant::now());
    while !fs::read_to_string(&mailbox).is_ok_and(|text| text.contains("It works.")) {
        assert!(begin.elapsed() < Duration::from_secs(20), "nothing arrived in {}", mailbox.display());
        std::thread::yield_now();
    }
}

/// Runs sendmail on the host with this message.
fn sendmail(host: &Host, arguments: &[&str], message: &str) -> Ended {
    let mut command = Command::new(host.path("usr/sbin/sendmail"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut program = command.spawn().unwrap();
    // One that refuses does not read on.
    let _ = program.stdin.take().unwrap().write_all(message.as_bytes());
    Ended::from(program.wait_with_output().unwrap())
}

#[test]
fn what_is_dropped_is_seen_and_what_would_be_refused_is_not_taken() {
    let host = Host::new();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    host.apply().with(0);
    host.mailstack(&["stop"]).with(0);
    let large = format!("{}\n", "x".repeat(900)).repeat(30_000);
    let refused = sendmail(&host, &["root"], &large).with(69);
    assert!(refused.err.contains("exceeds maximum fixed size"), "{}", refused.err);
    let names: Vec<String> = (0..10_001).map(|n| format!("u{n}")).collect();
    let many = sendmail(&host, &["-t"], &format!("To: {}\n\nx\n", names.join(", "))).with(65);
    assert!(many.err.contains("nothing is sent"), "{}", many.err);
    sendmail(&host, &["j\u{fc}rgen@x.example"], "\nx\n").with(65);
    sendmail(&host, &["-f", "j\u{fc}rgen@x.example", "root"], "\nx\n").with(65);
    let program = host.path("usr/sbin/sendmail");
    let closed = Command::new("/bin/sh").arg("-c").arg("\"$0\" root <&-").arg(program).output().unwrap();
    Ended::from(closed).with(74);
    let empty = sendmail(&host, &["-bp"], "").with(0);
    assert!(empty.out.ends_with(" is empty\n\t\tTotal requests: 0\n"), "{}", empty.out);
    sendmail(&host, &["root"], "\nx\n").with(0);
    let one = "1 message waits in the drop directory\n";
    let listed = sendmail(&host, &["-bp"], "").with(0);
    assert!(listed.out.ends_with(&format!("\t\tTotal requests: 0\n{one}")), "{}", listed.out);
    assert!(listed.err.contains("does not run"), "{}", listed.err);
    let listed = host.mailstack(&["queue", "list"]).with(0);
    assert!(listed.err.contains(one) && listed.err.contains("does not run"), "{}", listed.err);
    host.put("var/spool/mailstack-drop/refused/drop-0123456789abcdef0123456789abcdef", "");
    let status = host.mailstack(&["status"]);
    assert!(status.out.contains("1 wait in ") && status.out.contains("1 in "), "{}", status.out);
    assert!(status.out.contains("hand them in again"), "{}", status.out);
}

#[test]
fn rollback_goes_back_and_forth() {
    let host = Host::new();
    let (one, two) = (free_port(), free_port());
    host.declare(&format!("127.0.0.1:{one}"));
    host.apply().with(0);
    let first = current(&host);
    host.declare(&format!("127.0.0.1:{two}"));
    host.apply().with(0);
    assert!(greeting(two).starts_with("220"));
    host.mailstack(&["rollback"]).with(0);
    assert_eq!(current(&host), first);
    assert!(greeting(one).starts_with("220"));
    let listed = host.mailstack(&["generations"]).with(0).out;
    assert_eq!(listed.lines().filter(|line| line.starts_with('*')).count(), 1, "{listed}");
    assert_eq!(listed.lines().count(), 3, "{listed}");
    host.mailstack(&["rollback", "--to", "ffffffffffff"]).with(2);
}

#[test]
fn an_mta_that_does_not_start_is_rolled_back() {
    let host = Host::new();
    let port = free_port();
    host.declare(&format!("127.0.0.1:{port}"));
    host.apply().with(0);
    let first = current(&host);
    host.put("etc/mailstack/host.toml", &unstartable());
    let failed = host.apply().with(4);
    assert!(failed.err.contains("is live again"), "{}", failed.err);
    assert_eq!(current(&host), first);
    assert!(greeting(port).starts_with("220"));
    host.mailstack(&["status"]).with(0);

    // The way back is broken too.
    host.put(&format!("var/lib/mailstack/{first}/etc/mailstack/mta.toml"), "version = ");
    host.apply().with(5);
}

/// A declaration whose MTA cannot listen: the address is of no interface (RFC 5737).
fn unstartable() -> String {
    "schema = 1\nrole = \"gateway\"\nhostname = \"box.corp.example\"\nlisten = [\"192.0.2.77:2525\"]\n"
        .to_owned()
}

#[test]
fn a_first_apply_that_fails_leaves_nothing_live() {
    let host = Host::new();
    host.put("etc/mailstack/host.toml", &unstartable());
    host.apply().with(4);
    assert!(!host.path("var/lib/mailstack/current").exists());
}

#[test]
fn a_port_that_is_taken_is_found_before_anything_is_changed() {
    let host = Host::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    host.declare(&taken.local_addr().unwrap().to_string());
    let refused = host.apply().with(7);
    assert!(refused.err.contains(&format!("process {}", std::process::id())), "{}", refused.err);
    assert!(!host.path("var/lib/mailstack/generations").exists());
}

#[test]
fn a_foreign_sendmail_is_not_replaced() {
    let host = Host::new();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    host.put("usr/sbin/sendmail", "\x7fELF");
    let refused = host.apply().with(7);
    assert!(refused.err.contains("belongs to another MTA"), "{}", refused.err);
    assert_eq!(fs::read_to_string(host.path("usr/sbin/sendmail")).unwrap(), "\x7fELF");
}

#[test]
fn who_holds_the_lock_is_told() {
    let host = Host::new();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    let path = host.put(
        "var/lib/mailstack/lock",
        &format!("{{\"pid\":{},\"command\":\"mailstack apply x\",\"since\":0}}\n", std::process::id()),
    );
    let lock = File::open(path).unwrap();
    lock.lock().unwrap();
    let refused = host.apply().with(6);
    assert!(refused.err.contains(&format!("process {} holds it", std::process::id())), "{}", refused.err);
}

#[test]
fn drift_is_named_and_an_apply_repairs_it() {
    let host = Host::new();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    host.apply().with(0);
    let aliases = host.path("var/lib/mailstack/current/etc/mail/aliases");
    let text = fs::read_to_string(&aliases).unwrap();
    fs::write(&aliases, "root: attacker@foreign.example\n").unwrap();
    let status = host.mailstack(&["status"]).with(7);
    assert!(status.err.contains("etc/mail/aliases was edited"), "{}", status.err);
    assert!(status.err.contains("+root: attacker@foreign.example"), "{}", status.err);
    host.apply().with(0);
    assert_eq!(fs::read_to_string(&aliases).unwrap(), text);
    host.mailstack(&["status"]).with(0);
}

#[test]
fn old_generations_are_collected_and_the_host_can_still_go_back() {
    let host = Host::new();
    for _ in 0..3 {
        host.declare(&format!("127.0.0.1:{}", free_port()));
        host.apply().with(0);
    }
    let live = current(&host);
    let removed = host.mailstack(&["gc", "--keep", "2"]).with(0).out;
    assert_eq!(removed.lines().count(), 1, "{removed}");
    host.mailstack(&["rollback"]).with(0);
    assert_ne!(current(&host), live);
    host.mailstack(&["gc", "--keep", "0"]).with(0);
    host.mailstack(&["status"]).with(0);
    host.mailstack(&["rollback"]).with(7);
}

#[test]
fn a_build_prints_the_digest_that_an_apply_has() {
    let host = Host::new();
    let file = host.declare(&format!("127.0.0.1:{}", free_port()));
    let out = host.path("out");
    let build = |out: &Path| host.mailstack(&["build", file.to_str().unwrap(), "-o", out.to_str().unwrap()]);
    let printed = build(&out).with(0).out;
    assert_eq!(printed.len(), 65, "{printed}");
    assert_eq!(build(&out).with(0).out, printed);
    host.apply().with(0);
    assert!(current(&host).ends_with(printed.trim()));
    build(&host.path("etc")).with(7);
}

#[test]
fn an_apply_that_is_killed_after_any_step_is_made_good_by_the_next() {
    let host = Host::new();
    let ports = [free_port(), free_port()];
    let mut steps = 0;
    loop {
        let port = ports[steps % 2];
        let file = host.declare(&format!("127.0.0.1:{port}"));
        let killed = kill_after(&host, &file, steps);
        host.apply().with(0);
        assert!(greeting(port).starts_with("220"), "killed after {steps} lines");
        host.mailstack(&["status"]).with(0);
        if !killed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 6, "{steps} steps were seen");
}

/// Kills an apply once it has said so many lines; false where it had ended before.
fn kill_after(host: &Host, file: &Path, lines: usize) -> bool {
    let mut apply = Command::new(env!("CARGO_BIN_EXE_mailstack"));
    apply.arg("apply").arg(file).arg("--root").arg(host.root()).stderr(Stdio::piped());
    let mut apply = apply.spawn().unwrap();
    let said = BufReader::new(apply.stderr.take().unwrap()).lines().take(lines).count();
    apply.kill().unwrap();
    !apply.wait().unwrap().success() && said == lines
}

#[test]
fn the_line_for_cron_comes_and_goes_with_the_declaration() {
    let host = Host::new();
    let declare = |flush: &str| {
        let text = format!(
            "schema = 1\nrole = \"msp\"\nhostname = \"box.corp.example\"\nmail_host = \"[127.0.0.1]:1\"\n\
             [queue]\nflush = \"{flush}\"\n"
        );
        host.put("etc/mailstack/host.toml", &text);
    };
    let crontab = host.path("etc/cron.d/mailstack");
    declare("cron");
    host.put("etc/cron.d/mailstack", "* * * * * root true\n");
    let refused = host.apply().with(7);
    assert!(refused.err.contains("etc/cron.d/mailstack"), "{}", refused.err);
    fs::remove_file(&crontab).unwrap();
    host.apply().with(0);
    let text = fs::read_to_string(&crontab).unwrap();
    assert!(text.ends_with("*/5 * * * * mailstack /usr/bin/mailstack sendmail -q\n"), "{text}");
    assert!(fs::read_link(&crontab).unwrap().ends_with("current/etc/cron.d/mailstack"));
    let again = host.apply().with(0);
    assert!(again.err.starts_with("nothing to do"), "{}", again.err);
    // The one MTA that there is does what the line asks for.
    host.mailstack(&["sendmail", "-q"]).with(0);
    declare("resident");
    host.apply().with(0);
    assert!(crontab.symlink_metadata().is_err(), "never two at once");
}
