//! The genericstable: the order of its entries, and of it and masquerading, as ruleset 93 has it.

use mailstack_policy::rules::{Generics, Template};
use mailstack_policy::{ReversePath, rewrite_header, sender};

use crate::fixtures::{Host, LOCAL, domains, gateway, masquerade};

fn host() -> Host {
    let mut host = gateway();
    let entry = |(key, value): (&str, &str)| (key.to_owned(), Template::new(value, 1).unwrap());
    host.rules.generics = Some(Generics {
        domains: domains(&["corp.example"]),
        whole_domain: true,
        envelope: true,
        table: [
            ("joe", "Joe.Bloggs@tuba.example"),
            ("mary", "Mary.Major"),
            ("boss@corp.example", "ceo@corp.example"),
            ("list+*@gw.corp.example", "lists-%1@corp.example"),
            ("list+*", "elsewhere-%1@corp.example"),
            ("@lab.corp.example", "lab-%1@corp.example"),
            ("root", "operator"),
        ]
        .map(entry)
        .into(),
    });
    host
}

fn envelope(host: &Host, from: &str) -> String {
    let path = ReversePath::Address(from.parse().unwrap());
    let after = sender(&host.rules, host.here(), &LOCAL, &path).unwrap();
    after.address().unwrap().to_string()
}

#[test]
fn senders_are_looked_up_in_sendmails_order() {
    let host = host();
    for (from, expected) in [
        ("joe", "Joe.Bloggs@tuba.example"),
        ("Joe@localhost", "Joe.Bloggs@tuba.example"),
        ("joe@[127.0.0.1]", "Joe.Bloggs@tuba.example"),
        ("joe@gw.corp.example", "Joe.Bloggs@tuba.example"),
        ("joe@web01.corp.example", "Joe.Bloggs@tuba.example"),
        ("joe+x@web01.corp.example", "Joe.Bloggs@tuba.example"),
        ("mary", "Mary.Major@gw.corp.example"),
        ("boss@corp.example", "ceo@corp.example"),
        ("boss+x@corp.example", "ceo@corp.example"),
        ("boss@web01.corp.example", "boss@web01.corp.example"),
        ("list+a", "lists-a@corp.example"),
        ("list+a@corp.example", "elsewhere-a@corp.example"),
        ("joe@lab.corp.example", "lab-joe@corp.example"),
        ("joe@far.example", "joe@far.example"),
        // Class w, but not among the domains.
        ("joe@tuba.example", "joe@tuba.example"),
        ("alice", "alice@gw.corp.example"),
    ] {
        assert_eq!(envelope(&host, from), expected, "{from}");
    }
}

#[test]
fn what_has_a_domain_is_final_and_a_name_is_masqueraded() {
    let mut host = host();
    let mut masquerade = masquerade();
    masquerade.exposed_users = ["operator".to_owned()].into();
    host.rules.masquerade = Some(masquerade);
    for (from, expected) in [
        ("joe", "Joe.Bloggs@tuba.example"),
        ("mary", "Mary.Major@corp.example"),
        ("alice", "alice@corp.example"),
        // The name that it becomes is the one that may be exposed.
        ("root", "operator@gw.corp.example"),
    ] {
        assert_eq!(envelope(&host, from), expected, "{from}");
    }
    host.rules.generics.as_mut().unwrap().whole_domain = false;
    assert_eq!(envelope(&host, "joe@web01.corp.example"), "joe@web01.corp.example");
    host.rules.generics.as_mut().unwrap().envelope = false;
    assert_eq!(envelope(&host, "joe"), "joe@corp.example");
}

#[test]
fn headers_are_rewritten_with_all_else_kept() {
    let mut host = host();
    let header = "From: Joe B. <joe>\r\nReply-To: mary@localhost (y) , boss@corp.example\r\n\
                  To: joe, bob@far.example\r\nSubject: joe\r\n";
    let rewritten = |host: &Host| {
        String::from_utf8(rewrite_header(&host.rules, host.here(), header.as_bytes()).into_owned()).unwrap()
    };
    assert_eq!(
        rewritten(&host),
        "From: Joe B. <Joe.Bloggs@tuba.example>\r\nReply-To: Mary.Major@gw.corp.example (y) , ceo@corp.example\r\n\
         To: joe@gw.corp.example, bob@far.example\r\nSubject: joe\r\n"
    );
    // Recipients of the header as soon as they are masqueraded too.
    host.rules.masquerade = Some(masquerade());
    assert!(rewritten(&host).contains("To: Joe.Bloggs@tuba.example, bob@far.example\r\n"));
}

#[test]
fn masquerading_can_be_limited_to_the_host_and_leaves_virtual_domains() {
    let mut host = host();
    host.rules.generics = None;
    host.rules.virtual_domains = domains(&["virt.example"]);
    host.rules.masquerade = Some(masquerade());
    assert_eq!(envelope(&host, "a@tuba.example"), "a@corp.example");
    assert_eq!(envelope(&host, "a@virt.example"), "a@virt.example");
    host.rules.masquerade.as_mut().unwrap().limited = true;
    for (from, expected) in [
        ("a", "a@corp.example"),
        ("a@gw.corp.example", "a@corp.example"),
        ("a@tuba.example", "a@tuba.example"),
    ] {
        assert_eq!(envelope(&host, from), expected, "{from}");
    }
    host.rules.masquerade.as_mut().unwrap().domains = domains(&["tuba.example"]);
    assert_eq!(envelope(&host, "a@tuba.example"), "a@corp.example");
}
