//! The rewriting of header blocks, and what is read from them.

use std::borrow::Cow;
use std::fmt::Write as _;

use mailstack_policy::header::{Facts, addresses, fields, scan};
use mailstack_policy::rewrite_header;
use mailstack_policy::rules::Qualify;

use crate::fixtures::{Host, client, domain, domains, loopback, masqueraded_client};

const HEADER: &str = "\
Received: from root@web01.corp.example by x\r\n\
From: root (Cron Daemon)\r\n\
Sender: \"Root, the \\\"first\\\"\" <root@web01.corp.example>\r\n\
Reply-To: =?utf-8?q?J=C3=B6rg?= <mary@WEB01.corp.example.> (comment, with root@localhost)\r\n\
Errors-To: root@localhost, mary@far.example,\r\n\t<alice@other.corp.example>\r\n\
Return-Receipt-To : root\r\n\
Resent-From: \"a b\"@web01, \"x@web01\"@web01\r\n\
To: root\r\n\
Cc: Friends: bob, \"Al\" <alice@localhost> ;, undisclosed-recipients:;,\r\n , carol@[IPv6:::1]\r\n\
Bcc: two words, a@b@c, joe @ web01, <@web01:joe@web01>, <>, far!joe, =?utf-8?q?x?=\r\n\
Apparently-To: root(a (nested\\)) comment)@web01\r\n\
Resent-To: \"unbalanced root@web01, root\r\n\
Subject: root@web01.corp.example\r\n\
X-From: root\r\n\
\r\n\
From: body\r\n";

fn rewritten(host: &Host, header: &str) -> String {
    let once = rewrite_header(&host.rules, host.here(), header.as_bytes()).into_owned();
    let twice = rewrite_header(&host.rules, host.here(), &once);
    assert_eq!(twice, once, "idempotent");
    String::from_utf8(once).unwrap()
}

fn changed_lines(host: &Host) -> String {
    let after = rewritten(host, HEADER);
    let mut text = String::new();
    for (before, after) in HEADER.lines().zip(after.lines()) {
        let mark = if before == after { ' ' } else { '>' };
        writeln!(text, "{mark} {after}").unwrap();
    }
    text
}

#[test]
fn masqueraded_client_hides_its_name() {
    insta::assert_snapshot!(changed_lines(&masqueraded_client()));
}

#[test]
fn senders_alone_are_masqueraded_without_recipients() {
    let mut host = loopback();
    host.name = domain("web01.corp.example");
    let masquerade = host.rules.masquerade.as_mut().unwrap();
    masquerade.recipients = false;
    masquerade.envelope = false;
    masquerade.exposed_users = ["root".to_owned()].into();
    masquerade.domains = domains(&["other.corp.example"]);
    insta::assert_snapshot!(changed_lines(&host));
}

#[test]
fn without_masquerading_bare_names_are_qualified() {
    insta::assert_snapshot!(changed_lines(&client(Qualify::OwnHost, None)));
}

#[test]
fn nothing_is_copied_where_nothing_changes() {
    let host = masqueraded_client();
    let header = b"From: <mary@corp.example>\nTo: joe@far.example\n\nroot";
    assert!(matches!(rewrite_header(&host.rules, host.here(), header), Cow::Borrowed(_)));
}

#[test]
fn lists_in_other_charsets_keep_their_octets() {
    let host = masqueraded_client();
    let header = b"From: \xe9t\xe9 <root> (\xff)\nTo: \xff, root\n";
    let after = rewrite_header(&host.rules, host.here(), header);
    assert_eq!(*after, *b"From: \xe9t\xe9 <root@corp.example> (\xff)\nTo: \xff, root@corp.example\n");
}

#[test]
fn facts_are_counted() {
    let header = b"received: a\n b: c\nReceived : d\nMESSAGE-ID: <x>\nno field\nDate\n x\n\nFrom: body\n";
    let facts = Facts { received: 2, message_id: true, ..Facts::default() };
    assert_eq!(scan(header), facts);
    let all = Facts { received: 0, date: true, message_id: false, from: true, recipients: true };
    assert_eq!(scan(b"Date: now\r\nFrom: x\r\nCc: y"), all);
}

#[test]
fn fields_know_their_place() {
    let header = b"A: 1\r\n 2\r\nbad line\r\nB:3";
    let found: Vec<_> = fields(header).map(|field| (field.start, field.end(), field.body)).collect();
    assert_eq!(found, [(0, 10, &b" 1\r\n 2\r\n"[..]), (20, 23, &b"3"[..])]);
}

#[test]
fn recipients_are_read_from_lists() {
    let list = " Friends: bob, \"Al, Ice\" <alice@far.example>;,\r\n joe (Joe)\r\n";
    let found: Vec<String> = addresses(list.as_bytes()).unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(found, ["bob", "alice@far.example", "joe"]);
    for bad in ["joe <joe", "a@b@c", "two words", "joe @ web01", "<@web01:joe@far.example>", "joe(Joe)@web01"]
    {
        assert!(addresses(bad.as_bytes()).is_err(), "{bad}");
    }
    assert_eq!(addresses(b"undisclosed-recipients:;, <>, (nobody)\r\n"), Ok(Vec::new()));
}
