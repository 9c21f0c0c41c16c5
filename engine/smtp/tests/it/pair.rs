//! Both sides together, over packets of any size.

use mailstack_smtp::client::{Action, Outcome, Transaction};
use mailstack_smtp::data::stuffed;
use proptest::prelude::*;

use crate::client::{session, transaction};
use crate::driver::{Server, offer};
use mailstack_smtp::server::Offer;

/// Sends each message over one connection; the sizes of packets come from `sizes`, again and again.
fn send(
    messages: &[Vec<u8>],
    recipients: &[&str],
    sizes: &[usize],
    chunking: bool,
) -> (Server, Vec<Vec<Outcome>>) {
    let mut server = Server::new(Offer { chunking, ..offer() });
    let mut client = session(false);
    let (mut results, mut input) = (Vec::new(), Vec::new());
    let mut sizes = sizes.iter().copied().cycle();
    let mut left = messages.iter();
    let mut current: &[u8] = b"";
    server.packet(b"");
    loop {
        let step = client.step(&input);
        input.drain(..step.consumed);
        let mut wire = client.take_output();
        match step.action {
            Action::Continue | Action::NeedInput => {}
            Action::Done(outcomes) => results.push(outcomes),
            Action::StartTls => panic!("TLS was never asked for"),
            Action::SendBody if client.is_chunked() => {
                let chunks: Vec<&[u8]> = current.chunks(7).collect();
                for chunk in &chunks {
                    wire.extend(format!("BDAT {}\r\n", chunk.len()).bytes());
                    wire.extend(*chunk);
                }
                wire.extend(b"BDAT 0 LAST\r\n");
                client.chunks_sent(chunks.len() as u32 + 1);
            }
            Action::SendBody => {
                wire.extend(stuffed(current));
                client.body_sent();
            }
            Action::Closed(_) => return (server, results),
            Action::Ready => match left.next() {
                None => client.quit(),
                Some(message) => {
                    current = message;
                    let plain = transaction(recipients);
                    client.begin(Transaction { size: None, ..plain }).unwrap();
                }
            },
        }
        let mut wire = &wire[..];
        while !wire.is_empty() {
            let (packet, rest) = wire.split_at(sizes.next().unwrap_or(1).clamp(1, wire.len()));
            server.packet(packet);
            wire = rest;
        }
        input.extend(std::mem::take(&mut server.output));
    }
}

#[test]
fn several_messages_with_partly_refused_recipients_go_over_one_connection() {
    let recipients = ["b@mx.example", "nobody@mx.example", "later@mx.example", "c@mx.example"];
    let messages = [b"one\r\n".to_vec(), Vec::new(), b".two\r\n.\r\n".to_vec()];
    for chunking in [false, true] {
        let (server, results) = send(&messages, &recipients, &[5], chunking);
        assert_eq!(server.messages, messages);
        assert_eq!(results.len(), 3);
        for outcomes in results {
            let codes: Vec<_> = outcomes.iter().map(code).collect();
            assert_eq!(codes, [250, 550, 450, 250]);
        }
    }
}

fn code(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Accepted(reply) | Outcome::Refused { reply, .. } => reply.code(),
        Outcome::NoAnswer { .. } => 0,
    }
}

proptest! {
    #[test]
    fn what_is_sent_arrives(
        messages in prop::collection::vec(crate::properties::message(), 1..4),
        sizes in prop::collection::vec(1_usize..40, 1..20),
        chunking: bool,
    ) {
        let (server, results) = send(&messages, &["b@mx.example"], &sizes, chunking);
        prop_assert_eq!(&server.messages, &messages);
        prop_assert!(results.iter().flatten().all(|o| matches!(o, Outcome::Accepted(_))));
    }
}
