//! The virtusertable: sendmail.md 2.7 and the order of the entries in cf/README.

use std::collections::BTreeMap;

use mailstack_policy::rules::{Template, Virtuser, VirtuserKey};
use mailstack_policy::{
    Client, Here, RecipientVerdict, Refusal, Route, Target, recipient, route, route_target,
};

use crate::fixtures::{Host, LOCAL, aliases, domains, gateway, is_user, network};

fn table(entries: &[(&str, &str)]) -> BTreeMap<VirtuserKey, Virtuser> {
    let value = |text: &str| match text.strip_prefix("error:") {
        Some(text) => Virtuser::Error { code: 550, enhanced: "5.7.0".to_owned(), text: text.to_owned() },
        None => Virtuser::To(Template::new(text, 3).unwrap()),
    };
    entries.iter().map(|(key, text)| (key.parse().unwrap(), value(text))).collect()
}

fn host() -> Host {
    let mut host = gateway();
    host.rules.virtual_domains = domains(&["virt.example", "bare.example"]);
    host.rules.aliases = aliases(&[("team", &["sales@tuba.example", "gone@tuba.example", "x@bare.example"])]);
    host.rules.virtusertable = table(&[
        ("sales@tuba.example", "alice@corp.example"),
        ("info@tuba.example", "bob@outside.example"),
        ("gone@tuba.example", "error:Not allowed here"),
        ("local@tuba.example", "joe"),
        ("unknown@tuba.example", "nosuch"),
        ("alias@tuba.example", "team"),
        ("joe+*@tuba.example", "joe-%2@corp.example"),
        ("joe++@tuba.example", "two-%2@corp.example"),
        ("plus@tuba.example", "plus%3@corp.example"),
        ("twice@tuba.example", "sales@tuba.example"),
        ("hidden@tuba.example", "outside.example!bob@gw.corp.example"),
        ("+*@virt.example", "%1-any-%2@outside.example"),
        ("++@virt.example", "%1-some-%2@outside.example"),
        ("@virt.example", "%1@outside.example"),
        ("root@gw.corp.example", "ops@corp.example"),
        ("long@tuba.example", "%1@corp.example"),
        ("@bare.example", "%1@virt.example"),
        ("left@bare.example", "error:gone"),
    ]);
    host
}

fn verdict(host: &Host, client: &Client, to: &str) -> String {
    match recipient(&host.rules, host.here(), client, &to.parse().unwrap(), &is_user) {
        RecipientVerdict::Deliver(found) => {
            let one = |one: &mailstack_policy::Expanded| match &one.target {
                Target::Address => one.address.to_string(),
                Target::Refused(refusal) => format!("{} {refusal:?}", one.address),
                Target::List(alias) => format!("list {alias}"),
                Target::Program(command) => format!("program {command}"),
                Target::File(path) => format!("file {path}"),
            };
            found.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        RecipientVerdict::Refuse(refusal) => format!("{refusal:?}"),
    }
}

#[test]
fn an_entry_is_found_in_sendmails_order() {
    let host = host();
    for (to, expected) in [
        ("sales@tuba.example", "alice@corp.example"),
        ("Sales+x@Tuba.Example", "alice@corp.example"),
        ("info@tuba.example", "bob@outside.example"),
        ("local@tuba.example", "joe@gw.corp.example"),
        ("unknown@tuba.example", "UserUnknown"),
        ("joe@tuba.example", "joe@tuba.example"),
        ("joe+a@tuba.example", "two-a@corp.example"),
        ("joe+@tuba.example", "joe-@corp.example"),
        ("plus+a+b@tuba.example", "plus+a+b@corp.example"),
        ("plus@tuba.example", "plus@corp.example"),
        ("twice@tuba.example", "alice@corp.example"),
        ("hidden@tuba.example", "bob@outside.example"),
        ("Any@virt.example", "Any@outside.example"),
        ("a+b@virt.example", "a-some-b@outside.example"),
        ("a+@virt.example", "a-any-@outside.example"),
        ("x@bare.example", "x@outside.example"),
        ("nosuch@tuba.example", "UserUnknown"),
        ("root@gw.corp.example", "ops@corp.example"),
        ("root@localhost", "ops@corp.example"),
        ("root@[127.0.0.1]", "ops@corp.example"),
        // A bare name is nobody's at a domain.
        ("root", "root@gw.corp.example"),
        ("x@sub.virt.example", "RelayingDenied"),
        ("bob%far.example@virt.example", "RelayingDenied"),
        ("\"bob@far.example\"@virt.example", "RelayingDenied"),
    ] {
        assert_eq!(verdict(&host, &network("198.51.100.7"), to), expected, "{to}");
    }
}

#[test]
fn what_an_entry_refuses_is_refused_and_comes_back_to_a_program() {
    let host = host();
    let error = "MailerError { code: 550, enhanced: \"5.7.0\", text: \"Not allowed here\" }";
    assert_eq!(verdict(&host, &network("198.51.100.7"), "gone@tuba.example"), error);
    assert_eq!(verdict(&host, &LOCAL, "gone@tuba.example"), format!("gone@tuba.example {error}"));
    // A program's bare name is a name at this host, as Sendmail's submission program makes it.
    assert_eq!(verdict(&host, &LOCAL, "root"), "ops@corp.example");
    // One of an alias does not keep the mail from the others.
    let team = verdict(&host, &network("198.51.100.7"), "alias@tuba.example");
    assert_eq!(team, format!("alice@corp.example gone@tuba.example {error} x@outside.example"));
}

#[test]
fn nobody_lives_in_a_virtual_domain_but_postmaster() {
    let mut host = host();
    host.rules.virtusertable.clear();
    let outside = network("198.51.100.7");
    for to in ["root@virt.example", "joe@virt.example", "team@virt.example", "joe+x@virt.example"] {
        assert_eq!(verdict(&host, &outside, to), "UserUnknown", "{to}");
        assert!(verdict(&host, &LOCAL, to).contains("UserUnknown"), "{to}");
    }
    assert_eq!(verdict(&host, &outside, "Postmaster@virt.example"), "root@gw.corp.example");
    let address = "root@virt.example".parse().unwrap();
    let here: Here<'_> = host.here();
    assert_eq!(route(&host.rules, here, &address), Route::Fail(Refusal::UserUnknown));
    let target = Target::Refused(Refusal::RelayingDenied);
    assert_eq!(route_target(&host.rules, here, &address, &target), Route::Fail(Refusal::RelayingDenied));
}

#[test]
fn a_circle_ends() {
    let mut host = host();
    host.rules.virtusertable =
        table(&[("a@tuba.example", "b@virt.example"), ("@virt.example", "a@tuba.example")]);
    assert_eq!(verdict(&host, &network("198.51.100.7"), "a@tuba.example"), "AliasLoop");
    host.rules.virtusertable = table(&[("@tuba.example", "%1@corp.example")]);
    let long = format!("{}@tuba.example", "x".repeat(64));
    assert!(verdict(&host, &network("198.51.100.7"), &long).ends_with("x@corp.example"));
    host.rules.virtusertable = table(&[("@tuba.example", "x-%1@corp.example")]);
    assert_eq!(verdict(&host, &network("198.51.100.7"), &long), "UserUnknown");
}

#[test]
fn templates_name_what_there_is() {
    for (text, arguments, valid) in [
        ("a@b.example", 0, true),
        ("%1@b.example", 1, true),
        ("%1@b.example", 0, false),
        ("%2@b.example", 1, false),
        ("%0@b.example", 3, false),
        ("a%@b.example", 3, false),
        ("%x", 3, false),
        ("a b@c.example", 3, false),
        ("alice", 3, true),
    ] {
        assert_eq!(Template::new(text, arguments).is_ok(), valid, "{text}");
    }
}
