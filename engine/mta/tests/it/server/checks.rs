//! What is checked of clients: the access table, lists, names, rates, and what is not told.

use mailstack_policy::access::{Access, AccessKey, Action};
use mailstack_runtime::{Dnsbl, Privacy};

use super::*;

fn access(entries: &[(&str, Action)]) -> Access {
    entries.iter().map(|(key, action)| (key.parse::<AccessKey>().unwrap(), action.clone())).collect()
}

fn error(code: u16, enhanced: &str) -> Action {
    Action::Error { code, enhanced: enhanced.to_owned(), text: "not now".to_owned() }
}

/// All replies of a session from the first line on.
async fn session(world: &World, lines: &[&str]) -> Vec<String> {
    let mut client = TcpStream::connect(world.address).await.unwrap();
    let mut replies = read_until(&mut client, " ").await;
    for line in lines {
        client.write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
        let mut reply = String::new();
        while reply.lines().last().is_none_or(|last| last.as_bytes().get(3) != Some(&b' ')) {
            let more = read_until(&mut client, "").await;
            if more.is_empty() {
                break;
            }
            reply.push_str(&more);
        }
        replies.push_str(&reply);
    }
    codes(&replies)
}

#[tokio::test]
async fn a_client_that_the_table_rejects_may_say_hello_and_nothing_else() {
    let world = World::start_with(|config| {
        config.rules.access = access(&[("Connect:client.example", Action::Reject)]);
    })
    .await;
    let said = ["EHLO c.example", "MAIL FROM:<>", "VRFY x", "NOOP", "RSET", "HELP", "nonsense", "QUIT"];
    assert_eq!(
        session(&world, &said).await,
        [
            "220 gw.corp.example",
            "250 ENHANCEDSTATUSCODES",
            "550 5.7.1",
            "550 5.7.1",
            "250 2.0.0",
            "250 2.0.0",
            "550 5.7.1",
            "500 5.5.1",
            "221 2.0.0"
        ]
    );
}

#[tokio::test]
async fn senders_and_recipients_of_the_table() {
    let world = World::start_with(|config| {
        config.limits.recipients = 100;
        config.rules.access = access(&[
            ("From:spammer@far.example", error(550, "5.7.1")),
            ("From:far.example", Action::Ok),
            ("From:late.example", error(451, "4.7.1")),
            ("worse.example", Action::Reject),
            ("To:root@", Action::Reject),
            ("To:alice+*@corp.example", error(550, "5.2.9")),
        ]);
    })
    .await;
    let said = [
        "EHLO c.example",
        "MAIL FROM:<spammer@far.example>",
        "MAIL FROM:<spammer+tag@FAR.example>",
        "MAIL FROM:<joe@late.example>",
        "MAIL FROM:<joe@sub.worse.example>",
        "MAIL FROM:<joe@far.example>",
        "RCPT TO:<root@corp.example>",
        "RCPT TO:<alice+x@corp.example>",
        "RCPT TO:<joe@worse.example>",
        "RCPT TO:<alice@corp.example>",
    ];
    let expected = [
        "550 5.7.1",
        "550 5.7.1",
        "451 4.7.1",
        "550 5.7.1",
        "250 2.1.0",
        "550 5.2.1",
        "550 5.2.9",
        "550 5.2.1",
        "250 2.1.5",
    ];
    assert_eq!(session(&world, &said).await[2..], expected);
}

#[tokio::test]
async fn what_is_discarded_is_taken_and_never_queued() {
    for (entry, recipients) in [
        ("Connect:client.example", vec!["RCPT TO:<alice@corp.example>"]),
        ("From:joe@", vec!["RCPT TO:<alice@corp.example>"]),
        ("To:root@", vec!["RCPT TO:<alice@corp.example>", "RCPT TO:<root@corp.example>"]),
        ("To:nobody@corp.example", vec!["RCPT TO:<nobody@corp.example>"]),
    ] {
        let mut world = World::start_with(|config| {
            config.rules.access = access(&[(entry, Action::Discard)]);
        })
        .await;
        let mut said = vec!["EHLO c.example", "MAIL FROM:<joe@far.example>"];
        said.extend(recipients);
        said.extend(["DATA", "Subject: x\r\n\r\nbody\r\n.", "QUIT"]);
        let replies = session(&world, &said).await;
        assert_eq!(replies[replies.len() - 2], "250 2.0.0", "{entry}: {replies:?}");
        world.event(|event| matches!(event, Event::Discarded { .. }).then_some(())).await;
        assert_eq!(world.queued().await, 0, "{entry}");
    }
}

#[tokio::test]
async fn a_client_that_talks_before_the_greeting_is_refused() {
    let world = World::start_with(|config| config.checks.greet_pause = 1).await;
    // Loopback does not wait: the pause is told by the gate's own tests and the other engine's dialogue.
    let said = session(&world, &["EHLO c.example", "QUIT"]).await;
    assert_eq!(said[0], "220 gw.corp.example");
}

#[tokio::test]
async fn what_privacy_flags_leave() {
    let world = World::start_with(|config| config.privacy = [Privacy::Noreceipts].into()).await;
    let said = [
        "VRFY alice",
        "VRFY nobody",
        "EXPN staff",
        "MAIL FROM:<joe@far.example> RET=HDRS",
        "MAIL FROM:<joe@far.example>",
        "QUIT",
    ];
    let replies = session(&world, &said).await;
    assert_eq!(replies[1..], ["250 2.1.5", "550 5.1.1", "250 2.1.5", "504 5.7.0", "250 2.1.0", "221 2.0.0"]);
    let world = World::start().await;
    let said =
        ["VRFY alice", "EXPN staff", "MAIL FROM:<>", "EHLO c", "VRFY alice", "EXPN staff", "ETRN x", "VERB"];
    let replies = session(&world, &said).await;
    assert_eq!(replies[1..4], ["252 2.5.2", "502 5.7.0", "503 5.0.0"]);
    assert_eq!(replies[5..], ["252 2.5.2", "502 5.7.0", "502 5.7.0", "502 5.7.0"]);
}

#[tokio::test]
async fn no_mail_is_taken_while_the_disk_is_nearly_full() {
    let world = World::start_with(|config| config.limits.free_space = u64::MAX).await;
    assert_eq!(session(&world, &["EHLO c", "MAIL FROM:<>"]).await[2..], ["452 4.4.5"]);
}

#[tokio::test]
async fn who_guesses_recipients_waits() {
    let world = World::start_with(|config| config.checks.bad_recipients = 2).await;
    let begun = std::time::Instant::now();
    let mut said = vec!["EHLO c", "MAIL FROM:<>"];
    said.extend(["RCPT TO:<nobody@corp.example>"; 3]);
    let replies = session(&world, &said).await;
    assert_eq!(replies[3..], ["550 5.1.1", "550 5.1.1", "550 5.1.1"]);
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_greeting_says_what_it_is_told_to_say() {
    let world = World::start_with(|config| config.greeting = "mail gateway".to_owned()).await;
    let mut client = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(read_until(&mut client, " ").await, "220 gw.corp.example ESMTP mail gateway\r\n");
}

/// A list that does not answer refuses nobody.
#[tokio::test]
async fn without_a_name_service_no_list_and_no_look_up_blocks_mail() {
    let world = World::start_with(|config| {
        let list = Dnsbl { zone: "bl.example".parse().unwrap(), text: None, answers: Default::default() };
        config.checks.dnsbl = vec![list];
    })
    .await;
    assert_eq!(session(&world, &["EHLO c", "MAIL FROM:<joe@nowhere.example>"]).await[2..], ["250 2.1.0"]);
}
