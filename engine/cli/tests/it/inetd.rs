//! `sendmail -bs` as inetd starts it: the client is one of the network, whoever it runs as.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::Duration;

use crate::host::{Host, binary, free_port};

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);
/// The MTA's user on a test's host.
const MAILSTACK: u32 = 64_999;

/// A gateway that inetd listens for, and that relays for nobody.
fn gateway(at: SocketAddr, more: &str) -> Host {
    let host = Host::new();
    let text = format!(
        "schema = 1\nrole = \"gateway\"\nhostname = \"gw.corp.example\"\nlisten = [\"{at}\"]\n\
         local_domains = [\"corp.example\"]\n{more}\n[service]\nby = \"inetd\"\n[aliases]\nroot = \"joe@far.example\"\n"
    );
    host.put("etc/mailstack/host.toml", &text);
    host
}

/// Accepts one connection as inetd does, and starts the program on it.
fn accept(host: &Host, listener: &TcpListener, uid: u32) -> Child {
    let (connection, _) = listener.accept().unwrap();
    let clone = || OwnedFd::from(connection.try_clone().unwrap());
    let mut command = Command::new(binary());
    command.args(["sendmail", "-bs"]).env("MAILSTACK_ROOT", host.root());
    command.stdin(clone()).stdout(clone()).stderr(clone());
    if nix::unistd::geteuid().is_root() {
        command.uid(uid).gid(uid);
    }
    command.spawn().unwrap()
}

/// What a client is told that says each of these, and waits for the answer.
fn said(host: &Host, listener: &TcpListener, uid: u32, words: &[&str]) -> String {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut session = accept(host, listener, uid);
    let mut heard = answer(&mut client);
    for word in words {
        // Refused at once, it has closed already.
        if client.write_all(word.as_bytes()).is_err() {
            break;
        }
        heard.push_str(&answer(&mut client));
    }
    drop(client);
    session.wait().unwrap();
    heard
}

/// One reply, or what came before the end.
fn answer(client: &mut TcpStream) -> String {
    let mut heard = String::new();
    let mut octets = [0; 512];
    let is_whole = |heard: &str| {
        let last = heard.lines().last().unwrap_or_default();
        heard.ends_with("\r\n") && last.as_bytes().get(3) == Some(&b' ')
    };
    while !is_whole(&heard) {
        match client.read(&mut octets) {
            Ok(count) if count > 0 => heard.push_str(std::str::from_utf8(&octets[..count]).unwrap()),
            Ok(_) => break,
            // Closed with what was said unread.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => return format!("{heard}{error}"),
        }
    }
    heard
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

const RELAY: [&str; 4] =
    ["EHLO client.example\r\n", "MAIL FROM:<>\r\n", "RCPT TO:<b@far.example>\r\n", "QUIT\r\n"];

/// A network of this thread and of what it starts, with an address that is no loopback address.
fn own_network() -> bool {
    if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
        eprintln!("SKIPPED: a network of its own needs root");
        return false;
    }
    for words in [["link", "set", "lo", "up"].as_slice(), &["addr", "add", "192.0.2.10/32", "dev", "lo"]] {
        assert!(Command::new("ip").args(words).status().unwrap().success());
    }
    true
}

#[test]
fn a_client_of_inetd_is_no_program_of_this_host() {
    if !own_network() {
        return;
    }
    let at = SocketAddr::from(([192, 0, 2, 10], free_port()));
    let host = gateway(at, "");
    host.put("etc/hosts", "192.0.2.10 client.example\n");
    // Nobody answers there, at once.
    host.put("etc/resolv.conf", "nameserver 192.0.2.10\noptions timeout:1 attempts:1\n");
    host.apply().with(0);
    // Not before: the MTA that is live is probed there.
    let listener = TcpListener::bind(at).unwrap();
    // As root it is no more than that.
    for uid in [MAILSTACK, 0] {
        let heard = said(&host, &listener, uid, &RELAY);
        assert!(heard.contains("550 5.7.1 <b@far.example>... Relaying denied"), "{heard}");
    }
    // The same words by a pipe are those of a program of this host.
    let mut local = Command::new(binary());
    local.args(["sendmail", "-bs"]).env("MAILSTACK_ROOT", host.root());
    let mut local =
        local.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    local.stdin.take().unwrap().write_all(RELAY.concat().as_bytes()).unwrap();
    let heard = String::from_utf8(local.wait_with_output().unwrap().stdout).unwrap();
    assert!(heard.contains("250 2.1.5 <b@far.example>... Recipient ok"), "{heard}");
}

#[test]
fn a_message_by_inetd_is_taken_and_says_where_it_came_from() {
    let (listener, at) = listen();
    let host = gateway(at, "");
    host.apply().with(0);
    let message = "Subject: by inetd\r\n\r\nhello\r\n.\r\n";
    let to = "RCPT TO:<root@corp.example>\r\n";
    let lines = [RELAY[0], RELAY[1], to, "DATA\r\n", message, "QUIT\r\n"];
    let heard = said(&host, &listener, MAILSTACK, &lines);
    assert!(heard.contains("250 2.0.0") && heard.contains("Message accepted for delivery"), "{heard}");
    // Delivered or still queued: its line in the log is there before the 250.
    let log = fs::read_to_string(host.path("var/log/mailstack.log")).unwrap();
    let taken = log.lines().find(|line| line.contains("from=<>"));
    assert!(taken.is_some_and(|line| line.contains("relay=") && line.contains("[127.0.0.1]")), "{log}");
}

#[test]
fn nobody_else_may_hand_over_a_connection_nor_one_to_another_port() {
    let (listener, at) = listen();
    let host = gateway(at, "");
    host.apply().with(0);
    if nix::unistd::geteuid().is_root() {
        let heard = said(&host, &listener, 64_990, &RELAY);
        assert_eq!(heard, "421 4.3.2 The MTA does not take this connection\r\n");
    }
    let (other, _) = listen();
    let heard = said(&host, &other, MAILSTACK, &RELAY);
    assert_eq!(heard, "421 4.3.2 The MTA does not take this connection\r\n");
}

#[test]
fn an_mta_that_listens_itself_takes_no_connection_of_inetd() {
    let (listener, _) = listen();
    let host = Host::new();
    host.declare(&format!("127.0.0.1:{}", free_port()));
    host.apply().with(0);
    let heard = said(&host, &listener, MAILSTACK, &RELAY);
    assert_eq!(heard, "421 4.3.2 The MTA does not take this connection\r\n");
}

#[test]
fn status_says_who_is_to_listen_and_the_line_for_inetd_is_a_link() {
    let (listener, at) = listen();
    let host = gateway(at, "");
    // inetd has the port already.
    host.apply().with(0);
    let line = host.path("etc/inetd.d/mailstack");
    assert!(fs::read_link(&line).unwrap().ends_with("current/etc/inetd.d/mailstack"));
    let text = fs::read_to_string(&line).unwrap();
    let expected = format!("{at} stream tcp4 nowait mailstack /usr/bin/mailstack mailstack sendmail -bs\n");
    assert!(text.ends_with(&expected), "{text}");
    let status = host.mailstack(&["status"]);
    assert!(!status.out.contains("nobody listens") && !status.err.contains("nobody listens"), "{status:?}");
    drop(listener);
    let status = host.mailstack(&["status"]);
    let told = format!("nobody listens on {at}: have inetd read /etc/inetd.d/mailstack");
    assert!(status.out.contains(&told) || status.err.contains(&told), "{status:?}");
}

#[test]
fn systemd_starts_it_on_a_connection() {
    let port = free_port();
    let at = SocketAddr::from(([127, 0, 0, 1], port));
    let host = gateway(at, "");
    host.apply().with(0);
    let mut systemd = Command::new("systemd-socket-activate");
    systemd.args(["--accept", "--inetd", &format!("--listen={at}")]);
    systemd.arg(format!("--setenv=MAILSTACK_ROOT={}", host.root().display()));
    // Part of Debian's systemd.
    let mut systemd = systemd.arg(binary()).args(["sendmail", "-bs"]).spawn().unwrap();
    let begin = std::time::Instant::now();
    let mut client = loop {
        match TcpStream::connect(at) {
            Ok(client) => break client,
            Err(error) => assert!(begin.elapsed() < DEADLINE, "{error}"),
        }
    };
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut greeting = [0; 25];
    client.read_exact(&mut greeting).unwrap();
    let _ = systemd.kill();
    let _ = systemd.wait();
    assert_eq!(&greeting, b"220 gw.corp.example ESMTP");
}
