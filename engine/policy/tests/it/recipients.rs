//! Which recipients are taken: forms x clients x hosts, as sendmail.md 2.5 saw Sendmail do it.

use std::fmt::Write as _;

use mailstack_policy::{Client, Expanded, RecipientVerdict, Refusal, recipient};

use crate::fixtures::{Host, LOCAL, client, gateway, is_user, loopback, masqueraded_client, network};
use mailstack_policy::rules::Qualify;

const FORMS: &[&str] = &[
    "joe@far.example",
    "joe@far.example.",
    "joe@[198.51.100.9]",
    "joe%far.example@gw.corp.example",
    "joe%far.example@GW.corp.example.",
    "\"joe%far.example.\"@gw.corp.example",
    "joe%far.example@corp.example",
    "joe%far.example@tuba.example",
    "joe%far.example%gw.corp.example@gw.corp.example",
    "joe%far.example@localhost",
    "joe%far.example@[127.0.0.1]",
    "joe%far.example@[IPv6:::1]",
    "joe%far.example@[203.0.113.2]",
    "joe%far.example@[IPv6:2001:db8::2]",
    "joe%far.example@[IPv6:::ffff:203.0.113.2]",
    "\"joe%[198.51.100.9]\"@gw.corp.example",
    "joe%far.example",
    "far.example!joe",
    "far.example!joe@gw.corp.example",
    "far!joe@gw.corp.example",
    "gw.corp.example!far.example!joe",
    "gw!far.example!joe",
    "corp.example!far.example!joe",
    "\"joe@far.example\"",
    "\"joe@far.example\"@gw.corp.example",
    "\"joe@far.example\"@corp.example",
    "\"joe%far.example\"@corp.example",
    "\"joe@far.example\"@[203.0.113.2]",
    "\"@gw.corp.example:joe@far.example\"@gw.corp.example",
    "\"\\\"joe@far.example\\\"\"@gw.corp.example",
    "\"\\\"joe@far.example\\\"\"@corp.example",
    "\"joe@far.example%corp.example\"@corp.example",
    "joe%corp.example@relayed.example",
    "joe%corp.example@gw.corp.example",
    "corp.example!joe@gw.corp.example",
    "joe%localhost@corp.example",
    "joe%localhost@gw.corp.example",
    "joe%tuba.example@gw.corp.example",
    "joe@corp.example",
    "joe@sub.corp.example",
    "joe@xcorp.example",
    "nosuch@corp.example",
    "joe@tuba.example",
    "joe",
    "joe@gw",
    "joe@localhost",
    "joe@[127.0.0.1]",
    "joe@127.0.0.1",
    "nosuch@gw.corp.example",
    "nosuch",
    "Joe+detail@gw.corp.example",
    "a+b",
    "POSTMASTER@gw.corp.example",
    "mailer-daemon",
    "%far.example@gw.corp.example",
    "joe%@gw.corp.example",
    "joe%-bad-@gw.corp.example",
    "\"@far.example\"@gw.corp.example",
    "!joe@gw.corp.example",
    "\"|/bin/sh\"@gw.corp.example",
    "/etc/passwd@gw.corp.example",
    "\":include:/etc/passwd\"@gw.corp.example",
];

fn verdict(host: &Host, client: &Client, form: &str) -> String {
    let to = form.parse().unwrap_or_else(|error| panic!("{form}: {error}"));
    match recipient(&host.rules, host.here(), client, &to, &is_user) {
        RecipientVerdict::Deliver(recipients) => recipients.iter().map(words).collect::<Vec<_>>().join(", "),
        RecipientVerdict::Refuse(refusal) => format!("{refusal:?}"),
    }
}

fn words(Expanded { address, expanded_from, target }: &Expanded) -> String {
    let mark = if expanded_from.is_some() { " *" } else { "" };
    let fate = if target.is_address() { String::new() } else { format!(" {target:?}") };
    format!("{address}{mark}{fate}")
}

fn table(host: &Host, clients: &[(&str, Client)]) -> String {
    let mut text = String::new();
    for form in FORMS {
        writeln!(text, "{form}").unwrap();
        for (name, client) in clients {
            writeln!(text, "    {name:8} {}", verdict(host, client, form)).unwrap();
        }
    }
    text
}

#[test]
fn gateway_relays_inside_and_refuses_outside() {
    let clients = [("outside", network("198.51.100.7")), ("inside", network("192.168.10.11"))];
    insta::assert_snapshot!(table(&gateway(), &clients));
}

#[test]
fn loopback_relays_for_its_own_programs() {
    let clients = [("outside", network("198.51.100.7")), ("program", LOCAL)];
    insta::assert_snapshot!(table(&loopback(), &clients));
}

#[test]
fn client_sends_everything_on() {
    insta::assert_snapshot!(table(&masqueraded_client(), &[("program", LOCAL)]));
}

#[test]
fn bare_root_goes_where_the_client_role_says() {
    let mail_host = Qualify::Domain("mailhost.corp.example".parse().unwrap());
    for (host, expected) in [
        (masqueraded_client(), "root@corp.example *"),
        (client(mail_host, None), "root@mailhost.corp.example *"),
        (client(Qualify::OwnHost, None), "root@web01.corp.example *"),
    ] {
        assert_eq!(verdict(&host, &LOCAL, "root"), expected);
        assert_eq!(verdict(&host, &LOCAL, "root@localhost"), expected);
    }
}

#[test]
fn clients_are_told_apart_by_address() {
    let host = gateway();
    for (addr, trusted) in [
        ("192.168.10.255", true),
        ("192.168.11.1", false),
        ("::ffff:192.168.10.7", true),
        ("2001:db8:10::7", true),
        ("2001:db8:11::7", false),
        ("127.0.0.1", true),
        ("::1", true),
    ] {
        assert_eq!(network(addr).may_relay(&host.rules), trusted, "{addr}");
    }
}

#[test]
fn client_role_refuses_every_foreigner() {
    let host = masqueraded_client();
    for form in FORMS {
        let answer =
            recipient(&host.rules, host.here(), &network("198.51.100.7"), &form.parse().unwrap(), &is_user);
        let refused =
            matches!(answer, RecipientVerdict::Refuse(Refusal::RelayingDenied | Refusal::BadAddress(_)));
        assert!(refused, "{form}: {answer:?}");
    }
}

/// What a program hands in is taken and comes back as a bounce, since programs seldom look at a refusal; what is no
/// address is refused at once.
#[test]
fn a_program_is_refused_nothing_but_what_is_no_address() {
    let verdict = |to: &str| {
        let host = gateway();
        recipient(&host.rules, host.here(), &LOCAL, &to.parse().unwrap(), &is_user)
    };
    let taken = |to: &str| match verdict(to) {
        RecipientVerdict::Deliver(found) => found[0].address.to_string(),
        RecipientVerdict::Refuse(refusal) => format!("{refusal:?}"),
    };
    assert_eq!(taken("nosuch"), "nosuch@gw.corp.example");
    assert_eq!(taken("nosuch@gw.corp.example"), "nosuch@gw.corp.example");
    assert_eq!(taken("joe%@gw.corp.example"), "BadAddress(HostRequired)");
}
