//! The domain that an envelope sender gets, and which senders are refused.

use std::fmt::Write as _;

use mailstack_policy::rules::{Masquerade, Qualify};
use mailstack_policy::{Client, Refusal, ReversePath, sender};

use crate::fixtures::{
    Host, LOCAL, client, domain, domains, gateway, loopback, masquerade, masqueraded_client, network,
};

const SENDERS: &[&str] = &[
    "root",
    "mary",
    "root@localhost",
    "root@web01",
    "root@web01.corp.example",
    "mary@Web01.Corp.Example.",
    "mary@[127.0.0.1]",
    "mary@other.corp.example",
    "mary@deep.other.corp.example",
    "mary@corp.example",
    "mary@tuba.example",
    "mary@far.example",
    "\"ma ry\"@web01.corp.example",
];

fn table(host: &Host) -> String {
    let mut text = String::new();
    for from in SENDERS {
        let path = ReversePath::Address(from.parse().unwrap());
        let after = sender(&host.rules, host.here(), &LOCAL, &path).unwrap();
        writeln!(text, "{from:32} {after}").unwrap();
    }
    text
}

fn with(change: impl FnOnce(&mut Masquerade)) -> Host {
    let mut masquerade = masquerade();
    change(&mut masquerade);
    let mut host = client(Qualify::Domain(domain("corp.example")), Some(masquerade));
    host.rules.local_domains = domains(&["tuba.example"]);
    host
}

#[test]
fn senders_get_the_masquerade_domain() {
    let mail_host = Qualify::Domain(domain("mailhost.corp.example"));
    let mut text = String::new();
    for (name, host) in [
        ("masqueraded client", masqueraded_client()),
        ("nullclient without masquerading", client(mail_host, None)),
        ("msp without masquerading", client(Qualify::OwnHost, None)),
        ("header only", with(|m| m.envelope = false)),
        ("root exposed", with(|m| m.exposed_users = ["root".to_owned()].into())),
        ("domain listed", with(|m| m.domains = domains(&["other.corp.example"]))),
        (
            "an exception in the whole domain",
            with(|m| {
                m.domains = domains(&["corp.example"]);
                m.whole_domain = true;
                m.exceptions = domains(&["other.corp.example", "tuba.example"]);
            }),
        ),
        (
            "whole domain",
            with(|m| {
                m.domains = domains(&["corp.example"]);
                m.whole_domain = true;
                m.exposed_users = ["root".to_owned()].into();
            }),
        ),
        ("loopback", Host { name: domain("web01.corp.example"), ..loopback() }),
        ("gateway", Host { name: domain("web01.corp.example"), ..gateway() }),
    ] {
        writeln!(text, "## {name}\n{}", table(&host)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn null_sender_stays() {
    let host = masqueraded_client();
    assert_eq!(sender(&host.rules, host.here(), &LOCAL, &ReversePath::Null), Ok(ReversePath::Null));
}

#[test]
fn network_senders_need_a_domain_that_is_theirs() {
    let host = gateway();
    let outside = network("198.51.100.7");
    let refusal = |client: &Client, from: &str| {
        sender(&host.rules, host.here(), client, &ReversePath::Address(from.parse().unwrap())).err()
    };
    assert_eq!(refusal(&outside, "mary"), Some(Refusal::SenderUnqualified));
    assert_eq!(refusal(&outside, "mary@localhost"), Some(Refusal::SenderNotReal));
    assert_eq!(refusal(&outside, "mary@far.example"), None);
    assert_eq!(refusal(&network("127.0.0.1"), "mary@localhost"), None);
    assert_eq!(refusal(&network("127.0.0.1"), "mary"), Some(Refusal::SenderUnqualified));
}
