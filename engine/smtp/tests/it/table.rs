//! Every command in every state, as one table to be read.

use std::fmt::Write;

use crate::driver::{Server, offer};

const STATES: [(&str, &str); 4] = [
    ("ExpectHello", ""),
    ("ExpectMail", "EHLO c.example\r\n"),
    ("ExpectRcpt", "EHLO c.example\r\n|MAIL FROM:<a@c.example>\r\n"),
    ("ExpectData", "EHLO c.example\r\n|MAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\n"),
];

const COMMANDS: [&str; 29] = [
    "HELO c.example",
    "HELO",
    "EHLO c.example",
    "EHLO a b",
    "MAIL FROM:<a@c.example>",
    "MAIL FROM:<>",
    "MAIL FROM:<nobody@c.example>",
    "MAIL FROM:<a@c.example> SIZE=2001",
    "MAIL FROM:<a@c.example> FOO=bar",
    "MAIL FROM:<a@b@c>",
    "RCPT TO:<b@mx.example>",
    "RCPT TO:<nobody@mx.example>",
    "RCPT TO:<later@mx.example>",
    "RCPT TO:<>",
    "RCPT TO:<b@mx.example> NOTIFY=NEVER",
    "DATA",
    "DATA now",
    "RSET",
    "NOOP",
    "VRFY b",
    "EXPN list",
    "HELP",
    "ETRN c.example",
    "STARTTLS",
    "AUTH PLAIN",
    "BDAT 3 LAST",
    "XYZZY",
    "",
    "QUIT",
];

#[test]
fn every_command_in_every_state() {
    let mut table = String::new();
    for (state, before) in STATES {
        writeln!(table, "{state}").unwrap();
        for command in COMMANDS {
            writeln!(table, "  {command:<36} {}", answer(before, command)).unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// The reply to a command, and what MAIL, RCPT and DATA would say behind it: the state it leads to.
fn answer(before: &str, command: &str) -> String {
    let said = |probe: &str| {
        let mut server = Server::new(offer());
        before.split('|').for_each(|packet| server.packet(packet.as_bytes()));
        server.take_output();
        server.packet(format!("{command}\r\n").as_bytes());
        let reply = server.take_output();
        server.packet(probe.as_bytes());
        (reply, server.take_output(), server.closed)
    };
    let (reply, _, closed) = said("");
    let reply = reply.trim_end().replace("\r\n", " / ");
    let reply: String = reply.chars().take(90).collect();
    let leads = match (closed, command) {
        (Some(why), _) => format!("closed: {why:?}"),
        (None, "DATA") if reply.starts_with("354") => "InData".to_owned(),
        _ => leads(&said("MAIL FROM:<p@c.example>\r\n").1, &said("DATA\r\n").1).to_owned(),
    };
    format!("{reply} -> {leads}")
}

fn leads(to_mail: &str, to_data: &str) -> &'static str {
    match (&to_mail[..3], &to_data[..3]) {
        ("250", _) => "ExpectMail",
        (_, "354") => "ExpectData",
        _ if to_mail.contains("Sender already") => "ExpectRcpt",
        _ => "ExpectHello",
    }
}

#[test]
fn a_line_over_the_limit_is_answered_once_however_it_comes() {
    for length in [505, 506, 2040, 2048, 2049, 5000] {
        for size in [1, 7, 512, 2048, 9000] {
            let mut server = Server::new(offer());
            let line = format!("NOOP {}\r\nQUIT\r\n", "x".repeat(length));
            line.as_bytes().chunks(size).for_each(|packet| server.packet(packet));
            let said = server.take_output();
            let first = said.lines().nth(1).unwrap_or_default();
            let wanted = if length == 505 { "250 2.0.0 OK" } else { "500 5.5.2 Command line too long" };
            assert_eq!((first, said.lines().count()), (wanted, 3), "{length} in packets of {size}");
            assert!(server.input.is_empty());
        }
    }
}

#[test]
fn a_second_hello_gives_the_transaction_up() {
    use mailstack_smtp::server::{Action, Answer, Session};
    let mut session = Session::new(offer());
    for line in ["HELO c.example\r\n", "MAIL FROM:<>\r\n", "EHLO c.example\r\n"] {
        session.step(line.as_bytes());
        session.answer(Answer::Accept);
    }
    assert_eq!(session.step(b"MAIL FROM:<>\r\n").action, Action::Reset);
    assert!(matches!(session.step(b"MAIL FROM:<>\r\n").action, Action::Mail(_)));
}
