//! SMTP to a sink over TCP.

use std::net::SocketAddr;
use std::time::Duration;

use mailstack_mta::delivery::remote::{Remote, Timeouts, Verdict};
use mailstack_mta::queue::Destination;
use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_smtp::client::Transaction;
use mailstack_smtp::command::RcptRequest;

use super::names;
use super::sink::{At, Plan, Sink, Taken};

pub(super) const MESSAGE: &[u8] = b"Subject: hi\r\n\r\n.dot\r\nend\r\n";

pub(super) fn remote() -> Remote {
    let short = Duration::from_secs(5);
    let timeouts = Timeouts {
        connect: short,
        greeting: short,
        command: short,
        data: short,
        block: short,
        end_of_data: short,
        quit: Duration::from_millis(200),
        vanished: short,
    };
    let mut remote = Remote::new(names::hosts(""), "me.example".parse().unwrap());
    remote.timeouts = timeouts;
    remote
}

pub(super) fn hop(address: SocketAddr) -> NextHop {
    NextHop { host: HopHost::Address(address.ip()), port: address.port() }
}

pub(super) fn to(sinks: &[&Sink]) -> Destination {
    Destination::Hops(sinks.iter().map(|sink| hop(sink.address)).collect())
}

/// Nobody listens there.
async fn nobody() -> NextHop {
    hop(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap())
}

pub(super) fn transaction(recipients: &[&str]) -> Transaction {
    Transaction {
        from: "a@corp.example".to_owned().try_into().unwrap(),
        recipients: recipients.iter().map(|to| RcptRequest::new(to.parse().unwrap())).collect(),
        size: Some(MESSAGE.len() as u64),
        eight_bit: false,
        smtputf8: false,
        ret: None,
        envid: None,
    }
}

pub(super) async fn send(remote: &Remote, destination: &Destination, recipients: &[&str]) -> Vec<String> {
    let verdicts = remote.deliver(destination, transaction(recipients), &|| MESSAGE, 7).await;
    verdicts.iter().map(words).collect()
}

/// Without port numbers, which differ from run to run.
pub(super) fn words(verdict: &Verdict) -> String {
    let text = match verdict {
        Verdict::Taken { reply, .. } => format!("taken: {reply}"),
        Verdict::Failed(cause) => format!("failed {}: {cause}", cause.status),
        Verdict::Deferred { cause, unreachable } => {
            format!("deferred {} unreachable={unreachable}: {cause}", cause.status)
        }
    };
    text.split("]:")
        .map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()))
        .collect::<Vec<_>>()
        .join("]")
}

fn taken(to: &[&str]) -> Taken {
    Taken {
        from: "<a@corp.example>".to_owned(),
        to: to.iter().map(|&to| to.to_owned()).collect(),
        octets: MESSAGE.to_vec(),
    }
}

#[tokio::test]
async fn some_are_taken_and_some_refused() {
    let refuse = vec![("no", 550, "5.1.1 no such user"), ("later", 451, "4.3.2 later")];
    let sink = Sink::start(Plan { refuse, ..Plan::default() }).await;
    let verdicts =
        send(&remote(), &to(&[&sink]), &["yes@x.example", "no@x.example", "later@x.example"]).await;
    assert_eq!(
        verdicts,
        [
            "taken: 250 2.0.0 taken",
            "failed 5.1.1: 127.0.0.1[127.0.0.1] said: 550 5.1.1 no such user (in reply to RCPT TO)",
            "deferred 4.3.2 unreachable=false: 127.0.0.1[127.0.0.1] said: 451 4.3.2 later (in reply to RCPT TO)",
        ]
    );
    assert_eq!(sink.taken(), [taken(&["yes@x.example"])]);
}

#[tokio::test]
async fn wherever_the_connection_breaks_it_is_tried_again() {
    for at in [At::Greeting, At::Hello, At::Mail, At::Rcpt, At::Data, At::Body, At::End] {
        // A small message and its end are one write.
        let maybe_taken = matches!(at, At::Body | At::End);
        let broken = Sink::start(Plan { drop_at: Some(at), ..Plan::default() }).await;
        let verdicts = send(&remote(), &to(&[&broken]), &["x@x.example"]).await;
        assert!(verdicts[0].starts_with("deferred 4.4.2 "), "{at:?}: {verdicts:?}");
        assert_eq!(verdicts[0].contains("it may arrive twice"), maybe_taken, "{verdicts:?}");
        // The next host takes it, unless the first one may have it already.
        let good = Sink::start(Plan::default()).await;
        let verdicts = send(&remote(), &to(&[&broken, &good]), &["x@x.example"]).await;
        assert_eq!(verdicts[0].starts_with("taken"), !maybe_taken, "{at:?}: {verdicts:?}");
        assert_eq!(good.taken().len(), usize::from(!maybe_taken));
    }
}

#[tokio::test]
async fn what_a_host_says_and_when() {
    let cases = [
        (At::Greeting, 421, "deferred 4.3.0", true),
        (At::Greeting, 554, "deferred 4.3.0", true),
        (At::Hello, 450, "deferred 4.3.0", true),
        (At::Mail, 451, "deferred 4.0.0", true),
        (At::Mail, 550, "failed 5.0.0", false),
        (At::Rcpt, 450, "deferred 4.2.0", true),
        (At::Rcpt, 550, "failed 5.1.1", false),
        (At::Data, 451, "deferred 4.0.0", true),
        (At::Data, 554, "failed 5.0.0", false),
        (At::End, 451, "deferred 4.0.0", false),
        (At::End, 552, "failed 5.3.4", false),
    ];
    for (at, code, wanted, asks_next) in cases {
        let plan = Plan { answer_at: Some((at, code, "words")), ..Plan::default() };
        let first = Sink::start(plan).await;
        let verdicts = send(&remote(), &to(&[&first]), &["x@x.example"]).await;
        assert!(verdicts[0].starts_with(wanted), "{at:?} {code}: {verdicts:?}");
        let good = Sink::start(Plan::default()).await;
        send(&remote(), &to(&[&first, &good]), &["x@x.example"]).await;
        assert_eq!(good.taken().len(), usize::from(asks_next), "{at:?} {code}");
    }
}

#[tokio::test]
async fn the_next_host_when_one_is_down() {
    let sink = Sink::start(Plan::default()).await;
    let down = nobody().await;
    let both = Destination::Hops(vec![down.clone(), hop(sink.address)]);
    assert_eq!(send(&remote(), &both, &["x@x.example"]).await, ["taken: 250 2.0.0 taken"]);
    let verdicts = send(&remote(), &Destination::Hops(vec![down]), &["x@x.example"]).await;
    assert_eq!(verdicts, ["deferred 4.4.1 unreachable=true: 127.0.0.1[127.0.0.1]: connection refused"]);
}

#[tokio::test]
async fn a_host_of_our_own_name_is_ourselves() {
    let sink = Sink::start(Plan { name: "me.example", ..Plan::default() }).await;
    let verdicts = send(&remote(), &to(&[&sink]), &["x@x.example"]).await;
    assert!(verdicts[0].starts_with("failed 5.4.6"), "{verdicts:?}");
    let mut beside = remote();
    beside.checks_loops = false;
    assert_eq!(send(&beside, &to(&[&sink]), &["x@x.example"]).await, ["taken: 250 2.0.0 taken"]);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let sink = Sink::start(Plan::default()).await;
    let remote = remote();
    for _ in 0..5 {
        assert_eq!(send(&remote, &to(&[&sink]), &["x@x.example"]).await, ["taken: 250 2.0.0 taken"]);
    }
    assert_eq!((sink.connections(), sink.taken().len()), (1, 5));
}

#[tokio::test]
async fn what_cannot_be_sent_fails_before() {
    let sink = Sink::start(Plan { size: 10, ..Plan::default() }).await;
    let verdicts = send(&remote(), &to(&[&sink]), &["x@x.example"]).await;
    assert!(verdicts[0].starts_with("failed 5.3.4"), "{verdicts:?}");
    let good = Sink::start(Plan::default()).await;
    let verdicts = send(&remote(), &to(&[&good]), &["\u{e9}@x.example", "x@x.example"]).await;
    let wanted =
        "failed 5.6.7: 127.0.0.1[127.0.0.1]: the message needs SMTPUTF8 and the peer does not offer it";
    assert_eq!(verdicts[0], wanted);
    assert_eq!(verdicts[1], "taken: 250 2.0.0 taken");
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let sink = Sink::start(Plan::default()).await;
    let large = [b"Subject: x\r\n\r\n".to_vec(), b".line of some length\r\n".repeat(100_000)].concat();
    let body: &[u8] = large.leak();
    let request = Transaction { size: Some(body.len() as u64), ..transaction(&["x@x.example"]) };
    let verdicts = remote().deliver(&to(&[&sink]), request, &|| body, 7).await;
    assert_eq!(words(&verdicts[0]), "taken: 250 2.0.0 taken");
    assert_eq!(sink.taken()[0].octets, body);
}

#[tokio::test]
async fn domains_without_a_way() {
    let zone = &[
        "null.example MX 0 .",
        "dangling.example MX 10 gone.example.",
        "ill.example SERVFAIL x",
        "loop.example MX 10 me.example.",
    ];
    let mut remote = remote();
    remote.dns = names::serve(zone).await;
    for (domain, wanted) in [
        ("null.example", "failed 5.1.10"),
        ("dangling.example", "failed 5.1.2"),
        ("ill.example", "deferred 4.4.3 unreachable=true"),
        ("loop.example", "failed 5.4.6"),
        ("no.example", "failed 5.1.2"),
    ] {
        let verdicts = send(&remote, &Destination::Mx(domain.parse().unwrap()), &["x@x.example"]).await;
        assert!(verdicts[0].starts_with(wanted), "{domain}: {verdicts:?}");
    }
    // A mail host that is configured and not there is this host's fault.
    let host = NextHop { host: HopHost::Host("no.example".parse().unwrap()), port: 25 };
    let verdicts = send(&remote, &Destination::Hops(vec![host]), &["x@x.example"]).await;
    assert!(verdicts[0].starts_with("deferred 4.1.2 unreachable=true"), "{verdicts:?}");
}

#[tokio::test]
async fn extensions_are_used_where_they_are_offered() {
    let plan = Plan { chunking: true, smtputf8: true, recipients: 2, ..Plan::default() };
    let sink = Sink::start(plan).await;
    let recipients = ["a@x.example", "\u{e9}@x.example", "b@x.example", "c@x.example"];
    let verdicts = send(&remote(), &to(&[&sink]), &recipients).await;
    assert_eq!(verdicts, ["taken: 250 2.0.0 taken"; 4]);
    // Two at most at once, and who is beyond ASCII alone.
    let wanted =
        [taken(&["a@x.example", "b@x.example"]), taken(&["\u{e9}@x.example"]), taken(&["c@x.example"])];
    let mut got = sink.taken();
    got.sort_by(|a, b| a.to.cmp(&b.to));
    assert_eq!(got, [wanted[0].clone(), wanted[2].clone(), wanted[1].clone()]);
    assert_eq!(sink.connections(), 1);
    assert!(sink.seen.lock().unwrap().clear.contains("BDAT "));
}

#[tokio::test]
async fn a_large_message_goes_in_chunks() {
    let sink = Sink::start(Plan { chunking: true, ..Plan::default() }).await;
    let large = [b"Subject: x\r\n\r\n".to_vec(), b".line of some length\r\n".repeat(100_000)].concat();
    let body: &[u8] = large.leak();
    let request = Transaction { size: Some(body.len() as u64), ..transaction(&["x@x.example"]) };
    let verdicts = remote().deliver(&to(&[&sink]), request, &|| body, 7).await;
    assert_eq!(words(&verdicts[0]), "taken: 250 2.0.0 taken");
    assert_eq!(sink.taken()[0].octets, body);
}

#[tokio::test]
async fn a_line_that_is_too_long_is_broken() {
    let sink = Sink::start(Plan::default()).await;
    let long = format!("Subject: hi\r\n\r\n{}\r\n", "x".repeat(1500));
    let body = || long.as_bytes();
    remote().deliver(&to(&[&sink]), transaction(&["b@x.example"]), &body, 7).await;
    let wanted = format!("Subject: hi\r\n\r\n{}\r\n {}\r\n", "x".repeat(998), "x".repeat(502));
    assert_eq!(String::from_utf8_lossy(&sink.taken()[0].octets), wanted);
}
