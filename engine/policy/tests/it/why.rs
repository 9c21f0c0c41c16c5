//! The rules that decisions note, as a snapshot.

use std::fmt::Write as _;

use mailstack_policy::rules::{Agent, Mailer};
use mailstack_policy::{Client, Notes, Step, recipient, rewrite_header, route, sender};

use crate::fixtures::{
    Host, LOCAL, aliases, domains, gateway, hop, is_user, loopback, masqueraded_client, network,
};

fn written(text: &mut String, what: &str, steps: Vec<Step>) {
    writeln!(text, "  {what}").unwrap();
    for Step { rule, before, after } in steps {
        let change = if before == after { before } else { format!("{before} -> {after}") };
        writeln!(text, "    {rule:?}: {change}").unwrap();
    }
}

fn told(host: &Host, client: &Client, from: &str, to: &str) -> String {
    let notes = Notes::default();
    let here = host.here().noting(&notes);
    let to = to.parse().unwrap();
    let mut text = format!("{client:?}, from {from} to {to}\n");
    let path = from.to_owned().try_into().unwrap();
    assert_eq!(sender(&host.rules, here, client, &path), sender(&host.rules, host.here(), client, &path));
    written(&mut text, "sender", notes.take());
    recipient(&host.rules, here, client, &to, &is_user);
    written(&mut text, "recipient", notes.take());
    route(&host.rules, here, &to);
    written(&mut text, "route", notes.take());
    rewrite_header(&host.rules, here, format!("From: {from}\r\nTo: {to}\r\n").as_bytes());
    written(&mut text, "header", notes.take());
    text
}

fn rich_gateway() -> Host {
    let mut host = gateway();
    host.rules.aliases =
        aliases(&[("postmaster", &["alice", "\\joe", "ghost"]), ("joe", &["joe", "ops@corp.example"])]);
    host.rules.masquerade = loopback().rules.masquerade.map(|mut masquerade| {
        masquerade.domains = domains(&["lab.example"]);
        masquerade.whole_domain = true;
        masquerade.recipients = false;
        masquerade.exposed_users = ["backup".to_owned()].into();
        masquerade
    });
    let below = Mailer::Smtp { agent: Agent::Esmtp, hosts: vec![hop("below.example")] };
    let gone = Mailer::Error { code: 550, enhanced: "5.1.2".into(), text: "gone".into() };
    host.rules.mailertable = [(".relayed.example", below), ("gone.relayed.example", gone)]
        .map(|(key, mailer)| (key.to_owned().try_into().unwrap(), mailer))
        .into();
    host
}

#[test]
fn the_rules_behind_each_decision() {
    let (client, loopback, gateway) = (masqueraded_client(), loopback(), rich_gateway());
    let outside = network("198.51.100.7");
    let text = [
        told(&client, &LOCAL, "root", "root"),
        told(&client, &LOCAL, "root@web01.corp.example", "bob@outside.example"),
        told(&loopback, &LOCAL, "root", "root"),
        told(&loopback, &LOCAL, "alice", "nobody"),
        told(&gateway, &outside, "bob@outside.example", "alice%relayed.example@gw.corp.example"),
        told(&gateway, &outside, "bob@outside.example", "bob@far.example"),
        told(&gateway, &outside, "bob", "bob@gone.relayed.example"),
        told(&gateway, &network("192.168.10.7"), "x@a.lab.example", "bob@a.relayed.example"),
        told(&gateway, &network("127.0.0.1"), "backup@gw.corp.example", "postmaster@tuba.example"),
        told(&gateway, &outside, "bob@outside.example", "mailer-daemon@gw.corp.example"),
    ];
    insta::assert_snapshot!(text.join("\n"));
}
