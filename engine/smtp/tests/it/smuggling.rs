//! No form of a smuggled end of data ends a message, at whichever place packets split it.

use mailstack_smtp::data::{Fault, Limits, Part, Receiver, stuffed};

use mailstack_smtp::server::Offer;

use crate::driver::{Server, offer};

const OPENING: &[u8] = b"EHLO c.example\r\n";
const ENVELOPE: &[u8] = b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\n";
const BEHIND: &[u8] = b"MAIL FROM:<evil@c.example>\r\nRCPT TO:<b@mx.example>\r\nDATA\r\nsmuggled\r\n.\r\n";

/// The form, what is said of it, and whether the connection ends for it.
const FORMS: [(&[u8], Fault, bool); 13] = [
    (b"\n.\n", Fault::BareLf, true),
    (b"\n.\r\n", Fault::BareLf, true),
    (b"\r.\r\n", Fault::BareCr, true),
    (b"\r\n.\n", Fault::BareLf, true),
    (b"\r\n.\r\r\n", Fault::BareCr, true),
    (b"\r\r\n.\r\r\n", Fault::BareCr, true),
    (b"\r.\r", Fault::BareCr, true),
    (b"\r.\n", Fault::BareCr, true),
    (b"\n.\r", Fault::BareLf, true),
    (b"\r\n\0.\r\n", Fault::Nul, false),
    (b"\r\n.\0\r\n", Fault::Nul, false),
    (b"\0\r\n.\n", Fault::Nul, true),
    (b"\n\r\n.\r\r\n", Fault::BareLf, true),
];

/// A session to which the octets behind the opening come in two or three packets.
fn session(octets: &[u8], one: usize, two: usize) -> Server {
    let mut server = Server::new(offer());
    server.packet(OPENING);
    for packet in [&octets[..one], &octets[one..two], &octets[two..]] {
        server.packet(packet);
    }
    server
}

#[test]
fn a_smuggled_end_is_refused_at_every_split() {
    for (form, fault, ends) in FORMS {
        for prefix in [&b"Subject: x\r\n\r\ntext"[..], b""] {
            let octets = [ENVELOPE, prefix, form, BEHIND].concat();
            let whole = session(&octets, 0, 0).take_output();
            assert!(whole.contains("550 5.6.0 Message refused: "), "{form:?}: {whole}");
            assert!(!whole.contains("Message accepted"), "{form:?}: {whole}");
            for one in 0..octets.len() {
                let mut server = session(&octets, one, (one + 1).min(octets.len()));
                assert_eq!(server.messages, Vec::<Vec<u8>>::new(), "{form:?} split at {one}");
                assert_eq!(server.closed.is_some(), ends, "{form:?} split at {one}");
                assert_eq!(server.aborted, [fault], "{form:?} split at {one}");
                assert_eq!(server.take_output(), whole, "{form:?} split at {one}");
            }
        }
    }
}

/// The end of a chunk is where its length says: no form can move it, and none goes on to a host that reads it.
#[test]
fn no_form_in_a_chunk_ends_a_message_or_is_taken() {
    for (form, ..) in FORMS {
        let body = [b"Subject: x\r\n\r\ntext", form, BEHIND].concat();
        for lengths in [vec![body.len()], vec![18, form.len(), BEHIND.len()], vec![19, body.len() - 19]] {
            let mut octets = b"MAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\n".to_vec();
            let mut rest = &body[..];
            for (index, length) in lengths.iter().enumerate() {
                let last = if index + 1 == lengths.len() { " LAST" } else { "" };
                octets.extend(format!("BDAT {length}{last}\r\n").bytes());
                octets.extend(&rest[..*length]);
                rest = &rest[*length..];
            }
            octets.extend(b"NOOP\r\n");
            for one in 0..octets.len() {
                let mut server = Server::new(Offer { chunking: true, ..offer() });
                server.packet(OPENING);
                server.packet(&octets[..one]);
                server.packet(&octets[one..]);
                let said = server.take_output();
                assert_eq!(server.messages, Vec::<Vec<u8>>::new(), "{form:?} split at {one}");
                assert_eq!(server.aborted.len(), 1, "{form:?} split at {one}: {said}");
                assert!(said.contains("550 5.6.0 Message refused: "), "{form:?}: {said}");
                // What came behind was read as octets: the next command is the next command.
                assert!(said.ends_with("250 2.0.0 OK\r\n") && server.closed.is_none(), "{form:?}: {said}");
            }
        }
    }
}

#[test]
fn what_is_legal_is_taken_at_every_split() {
    let legal: [(&[u8], &[u8]); 6] = [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b"\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"a\r\n...b\r\n.c\r\n.\r\n", b"a\r\n..b\r\nc\r\n"),
        (b". \r\n.\r\n", b" \r\n"),
        (b"a.\r\nb\r\n.\r\n", b"a.\r\nb\r\n"),
    ];
    for (wire, message) in legal {
        let octets = [ENVELOPE, wire].concat();
        for one in 0..=octets.len() {
            for two in one..=octets.len() {
                let server = session(&octets, one, two);
                assert_eq!(server.messages, [message], "{wire:?} split at {one} and {two}");
            }
        }
    }
}

#[test]
fn a_bare_line_feed_without_a_period_costs_the_message_and_not_the_connection() {
    let octets = [ENVELOPE, b"one\ntwo\r\n.\r\n", ENVELOPE, b"three\r\n.\r\n"].concat();
    let server = session(&octets, 0, 0);
    assert_eq!((server.aborted, server.closed), (vec![Fault::BareLf], None));
    assert_eq!(server.messages, [b"three\r\n"]);
}

#[test]
fn limits_are_exact_at_every_split() {
    let table: [(usize, usize, Option<Fault>); 6] = [
        (198, 1, None),
        (199, 1, Some(Fault::LongLine)),
        (198, 10, None),
        (98, 20, None),
        (98, 21, Some(Fault::TooLarge)),
        (5000, 1, Some(Fault::LongLine)),
    ];
    for (length, lines, fault) in table {
        let message = format!("{}\r\n", "x".repeat(length)).repeat(lines);
        let wire = stuffed(message.as_bytes());
        for size in [1, 2, 3, 7, 199, 200, 201, 10_000] {
            assert_eq!(receive(&wire, size), fault, "{lines} lines of {length} in packets of {size}");
        }
    }
}

/// What a receiver makes of octets in packets of `size`.
fn receive(wire: &[u8], size: usize) -> Option<Fault> {
    let mut receiver = Receiver::new(Limits { size: 2000, line: 200 });
    let mut held = Vec::new();
    for packet in wire.chunks(size) {
        held.extend_from_slice(packet);
        loop {
            let (taken, part) = receiver.receive(&held);
            let outcome = match part {
                Part::End => Some(None),
                Part::Refused { fault, .. } => Some(Some(fault)),
                Part::NeedInput => break,
                _ => None,
            };
            held.drain(..taken);
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }
    panic!("no end")
}
