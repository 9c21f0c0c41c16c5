//! A host that has files of another MTA, below a directory of its own. Daemons, units and scripts are stopped and given
//! back on Debians that have them: `vmtests/takeover`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::host::{Ended, Host, binary, free_port};

const PROGRAM: &str = "usr/sbin/sendmail";
const OCTETS: &[u8] = b"\x7fELF\xff\x00 of another MTA";

/// A host with the programs of another MTA.
fn host() -> Host {
    let host = Host::new();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    host.put(PROGRAM, "");
    fs::write(host.path(PROGRAM), OCTETS).unwrap();
    fs::set_permissions(host.path(PROGRAM), fs::Permissions::from_mode(0o2755)).unwrap();
    fs::create_dir_all(host.path("usr/bin")).unwrap();
    symlink("../sbin/sendmail", host.path("usr/bin/mailq")).unwrap();
    host
}

fn take_over(host: &Host, more: &[&str]) -> Ended {
    let file = host.path("etc/mailstack/host.toml");
    let words = [&["apply", "--take-over"], more, &[file.to_str().unwrap()]].concat();
    host.mailstack(&words)
}

#[track_caller]
fn is_as_before(host: &Host) {
    let meta = fs::symlink_metadata(host.path(PROGRAM)).unwrap();
    assert_eq!(fs::read(host.path(PROGRAM)).unwrap(), OCTETS);
    assert!(meta.is_file() && meta.mode() & 0o7777 == 0o2755, "{:o}", meta.mode());
    assert_eq!(fs::read_link(host.path("usr/bin/mailq")).unwrap().to_str(), Some("../sbin/sendmail"));
    assert!(!host.path("usr/bin/newaliases").exists(), "there was none before");
    assert!(!host.path("var/lib/mailstack/current").exists());
    assert!(!host.path("var/lib/mailstack/before").exists());
}

#[test]
fn another_mta_is_taken_over_and_given_back_to_the_octet() {
    let host = host();
    let refused = host.apply().with(7);
    for text in ["belongs to another MTA", "mailstack apply --take-over", "mailstack deactivate"] {
        assert!(refused.err.contains(text), "{text}: {}", refused.err);
    }
    assert!(!host.path("var/lib/mailstack/before").exists());
    take_over(&host, &[]).with(0);
    host.mailstack(&["status"]).with(0);
    assert!(fs::read_to_string(host.path(PROGRAM)).unwrap().contains("mailstack"));
    let again = take_over(&host, &[]).with(0);
    assert!(again.err.starts_with("nothing to do"), "{}", again.err);

    let given = host.mailstack(&["deactivate"]).with(0);
    assert!(given.err.contains("is not active any more"), "{}", given.err);
    is_as_before(&host);
    host.mailstack(&["status"]).with(7);
    let nothing = host.mailstack(&["deactivate"]).with(0);
    assert!(nothing.err.contains("nothing to do"), "{}", nothing.err);
    // Nothing is gone back to that was live before the host was given away.
    host.mailstack(&["rollback"]).with(7);
}

#[test]
fn what_was_changed_meanwhile_stays() {
    let host = host();
    take_over(&host, &[]).with(0);
    fs::remove_file(host.path(PROGRAM)).unwrap();
    fs::write(host.path(PROGRAM), "a package was upgraded").unwrap();
    let given = host.mailstack(&["deactivate"]).with(0);
    assert!(given.err.contains("usr/sbin/sendmail was changed since"), "{}", given.err);
    assert_eq!(fs::read_to_string(host.path(PROGRAM)).unwrap(), "a package was upgraded");

    // One that was upgraded is taken over anew, and that is what is given back.
    take_over(&host, &[]).with(0);
    fs::remove_file(host.path(PROGRAM)).unwrap();
    fs::write(host.path(PROGRAM), "and again").unwrap();
    host.mailstack(&["status"]).with(7);
    take_over(&host, &[]).with(0);
    host.mailstack(&["deactivate"]).with(0);
    assert_eq!(fs::read_to_string(host.path(PROGRAM)).unwrap(), "and again");
}

#[test]
fn mail_of_another_mta_is_not_left_unsaid() {
    let host = host();
    let mail = host.put("var/spool/postfix/deferred/A/A1B2", "a message");
    let refused = take_over(&host, &["--drain", "0"]).with(7);
    assert!(
        refused.err.contains("/var/spool/postfix/deferred holds mail of another MTA (1 files)"),
        "{}",
        refused.err
    );
    assert!(refused.err.contains("--leave-queue"), "{}", refused.err);
    is_as_before(&host);
    let taken = take_over(&host, &["--drain", "0", "--leave-queue"]).with(0);
    assert!(taken.err.contains("mail stays where nobody delivers it"), "{}", taken.err);
    let status = host.mailstack(&["status"]).with(0);
    assert!(status.err.contains("/var/spool/postfix/deferred"), "{}", status.err);
    assert_eq!(fs::read_to_string(&mail).unwrap(), "a message");
    host.mailstack(&["deactivate"]).with(0);
    assert_eq!(fs::read_to_string(mail).unwrap(), "a message");
    is_as_before(&host);
}

#[test]
fn flags_of_a_take_over_want_one() {
    let host = host();
    for flags in [&["--leave-queue"] as &[&str], &["--drain", "5"], &["--take-over", "--drain", "soon"]] {
        let file = host.path("etc/mailstack/host.toml");
        host.mailstack(&[&["apply"], flags, &[file.to_str().unwrap()]].concat()).with(2);
    }
}

#[test]
fn a_directory_in_the_place_of_a_program_is_not_taken() {
    let host = host();
    fs::remove_file(host.path("usr/bin/mailq")).unwrap();
    fs::create_dir(host.path("usr/bin/mailq")).unwrap();
    let refused = take_over(&host, &[]).with(7);
    assert!(refused.err.contains("usr/bin/mailq"), "{}", refused.err);
    assert_eq!(fs::read(host.path(PROGRAM)).unwrap(), OCTETS);
}

#[test]
fn mail_in_mailstacks_queue_is_not_left_unsaid() {
    let host = Host::new();
    let text = format!(
        "schema = 1\nrole = \"loopback\"\nhostname = \"box.corp.example\"\nmail_host = \"[127.0.0.1]:1\"\n\
         listen = [\"127.0.0.1:{}\"]\n",
        free_port()
    );
    host.put("etc/mailstack/host.toml", &text);
    take_over(&host, &[]).with(0);
    let mut sendmail = Command::new(host.path(PROGRAM));
    let mut sendmail = sendmail.arg("bob@far.example").stdin(Stdio::null()).spawn().unwrap();
    assert!(sendmail.wait().unwrap().success());
    let refused = host.mailstack(&["deactivate"]).with(7);
    assert!(
        refused.err.contains("holds 1 messages") && refused.err.contains("--leave-queue"),
        "{}",
        refused.err
    );
    host.mailstack(&["status"]).with(0);
    // Nobody runs who could say it: it is read from the disk.
    host.mailstack(&["stop"]).with(0);
    let refused = host.mailstack(&["deactivate"]).with(7);
    assert!(refused.err.contains("holds 1 messages"), "{}", refused.err);
    let given = host.mailstack(&["deactivate", "--leave-queue"]).with(0);
    assert!(given.err.contains("holds 1 messages"), "{}", given.err);
    assert!(!host.path("var/lib/mailstack/current").exists());
    host.apply().with(0);
    let listed = host.mailstack(&["queue", "list"]).with(0);
    assert!(listed.out.contains("bob@far.example"), "{}", listed.out);
}

#[test]
fn a_take_over_that_fails_gives_all_back() {
    let host = host();
    let text =
        "schema = 1\nrole = \"gateway\"\nhostname = \"box.corp.example\"\nlisten = [\"192.0.2.77:2525\"]\n";
    host.put("etc/mailstack/host.toml", text);
    let failed = take_over(&host, &[]).with(4);
    assert!(failed.err.contains("nothing is live, as before"), "{}", failed.err);
    is_as_before(&host);
}

#[test]
fn a_take_over_that_is_killed_after_any_step_is_made_good_or_taken_back() {
    let mut steps = 0;
    loop {
        let host = host();
        let killed = kill_after(&host, &["apply", "--take-over"], steps);
        // One that does not go on with it says so, unless mailstack can go live as it is.
        let plain = host.apply();
        assert!(
            plain.code == 0 || plain.err.contains("was cut short") || steps < 5,
            "{steps}: {}",
            plain.err
        );
        take_over(&host, &[]).with(0);
        host.mailstack(&["status"]).with(0);
        host.mailstack(&["deactivate"]).with(0);
        is_as_before(&host);
        kill_after(&host, &["apply", "--take-over"], steps);
        host.mailstack(&["deactivate"]).with(0);
        is_as_before(&host);
        if !killed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 8, "{steps} steps were seen");
}

#[test]
fn a_deactivation_that_is_killed_after_any_step_is_made_good_by_the_next() {
    let mut steps = 0;
    loop {
        let host = host();
        take_over(&host, &[]).with(0);
        let killed = kill_after(&host, &["deactivate"], steps);
        host.mailstack(&["deactivate"]).with(0);
        is_as_before(&host);
        if !killed {
            break;
        }
        steps += 1;
    }
    assert!(steps > 3, "{steps} steps were seen");
}

/// Kills a command once it has said so many lines; false where it had ended before.
fn kill_after(host: &Host, words: &[&str], lines: usize) -> bool {
    let mut command = Command::new(binary());
    command.args(words).env("MAILSTACK_ROOT", host.root()).stderr(Stdio::piped());
    if words.contains(&"apply") {
        command.arg(host.path("etc/mailstack/host.toml"));
    }
    let mut command = command.spawn().unwrap();
    let said = BufReader::new(command.stderr.take().unwrap()).lines().take(lines).count();
    command.kill().unwrap();
    let killed = !command.wait().unwrap().success() && said == lines;
    settle(host);
    killed
}

/// Waits for a daemon that the killed one started just before: it ends up under its pid file, or it ends.
fn settle(host: &Host) {
    let (pid_file, begin) = (host.path("run/mailstack/mailstack.pid"), Instant::now());
    while begin.elapsed() < Duration::from_millis(100) && !pid_file.exists() {
        std::thread::yield_now();
    }
}
