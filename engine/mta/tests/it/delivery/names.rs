//! A name server of a few records on a loopback port.

use std::net::{Ipv4Addr, SocketAddr};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig, ResolverOpts,
};
use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, MX, PTR, SOA};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use mailstack_mta::dns::{Dns, Hosts};
use tokio::net::UdpSocket;

/// `owner TYPE data`; the types A, AAAA, MX, CNAME, PTR, and of a name's behaviour SERVFAIL and SILENT.
pub(super) async fn serve(zone: &'static [&'static str]) -> Dns {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = vec![0; 1500];
        while let Ok((count, client)) = socket.recv_from(&mut packet).await {
            let query = Message::from_vec(&packet[..count]).unwrap();
            if let Some(answer) = answer(zone, &query) {
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        }
    });
    resolver(address)
}

fn resolver(address: SocketAddr) -> Dns {
    let mut connection = ConnectionConfig::new(ProtocolConfig::Udp);
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let mut options = ResolverOpts::default();
    options.timeout = std::time::Duration::from_millis(300);
    options.attempts = 1;
    Dns::new(ResolverConfig::from_parts(None, vec![], vec![server]), options, Hosts::default())
}

/// A resolver that knows these hosts alone.
pub(super) fn hosts(text: &str) -> Dns {
    Dns::new(ResolverConfig::from_parts(None, vec![], vec![]), ResolverOpts::default(), Hosts::parse(text))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn answer(zone: &[&str], query: &Message) -> Option<Message> {
    let question = query.queries[0].clone();
    let (asked, kind) = (question.name().to_ascii().to_ascii_lowercase(), question.query_type());
    let records: Vec<Vec<&str>> = zone.iter().map(|line| line.split(' ').collect()).collect();
    let of_name = || records.iter().filter(|record| format!("{}.", record[0]) == asked);
    let mut message = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
    message.add_query(question);
    message.metadata.recursion_available = true;
    match of_name().next().map(|record| record[1]) {
        Some("SILENT") => return None,
        Some("SERVFAIL") => message.metadata.response_code = ResponseCode::ServFail,
        None => message.metadata.response_code = ResponseCode::NXDomain,
        Some(_) => add_answers(&mut message, &records, &asked, kind),
    }
    if message.answers.is_empty() {
        let soa = SOA::new(name("ns."), name("h."), 1, 1, 1, 1, 1);
        message.add_authority(Record::from_rdata(name("."), 60, RData::SOA(soa)));
    }
    Some(message)
}

fn add_answers(message: &mut Message, records: &[Vec<&str>], asked: &str, kind: RecordType) {
    for record in records.iter().filter(|record| format!("{}.", record[0]) == asked) {
        let data = match (record[1], kind) {
            ("A", RecordType::A) => RData::A(A(record[2].parse().unwrap())),
            ("AAAA", RecordType::AAAA) => RData::AAAA(AAAA(record[2].parse().unwrap())),
            ("MX", RecordType::MX) => RData::MX(MX::new(record[2].parse().unwrap(), name(record[3]))),
            ("PTR", RecordType::PTR) => RData::PTR(PTR(name(record[2]))),
            ("CNAME", _) => {
                let alias = name(record[2]);
                message.add_answer(Record::from_rdata(name(asked), 60, RData::CNAME(CNAME(alias.clone()))));
                add_answers(message, records, &alias.to_ascii(), kind);
                continue;
            }
            _ => continue,
        };
        message.add_answer(Record::from_rdata(name(asked), 60, data));
    }
}
