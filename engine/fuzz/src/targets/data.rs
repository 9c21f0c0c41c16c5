//! A message on the wire: where it ends is where its octets say, at every split, and nothing passes that another host
//! could take for an end.

use mailstack_mta::submission::Lines;
use mailstack_smtp::data::{Chunks, Fault, Limits, Part, Receiver, Stuffer, stuffed};

use super::{packets, split_settings};
use crate::seen::note;

/// What ends are made of.
pub const TOKENS: &[&str] = &[
    "\r\n.\r\n",
    "\n.\n",
    "\n.\r\n",
    "\r.\r\n",
    "\r\n.\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\r\n",
    "\r.\r",
    "\r.\n",
    "\n.\r",
    ".\r\n",
    "\r\n..",
    "\0",
    "\r\n.\0\r\n",
    "\r\n\0.\r\n",
    "\r",
    "\n",
    ".",
    "\r\n",
    "Subject: x\r\n\r\n",
    "0123456789012345678901234567890",
];

/// Small ones, so that they are met.
const LIMITS: Limits = Limits { size: 200, line: 40 };

/// Checks octets: one that says how they come, then the message.
pub fn check(octets: &[u8]) {
    let ([size], wire) = split_settings(octets);
    let whole = received(&[wire]);
    note(("received", std::mem::discriminant(&whole)));
    assert_eq!(received(&packets(wire, size)), whole, "packets make a difference");
    if let End::Message { body, taken } = &whole {
        assert_sound(body);
        assert!(*taken <= wire.len(), "more is taken than came");
        let again = stuffed(body);
        let end = End::Message { body: body.clone(), taken: again.len() };
        assert_eq!(received(&[&again]), end, "sent on, it is another message");
        let mut chunks = Chunks::new(LIMITS);
        assert_eq!(chunks.take(body).and_then(|()| chunks.finish()), Ok(false), "refused in chunks");
    }
    if let End::Refused(fault, _) = whole {
        note(("refused", fault));
    }
    in_chunks(wire, size);
    sent(wire, size);
    written_by_programs(wire);
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Open,
    Message { body: Vec<u8>, taken: usize },
    Refused(Fault, bool),
}

fn received(packets: &[&[u8]]) -> End {
    let mut receiver = Receiver::new(LIMITS);
    let (mut held, mut body, mut all) = (Vec::new(), Vec::new(), 0);
    for packet in packets {
        held.extend_from_slice(packet);
        loop {
            let (taken, part) = receiver.receive(&held);
            all += taken;
            match part {
                Part::NeedInput => {
                    held.drain(..taken);
                    assert!(held.len() <= 2, "{} octets are held", held.len());
                    break;
                }
                Part::Body(octets) => body.extend_from_slice(octets),
                Part::Swallowing => {}
                Part::End => return End::Message { body, taken: all },
                Part::Refused { fault, unsafe_to_go_on } => return End::Refused(fault, unsafe_to_go_on),
            }
            held.drain(..taken);
        }
    }
    End::Open
}

/// That a message is lines within the limits.
fn assert_sound(body: &[u8]) {
    assert!(body.len() as u64 <= LIMITS.size, "{} octets", body.len());
    for line in body.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n");
        assert!(text.is_some(), "a line without its end: {}", line.escape_ascii());
        let is_sound = text.unwrap_or_default().iter().all(|b| !matches!(b, b'\r' | b'\n' | 0));
        assert!(is_sound && line.len() <= LIMITS.line as usize, "a line of {}", line.escape_ascii());
    }
}

/// Chunks are judged the same at every split, and what they may hold is sound.
fn in_chunks(octets: &[u8], size: u8) {
    let judge = |parts: &[&[u8]]| {
        let mut chunks = Chunks::new(LIMITS);
        parts.iter().try_for_each(|part| chunks.take(part))?;
        chunks.finish()
    };
    let whole = judge(&[octets]);
    note(("chunks", format!("{whole:?}")));
    let parted = judge(&packets(octets, size));
    assert_eq!(parted.is_ok(), whole.is_ok(), "packets make a difference: {parted:?}, {whole:?}");
    if whole == Ok(false) {
        assert_sound(octets);
    }
}

/// Whatever is sent has one end, and that is where it ends.
fn sent(octets: &[u8], size: u8) {
    let (mut wire, mut stuffer) = (Vec::new(), Stuffer::new());
    packets(octets, size).iter().for_each(|packet| stuffer.push(packet, &mut wire));
    stuffer.finish(&mut wire);
    assert_eq!(wire, stuffed(octets), "packets make a difference");
    let mut before = 0;
    let lines: Vec<&[u8]> = wire.split_inclusive(|b| *b == b'\n').collect();
    for line in &lines {
        let is_whole = line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r');
        assert!(is_whole, "a bare line end is sent: {}", line.escape_ascii());
        before += usize::from(*line == b".\r\n");
    }
    assert_eq!((before, lines.last().copied()), (1, Some(&b".\r\n"[..])), "it does not end once, at its end");
}

/// What a program writes is lines that SMTP carries, and those stay as they are.
fn written_by_programs(octets: &[u8]) {
    let formed = lines(octets);
    for line in formed.split_inclusive(|b| *b == b'\n') {
        let text = line.strip_suffix(b"\r\n").unwrap_or(line);
        assert!(text.len() < line.len() && line.len() <= 1000, "a line of {} octets", line.len());
        assert!(!text.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)), "{}", line.escape_ascii());
    }
    assert_eq!(lines(&formed), formed, "not the same the second time");
}

fn lines(octets: &[u8]) -> Vec<u8> {
    let (mut lines, mut formed) = (Lines::new(octets, false), Vec::new());
    while lines.next_into(&mut formed).unwrap_or(false) {}
    formed
}
