//! What a peer answers: the same at every split, within its limits, and written again no other than it was read.

use mailstack_smtp::reply::{MAX_LINE, MAX_LINES, Parser, Reply, ReplyError};

use super::{packets, replies_in, split_settings};
use crate::seen::note;

/// Words of replies.
pub const TOKENS: &[&str] = &[
    "250-",
    "250 ",
    "220 ",
    "354 ",
    "421 4.3.2 ",
    "550 5.1.1 ",
    "550-5.7.1 ",
    "5.1.1",
    "4.",
    "2.0.0 ",
    "\r\n",
    "\n",
    "250-2.1.0\r\n",
    "999 ",
    "\u{e9}",
    "\u{9b}",
];

/// Checks a stream: an octet that says how it comes, then the stream.
pub fn check(octets: &[u8]) {
    let ([size], stream) = split_settings(octets);
    let whole = all_of(&[stream]);
    let parted = all_of(&packets(stream, size));
    assert_eq!(parted, whole, "packets make a difference");
    note(("end", format!("{:?}", whole.1)));
    for reply in &whole.0 {
        one(reply);
    }
}

/// The replies in packets, and what ended them.
fn all_of(packets: &[&[u8]]) -> (Vec<Reply>, Option<ReplyError>) {
    let (mut parser, mut held, mut replies) = (Parser::default(), Vec::new(), Vec::new());
    for packet in packets {
        held.extend_from_slice(packet);
        loop {
            match parser.parse(&held) {
                Err(error) => return (replies, Some(error)),
                Ok((taken, reply)) => {
                    held.drain(..taken);
                    match reply {
                        Some(reply) => replies.push(reply),
                        None => break,
                    }
                }
            }
        }
        assert!(held.len() < MAX_LINE, "{} octets are held", held.len());
    }
    (replies, None)
}

fn one(reply: &Reply) {
    note((reply.code() / 100, reply.enhanced().is_some(), reply.lines().count().min(4)));
    assert!((200..=599).contains(&reply.code()), "code {}", reply.code());
    assert!(reply.lines().count() <= MAX_LINES, "{} lines", reply.lines().count());
    assert!(!reply.to_string().contains(char::is_control), "a log would show {reply:?}");
    let written = written(reply);
    assert_eq!(replies_in(&written), 1, "{} is not one reply", written.escape_ascii());
    let again = all_of(&[&written]);
    assert_eq!(again.1, None, "{} cannot be read", written.escape_ascii());
    assert_eq!(again.0.len(), 1, "{} is read as several", written.escape_ascii());
    for again in &again.0 {
        assert_eq!((again.code(), again.enhanced()), (reply.code(), reply.enhanced()));
        assert_eq!(self::written(again), written, "written another way the second time");
    }
}

fn written(reply: &Reply) -> Vec<u8> {
    let mut output = Vec::new();
    reply.write_to(&mut output);
    output
}
