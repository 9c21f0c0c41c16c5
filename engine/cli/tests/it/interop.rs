//! Mail from mailstack to the other MTAs and back from them, with and without TLS.
//!
//! `sh vmtests/roots/peers.sh target/private-roots` prepares them. It needs root, for their private roots and for a
//! network of their own.

use std::path::Path;
use std::process::Command;

/// What is known of a peer.
struct Peer {
    name: &'static str,
    /// It takes and sends SMTPUTF8. To the others such a message does not go (RFC 6531 3.5).
    smtputf8: bool,
    /// It makes TLS with those that come. Debian's OpenSMTPD 6.8 offers it and loses its key (OpenSSL 3): the mail goes
    /// in clear then, as the policy has it.
    serves_tls: bool,
}

const PEERS: [Peer; 4] = [
    Peer { name: "postfix", smtputf8: true, serves_tls: true },
    Peer { name: "exim", smtputf8: true, serves_tls: true },
    Peer { name: "opensmtpd", smtputf8: false, serves_tls: false },
    Peer { name: "sendmail", smtputf8: false, serves_tls: true },
];

struct Came {
    mailbox: String,
    log_of_a: String,
    log_of_b: String,
}

/// None, said aloud: the peer is not there, or cannot be entered.
fn run(peer: &str, mode: &str) -> Option<Came> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = here.join("../../target/private-roots");
    if !nix::unistd::geteuid().is_root() || !roots.join(peer).join("configure").exists() {
        println!("SKIPPED: no root, or no {peer} in {}: see vmtests/roots/peers.sh", roots.display());
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "sh"])
        .arg(here.join("tests/it/interop.sh"))
        .arg(env!("CARGO_BIN_EXE_mailstack"))
        .args([roots.as_os_str(), peer.as_ref(), mode.as_ref(), directory.path().as_os_str()])
        .output()
        .unwrap();
    let text = |name: &str| {
        let octets = std::fs::read(directory.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&octets).into_owned()
    };
    assert!(output.status.success(), "{peer} {mode}: {output:?}\n{}", text("peer.log"));
    let came = Came { mailbox: text("mailbox"), log_of_a: text("a.log"), log_of_b: text("b.log") };
    if std::env::var_os("MAILSTACK_SHOW").is_some() {
        println!("{}\n{}\n{}\n{}", came.mailbox, came.log_of_a, came.log_of_b, text("peer.log"));
    }
    Some(came)
}

#[test]
fn mail_goes_to_every_peer_and_comes_back_from_it() {
    for peer in PEERS {
        for mode in ["clear", "tls"] {
            let Some(Came { mailbox, log_of_a, log_of_b }) = run(peer.name, mode) else { return };
            let about = format!("{} {mode}:\n{mailbox}\n{log_of_a}\n{log_of_b}", peer.name);
            let plain = mailbox.split("\nFrom ").find(|message| message.contains("\nSubject: plain\n"));
            let plain = plain.unwrap_or_else(|| panic!("{about}"));
            // Whole: dots, what looks like a command, octets over 127 and a line near the limit.
            let line = format!("\n.\n..\nQUIT\n\u{e9} {}\n", "x".repeat(900));
            assert!(plain.contains(&line), "{about}");
            let by_b = plain.split("Received: ").nth(1).unwrap_or_else(|| panic!("{about}"));
            assert!(by_b.contains(&format!("{}.peer.example", peer.name)), "{about}");
            let is_tls = mode == "tls";
            assert_eq!(
                by_b.contains("with ESMTPS id") && by_b.contains("(version=TLSv1.3 cipher="),
                is_tls,
                "{about}"
            );
            assert_eq!(log_of_a.contains("STARTTLS=client, relay="), is_tls && peer.serves_tls, "{about}");
            assert_eq!(
                log_of_a.contains("in clear, for there is no TLS"),
                is_tls && !peer.serves_tls,
                "{about}"
            );
            assert_eq!(log_of_b.contains("STARTTLS=server, relay="), is_tls, "{about}");
            assert_eq!(mailbox.contains("\nSubject: beyond\n"), peer.smtputf8, "{about}");
            assert_eq!(mailbox.contains("with UTF8SMTP"), peer.smtputf8, "{about}");
            assert_eq!(log_of_a.contains("dsn=5.6.7, stat=Failed"), !peer.smtputf8, "{about}");
        }
    }
}
