//! Programs and files of aliases, from the declaration over the wire to what they leave.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::host::{Host, free_port};

const DEADLINE: Duration = Duration::from_secs(30);

/// Sends a message and returns what is said to the recipient and to the message.
fn send(port: u16, to: &str) -> [String; 2] {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut replies, mut out) = (BufReader::new(stream.try_clone().unwrap()), stream);
    let mut say = |line: &str| {
        out.write_all(line.as_bytes()).unwrap();
        loop {
            let mut reply = String::new();
            replies.read_line(&mut reply).unwrap();
            if reply.as_bytes().get(3) == Some(&b' ') {
                return reply;
            }
        }
    };
    say("");
    say("HELO box.corp.example\r\n");
    say("MAIL FROM:<robot@box.corp.example>\r\n");
    let recipient = say(&format!("RCPT TO:<{to}@box.corp.example>\r\n"));
    if !recipient.starts_with('2') {
        return [recipient, String::new()];
    }
    say("DATA\r\n");
    let taken = say("Subject: x\r\n\r\nwords\r\n.\r\n");
    [recipient, taken]
}

/// The text of a file, once it has this in it.
fn wait_for(path: &Path, words: &str) -> String {
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        if text.contains(words) {
            return text;
        }
        assert!(begin.elapsed() < DEADLINE, "no {words} in {}: {text}", path.display());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_program_and_a_file_get_what_comes_over_the_wire() {
    let (host, port) = (Host::new(), free_port());
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let passwd = fs::read_to_string(host.path("etc/passwd")).unwrap();
    host.put("etc/passwd", &(passwd + "robot:x:64998:64998::/:/usr/sbin/nologin\n"));
    for (name, text) in [
        ("ticket", "#!/bin/sh\n{ id -u; cat; } >/out/ticket\n"),
        ("deny", "#!/bin/sh\necho 'no such queue'\nexit 67\n"),
    ] {
        let out = host.path("out").display().to_string();
        let program = host.put(&format!("usr/local/bin/{name}"), &text.replace("/out", &out));
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::create_dir(host.path("out")).unwrap();
    fs::set_permissions(host.path("out"), fs::Permissions::from_mode(0o777)).unwrap();
    host.put(
        "etc/mailstack/host.toml",
        &format!(
            "schema = 1\nrole = \"loopback\"\nhostname = \"box.corp.example\"\nlisten = [\"127.0.0.1:{port}\"]\n\
             programs = [\"/usr/local/bin/ticket\", \"/usr/local/bin/deny\"]\nfile_jail = \"/srv/archive\"\n\
             default_user = \"robot\"\n[aliases]\nsupport = [\"|ticket\", \"/srv/archive/2026/all\"]\n\
             wrong = \"|deny\"\n"
        ),
    );
    host.apply().with(0);
    let [recipient, taken] = send(port, "support");
    assert!(recipient.starts_with("250 2.1.5") && taken.starts_with("250 2.0.0"), "{recipient}{taken}");
    let ticket = wait_for(&host.path("out/ticket"), "words");
    let archive = host.path("srv/archive/2026/all");
    wait_for(&archive, "words");
    if is_root {
        assert!(ticket.starts_with("64998\nFrom robot@box.corp.example "), "{ticket}");
        assert_eq!(fs::metadata(&archive).unwrap().uid(), 64998);
    }
    // What only an alias may name nobody else may.
    for to in ["|ticket", "/srv/archive/2026/all"] {
        let [recipient, _] = send(port, &format!("\"{to}\""));
        assert!(recipient.starts_with("550 5.7.1"), "{recipient}");
    }
    send(port, "wrong");
    let notice = wait_for(&host.path("var/mail/robot"), "no such queue");
    assert!(notice.contains("Status: 5.1.1") && notice.contains("deny ended with exit code 67"), "{notice}");
    let traced = host.mailstack(&["trace", "support@box.corp.example"]).with(0);
    assert!(traced.out.contains("to the program /usr/local/bin/ticket"), "{}", traced.out);
    assert!(traced.out.contains("to the file /srv/archive/2026/all"), "{}", traced.out);
}

#[test]
fn a_user_who_is_not_there_is_told_of_before_anything_changes() {
    let host = Host::new();
    let file = host.declare(&format!("127.0.0.1:{}", free_port()));
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + "programs = [\"/usr/local/bin/ticket\"]\ndefault_user = \"robot\"\n").unwrap();
    let refused = host.apply().with(7);
    assert!(refused.err.contains("robot"), "{}", refused.err);
}
