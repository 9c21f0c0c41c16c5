//! The client's session against what servers say.

use mailstack_smtp::address::{Address, ReversePath};
use mailstack_smtp::client::{
    Action, CannotBegin, Closed, Hello, Outcome, Session, Stage, Transaction, Violation,
};
use mailstack_smtp::command::RcptRequest;
use mailstack_smtp::data::stuffed;

pub(crate) fn transaction(recipients: &[&str]) -> Transaction {
    let address = |text: &&str| RcptRequest::new(text.parse::<Address>().unwrap());
    Transaction {
        from: ReversePath::Address("a@c.example".parse().unwrap()),
        recipients: recipients.iter().map(address).collect(),
        size: Some(6),
        eight_bit: false,
        ret: None,
        envid: None,
        smtputf8: false,
    }
}

pub(crate) fn session(lmtp: bool) -> Session {
    Session::new(Hello { lmtp, ..Hello::new("c.example") })
}

/// What a client said, what became of the recipients, and how it ended.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) said: String,
    pub(crate) outcomes: Vec<String>,
    pub(crate) closed: Option<Closed>,
}

/// Plays a server that says `packets` one by one; the client sends one message to two recipients, then quits.
fn play(lmtp: bool, packets: &[&str]) -> Run {
    play_as(session(lmtp), packets)
}

/// The same as another client. TLS is made at once.
pub(crate) fn play_as(mut session: Session, packets: &[&str]) -> Run {
    let mut run = Run::default();
    let mut packets = packets.iter();
    let mut input = Vec::new();
    let mut begun = false;
    loop {
        let step = session.step(&input);
        input.drain(..step.consumed);
        run.said += &String::from_utf8(session.take_output()).unwrap();
        match step.action {
            Action::Continue => {}
            Action::NeedInput => match packets.next() {
                Some(packet) => input.extend_from_slice(packet.as_bytes()),
                None => session.lost(),
            },
            Action::Ready if begun => session.quit(),
            Action::Ready => {
                begun = true;
                session.begin(transaction(&["b@mx.example", "c@mx.example"])).unwrap();
            }
            Action::StartTls => {
                run.said += "<TLS>";
                session.secured();
            }
            Action::SendBody if session.is_chunked() => {
                run.said += "BDAT 3\r\nhelBDAT 4 LAST\r\nlo\r\n";
                session.chunks_sent(2);
            }
            Action::SendBody => {
                run.said += &String::from_utf8(stuffed(b"hello\r\n")).unwrap();
                session.body_sent();
            }
            Action::Done(outcomes) => run.outcomes.extend(outcomes.iter().map(brief)),
            Action::Closed(closed) => {
                run.closed = Some(closed);
                return run;
            }
        }
    }
}

fn brief(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(reply) => reply.code().to_string(),
        Outcome::Refused { stage, reply } => format!("{stage:?} {}", reply.code()),
        Outcome::NoAnswer { stage } => format!("{stage:?} lost"),
    }
}

const PIPED: &str = "250-mx.example\r\n250-PIPELINING\r\n250 SIZE 1000\r\n";

#[test]
fn each_reply_is_about_the_right_recipient() {
    let table: &[(&[&str], &[&str])] = &[
        // Pipelined.
        (
            &[PIPED, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n", "250 queued\r\n", "221 bye\r\n"],
            &["250", "250"],
        ),
        (&[PIPED, "250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n", "250 q\r\n"], &["Rcpt 550", "250"]),
        (&[PIPED, "250 ok\r\n450 no\r\n250 ok\r\n354 go\r\n", "554 no\r\n"], &["Rcpt 450", "EndOfData 554"]),
        (&[PIPED, "550 no\r\n503 x\r\n503 x\r\n503 x\r\n", "250 reset\r\n"], &["Mail 550", "Mail 550"]),
        (&[PIPED, "250 ok\r\n550 a\r\n551 b\r\n503 x\r\n", "250 reset\r\n"], &["Rcpt 550", "Rcpt 551"]),
        (&[PIPED, "250 ok\r\n550 a\r\n551 b\r\n354 go\r\n", "554 none\r\n"], &["Rcpt 550", "Rcpt 551"]),
        (&[PIPED, "250 ok\r\n250 a\r\n551 b\r\n451 no\r\n", "250 reset\r\n"], &["Data 451", "Rcpt 551"]),
        (&[PIPED, "250 ok\r\n550 a\r\n421 bye\r\n"], &["Rcpt 550", "Rcpt 421"]),
        (&[PIPED, "250 ok\r\n550 a\r\n"], &["Rcpt 550", "Rcpt lost"]),
        (&[PIPED, "250 ok\r\n250 a\r\n550 b\r\n354 go\r\n"], &["EndOfData lost", "Rcpt 550"]),
        // One by one.
        (&["250 mx\r\n", "250 ok\r\n", "250 a\r\n", "250 b\r\n", "354 go\r\n", "250 q\r\n"], &["250", "250"]),
        (&["250 mx\r\n", "451 later\r\n"], &["Mail 451", "Mail 451"]),
        (&["250 mx\r\n", "250 ok\r\n", "550 a\r\n", "450 b\r\n", "250 reset\r\n"], &["Rcpt 550", "Rcpt 450"]),
        (
            &["250 mx\r\n", "250 ok\r\n", "250 a\r\n", "250 b\r\n", "250 what\r\n"],
            &["Data lost", "Data lost"],
        ),
        (&["500 what\r\n", "250 mx\r\n", "421 go away\r\n"], &["Mail 421", "Mail 421"]),
    ];
    for (packets, outcomes) in table {
        let packets = [&["220 mx.example\r\n"][..], packets].concat();
        assert_eq!(play(false, &packets).outcomes, *outcomes, "{packets:?}");
    }
}

#[test]
fn pipelined_commands_go_in_one_write_and_a_single_dot_ends_what_nobody_takes() {
    let run = play(
        false,
        &["220 mx\r\n", PIPED, "250 a\r\n550 b\r\n550 c\r\n354 go\r\n", "554 none\r\n", "221 bye\r\n"],
    );
    assert_eq!(
        run.said,
        "EHLO c.example\r\nMAIL FROM:<a@c.example> SIZE=6\r\nRCPT TO:<b@mx.example>\r\n\
         RCPT TO:<c@mx.example>\r\nDATA\r\n.\r\nQUIT\r\n"
    );
    assert_eq!(run.closed, Some(Closed::Quit));
}

#[test]
fn lmtp_has_a_reply_per_accepted_recipient() {
    let data = "250 ok\r\n250 a\r\n250 b\r\n354 go\r\n";
    let run = play(true, &["220 mx\r\n", PIPED, data, "250 a\r\n550 b\r\n", "221 bye\r\n"]);
    assert!(run.said.starts_with("LHLO c.example\r\n"));
    assert_eq!(run.outcomes, ["250", "EndOfData 550"]);
}

#[test]
fn a_peer_that_speaks_out_of_turn_is_not_trusted() {
    let unexpected = Some(Closed::Protocol(Violation::UnexpectedData));
    assert_eq!(play(false, &["220 mx\r\n250 early\r\n"]).closed, unexpected);
    assert_eq!(play(false, &["220 mx\r\n", "250 mx\r\n250 early\r\n"]).closed, unexpected);
    let late =
        play(false, &["220 mx\r\n", PIPED, "250 a\r\n250 b\r\n250 c\r\n354 d\r\n", "250 q\r\n250 more\r\n"]);
    assert_eq!((late.closed, late.outcomes), (unexpected, vec!["250".to_owned(); 2]));
}

#[test]
fn a_session_that_is_refused_says_why() {
    let run = play(false, &["554 no\r\n"]);
    assert!(matches!(run.closed, Some(Closed::Refused { stage: Stage::Connect, .. })));
    assert_eq!(run.said, "QUIT\r\n");
    let run = play(false, &["220 mx\r\n", "550 no\r\n", "550 still no\r\n"]);
    assert!(matches!(run.closed, Some(Closed::Refused { stage: Stage::Hello, .. })));
    assert_eq!(run.said, "EHLO c.example\r\nHELO c.example\r\nQUIT\r\n");
}

#[test]
fn what_the_peer_cannot_take_is_not_begun() {
    let mut session = session(false);
    for packet in [&b"220 mx\r\n"[..], b"250-mx\r\n250 SIZE 5\r\n"] {
        session.step(packet);
    }
    let eight_bit = Transaction { eight_bit: true, ..transaction(&["b@mx.example"]) };
    assert_eq!(session.begin(eight_bit), Err(CannotBegin::EightBit));
    assert_eq!(session.begin(transaction(&["b@mx.example"])), Err(CannotBegin::TooLarge { limit: 5 }));
    assert_eq!(session.begin(transaction(&["\u{e9}@mx.example"])), Err(CannotBegin::NotAscii));
    assert_eq!(session.begin(transaction(&[])), Err(CannotBegin::NoRecipients));
    assert_eq!(session.step(b"").action, Action::Ready);
}
