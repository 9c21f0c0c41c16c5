//! Real Sendmail by `-bs`, started on a connection as inetd does: who it is, what it refuses, and who delivers.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::hosts::Example;
use crate::real_sendmail::Root;

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// An address of the host that is no loopback address.
pub(crate) const HERE: &str = "192.0.2.10";
/// The mail user's number in the private root.
const SMMTA: &str = "201";

/// The address of a stranger.
const THERE: [u8; 4] = [198, 51, 100, 7];

/// A network of this thread and of what it starts. It routes to the stranger, but the address is none of this host's:
/// Sendmail relays for its own.
pub(crate) fn own_network() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let address = format!("{HERE}/32");
    let stranger = ["route", "add", "local", "198.51.100.0/24", "dev", "lo"];
    for words in [["link", "set", "lo", "up"].as_slice(), &["addr", "add", &address, "dev", "lo"], &stranger]
    {
        assert!(Command::new("ip").args(words).status().unwrap().success());
    }
}

/// Connects as the stranger, where somebody listens.
pub(crate) fn connect(at: SocketAddrV4) -> Option<TcpStream> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
    let client = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let [a, b, c, d] = THERE;
    bind(client.as_raw_fd(), &SockaddrIn::new(a, b, c, d, 0)).unwrap();
    connect(client.as_raw_fd(), &SockaddrIn::from(at)).ok()?;
    Some(TcpStream::from(client))
}

pub(crate) fn answer(client: &mut TcpStream) -> String {
    let mut heard = String::new();
    let mut octets = [0; 512];
    let is_whole = |heard: &str| {
        let last = heard.lines().last().unwrap_or_default();
        heard.ends_with("\r\n") && last.as_bytes().get(3) == Some(&b' ')
    };
    while !is_whole(&heard) {
        let count = client.read(&mut octets).unwrap();
        assert!(count > 0, "closed: {heard}");
        heard.push_str(std::str::from_utf8(&octets[..count]).unwrap());
    }
    heard
}

/// The user and the program's words, of the generated line.
fn generated(example: &Example) -> (String, String) {
    let files = mailstack_deploy::generate::files(&example.model());
    let text = String::from_utf8(files["etc/inetd.d/mailstack"].bytes.clone()).unwrap();
    let line = text.lines().last().unwrap().to_owned();
    let mut fields = line.splitn(7, ' ');
    let user = fields.nth(4).unwrap().to_owned();
    let program = fields.next().unwrap().to_owned();
    let words = fields.next().unwrap().split_once(' ').unwrap().1.to_owned();
    (user, format!("{program} {words}"))
}

#[test]
fn sendmail_by_inetd_is_unprivileged_relays_for_nobody_and_its_runner_delivers() {
    let text = format!(
        "schema = 1\nrole = \"gateway\"\nengine = \"sendmail\"\nhostname = \"here.corp.example\"\n\
         listen = [\"{HERE}\"]\nlocal_domains = [\"corp.example\"]\naliases.staff = \"alice\"\n\
         [service]\nby = \"inetd\"\n"
    );
    let example = Example { name: "inetd".to_owned(), text };
    let Some(root) = Root::of(&example) else { return };
    // So that mail.local, as the recipient, can lock a mailbox: the package does it too.
    std::fs::set_permissions(root.path().join("var/mail"), Permissions::from_mode(0o3777)).unwrap();
    own_network();
    let (user, line) = generated(&example);
    assert_eq!(user, "smmta");
    let listener = TcpListener::bind((HERE, 0)).unwrap();
    let at = SocketAddrV4::new(HERE.parse().unwrap(), listener.local_addr().unwrap().port());
    let mut client = connect(at).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let (connection, _) = listener.accept().unwrap();
    let clone = || OwnedFd::from(connection.try_clone().unwrap());
    let enter = "echo here.corp.example >/proc/sys/kernel/hostname; exec chroot --userspec=\"$@\"";
    let mut session = Command::new("unshare");
    session.args(["--uts", "sh", "-c", enter, "sh", root.owner()]).arg(root.path());
    session.args(["/bin/sh", "-c", &format!("exec {line}")]);
    session.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let mut session = session.stdin(clone()).stdout(clone()).stderr(clone()).spawn().unwrap();
    drop(connection);
    let greeting = answer(&mut client);
    assert!(greeting.starts_with("220 here.corp.example ESMTP"), "{greeting}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", session.id())).unwrap();
    assert!(status.contains(&format!("Uid:\t{SMMTA}\t{SMMTA}\t{SMMTA}\t{SMMTA}")), "{status}");
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let mut say = |words: &str| {
        client.write_all(words.as_bytes()).unwrap();
        answer(&mut client)
    };
    say("EHLO client.example\r\n");
    assert!(say("MAIL FROM:<>\r\n").starts_with("250 "));
    let denied = say("RCPT TO:<b@far.example>\r\n");
    assert!(denied.starts_with("550 5.7.1 ") || denied.starts_with("450 4."), "{denied}");
    let taken = say("RCPT TO:<staff@here.corp.example>\r\n");
    assert!(taken.starts_with("250 2.1.5"), "{taken}");
    assert!(say("DATA\r\n").starts_with("354 "));
    let queued = say("Subject: by inetd\r\n\r\nhello\r\n.\r\n");
    assert!(queued.starts_with("250 2.0.0"), "{queued}");
    say("QUIT\r\n");
    // Its status tells of what it refused too.
    session.wait().unwrap();
    let mailbox = root.path().join("var/mail/alice");
    let told = || std::fs::read_to_string(&mailbox).unwrap_or_default();
    assert!(!told().contains("by inetd"), "the runner delivers");
    let run = root.run_here("0:0", "/usr/libexec/sendmail/sendmail -L sm-mta -q -v");
    assert!(run.status.success(), "{run:?}");
    let begin = Instant::now();
    while !told().contains("by inetd") {
        assert!(begin.elapsed() < DEADLINE, "not delivered: {run:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
