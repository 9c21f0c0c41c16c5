//! What is tried on a candidate of each role.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use mailstack_policy::{Client, Here, RecipientVerdict, recipient};
use mailstack_prove::corpus::foreign_relay;
use mailstack_prove::{Attempt, Expectation, Probe, Promise, Source, probes};

use mailstack_smtp::command::{Command, parse};

use crate::fixtures::{gateway, loopback, msp, nullclient, read, set_toml};

fn words(probe: &Probe) -> String {
    format!("{:?}: {probe}\n    {}\n", probe.promise, probe.expect)
}

/// All probes but the corpus, and how often the corpus is tried.
fn table(config: &toml::Table) -> String {
    let mut text = String::new();
    let mut relays = BTreeMap::<Source, usize>::new();
    for probe in probes(&read(config)) {
        match probe.promise {
            Promise::NoForeignRelay => *relays.entry(probe.source).or_default() += 1,
            _ => text += &words(&probe),
        }
    }
    for (source, count) in relays {
        writeln!(text, "NoForeignRelay: {count} attempts from {source:?}").unwrap();
    }
    text
}

#[test]
fn each_role_has_its_probes() {
    let mut text = String::new();
    for (role, config) in
        [("nullclient", nullclient()), ("msp", msp()), ("loopback", loopback()), ("gateway", gateway())]
    {
        writeln!(text, "## {role}\n{}", table(&config)).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn foreign_relay_is_tried_in_every_form() {
    let mut config = gateway();
    config.insert("listeners".to_owned(), toml::Value::Array(vec!["203.0.113.2:25".into()]));
    let lines = probes(&read(&config)).into_iter().filter_map(|probe| match (probe.attempt, probe.expect) {
        (Attempt::Envelope(lines), Expectation::Refused) => Some(format!("{} {}", lines.mail, lines.rcpt)),
        _ => None,
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_foreigner_is_outside_every_relay_network() {
    let mut config = gateway();
    set_toml(
        &mut config,
        "relay_networks",
        "[\"198.51.100.0/24\", \"203.0.113.0/24\", \"192.0.2.0/24\", \"1.0.0.0/8\", \"2001:db8::/32\"]",
    );
    set_toml(&mut config, "relay_domains", "[\"invalid\"]");
    config.insert("listeners".to_owned(), toml::Value::Array(vec!["0.0.0.0:25".into(), "[::]:25".into()]));
    let probes = probes(&read(&config));
    let corpus: Vec<_> = probes.iter().filter(|probe| probe.promise == Promise::NoForeignRelay).collect();
    let sources: BTreeSet<_> = corpus.iter().map(|probe| probe.source).collect();
    let expected = ["2.1.1.77", "2000:1::77"].map(|addr| Source::Untrusted(addr.parse().unwrap()));
    assert_eq!(sources, expected.into());
    assert!(corpus.iter().all(|probe| probe.to_string().contains("relay-probe.invalid-0")));
}

/// The negative twin: what a foreigner is refused, the same forms from inside reach the foreign domain. The ones
/// that do not are refused to everyone, for their syntax.
#[test]
fn from_inside_the_same_forms_are_relayed() {
    let config = read(&gateway());
    let hostname = config.hostname.clone().unwrap();
    let addresses = ["203.0.113.2".parse().unwrap()];
    let here = Here::new(&hostname, &addresses);
    let inside = Client::Network { addr: "192.168.10.7".parse().unwrap() };
    let foreign = "far.invalid".parse().unwrap();
    let end = |rcpt: &str| match parse(rcpt.as_bytes()) {
        Err(error) => format!("not read: {error}"),
        Ok(Command::Rcpt(request)) => {
            match recipient(&config.rules, here, &inside, &request.to, &|_| false) {
                RecipientVerdict::Deliver(found) => found[0].address.to_string(),
                RecipientVerdict::Refuse(refusal) => format!("{refusal:?}"),
            }
        }
        Ok(other) => format!("{other:?}"),
    };
    let recipients: BTreeSet<String> =
        foreign_relay(&hostname, &addresses, &foreign).into_iter().map(|lines| lines.rcpt).collect();
    let text: Vec<_> = recipients.iter().map(|rcpt| format!("{rcpt:60} {}", end(rcpt))).collect();
    insta::assert_snapshot!(text.join("\n"));
}
