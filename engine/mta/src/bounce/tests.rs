use std::io::Write;
use std::process::{Command, Stdio};

use mailstack_policy::Target;

use super::*;

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn recipient(text: &str) -> Recipient {
    Recipient {
        address: address(text),
        expanded_from: None,
        orcpt: None,
        notify: None,
        target: Target::Address,
    }
}

fn reporter() -> Reporter {
    Reporter { hostname: "gw.corp.example".parse().unwrap(), domain: "corp.example".parse().unwrap() }
}

fn stamp() -> Stamp {
    Stamp { now: Timestamp(1_795_000_000_000), random: 0x0123_4567_89ab_cdef }
}

fn sent(sender: &str) -> Envelope {
    Envelope {
        sender: sender.to_owned().try_into().unwrap(),
        recipients: vec![recipient("nosuch@far.example")],
        arrived: Timestamp(1_794_999_990_000),
        origin: Origin::Network {
            peer: "192.0.2.9".parse().unwrap(),
            hello: "web01.corp.example".to_owned(),
        },
        eight_bit: false,
        smtputf8: false,
        ret: None,
        envid: None,
    }
}

fn refused() -> Cause {
    let peer = Peer { name: "mail.far.example".to_owned(), address: "203.0.113.10:25".parse().unwrap() };
    Cause::reply("5.1.1", peer, "RCPT TO", "550 5.1.1 <nosuch@far.example>...\r\nUser unknown")
}

fn failed(recipient: &Recipient, cause: Cause) -> Fate<'_> {
    Fate { recipient, action: Action::Failed, cause }
}

const MESSAGE: &[u8] = b"From: a@corp.example\r\nSubject: hi\r\n\r\nOne line\r\n";

fn notice(envelope: &Envelope, fates: &[Fate<'_>], octets: &[u8]) -> Vec<u8> {
    let to = address("a@corp.example");
    let reader = Reader { address: &to, is_postmaster: envelope.sender == ReversePath::Null };
    render(&reporter(), stamp(), reader, &Original { envelope, octets }, fates)
}

#[test]
fn a_report_of_two_failures() {
    let mut envelope = sent("a@corp.example");
    envelope.envid = Some("QQ+2B314".to_owned());
    let mut aliased = recipient("carol@inside.example");
    aliased.expanded_from = Some(address("team@corp.example"));
    aliased.orcpt = Some("rfc822;team+2Bx@corp.example".to_owned());
    let cause = Cause::here("5.1.2", "inside.example: no such domain");
    let fates = [failed(&envelope.recipients[0], refused()), failed(&aliased, cause)];
    let octets = notice(&envelope, &fates, MESSAGE);
    insta::assert_snapshot!(String::from_utf8(octets).unwrap().replace('\r', ""));
}

#[test]
fn a_report_that_could_not_be_delivered() {
    let mut envelope = sent("");
    envelope.origin = Origin::Bounce;
    let fates = [failed(&envelope.recipients[0], refused())];
    let octets = notice(&envelope, &fates, MESSAGE);
    insta::assert_snapshot!(String::from_utf8(octets).unwrap().replace('\r', ""));
}

#[test]
fn what_goes_back() {
    let mut large = MESSAGE.to_vec();
    large.resize(MAX_RETURNED + 1, b'x');
    let long_header = [b"A: b\r\n".repeat(MAX_RETURNED_HEADER / 6 + 9), b"\r\nbody".to_vec()].concat();
    let cases: [(Option<Ret>, &[u8], &str, bool); 5] = [
        (None, MESSAGE, "message/rfc822", true),
        (Some(Ret::Full), MESSAGE, "message/rfc822", true),
        (Some(Ret::Headers), MESSAGE, "text/rfc822-headers", false),
        (Some(Ret::Full), &large, "text/rfc822-headers", false),
        (Some(Ret::Headers), &long_header, "text/rfc822-headers", false),
    ];
    for (ret, octets, kind, body) in cases {
        let envelope = Envelope { ret, ..sent("a@corp.example") };
        let fates = [failed(&envelope.recipients[0], refused())];
        let text = String::from_utf8(notice(&envelope, &fates, octets)).unwrap();
        assert!(text.contains(&format!("Content-Type: {kind}\r\n")), "{text}");
        assert_eq!(text.contains("One line"), body);
        assert!(text.len() < MAX_RETURNED + 8192);
    }
}

#[test]
fn who_is_told() {
    let notify = |success, failure| Some(Notify { success, failure, delay: false });
    let cases = [
        ("a@b.example", None, Action::Failed, Some(Addressee::Sender(address("a@b.example")))),
        ("a@b.example", notify(false, true), Action::Failed, Some(Addressee::Sender(address("a@b.example")))),
        ("a@b.example", notify(false, false), Action::Failed, None),
        ("a@b.example", notify(true, false), Action::Failed, None),
        ("a@b.example", None, Action::Delivered, None),
        (
            "a@b.example",
            notify(true, false),
            Action::Relayed,
            Some(Addressee::Sender(address("a@b.example"))),
        ),
        ("", None, Action::Failed, Some(Addressee::Postmaster)),
        ("", notify(false, false), Action::Failed, None),
        ("", notify(true, true), Action::Delivered, None),
    ];
    for (sender, notify, action, told) in cases {
        let recipient = Recipient { notify, ..recipient("x@y.example") };
        let fates = [Fate { recipient: &recipient, action, cause: refused() }];
        let wanted: Vec<_> = fates.into_iter().filter(|f| is_wanted(f.recipient, f.action)).collect();
        assert_eq!(addressee(&sent(sender).sender, &wanted), told, "{sender} {notify:?} {action:?}");
    }
}

#[test]
fn a_failed_bounce_ends_with_one_notice() {
    let generation = |envelope: &Envelope| {
        let recipient = &envelope.recipients[0];
        let fates = [failed(recipient, refused())];
        let wanted: Vec<_> = fates.into_iter().filter(|f| is_wanted(recipient, f.action)).collect();
        addressee(&envelope.sender, &wanted)
    };
    let bounce = sender_notice(vec![address("a@b.example").into()], stamp().now, b"");
    assert_eq!(generation(&bounce), Some(Addressee::Postmaster));
    let last = postmaster_notice(vec![address("postmaster@b.example").into()], stamp().now, b"");
    let restored: Envelope = serde_json::from_str(&serde_json::to_string(&last).unwrap()).unwrap();
    assert_eq!(generation(&restored), None);
}

#[test]
fn a_boundary_is_not_in_the_message() {
    let envelope = sent("a@corp.example");
    let fates = [failed(&envelope.recipients[0], refused())];
    let first = String::from_utf8(notice(&envelope, &fates, MESSAGE)).unwrap();
    let boundary = first.split("boundary=\"").nth(1).unwrap().split('"').next().unwrap();
    let hostile = format!("A: b\r\n\r\n--{boundary}--\r\n");
    let second = String::from_utf8(notice(&envelope, &fates, hostile.as_bytes())).unwrap();
    assert!(second.contains(&format!("boundary=\"{boundary}=\"")));
}

#[test]
fn a_peer_cannot_write_fields_or_long_lines() {
    let envelope = sent("a@corp.example");
    let peer = Peer { name: "mx".to_owned(), address: "[2001:db8::1]:25".parse().unwrap() };
    let said = format!("550 no\r\nAction: delivered\r\n{}", "\u{e9}x ".repeat(900));
    let fates = [failed(&envelope.recipients[0], Cause::reply("5.0.0", peer, "RCPT TO", &said))];
    let octets = notice(&envelope, &fates, MESSAGE);
    let text = String::from_utf8(octets).unwrap();
    assert!(!text.contains("\r\nAction: delivered"));
    assert!(text.lines().all(|line| line.len() < 998));
    assert!(text.contains("Content-Transfer-Encoding: 8bit"));
}

const READER: &str = r#"
import email, email.policy, json, sys
raw = sys.stdin.buffer.read()
m = email.message_from_bytes(raw, policy=email.policy.default)
parts = list(m.iter_parts())
status = parts[1].get_payload()
inner = parts[2].get_payload()
print(json.dumps({
  "type": m.get_content_type(), "report": m.get_param("report-type"), "defects": [str(d) for p in m.walk() for d in p.defects],
  "from": str(m["From"]), "auto": str(m["Auto-Submitted"]), "parts": [p.get_content_type() for p in parts],
  "action": status[1]["Action"], "status": status[1]["Status"], "final": status[1]["Final-Recipient"],
  "subject": str(inner[0]["Subject"]), "body": inner[0].get_payload(decode=True).hex(),
}))
"#;

/// Returns None, aloud, where there is no python3.
fn read_by_python(octets: &[u8]) -> Option<serde_json::Value> {
    let spawned =
        Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: no python3 to read the report with");
        return None;
    };
    child.stdin.take().unwrap().write_all(octets).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn pythons_email_reads_it() {
    let envelope = sent("a@corp.example");
    let fates = [failed(&envelope.recipients[0], refused())];
    let message = b"From: a@corp.example\r\nSubject: hi\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xe9\xff\r\n";
    let Some(read) = read_by_python(&notice(&envelope, &fates, message)) else { return };
    insta::assert_snapshot!(serde_json::to_string_pretty(&read).unwrap());
}
