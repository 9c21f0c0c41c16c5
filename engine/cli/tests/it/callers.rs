//! cron, mailx, mutt and git send-email hand mail in as they do everywhere.
//!
//! `sh vmtests/roots/callers.sh target/private-roots/callers` prepares them. It needs root, to enter their root.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::host::{Host, binary};

/// What was handed in: the envelope, and the message with CRLF.
struct Came {
    sender: String,
    recipients: BTreeSet<String>,
    message: String,
}

/// None, said aloud: the programs are not there, or cannot be entered.
fn call(who: &str) -> Option<Came> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../../target/private-roots/callers");
    if !nix::unistd::geteuid().is_root() || !root.join(".complete").exists() {
        println!("SKIPPED: no root, or nothing in {}: see vmtests/roots/callers.sh", root.display());
        return None;
    }
    let host = Host::new();
    let file = host.declare("127.0.0.1:25");
    let (generation, out) = (host.path("generation"), host.path("out"));
    host.mailstack(&["build", file.to_str().unwrap(), "-o", generation.to_str().unwrap()]).with(0);
    std::fs::create_dir(&out).unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh"])
        .arg(here.join("tests/it/callers.sh"))
        .args([binary(), &root.canonicalize().unwrap(), &generation])
        .arg(who)
        .arg(&out)
        .output()
        .unwrap();
    assert!(output.status.success(), "{who}: {output:?}");
    let files: Vec<_> = std::fs::read_dir(&out).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(files.len(), 1, "{who}: {output:?}");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    let (head, rest) = text.strip_prefix("mailstack-drop 1\n").unwrap().split_once('\n').unwrap();
    let request: serde_json::Value = serde_json::from_str(head).unwrap();
    let recipients =
        request["recipients"].as_array().unwrap().iter().map(|to| to.as_str().unwrap().to_owned());
    Some(Came {
        sender: request["sender"].as_str().unwrap().to_owned(),
        recipients: recipients.collect(),
        message: rest.split("mailstack-end ").next().unwrap().to_owned(),
    })
}

#[test]
fn programs_hand_mail_in_as_they_do_everywhere() {
    let three = ["bob@far.example", "carol@far.example", "dave@far.example"];
    for (who, sender, recipients, parts) in [
        (
            "cron",
            "root",
            &["ops@far.example"][..],
            &["From: root (Cron Daemon)\r\n", "\r\nline\r\n.\r\nafter the dot\r\n"][..],
        ),
        ("mailx", "root", &three, &["Subject: from mailx\r\n", "Cc: carol@far.example\r\n", "\r\nhello\r\n"]),
        ("mailx-r", "bounces@corp.example", &three[..1], &["Subject: with a sender\r\n"]),
        (
            "mutt",
            "ada@corp.example",
            &["bob@far.example", "dave@far.example"],
            &["From: root <ada@corp.example>\r\n", "\r\n.\r\nafter the dot\r\n"],
        ),
        (
            "git",
            "ada@corp.example",
            &three,
            &["Subject: [PATCH] a dot\r\n", "\r\n---\r\n.\r\n-- \r\n2.39\r\n"],
        ),
    ] {
        let Some(Came { sender: from, recipients: to, message }) = call(who) else { return };
        assert_eq!(from, sender, "{who}: {message}");
        assert_eq!(to, recipients.iter().map(|to| (*to).to_owned()).collect(), "{who}: {message}");
        for part in parts {
            assert!(message.contains(part), "{who}: {part:?} is not in\n{message}");
        }
        assert!(
            !message.to_ascii_lowercase().contains("\nbcc:") && !message.contains("dave@"),
            "{who}: {message}"
        );
    }
}

/// Recipients are verified by the rules of the MTA, and nothing is sent.
#[test]
fn addresses_are_verified_and_nothing_is_sent() {
    let host = Host::new();
    let text = "schema = 1\nrole = \"loopback\"\nhostname = \"box.corp.example\"\nmail_host = \"[mail.corp.example]\"\n\
                [aliases]\nstaff = [\"root\", \"ada@far.example\"]\n";
    host.put("etc/mailstack/host.toml", text);
    let file = host.path("etc/mailstack/host.toml");
    let current = host.path("var/lib/mailstack/current");
    std::fs::create_dir_all(current.parent().unwrap()).unwrap();
    host.mailstack(&["build", file.to_str().unwrap(), "-o", current.to_str().unwrap()]).with(0);
    let verify = |to: &[&str]| host.mailstack(&[&["sendmail", "-bv"], to].concat());
    let good = verify(&["staff", "Bob <bob@far.example>"]).with(0).out;
    assert_eq!(
        good,
        "root@box.corp.example... deliverable: mailer local, user root\n\
         ada@far.example... deliverable: mailer relay, host [mail.corp.example], user ada@far.example\n\
         bob@far.example... deliverable: mailer relay, host [mail.corp.example], user bob@far.example\n"
    );
    let unknown = verify(&["nobody-here", "root"]).with(67).out;
    assert!(unknown.contains("nobody-here@box.corp.example... User unknown (550 5.1.1)\n"), "{unknown}");
    assert!(unknown.contains("user root\n"), "{unknown}");
    verify(&[]).with(64);
}
