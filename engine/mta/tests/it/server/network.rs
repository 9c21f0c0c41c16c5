//! SMTP over TCP: dialogues, refusals and limits.

use mailstack_mta::message::Origin;

use super::*;

const MESSAGE: &[u8] = b"MAIL FROM:<joe@far.example> SIZE=100\r\nRCPT TO:<staff@corp.example>\r\nDATA\r\n";

#[tokio::test]
async fn a_pipelined_message_is_in_the_queue_when_250_is_said() {
    let mut world = World::start().await;
    let body =
        b"Return-Path: <x@y>\r\nSubject: hello\r\nMessage-ID: <1@far.example>\r\n\r\n..dot\r\n.\r\nQUIT\r\n";
    let mut client = connect(world.address).await;
    client.write_all(b"EHLO client.example\r\n").await.unwrap();
    let offered = read_until(&mut client, "\r\n250 ").await;
    for extension in ["PIPELINING", "8BITMIME", "SIZE 200000", "ENHANCEDSTATUSCODES"] {
        assert!(offered.contains(extension), "{offered}");
    }
    client.write_all(MESSAGE).await.unwrap();
    let replies = read_until(&mut client, "354 ").await;
    assert_eq!(codes(&replies), ["250 2.1.0", "250 2.1.5", "354 Enter"]);
    client.write_all(body).await.unwrap();
    let replies = read_until(&mut client, "221 ").await;
    assert_eq!(codes(&replies), ["250 2.0.0", "221 2.0.0"]);
    assert_eq!(world.queued().await, 1);
    let id = replies.split(' ').nth(2).unwrap().to_owned();
    let (envelope, first) = world.next_message().await;
    assert_eq!(envelope.sender.to_string(), "<joe@far.example>");
    let to: Vec<_> = envelope.recipients.iter().map(|r| r.address.to_string()).collect();
    assert_eq!(to, ["alice@gw.corp.example", "bob@far.example"]);
    assert!(matches!(&envelope.origin, Origin::Network { hello, .. } if hello == "client.example"));
    let (received, rest) = first.split_at(first.find("Subject:").unwrap());
    let expected = format!(
        "Received: from client.example (client.example [127.0.0.1])\r\n\tby gw.corp.example with ESMTP id {id}\r\n\tfor <staff@corp.example>; "
    );
    assert!(received.starts_with(&expected), "{received}");
    assert_eq!(rest, "Subject: hello\r\nMessage-ID: <1@far.example>\r\n\r\n.dot\r\n");
    let received = world.event(|event| matches!(event, Event::Received { .. }).then(|| event.clone())).await;
    assert!(
        matches!(received, Event::Received { message_id: Some(id), nrcpts: 2, .. } if id == "<1@far.example>")
    );
    let expanded = world.event(|event| match event {
        Event::Expanded { to, .. } => Some(to.len()),
        _ => None,
    });
    assert_eq!(expanded.await, 2);
}

#[tokio::test]
async fn refusals_as_sendmail_words_them() {
    let world = World::start_with(|config| config.limits.recipients = 100).await;
    // Loopback may relay anywhere; only what is wrong in itself is refused here.
    let table = [
        ("RCPT TO:<nobody@corp.example>", "550 5.1.1 <nobody@corp.example>... User unknown"),
        ("RCPT TO:<alice@corp.example>", "250 2.1.5 <alice@corp.example>... Recipient ok"),
        ("VRFY alice", "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"),
        ("EXPN staff", "502 5.7.0 Sorry, we do not allow this operation"),
        ("MAIL FROM:<a@b.example>", "503 5.5.0 Sender already specified"),
    ];
    let commands: String = table.iter().map(|(command, _)| format!("{command}\r\n")).collect();
    let replies = world.pipelined(format!("MAIL FROM:<joe@far.example>\r\n{commands}").as_bytes()).await;
    let said: Vec<&str> = replies.lines().skip(1).collect();
    let expected: Vec<&str> = table.iter().map(|(_, reply)| *reply).collect();
    assert_eq!(said, expected);
}

#[tokio::test]
async fn limits_of_a_message() {
    let world = World::start().await;
    let open = "MAIL FROM:<>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\n";
    let hops = "Received: x\r\n".repeat(6);
    let long_header = format!("X: {}\r\n", "y".repeat(70)).repeat(40);
    let large = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
    for (message, code) in [
        (format!("{hops}\r\n"), "554 5.4.6"),
        (format!("{long_header}\r\nbody\r\n"), "552 5.6.0"),
        (large, "552 5.2.3"),
        ("Subject: x\r\n\r\nok\r\n".to_owned(), "250 2.0.0"),
        (String::new(), "250 2.0.0"),
    ] {
        let replies = world.pipelined(format!("{open}{message}.\r\n").as_bytes()).await;
        assert_eq!(codes(&replies).last().unwrap(), code, "{replies}");
    }
    assert_eq!(world.queued().await, 2);
    let many: String = (0..4).map(|n| format!("RCPT TO:<u{n}@partner.example>\r\n")).collect();
    let replies =
        world.pipelined(format!("MAIL FROM:<> SIZE=200001\r\nMAIL FROM:<>\r\n{many}").as_bytes()).await;
    assert_eq!(
        codes(&replies),
        ["552 5.2.3", "250 2.1.0", "250 2.1.5", "250 2.1.5", "250 2.1.5", "452 4.5.3"]
    );
}

#[tokio::test]
async fn one_client_cannot_take_all_sessions() {
    let world = World::start().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(connect(world.address).await);
    }
    let mut turned_away = TcpStream::connect(world.address).await.unwrap();
    let reply = read_until(&mut turned_away, "\r\n").await;
    assert_eq!(reply, "421 4.3.2 Too many open connections.\r\n");
    held.pop();
    let handle = world.server.handle();
    let freed = async {
        while handle.sessions() == 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, freed).await.unwrap();
    let mut client = TcpStream::connect(world.address).await.unwrap();
    assert!(read_until(&mut client, "\r\n").await.starts_with("220 gw.corp.example ESMTP"));
}

#[tokio::test]
async fn stopping_says_421_between_messages_and_waits_within_one() {
    let world = World::start().await;
    let mut idle = connect(world.address).await;
    let mut busy = connect(world.address).await;
    busy.write_all(b"HELO c\r\n").await.unwrap();
    read_until(&mut busy, "250 ").await;
    busy.write_all(b"MAIL FROM:<>\r\nRCPT TO:<alice@corp.example>\r\nDATA\r\n").await.unwrap();
    read_until(&mut busy, "354 ").await;
    let World { server, queue, .. } = world;
    let stopped = tokio::spawn(server.stop());
    assert!(read_until(&mut idle, "421 ").await.starts_with("421 4.3.2 "));
    busy.write_all(b"Subject: x\r\n\r\nbody\r\n.\r\n").await.unwrap();
    let last = read_until(&mut busy, "421 ").await;
    assert_eq!(codes(&last), ["250 2.0.0", "421 4.3.2"]);
    timeout(DEADLINE, stopped).await.unwrap().unwrap();
    assert_eq!(queue.count(), 1);
}
