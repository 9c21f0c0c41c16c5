use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::Duration;

use nix::unistd::geteuid;

use super::text::{Converter, Form};
use super::*;

fn facts() -> Facts {
    Facts {
        sender: "a@far.example".to_owned(),
        delivered_to: "bob@corp.example".to_owned(),
        at: Timestamp(1_795_000_000_000),
    }
}

fn mbox(path: &Path) -> Mbox {
    Mbox { path: path.to_owned(), owners: vec![geteuid().as_raw()], patience: Duration::from_secs(30) }
}

fn converted(form: Form, message: &[u8], piece: usize) -> String {
    let mut converter = Converter::new(form);
    let mut out = Vec::new();
    message.chunks(piece).for_each(|octets| converter.feed(octets, &mut out));
    converter.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn lines_in_mailboxes() {
    let cases = [
        ("A: b\r\n\r\nbody\r\n", "A: b\n\nbody\n\n", "A: b\n\nbody\n"),
        ("From x\r\n", ">From x\n\n", "From x\n"),
        (">From x\r\n", ">>From x\n\n", ">From x\n"),
        (">>>From \r\n", ">>>>From \n\n", ">>>From \n"),
        ("Fro\r\nFrom\r\n", "Fro\nFrom\n\n", "Fro\nFrom\n"),
        (" From x\r\n", " From x\n\n", " From x\n"),
        ("no end", "no end\n\n", "no end\n"),
        ("a\r\n>", "a\n>\n\n", "a\n>\n"),
        ("a\r\nFrom", "a\nFrom\n\n", "a\nFrom\n"),
        ("a\r\n>>Fr", "a\n>>Fr\n\n", "a\n>>Fr\n"),
        ("", "\n", ""),
        ("a\rb\r\n", "a\rb\n\n", "a\rb\n"),
        ("a\r\r\n", "a\r\n\n", "a\r\n"),
    ];
    for (message, in_mbox, plain) in cases {
        for piece in 1..=message.len().max(1) {
            assert_eq!(converted(Form::Mbox, message.as_bytes(), piece), in_mbox, "{message:?} by {piece}");
            assert_eq!(converted(Form::Plain, message.as_bytes(), piece), plain, "{message:?} by {piece}");
        }
    }
}

#[test]
fn a_circle_is_seen() {
    let message = b"Delivered-To: Bob@corp.example\r\nSubject: x\r\n\r\nDelivered-To: eve@corp.example\r\n";
    assert!(has_been_delivered_to(message, "bob@corp.example"));
    assert!(!has_been_delivered_to(message, "eve@corp.example"));
    assert!(!has_been_delivered_to(message, "ob@corp.example"));
}

#[test]
fn an_mbox() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob");
    mbox(&path).append(&facts(), &mut &b"Subject: 1\r\n\r\nFrom here\r\n"[..]).unwrap();
    let null = Facts { sender: String::new(), ..facts() };
    mbox(&path).append(&null, &mut &b"Subject: 2\r\n\r\nx"[..]).unwrap();
    insta::assert_snapshot!(fs::read_to_string(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "a lock was left behind");
}

#[test]
fn a_mailbox_that_does_not_end_in_a_blank_line_gets_one() {
    for (before, wanted) in [("x", "x\n\n"), ("x\n", "x\n\n"), ("x\n\n", "x\n\n"), ("\n", "\n"), ("", "")] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("bob");
        fs::write(&path, before).unwrap();
        mbox(&path).append(&facts(), &mut &b"A: b\r\n"[..]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("{wanted}From a@far.example ")), "{text}");
    }
}

/// Fails behind its first octets.
struct Broken(bool);

impl Read for Broken {
    fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        if std::mem::replace(&mut self.0, true) {
            return Err(io::Error::other("gone"));
        }
        piece.fill(b'x');
        Ok(piece.len())
    }
}

#[test]
fn after_an_error_nothing_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob");
    fs::write(&path, "From x\nfirst\n\n").unwrap();
    let error = mbox(&path).append(&facts(), &mut Broken(false)).unwrap_err();
    assert_eq!(error.status(), "4.3.0");
    assert_eq!(fs::read_to_string(&path).unwrap(), "From x\nfirst\n\n");
    let maildir = Maildir { home: directory.path().to_owned(), path: "Maildir".into() };
    maildir.deliver("1.2.h", &facts(), &mut Broken(false)).unwrap_err();
    for part in ["tmp", "new"] {
        assert_eq!(fs::read_dir(directory.path().join("Maildir").join(part)).unwrap().count(), 0);
    }
}

#[test]
fn odd_mailboxes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("target"), "precious").unwrap();
    symlink(path("target"), path("link")).unwrap();
    fs::write(path("one"), "").unwrap();
    fs::hard_link(path("one"), path("two")).unwrap();
    nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["link", "two", "pipe"] {
        let error = mbox(&path(name)).append(&facts(), &mut &b"A: b\r\n"[..]).unwrap_err();
        assert!(matches!(error, MailboxError::Refused { .. }), "{name}: {error}");
    }
    let foreign = Mbox { owners: vec![geteuid().as_raw() + 1], ..mbox(&path("target")) };
    let error = foreign.append(&facts(), &mut &b"A: b\r\n"[..]).unwrap_err();
    assert!(matches!(error, MailboxError::Refused { what: "not owned by its user", .. }), "{error}");
    assert_eq!(fs::read_to_string(path("target")).unwrap(), "precious");
}

#[test]
fn other_programs_locks_are_respected() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob");
    let hasty = Mbox { patience: Duration::ZERO, ..mbox(&path) };
    fs::write(directory.path().join("bob.lock"), "1").unwrap();
    let error = hasty.append(&facts(), &mut &b"A: b\r\n"[..]).unwrap_err();
    assert!(matches!(error, MailboxError::Locked { .. }), "{error}");
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    fs::File::open(directory.path().join("bob.lock")).unwrap().set_modified(old).unwrap();
    hasty.append(&facts(), &mut &b"A: b\r\n"[..]).expect("a stale lock is removed");
    let held = fs::OpenOptions::new().write(true).open(&path).unwrap();
    assert!(lock::lock_file(&held, std::time::Instant::now()).unwrap());
    let error = hasty.append(&facts(), &mut &b"A: b\r\n"[..]).unwrap_err();
    assert!(matches!(error, MailboxError::Locked { .. }), "{error}");
}

#[test]
fn eight_writers_lose_nothing() {
    const EACH: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let mbox = mbox(&path);
            scope.spawn(move || {
                for number in 0..EACH {
                    let body = format!("X-Id: {writer}.{number}\r\n\r\n{}\r\n", "line\r\n".repeat(50));
                    // On a slow disk some wait in vain for the others, and come again as the queue does.
                    while let Err(error) = mbox.append(&facts(), &mut body.as_bytes()) {
                        assert!(matches!(error, MailboxError::Locked { .. }), "{error}");
                    }
                }
            });
        }
    });
    let text = fs::read_to_string(&path).unwrap();
    let messages: Vec<&str> = text.split("From a@far.example ").skip(1).collect();
    let ids: std::collections::BTreeSet<_> =
        messages.iter().map(|m| m.lines().find(|line| line.starts_with("X-Id")).unwrap()).collect();
    assert_eq!((messages.len(), ids.len()), (8 * EACH, 8 * EACH));
    assert!(messages.iter().all(|m| m.matches("line\n").count() == 50 && m.ends_with("\n\n")));
}

#[test]
fn a_maildir() {
    let home = tempfile::tempdir().unwrap();
    let maildir = Maildir { home: home.path().to_owned(), path: "Mail/dir".into() };
    let file = maildir.deliver("1.M2P3Q4.host", &facts(), &mut &b"Subject: 1\r\n\r\nFrom x\r\n"[..]).unwrap();
    insta::assert_snapshot!(fs::read_to_string(&file).unwrap());
    assert_eq!(file, home.path().join("Mail/dir/new/1.M2P3Q4.host"));
    assert_eq!(fs::metadata(&file).unwrap().nlink(), 1);
    let again = maildir.deliver("1.M2P3Q4.host", &facts(), &mut &b"Subject: 2\r\n"[..]);
    again.expect_err("a file is never replaced");
    assert!(fs::read_to_string(&file).unwrap().contains("Subject: 1"));
}

#[test]
fn half_a_message_that_cannot_be_cut_off_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bob");
    fs::write(&path, "From a\n\nold\n\nFrom b\n\nhal").unwrap();
    let full = || at("write", &path)(io::ErrorKind::StorageFull.into());
    let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
    assert!(matches!(mbox(&path).cut_off(&file, 13, full()), MailboxError::File { .. }));
    assert_eq!(fs::read_to_string(&path).unwrap(), "From a\n\nold\n\n");
    // Of a file that is open for reading alone nothing can be cut off.
    let error = mbox(&path).cut_off(&fs::File::open(&path).unwrap(), 8, full());
    assert!(matches!(error, MailboxError::Torn { end: 8, .. }), "{error}");
    assert!(error.to_string().contains("bob may end in half a message from octet 8 on"), "{error}");
    assert_eq!(error.status(), "4.2.2");
}
