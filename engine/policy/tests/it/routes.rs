//! Where final recipients go.

use mailstack_policy::rules::{Agent, HopHost, Mailer, NextHop};
use mailstack_policy::{Client, RecipientVerdict, Refusal, Route, recipient, route};

use crate::fixtures::{Host, aliases, gateway, hop, is_user, loopback, masqueraded_client, network};

fn smtp(host: &str) -> Mailer {
    Mailer::Smtp { agent: Agent::Smtp, hosts: vec![hop(host)] }
}

fn error() -> Mailer {
    Mailer::Error { code: 550, enhanced: "5.1.2".to_owned(), text: "host x is gone".to_owned() }
}

fn gateway_with_mailertable() -> Host {
    let mut host = gateway();
    host.rules.mailertable = [
        ("relayed.example", smtp("exact.example")),
        (".relayed.example", smtp("below.example")),
        (".deep.relayed.example", smtp("deep.example")),
        ("x.relayed.example", error()),
        ("mail.corp.example", Mailer::Local { user: Some("postmaster".to_owned()) }),
        ("u.relayed.example", Mailer::Local { user: None }),
    ]
    .map(|(key, mailer)| (key.to_owned().try_into().unwrap(), mailer))
    .into();
    host.rules.aliases = aliases(&[("postmaster", &["alice", "ops@corp.example"])]);
    host
}

fn go(host: &Host, to: &str) -> Route {
    route(&host.rules, host.here(), &to.parse().unwrap())
}

fn hops(host: &str) -> Route {
    Route::Hops(vec![hop(host)])
}

fn mx(domain: &str) -> Route {
    Route::Mx { domain: domain.parse().unwrap(), port: 25 }
}

fn local(user: &str) -> Route {
    Route::Local { user: user.to_owned() }
}

#[test]
fn mailertable_prefers_the_exact_then_the_longest_key() {
    let host = gateway_with_mailertable();
    for (to, expected) in [
        ("joe@relayed.example", hops("exact.example")),
        ("joe@any.relayed.example", hops("below.example")),
        ("joe@a.deep.relayed.example", hops("deep.example")),
        ("joe@deep.relayed.example", hops("below.example")),
        ("joe@xrelayed.example", mx("xrelayed.example")),
        ("Joe@u.relayed.example", local("joe")),
        ("joe@mail.corp.example", local("postmaster")),
        ("Alice@tuba.example", local("alice")),
        ("alice@[203.0.113.2]", local("alice")),
        ("alice", local("alice")),
    ] {
        assert_eq!(go(&host, to), expected, "{to}");
    }
    assert!(matches!(go(&host, "joe@x.relayed.example"), Route::Fail(Refusal::MailerError { .. })));
}

#[test]
fn mailertable_decides_at_the_recipient() {
    let host = gateway_with_mailertable();
    let outside = network("198.51.100.7");
    let verdict = |client: &Client, to: &str| {
        recipient(&host.rules, host.here(), client, &to.parse().unwrap(), &is_user)
    };
    let addresses = |verdict: RecipientVerdict| match verdict {
        RecipientVerdict::Deliver(found) => found.iter().map(|one| one.address.to_string()).collect(),
        RecipientVerdict::Refuse(refusal) => vec![format!("{refusal:?}")],
    };
    for (to, expected) in [
        ("any@mail.corp.example", &["alice@gw.corp.example", "ops@corp.example"][..]),
        ("joe@u.relayed.example", &["joe@gw.corp.example"]),
        ("nosuch@u.relayed.example", &["UserUnknown"]),
    ] {
        assert_eq!(addresses(verdict(&outside, to)), expected, "{to}");
    }
    let refused = verdict(&network("127.0.0.1"), "joe@x.relayed.example");
    assert!(matches!(refused, RecipientVerdict::Refuse(Refusal::MailerError { code: 550, .. })));
}

#[test]
fn the_rest_goes_to_the_mail_hosts_or_by_mx() {
    assert_eq!(go(&loopback(), "joe@far.example"), hops("mailhost.corp.example"));
    assert_eq!(go(&loopback(), "joe@[198.51.100.9]"), hops("mailhost.corp.example"));
    assert_eq!(go(&gateway(), "joe@far.example"), mx("far.example"));
    let literal = Route::Literal { addr: "198.51.100.9".parse().unwrap(), port: 25 };
    assert_eq!(go(&gateway(), "joe@[198.51.100.9]"), literal);
}

#[test]
fn client_roles_keep_nothing() {
    let mut host = masqueraded_client();
    for to in ["root@web01.corp.example", "root@localhost", "joe@far.example"] {
        assert_eq!(go(&host, to), hops("mailhost.corp.example"), "{to}");
    }
    let second = NextHop { host: HopHost::Address("192.0.2.1".parse().unwrap()), port: 2525 };
    host.rules.mail_hosts.push(second.clone());
    let both = Route::Hops(vec![hop("mailhost.corp.example"), second]);
    assert_eq!(go(&host, "joe@far.example"), both);
    host.rules.mail_hosts.clear();
    assert_eq!(go(&host, "root@localhost"), Route::Fail(Refusal::NoRoute));
}
