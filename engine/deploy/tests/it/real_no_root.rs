//! Real Sendmail as a daemon that is never root once a client is connected: who serves, and who writes the mailbox.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::hosts::Example;
use crate::real_inetd::{HERE, answer, connect, own_network};
use crate::real_sendmail::Root;

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// The numbers of the user `mail` and of his group in the private root.
const MAIL: u32 = 8;

/// A daemon that ends with this, its children too.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        // It may have ended by itself.
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_daemon_without_root_serves_as_mail_and_its_mailboxes_are_of_the_group() {
    use std::os::unix::process::CommandExt;
    let text = format!(
        "schema = 1\nrole = \"gateway\"\nengine = \"sendmail\"\npermissions = \"no-root\"\n\
         hostname = \"here.corp.example\"\nlisten = [\"{HERE}\"]\nlocal_domains = [\"corp.example\"]\n\
         aliases.staff = \"alice\"\n"
    );
    let example = Example { name: "no-root".to_owned(), text };
    let Some(root) = Root::of(&example) else { return };
    if !root.path().join("usr/bin/procmail").exists() {
        eprintln!("SKIPPED: no procmail in the private root: run vmtests/roots/sendmail.sh again");
        return;
    }
    // A program of a user's would run as the owner of all mail.
    let home = root.path().join("home/alice");
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(home.join(".forward"), "\\alice, \"|/bin/touch /tmp/ran\"\n").unwrap();
    std::os::unix::fs::chown(home.join(".forward"), Some(1001), Some(1001)).unwrap();
    own_network();
    let enter = "echo here.corp.example >/proc/sys/kernel/hostname; exec chroot \"$@\"";
    let mut daemon = Command::new("unshare");
    daemon.args(["--uts", "sh", "-c", enter, "sh"]).arg(root.path()).process_group(0);
    daemon.args(["/usr/libexec/sendmail/sendmail", "-L", "sm-mta", "-bD", "-q1h"]);
    let mut daemon = Daemon(daemon.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").spawn().unwrap());
    let at = std::net::SocketAddrV4::new(HERE.parse().unwrap(), 25);
    let mut client = eventually("nobody listens", || {
        assert!(daemon.0.try_wait().unwrap().is_none(), "the daemon ended");
        connect(at)
    });
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(answer(&mut client).starts_with("220 here.corp.example ESMTP"));
    let first = daemon.0.id();
    let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    let status = |pid: &str| std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let serving: Vec<String> =
        children.split_whitespace().map(status).filter(|text| !text.is_empty()).collect();
    assert!(!serving.is_empty(), "{children}");
    for status in serving {
        assert!(status.contains("Uid:\t8\t8\t8\t8") && status.contains("Gid:\t8\t8\t8\t8"), "{status}");
        assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    }
    let mut say = |words: &str| {
        std::io::Write::write_all(&mut client, words.as_bytes()).unwrap();
        answer(&mut client)
    };
    say("EHLO client.example\r\n");
    assert!(say("MAIL FROM:<>\r\n").starts_with("250 "));
    let denied = say("RCPT TO:<b@far.example>\r\n");
    assert!(denied.starts_with("550 5.7.1 ") || denied.starts_with("450 4."), "{denied}");
    let taken = say("RCPT TO:<staff@here.corp.example>\r\n");
    assert!(taken.starts_with("250 2.1.5"), "{taken}");
    assert!(say("DATA\r\n").starts_with("354 "));
    let queued = say("Subject: without root\r\n\r\nhello\r\n.\r\n");
    assert!(queued.starts_with("250 2.0.0"), "{queued}");
    say("QUIT\r\n");
    let mailbox = root.path().join("var/mail/alice");
    eventually("not delivered", || {
        let told = std::fs::read_to_string(&mailbox).unwrap_or_default();
        told.contains("Subject: without root").then_some(())
    });
    assert!(!root.path().join("tmp/ran").exists());
    let meta = std::fs::metadata(&mailbox).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o660, 1001, MAIL));
    let queue = std::fs::metadata(root.path().join("var/spool/mqueue")).unwrap();
    assert_eq!((queue.mode() & 0o7777, queue.uid()), (0o700, MAIL));
}
