//! An address: written and read again it is the same, in a command, in the spool and in a new domain; and nobody
//! reaches another's domain through a relay by writing one.

use std::net::IpAddr;

use mailstack_policy::rules::{Qualify, Rules};
use mailstack_policy::{Address, Client, Domain, DomainName, Here, RecipientVerdict, ReversePath, recipient};
use mailstack_smtp::address::{AddressError, MAX_PATH};
use mailstack_smtp::command::{Command, parse};

use crate::seen::note;

/// Parts of addresses.
pub const TOKENS: &[&str] = &[
    "@",
    "%",
    "!",
    "\"",
    "\\",
    "user",
    "corp.example",
    "far.example",
    "relay.corp.example",
    "[127.0.0.1]",
    "[192.0.2.1]",
    "[IPv6:::1]",
    "[IPv6:2001:db8::1]",
    "localhost",
    "@far.example",
    "%far.example",
    "far.example!",
    "@corp.example:",
    "\"@",
    ".",
    "..",
    "-",
    "_",
    " ",
    "\t",
    "\u{a0}",
    "\u{3000}",
    "\u{e9}",
    "\u{85}",
    "\u{2028}",
    "b\u{fc}cher.example",
    "xn--bcher-kva",
    ",",
    ":",
    ">",
    "<",
    "(",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// A domain of the greatest length.
const LONG_LABEL: usize = 61;

/// Checks a text.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    if let Ok(domain) = text.parse::<Domain>() {
        note(("domain", domain.name().is_some()));
        assert_eq!(domain.to_string().parse::<Domain>(), Ok(domain), "another domain");
    }
    match text.parse::<Address>() {
        Ok(address) => one(&address),
        Err(error) => note(("error", format!("{error:?}"))),
    }
    through_a_relay(&text);
}

fn one(address: &Address) {
    note(("address", address.domain().is_some(), address.to_string().starts_with('"')));
    assert!(!address.local().contains(char::is_control), "a control character");
    same(address);
    // As masquerading does it.
    let long = format!("{}.example", vec!["x".repeat(LONG_LABEL); 3].join("."));
    same(&address.with_domain(long.parse().ok().map(Domain::Name)));
    same(&address.with_domain(None));
}

fn same(address: &Address) {
    let written = address.to_string();
    // Longer than a path only masquerading makes one.
    match written.parse::<Address>() {
        Err(AddressError::TooLong) => assert!(written.len() > MAX_PATH, "{written:?} is too long"),
        read => assert_eq!(read.as_ref(), Ok(address), "{written:?} is read as another"),
    }
    // As the spool keeps it.
    let path = ReversePath::Address(address.clone());
    let kept =
        serde_json::to_string(&path).ok().and_then(|json| serde_json::from_str::<ReversePath>(&json).ok());
    assert_eq!(kept.as_ref(), Some(&path), "{written:?} is kept as another");
    // As the next hop reads it; one that is too long for a path is refused.
    match parse(format!("MAIL FROM:<{written}> SMTPUTF8").as_bytes()) {
        Ok(Command::Mail(request)) => assert_eq!(request.from, path, "{written:?} is sent as another"),
        other => {
            let is_long = written.len() > MAX_PATH;
            assert!(is_long, "{written:?} cannot be sent: {other:?}");
        }
    }
}

/// A gateway: relays for corp.example, and is itself gw.corp.example.
fn gateway() -> Option<(DomainName, [IpAddr; 1], Rules)> {
    let rules = Rules {
        qualify: Qualify::OwnHost,
        local_mailboxes: true,
        local_domains: ["local.example".parse().ok()?].into(),
        relay_domains: ["corp.example".parse().ok()?].into(),
        relay_networks: Default::default(),
        access: Default::default(),
        masquerade: None,
        generics: None,
        virtual_domains: Default::default(),
        virtusertable: Default::default(),
        aliases: Default::default(),
        mailertable: Default::default(),
        mail_hosts: Vec::new(),
    };
    Some(("gw.corp.example".parse().ok()?, ["192.0.2.1".parse().ok()?], rules))
}

/// What a foreigner may send to is in a domain that is ours, however another relay reads it.
fn through_a_relay(text: &str) {
    let Some((name, addresses, rules)) = gateway() else { return };
    let Ok(Command::Rcpt(request)) = parse(format!("RCPT TO:<{text}>").as_bytes()) else { return };
    let Ok(addr) = "198.51.100.7".parse() else { return };
    let client = Client::Network { addr };
    let here = Here::new(&name, &addresses);
    match recipient(&rules, here, &client, &request.to, &|user| user == "user") {
        RecipientVerdict::Refuse(refusal) => note(("refused", std::mem::discriminant(&refusal))),
        RecipientVerdict::Deliver(found) => {
            note("taken");
            assert!(!found.is_empty(), "taken for nobody");
            for one in found {
                assert!(is_ours(&one.address), "a foreigner reaches {}", one.address);
            }
        }
    }
}

/// Whether all that a next hop could take for a domain in this address is one of ours. Written without the functions
/// of policy, on purpose.
fn is_ours(address: &Address) -> bool {
    let ours = |text: &str| match text.parse::<Domain>() {
        Ok(Domain::Literal(own)) => {
            let own = own.to_canonical();
            own.is_loopback() || own.to_string() == "192.0.2.1"
        }
        Ok(Domain::Name(name)) => {
            let name = name.as_str();
            let is_relayed = name == "corp.example" || name.ends_with(".corp.example");
            is_relayed || ["local.example", "localhost", "gw"].contains(&name)
        }
        Err(_) => false,
    };
    let plain: String = address.local().chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    let mut behind = plain.split(['@', '%']).skip(1);
    let mut before = plain.split('!').rev().skip(1).flat_map(|part| part.split(['@', '%']).next_back());
    let domain = address.domain().map(Domain::to_string);
    domain.is_some_and(|domain| ours(&domain))
        && behind.all(|part| ours(part.split('!').next().unwrap_or_default()))
        && before.all(ours)
}
