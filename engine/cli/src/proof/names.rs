//! The name server of the world: every name is a domain with a mail host, and every host is the sink.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::str::FromStr;

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::{A, AAAA, MX, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// The mail host of every domain (RFC 2606).
const MAIL_HOST: &str = "sink.proof.example.";
/// Seconds that an answer is believed: longer than the world lives.
const TTL: u32 = 300;
/// The largest query that is read.
const LARGEST: usize = 4096;

/// What is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Option<Ipv6Addr>,
}

/// Serves until the process ends. What is no query is passed over.
pub(super) fn serve(socket: &UdpSocket, answers: Answers) {
    let mut packet = vec![0; LARGEST];
    while let Ok((count, client)) = socket.recv_from(&mut packet) {
        let Ok(query) = Message::from_vec(&packet[..count]) else { continue };
        if let Some(Ok(octets)) = answer(&query, answers).map(|answer| answer.to_vec()) {
            // A client that has gone needs no answer.
            let _ = socket.send_to(&octets, client);
        }
    }
}

fn answer(query: &Message, answers: Answers) -> Option<Message> {
    let question = query.queries.first()?.clone();
    let (name, kind) = (question.name().clone(), question.query_type());
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.add_query(question);
    message.metadata.recursion_desired = query.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    match data(kind, answers) {
        Some(data) => message.add_answer(Record::from_rdata(name, TTL, data)),
        // RFC 2308 2.2: a name that has no such data.
        None => message.add_authority(Record::from_rdata(Name::root(), TTL, RData::SOA(soa()))),
    };
    Some(message)
}

fn data(kind: RecordType, answers: Answers) -> Option<RData> {
    match kind {
        RecordType::A => Some(RData::A(A(answers.v4))),
        RecordType::AAAA => answers.v6.map(|address| RData::AAAA(AAAA(address))),
        RecordType::MX => Some(RData::MX(MX::new(10, mail_host()))),
        RecordType::PTR => Some(RData::PTR(PTR(mail_host()))),
        _ => None,
    }
}

fn mail_host() -> Name {
    Name::from_str(MAIL_HOST).unwrap_or_else(|_| Name::root())
}

fn soa() -> SOA {
    SOA::new(mail_host(), mail_host(), 1, 3600, 600, 86400, TTL)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Query;

    use super::*;

    #[test]
    fn every_name_leads_to_the_sink() {
        let answers = Answers { v4: Ipv4Addr::new(198, 18, 77, 2), v6: None };
        let ask = |kind| {
            let mut query = Message::new(7, MessageType::Query, OpCode::Query);
            query.add_query(Query::query(Name::from_str("any.example.").unwrap(), kind));
            let answer = answer(&query, answers).unwrap();
            assert_eq!(answer.metadata.id, 7);
            answer.answers.iter().map(|record| record.data.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ask(RecordType::A), ["198.18.77.2"]);
        assert_eq!(ask(RecordType::MX), ["10 sink.proof.example."]);
        assert_eq!(ask(RecordType::PTR), ["sink.proof.example."]);
        assert!(ask(RecordType::AAAA).is_empty());
        assert!(ask(RecordType::TXT).is_empty());
    }
}
