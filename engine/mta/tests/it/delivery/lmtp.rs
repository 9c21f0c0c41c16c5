//! Delivery by LMTP: into a real Dovecot's mailboxes, and to servers that do what they should not.
//!
//! `sh vmtests/roots/dovecot.sh target/private-roots/dovecot` prepares Dovecot. It needs root, to enter its root.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mailstack_mta::delivery::helper::Failure;
use mailstack_mta::delivery::local::Facts;
use mailstack_mta::delivery::local::lmtp::Server;
use mailstack_mta::host::Root;
use mailstack_mta::message::Timestamp;
use mailstack_runtime::{MailboxFormat, Mailboxes};

const MESSAGE: &[u8] = b"Subject: by lmtp\r\n\r\n.\r\n..\r\nwords\r\n";

async fn deliver(server: &Server, user: &str) -> Result<String, Failure> {
    let sender = "bob@far.example".to_owned();
    let delivered_to = format!("{user}@corp.example");
    let facts = Facts { sender, delivered_to, at: Timestamp(0) };
    server.deliver("gw.corp.example", user, &facts, &mut &MESSAGE[..]).await
}

/// Dovecot, ended when dropped.
struct Dovecot {
    child: Child,
    root: PathBuf,
}

impl Dovecot {
    /// None, said aloud: it is not there, or cannot be entered.
    fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/private-roots/dovecot");
        if !nix::unistd::geteuid().is_root() || !root.join(".complete").exists() {
            println!("SKIPPED: no root, or no Dovecot in {}: see vmtests/roots/dovecot.sh", root.display());
            return None;
        }
        let root = root.canonicalize().unwrap();
        for entry in fs::read_dir(root.join("srv/mail")).unwrap().flatten() {
            fs::remove_dir_all(entry.path()).unwrap();
        }
        let _ = fs::remove_file(root.join("run/dovecot/lmtp"));
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child", "chroot"]).arg(&root).arg("/serve");
        let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let dovecot = Self { child, root };
        let until = Instant::now() + Duration::from_secs(20);
        while !greets(&dovecot.socket()) {
            assert!(Instant::now() < until, "Dovecot does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(dovecot)
    }

    fn socket(&self) -> PathBuf {
        self.root.join("run/dovecot/lmtp")
    }
}

fn greets(socket: &Path) -> bool {
    let Ok(stream) = UnixStream::connect(socket) else { return false };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).is_ok() && line.starts_with("220 ")
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn dovecot_gets_the_message_whole_and_its_refusals_are_told() {
    let Some(dovecot) = Dovecot::start() else { return };
    let server = Server::Unix(dovecot.socket());
    let said = deliver(&server, "alice").await.unwrap();
    assert!(said.contains("/run/dovecot/lmtp: ") && said.contains("Saved"), "{said}");
    let new = dovecot.root.join("srv/mail/alice/new");
    let file = fs::read_dir(&new).unwrap().flatten().next().unwrap().path();
    let text = fs::read_to_string(file).unwrap().replace("\r\n", "\n");
    assert!(text.starts_with("Return-Path: <bob@far.example>\n"), "{text}");
    assert!(text.contains("\nDelivered-To: alice@corp.example\n"), "{text}");
    assert!(text.ends_with("\nSubject: by lmtp\n\n.\n..\nwords\n"), "{text}");
    let unknown = deliver(&server, "nobody-here").await.unwrap_err();
    assert_eq!(unknown.status, "5.1.1", "{unknown:?}");
    assert!(unknown.text.contains("answered RCPT: 550 "), "{unknown:?}");
    // Which code that is Dovecot is told by quota_full_tempfail.
    let full = deliver(&server, "full").await.unwrap_err();
    assert_eq!(full.status, "5.2.2", "{full:?}");
    drop(dovecot);
}

/// A server that says these replies, one for each line that it reads, and then hangs up.
fn scripted(replies: &'static [&'static str]) -> (tempfile::TempDir, Server) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lmtp");
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let (mut input, mut out) = (BufReader::new(stream.try_clone().unwrap()), stream);
        for (at, reply) in replies.iter().enumerate() {
            // The first is the greeting; the last answers the final dot.
            let is_heard = match at {
                0 => true,
                1..5 => input.read_line(&mut String::new()).is_ok_and(|read| read > 0),
                _ => (&mut input).lines().any(|line| line.is_ok_and(|line| line == ".")),
            };
            if !is_heard {
                return;
            }
            let _ = out.write_all(reply.as_bytes());
        }
    });
    (directory, Server::Unix(path))
}

#[tokio::test]
async fn what_a_server_does_wrong_puts_the_message_off() {
    for (replies, status) in [
        (&[][..], "4.4.1"),
        (&["whatever\r\n"], "4.5.0"),
        (&["220 hi\r\n", "500 5.5.1 I speak SMTP\r\n"], "5.5.1"),
        (&["421 4.3.2 not now\r\n"], "4.3.2"),
        (&["220 hi\r\n", "250-a\r\n250 b\r\n", "250 ok\r\n", "450 no\r\n"], "4.0.0"),
        (&["220 hi\r\n", "250 b\r\n", "250 ok\r\n", "550 4.2.2 of another class\r\n"], "5.0.0"),
        (&["220 hi\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "250 no 354\r\n"], "4.0.0"),
        (&["220 hi\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"], "4.4.1"),
        (
            &["220 hi\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "452 4.2.2 full\r\n"],
            "4.2.2",
        ),
    ] {
        let (_directory, server) = scripted(replies);
        let failure = deliver(&server, "alice").await.unwrap_err();
        assert_eq!(failure.status, status, "{replies:?}: {failure:?}");
    }
    let whole =
        &["220 hi\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 2.0.0 <alice> Saved\r\n"];
    let (_directory, server) = scripted(whole);
    assert!(deliver(&server, "alice").await.unwrap().ends_with(": <alice> Saved"));
    let nobody = Server::Unix("/nonexistent/lmtp".into());
    assert_eq!(deliver(&nobody, "alice").await.unwrap_err().status, "4.4.1");
}

#[test]
fn a_server_is_a_socket_below_the_root_or_an_address() {
    let root = Root::new("/tree");
    let of = |format, path: &str| Server::of(&Mailboxes { format, path: path.into() }, &root);
    let lmtp = MailboxFormat::Lmtp;
    assert_eq!(of(lmtp, "/run/dovecot/lmtp"), Some(Server::Unix("/tree/run/dovecot/lmtp".into())));
    assert_eq!(of(lmtp, "[127.0.0.1]:24"), Some(Server::Tcp("127.0.0.1:24".parse().unwrap())));
    assert_eq!(of(lmtp, "[::1]:24"), Some(Server::Tcp("[::1]:24".parse().unwrap())));
    assert_eq!(of(MailboxFormat::Mbox, "/var/mail"), None);
}
