//! What holds for every input.

use mailstack_smtp::address::{Address, AddressError, MAX_PATH, ReversePath};
use mailstack_smtp::command::{self, Command};
use mailstack_smtp::data::{Limits, Part, Receiver, Stuffer};
use mailstack_smtp::reply::Parser;
use proptest::prelude::*;

use crate::driver::{Server, offer};

/// A message of whole lines with many periods.
pub(crate) fn message() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec("[.a\u{e9} ]{0,8}", 0..20)
        .prop_map(|lines| lines.iter().flat_map(|line| format!("{line}\r\n").into_bytes()).collect())
}

/// Octets of which many mean something.
fn octets() -> impl Strategy<Value = Vec<u8>> {
    let octet = prop_oneof![4 => prop::sample::select(b"\r\n.\0 <>\"\\@:=+".to_vec()), 1 => any::<u8>()];
    prop::collection::vec(octet, 0..200)
}

fn chunks<'a>(octets: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut out) = (octets, Vec::new());
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
        (rest, _) = (behind, out.push(chunk));
    }
    out
}

/// What a receiver gives out, and how it ends.
fn received(packets: &[&[u8]], size: u64) -> (Vec<u8>, String) {
    let mut receiver = Receiver::new(Limits { size, line: 30 });
    let (mut held, mut body) = (Vec::new(), Vec::new());
    for packet in packets {
        held.extend_from_slice(packet);
        loop {
            let (taken, part) = receiver.receive(&held);
            match part {
                Part::NeedInput => {
                    held.drain(..taken);
                    assert!(held.len() <= 2, "more than two octets are held");
                    break;
                }
                Part::Body(octets) => body.extend_from_slice(octets),
                Part::Swallowing => {}
                Part::End => return (body, "end".to_owned()),
                Part::Refused { .. } => return (Vec::new(), format!("{part:?}")),
            }
            held.drain(..taken);
        }
    }
    (Vec::new(), "open".to_owned())
}

proptest! {
    #[test]
    fn reading_a_command_or_a_reply_never_panics(line in octets(), verb in "(MAIL FROM:|RCPT TO:|EHLO |)<?") {
        let line = [verb.as_bytes(), &line].concat();
        let _ = Parser::default().parse(&line);
        if let Ok(Command::Rcpt(request)) = command::parse(&line) {
            let again = format!("RCPT TO:<{}>", request.to);
            prop_assert!(matches!(command::parse(again.as_bytes()), Ok(Command::Rcpt(r)) if r.to == request.to));
        }
    }

    #[test]
    fn a_session_never_panics_and_packets_make_no_difference(octets in octets(), sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let opening = &b"MAIL FROM:<a@c>\r\nRCPT TO:<b>\r\nDATA\r\n"[..];
        let run = |packets: Vec<&[u8]>| {
            let mut server = Server::new(offer());
            server.packet(b"EHLO c\r\n");
            server.packet(opening);
            packets.into_iter().for_each(|packet| server.packet(packet));
            (server.aborted, server.messages)
        };
        prop_assert_eq!(run(chunks(&octets, &sizes)), run(vec![&octets]));
    }

    #[test]
    fn receiving_is_the_same_at_every_split(octets in octets(), sizes in prop::collection::vec(1_usize..9, 1..9)) {
        prop_assert_eq!(received(&chunks(&octets, &sizes), 100), received(&[&octets], 100));
    }

    #[test]
    fn stuffing_and_its_undoing_give_the_message(message in message(), sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let mut wire = Vec::new();
        let mut stuffer = Stuffer::new();
        chunks(&message, &sizes).into_iter().for_each(|chunk| stuffer.push(chunk, &mut wire));
        stuffer.finish(&mut wire);
        prop_assert_eq!(received(&chunks(&wire, &sizes), 400), (message, "end".to_owned()));
    }

    #[test]
    fn nothing_that_is_sent_has_a_bare_line_end(octets in octets(), sizes in prop::collection::vec(1_usize..9, 1..9)) {
        let mut wire = Vec::new();
        let mut stuffer = Stuffer::new();
        chunks(&octets, &sizes).into_iter().for_each(|chunk| stuffer.push(chunk, &mut wire));
        stuffer.finish(&mut wire);
        // One character per octet.
        let text: String = wire.iter().copied().map(char::from).collect();
        let lines: Vec<_> = text.split("\r\n").collect();
        prop_assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
        prop_assert_eq!(lines.iter().position(|line| *line == "."), Some(lines.len() - 2));
        prop_assert_eq!(lines.last(), Some(&""));
    }
}

/// Masquerading makes an address longer than a path may be; what was queued so is read again, what is commanded so is not
/// taken.
#[test]
fn what_masquerading_made_long_is_read_again() {
    let domain = format!("{}.example", vec!["x".repeat(61); 3].join("."));
    let address: Address = format!("{}@corp.example", "a".repeat(64)).parse().unwrap();
    let long = address.with_domain(Some(domain.parse().unwrap()));
    let written = String::from(long.clone());
    assert!(written.len() > MAX_PATH);
    assert_eq!(written.parse::<Address>(), Err(AddressError::TooLong));
    assert_eq!(Address::try_from(written.clone()), Ok(long.clone()));
    assert_eq!(ReversePath::try_from(written), Ok(ReversePath::Address(long)));
}

/// White space of Unicode is part of an address (RFC 6531 3.3), a space around it is not.
#[test]
fn only_ascii_white_space_is_taken_off_a_path() {
    let from = |text: &str| match command::parse(format!("MAIL FROM:<{text}> SMTPUTF8").as_bytes()) {
        Ok(Command::Mail(request)) => request.from.to_string(),
        other => panic!("{text:?}: {other:?}"),
    };
    assert_eq!(from("\u{a0}user@corp.example"), "<\u{a0}user@corp.example>");
    assert_eq!(from(" user@corp.example "), "<user@corp.example>");
}
