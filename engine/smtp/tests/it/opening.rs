//! TLS and authentication of the client: what a peer, or whoever sits in between, can do about them.

use mailstack_smtp::client::{Closed, Hello, Login, NoAuth, Session, Stage, Tls, Violation};
use mailstack_smtp::sasl::{ClientError, Credentials};

use crate::client::{Run, play_as};

fn client(tls: Tls, with_login: bool) -> Session {
    let credentials = Credentials { user: "me".to_owned(), password: "secret".to_owned() };
    let login = with_login.then(|| Login { credentials, nonce: "nonce".to_owned() });
    Session::new(Hello { tls, login, ..Hello::new("c.example") })
}

fn play(tls: Tls, packets: &[&str]) -> Run {
    play_as(client(tls, false), &[&["220 mx\r\n"], packets].concat())
}

const OFFER: &str = "250-mx\r\n250 STARTTLS\r\n";
const MAIL: [&str; 6] =
    ["250 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 taken\r\n", "221 bye\r\n"];

#[test]
fn stripped_refused_and_injected() {
    let plain = &[&["250 mx\r\n"], &MAIL[..]].concat()[..];
    let refused = &[&[OFFER, "454 4.7.0 TLS not available\r\n"], &MAIL[..]].concat()[..];
    let taken = ["250".to_owned(), "250".to_owned()];
    // Only what takes the TLS that it finds goes on in clear.
    assert_eq!(play(Tls::IfOffered, plain).outcomes, taken);
    assert_eq!(play(Tls::IfOffered, refused).outcomes, taken);
    for (packets, closed) in [
        (plain, Closed::NoTls),
        (&["250-mx\r\n250 XSTARTTLS\r\n"], Closed::NoTls),
        (&["500 what\r\n", "250 mx\r\n"], Closed::NoTls),
    ] {
        let run = play(Tls::Required, packets);
        assert_eq!(run.closed, Some(closed), "{packets:?}");
        assert!(!run.said.contains("MAIL") && run.outcomes.is_empty(), "{}", run.said);
    }
    let run = play(Tls::Required, refused);
    assert!(matches!(run.closed, Some(Closed::Refused { stage: Stage::StartTls, .. })));
    assert_eq!(run.said, "EHLO c.example\r\nSTARTTLS\r\nQUIT\r\n");
    // CVE-2011-0411: what comes with the reply to STARTTLS would be read as if TLS had protected it.
    for tls in [Tls::IfOffered, Tls::Required] {
        for behind in ["250-mx\r\n250 AUTH PLAIN\r\n", "250 mx\r\n", "2"] {
            let run = play(tls, &[OFFER, &format!("220 go\r\n{behind}")]);
            assert_eq!(run.closed, Some(Closed::Protocol(Violation::UnexpectedData)), "{behind}");
            assert_eq!(run.said, "EHLO c.example\r\nSTARTTLS\r\n");
        }
        let run = play(tls, &[OFFER, "250 go\r\n"]);
        assert!(matches!(run.closed, Some(Closed::Protocol(Violation::WrongCode { code: 250, .. }))));
    }
}

#[test]
fn what_was_offered_in_clear_is_forgotten() {
    let clear = "250-mx\r\n250-STARTTLS\r\n250-DSN\r\n250-PIPELINING\r\n250 SIZE 1\r\n";
    let run =
        play(Tls::Required, &[&[clear, "220 go\r\n", "250-mx\r\n250 STARTTLS\r\n"], &MAIL[..]].concat());
    assert_eq!(run.outcomes, ["250", "250"]);
    let wanted = "EHLO c.example\r\nSTARTTLS\r\n<TLS>EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\n";
    assert!(run.said.starts_with(wanted), "{}", run.said);
}

/// Credentials go over the TLS that is required, and mail does not go without them.
#[test]
fn authentication_fails_closed() {
    let over_tls = |packets: &[&'static str]| [&[OFFER, "220 go\r\n"], packets].concat();
    let auth = "250-mx\r\n250 AUTH PLAIN LOGIN\r\n";
    let no_auth = |why| Some(Closed::NoAuth(why));
    let table = [
        (Tls::Never, vec![auth], no_auth(NoAuth::NotSecure)),
        (Tls::IfOffered, vec![auth], no_auth(NoAuth::NotSecure)),
        (Tls::IfOffered, over_tls(&[auth]), no_auth(NoAuth::NotSecure)),
        (Tls::Required, vec![auth], Some(Closed::NoTls)),
        (Tls::Required, over_tls(&["250 mx\r\n"]), no_auth(NoAuth::NotOffered)),
        (Tls::Required, over_tls(&["250-mx\r\n250 AUTH CRAM-MD5 GSSAPI\r\n"]), no_auth(NoAuth::NotOffered)),
        (
            Tls::Required,
            over_tls(&["250-mx\r\n250 AUTH SCRAM-SHA-256 PLAIN\r\n", "235 yes\r\n"]),
            no_auth(NoAuth::Exchange(ClientError::NoProof)),
        ),
        (
            Tls::Required,
            over_tls(&["250-mx\r\n250 AUTH PLAIN\r\n", "334 \r\n"]),
            no_auth(NoAuth::Exchange(ClientError::Unexpected)),
        ),
    ];
    for (tls, packets, closed) in table {
        let run = play_as(client(tls, true), &[&["220 mx\r\n"], &packets[..]].concat());
        assert_eq!(run.closed, closed, "{tls:?} {packets:?}");
        assert!(!run.said.contains("MAIL"), "{}", run.said);
        let clear = run.said.split("<TLS>").next().unwrap_or_default();
        assert!(!clear.contains("AUTH"), "{clear}");
    }
    let run = play_as(
        client(Tls::Required, true),
        &[&["220 mx\r\n"], &over_tls(&[auth, "535 no\r\n"])[..]].concat(),
    );
    assert!(matches!(run.closed, Some(Closed::Refused { stage: Stage::Auth, .. })));
    assert!(!run.said.contains("MAIL"), "{}", run.said);
}

#[test]
fn authentication_and_then_mail() {
    let table = [
        ("250-mx\r\n250 AUTH LOGIN PLAIN\r\n", vec!["235 yes\r\n"], "AUTH PLAIN AG1lAHNlY3JldA==\r\n"),
        (
            "250-mx\r\n250 AUTH LOGIN\r\n",
            vec!["334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", "235 yes\r\n"],
            "AUTH LOGIN\r\nbWU=\r\nc2VjcmV0\r\n",
        ),
    ];
    for (offer, packets, said) in table {
        let packets = [&["220 mx\r\n", offer], &packets[..], &MAIL[..]].concat();
        let run = play_as(client(Tls::Implicit, true), &packets);
        assert_eq!(run.outcomes, ["250", "250"]);
        assert!(run.said.starts_with(&format!("EHLO c.example\r\n{said}MAIL")), "{}", run.said);
    }
}

#[test]
fn chunks_have_a_reply_each() {
    let offer = "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
    let piped = "250 ok\r\n250 ok\r\n550 no\r\n";
    let table: [(&[&str], &[&str]); 4] = [
        (&[offer, piped, "250 3\r\n250 taken\r\n", "221 bye\r\n"], &["250", "Rcpt 550"]),
        (&[offer, piped, "552 big\r\n503 no\r\n", "250 reset\r\n"], &["EndOfData 552", "Rcpt 550"]),
        (&[offer, piped, "250 3\r\n451 no\r\n", "250 reset\r\n"], &["EndOfData 451", "Rcpt 550"]),
        (&[offer, piped, "250 3\r\n"], &["EndOfData lost", "Rcpt 550"]),
    ];
    for (packets, outcomes) in table {
        let run = play_as(client(Tls::Never, false), &[&["220 mx\r\n"], packets].concat());
        assert_eq!(run.outcomes, outcomes, "{packets:?}");
        assert!(!run.said.contains("DATA\r\n") || run.said.contains("BDAT"), "{}", run.said);
    }
}
