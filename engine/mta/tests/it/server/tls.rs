//! STARTTLS and AUTH of the server, by clients that may not mean well.

use std::num::NonZeroU32;
use std::os::unix::fs::PermissionsExt;

use mailstack_mta::tls::{Connector, Stream, Trust};
use mailstack_runtime::{Auth, AuthMechanism, ListenerKind, ServerTls};
use mailstack_smtp::sasl::{Client, Credentials, Mechanism, Verifier};

use super::*;
use crate::certificates::Authority;

/// A server with a certificate, that alice may authenticate at by the password pencil.
async fn secured(kind: ListenerKind) -> (World, Connector) {
    let authority = Authority::new();
    let leaf = authority.sign(&["gw.corp.example"]);
    let directory = tempfile::tempdir().unwrap();
    let root = tree(directory.path());
    let verifier = Verifier::derive("pencil", b"salt", NonZeroU32::new(4096).unwrap());
    for (name, text) in
        [("cert.pem", leaf.certificate), ("key.pem", leaf.key), ("users", format!("alice:{verifier}\n"))]
    {
        let path = root.path("etc").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut world = World::start_at(root, kind, |config| {
        config.tls.server =
            Some(ServerTls { certificate: "/etc/cert.pem".into(), key: "/etc/key.pem".into() });
        let mechanisms = [AuthMechanism::Plain, AuthMechanism::Login, AuthMechanism::ScramSha256].into();
        config.auth = Some(Auth { mechanisms, realm: None, users: "/etc/users".into() });
    })
    .await;
    world._directory = Some(directory);
    (world, Connector::trusting(authority.pem.as_bytes()).unwrap())
}

async fn say(client: &mut Stream, line: &str, mark: &str) -> String {
    client.write_all(line.as_bytes()).await.unwrap();
    client.flush().await.unwrap();
    hear(client, mark).await
}

async fn hear(client: &mut Stream, mark: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !(text.contains(mark) && text.ends_with("\r\n")) {
            let mut buffer = [0; 4096];
            // A server that closes need not say so in TLS.
            let read = client.read(&mut buffer).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    };
    timeout(DEADLINE, read).await.expect("no answer");
    text
}

/// Over TLS, EHLO said and not yet answered in full.
async fn over_tls(world: &World, connector: &Connector) -> Stream {
    let mut client = connect(world.address).await;
    client.write_all(b"EHLO client.example\r\n").await.unwrap();
    assert!(read_until(&mut client, "\r\n250 ").await.contains("250-STARTTLS"));
    client.write_all(b"STARTTLS\r\n").await.unwrap();
    assert_eq!(read_until(&mut client, "\r\n").await, "220 2.0.0 Ready to start TLS\r\n");
    connector.connect(client, "gw.corp.example", Trust::Verified).await.unwrap()
}

const EHLO: &str = "EHLO client.example\r\n";
const RELAY: &str = "MAIL FROM:<alice@corp.example>\r\nRCPT TO:<bob@far.example>\r\nDATA\r\n";
const BODY: &str = "Subject: x\r\n\r\nbody\r\n.\r\n";

#[tokio::test]
async fn a_message_over_tls_says_so() {
    let (mut world, connector) = secured(ListenerKind::Smtp).await;
    let mut client = over_tls(&world, &connector).await;
    // What was known in clear is forgotten.
    assert!(say(&mut client, "MAIL FROM:<>\r\n", "503 ").await.starts_with("503 5.0.0 "));
    let offered = say(&mut client, EHLO, "\r\n250 ").await;
    assert!(
        !offered.contains("STARTTLS") && offered.contains("250-AUTH SCRAM-SHA-256 PLAIN LOGIN"),
        "{offered}"
    );
    assert!(say(&mut client, "STARTTLS\r\n", "503").await.starts_with("503 5.5.0 TLS already active"));
    say(&mut client, "MAIL FROM:<joe@far.example>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\n", "354 ").await;
    assert!(say(&mut client, BODY, "250 ").await.starts_with("250 2.0.0 "));
    let (_, message) = world.next_message().await;
    assert!(message.contains("\r\n\tby gw.corp.example with ESMTPS id "), "{message}");
    assert!(message.contains("\r\n\t(version=TLSv1.3 cipher=TLS_"), "{message}");
    let channel = world.event(|event| match event {
        Event::Secured { server: true, channel, .. } => Some(channel.version),
        _ => None,
    });
    assert_eq!(channel.await, "TLSv1.3");
}

/// CVE-2011-0411: commands that somebody has put behind STARTTLS in clear.
#[tokio::test]
async fn nothing_that_came_in_clear_is_obeyed_after_starttls() {
    let (world, connector) = secured(ListenerKind::Smtp).await;
    for injected in ["MAIL FROM:<evil@far.example>\r\n", "X", "\r\n", "STARTTLS\r\n"] {
        let replies = world.pipelined(format!("STARTTLS\r\n{injected}").as_bytes()).await;
        assert!(replies.starts_with("554 5.5.0 SMTP protocol error"), "{injected:?}: {replies}");
    }
    // In a packet of its own it is no TLS, and the session is over.
    let mut client = connect(world.address).await;
    client.write_all(EHLO.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n250 ").await;
    client.write_all(b"STARTTLS\r\n").await.unwrap();
    read_until(&mut client, "220 ").await;
    client.write_all(RELAY.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, client.read_to_end(&mut rest)).await.expect("no end");
    assert!(!String::from_utf8_lossy(&rest).contains("250"), "{rest:?}");
    assert_eq!(world.queued().await, 0);
    // A transaction that was begun in clear is over.
    let mut client = connect(world.address).await;
    client.write_all(EHLO.as_bytes()).await.unwrap();
    read_until(&mut client, "\r\n250 ").await;
    client.write_all(b"MAIL FROM:<evil@far.example>\r\nSTARTTLS\r\n").await.unwrap();
    read_until(&mut client, "220 ").await;
    let mut client = connector.connect(client, "gw.corp.example", Trust::Verified).await.unwrap();
    say(&mut client, EHLO, "\r\n250 ").await;
    assert!(
        say(&mut client, "RCPT TO:<alice@corp.example>\r\n", "503").await.starts_with("503 5.0.0 Need MAIL")
    );
}

/// The outcome of AUTH by this mechanism, as the reply says it.
async fn authenticate(client: &mut Stream, mechanism: Mechanism, user: &str, password: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let credentials = Credentials { user: user.to_owned(), password: password.to_owned() };
    let mut exchange = Client::new(mechanism, credentials, "clientnonce".to_owned());
    let initial = exchange.initial().map(|initial| format!(" {}", STANDARD.encode(initial)));
    let mut line = format!("AUTH {}{}\r\n", mechanism.as_str(), initial.unwrap_or_default());
    loop {
        let reply = say(client, &line, "\r\n").await;
        let Some(challenge) = reply.strip_prefix("334 ") else { return reply };
        let response = exchange.respond(&STANDARD.decode(challenge.trim()).unwrap()).unwrap();
        line = format!("{}\r\n", STANDARD.encode(response));
    }
}

#[tokio::test]
async fn a_submission_port_takes_from_users_and_nobody_else() {
    let (mut world, connector) = secured(ListenerKind::Submission).await;
    for mechanism in Mechanism::ALL {
        let mut client = over_tls(&world, &connector).await;
        say(&mut client, EHLO, "\r\n250 ").await;
        assert!(
            say(&mut client, "MAIL FROM:<alice@corp.example>\r\n", "530").await.starts_with("530 5.7.0 ")
        );
        for (user, password) in [("alice", "pencils"), ("bob", "pencil")] {
            let reply = authenticate(&mut client, mechanism, user, password).await;
            assert_eq!(reply, "535 5.7.0 authentication failed\r\n", "{mechanism:?} {user}");
        }
        assert!(
            say(&mut client, "MAIL FROM:<alice@corp.example>\r\n", "530").await.starts_with("530 5.7.0 ")
        );
        let reply = authenticate(&mut client, mechanism, "alice", "pencil").await;
        assert_eq!(reply, "235 2.0.0 OK Authenticated\r\n", "{mechanism:?}");
        say(&mut client, RELAY, "354 ").await;
        assert!(say(&mut client, BODY, "250 ").await.starts_with("250 2.0.0 "));
        let (envelope, message) = world.next_message().await;
        assert_eq!(envelope.recipients[0].address.to_string(), "bob@far.example");
        assert!(message.contains(" with ESMTPSA id "), "{message}");
        let user = world.event(|event| match event {
            Event::Authenticated { user, .. } => Some(user.clone()),
            _ => None,
        });
        assert_eq!(user.await, "alice");
    }
}

#[tokio::test]
async fn submission_over_tls_from_the_first_octet_on() {
    let (world, connector) = secured(ListenerKind::Submissions).await;
    let client = TcpStream::connect(world.address).await.unwrap();
    let mut client = connector.connect(client, "gw.corp.example", Trust::Verified).await.unwrap();
    assert!(hear(&mut client, "220 ").await.starts_with("220 gw.corp.example ESMTP"));
    assert!(!say(&mut client, EHLO, "\r\n250 ").await.contains("STARTTLS"));
    assert!(authenticate(&mut client, Mechanism::Plain, "alice", "pencil").await.starts_with("235 "));
    // Who speaks in clear gets nothing.
    let mut clear = TcpStream::connect(world.address).await.unwrap();
    clear.write_all(b"EHLO client.example\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(DEADLINE, clear.read_to_end(&mut rest)).await.expect("no end");
    assert!(!rest.starts_with(b"2"), "{rest:?}");
}

#[tokio::test]
async fn a_message_in_chunks_and_one_beyond_ascii() {
    let mut world = World::start().await;
    let message = "Subject: \u{e9}\r\n\r\n.\r\nQUIT\r\n";
    let (one, two) = message.split_at(9);
    let batch = format!(
        "MAIL FROM:<jos\u{e9}@far.example> SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=e1\r\n\
         RCPT TO:<alice@corp.example> NOTIFY=DELAY ORCPT=rfc822;a+40b@corp.example\r\n\
         BDAT {}\r\n{one}BDAT {} LAST\r\n{two}QUIT\r\n",
        one.len(),
        two.len()
    );
    let replies = world.pipelined(batch.as_bytes()).await;
    assert_eq!(
        codes(&replies),
        ["250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "221 2.0.0"],
        "{replies}"
    );
    let (envelope, octets) = world.next_message().await;
    assert_eq!(envelope.sender.to_string(), "<jos\u{e9}@far.example>");
    assert!(envelope.smtputf8 && envelope.eight_bit);
    assert_eq!(
        (envelope.envid.as_deref(), envelope.ret),
        (Some("e1"), Some(mailstack_mta::message::Ret::Headers))
    );
    let to = &envelope.recipients[0];
    assert_eq!(
        (to.orcpt.as_deref(), to.notify.map(|notify| notify.delay)),
        (Some("rfc822;a+40b@corp.example"), Some(true))
    );
    assert!(octets.contains(" with UTF8SMTP id ") && octets.ends_with(message), "{octets}");
}
