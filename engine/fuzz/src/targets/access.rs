//! Keys of the access table: written as they are kept they are kept the same, and of networks the narrowest decides.

use std::net::IpAddr;

use mailstack_policy::access::{
    Access, AccessKey, Action, Subject, Tag, connection, found_recipient, found_sender,
};
use mailstack_policy::rules::{Qualify, Rules};
use mailstack_policy::{Address, Here};

use crate::seen::note;

/// Parts of keys, a line each.
pub const TOKENS: &[&str] = &[
    "Connect:",
    "From:",
    "To:",
    "connect:",
    "Spam:",
    "192.0.2.0/24",
    "192.0.2.1",
    "192.168",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "::/0",
    "2001:db8::/32",
    "::ffff:192.0.2.1",
    "::ffff:192.0.2.0/120",
    "[",
    "]",
    "/",
    "/0",
    "/33",
    "example",
    "far.example",
    "user@",
    "user@far.example",
    "User+*@",
    "+*@far.example",
    "+detail",
    "@",
    ".",
    "-",
    "_",
    "\n",
    "%",
    "XN--",
    "\u{e9}",
];

/// Who is looked up.
const CLIENTS: [&str; 6] =
    ["192.0.2.1", "192.0.2.200", "10.1.2.3", "2001:db8::1", "::ffff:192.0.2.1", "198.51.100.7"];

/// Checks keys, a line each.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    let mut table = Access::new();
    for (number, line) in text.lines().enumerate() {
        match line.parse::<AccessKey>() {
            Err(error) => note(("error", error.to_string())),
            Ok(key) => {
                note((key.tag.map(Tag::as_str), std::mem::discriminant(&key.subject)));
                let kept = key.to_string();
                assert_eq!(
                    kept.parse::<AccessKey>().as_ref(),
                    Ok(&key),
                    "{line:?} is kept as another: {kept:?}"
                );
                assert!(!kept.contains(char::is_whitespace), "{kept:?} is more than a key");
                table.insert(key, if number % 2 == 0 { Action::Reject } else { Action::Ok });
            }
        }
    }
    looked_up(table);
}

fn looked_up(access: Access) {
    let rules = Rules {
        qualify: Qualify::OwnHost,
        local_mailboxes: true,
        local_domains: Default::default(),
        relay_domains: Default::default(),
        relay_networks: Default::default(),
        access,
        masquerade: None,
        generics: None,
        virtual_domains: Default::default(),
        virtusertable: Default::default(),
        aliases: Default::default(),
        mailertable: Default::default(),
        mail_hosts: Vec::new(),
    };
    for client in CLIENTS.iter().filter_map(|client| client.parse::<IpAddr>().ok()) {
        let found = connection(&rules, client, None);
        note(("client", found.is_some()));
        assert_eq!(found, narrowest(&rules.access, client), "{client}");
    }
    let Ok(name) = "gw.corp.example".parse() else { return };
    let here = Here::named(&name);
    for address in ["user@far.example", "user+detail@host.far.example", "USER@gw.corp.example", "user"] {
        let Ok(address) = address.parse::<Address>() else { continue };
        let sender = found_sender(&rules, &address);
        let recipient = found_recipient(&rules, here, &address);
        note(("mail", sender.is_some(), recipient.is_some()));
        for (key, action) in sender.into_iter().chain(recipient) {
            assert_eq!(rules.access.get(&key), Some(action), "{key} decides and is not there");
            assert!(key.tag != Some(Tag::Connect), "{key} is about clients");
        }
    }
}

/// The action of the narrowest network with a client in it, looked for one by one.
fn narrowest(access: &Access, client: IpAddr) -> Option<&Action> {
    let mut best: Option<(u8, &Action)> = None;
    for (key, action) in access {
        let (Some(Tag::Connect), Subject::Network(network)) = (key.tag, &key.subject) else { continue };
        let (Ok(at), length) = (network.addr().to_string().parse(), network.prefix_len()) else { continue };
        if contains(at, length, client.to_canonical()) && best.is_none_or(|(other, _)| length > other) {
            best = Some((length, action));
        }
    }
    best.map(|(_, action)| action)
}

/// Whether a network has a client in it; without the crate that the policy uses.
fn contains(network: IpAddr, length: u8, client: IpAddr) -> bool {
    let shift = |whole: u32| whole.saturating_sub(u32::from(length));
    match (network, client) {
        (IpAddr::V4(network), IpAddr::V4(client)) => {
            length == 0 || network.to_bits() >> shift(32) == client.to_bits() >> shift(32)
        }
        (IpAddr::V6(network), IpAddr::V6(client)) => {
            length == 0 || network.to_bits() >> shift(128) == client.to_bits() >> shift(128)
        }
        _ => false,
    }
}
