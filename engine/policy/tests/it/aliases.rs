//! The expansion of aliases.

use mailstack_policy::{RecipientVerdict, recipient};

use crate::fixtures::{Host, aliases, is_user, loopback, network};

fn expand(host: &Host, to: &str) -> String {
    match recipient(&host.rules, host.here(), &network("127.0.0.1"), &to.parse().unwrap(), &is_user) {
        RecipientVerdict::Deliver(found) => {
            found.iter().map(|one| one.address.to_string()).collect::<Vec<_>>().join(" ")
        }
        RecipientVerdict::Refuse(refusal) => format!("{refusal:?}"),
    }
}

fn host() -> Host {
    let mut host = loopback();
    host.rules.local_domains = ["tuba.example".parse().unwrap()].into();
    host.rules.aliases = aliases(&[
        ("root", &["carol@corp.example"]),
        ("devteam", &["Alice", "bob@outside.example", "ops", "alice@dev01.corp.example"]),
        ("ops", &["root", "bob@outside.example", "\\root"]),
        ("joe", &["joe", "ops"]),
        ("bad", &["nosuch", "alice"]),
        ("hidden", &["joe%far.example@localhost", "ops%localhost"]),
        ("ping", &["pong"]),
        ("pong", &["ping"]),
        ("list+detail", &["alice"]),
        ("list", &["root"]),
        ("diamond", &["ops", "devteam"]),
    ]);
    host
}

#[test]
fn aliases_expand() {
    let host = host();
    for (to, expected) in [
        ("root", "carol@corp.example"),
        ("ROOT@dev01.corp.example", "carol@corp.example"),
        ("root@localhost", "carol@corp.example"),
        ("root@tuba.example", "carol@corp.example"),
        ("root@corp.example", "root@corp.example"),
        (
            "devteam",
            "alice@dev01.corp.example bob@outside.example carol@corp.example root@dev01.corp.example",
        ),
        ("joe", "joe@dev01.corp.example carol@corp.example bob@outside.example root@dev01.corp.example"),
        ("bad", "nosuch@dev01.corp.example alice@dev01.corp.example"),
        ("hidden", "joe@far.example carol@corp.example bob@outside.example root@dev01.corp.example"),
        ("ping", "AliasLoop"),
        ("list+detail", "alice@dev01.corp.example"),
        ("list+other", "carol@corp.example"),
        ("alice+x", "alice@dev01.corp.example"),
        ("alice+x@tuba.example", "alice@tuba.example"),
        ("a+b", "a+b@dev01.corp.example"),
        ("postmaster", "carol@corp.example"),
        ("Mailer-Daemon@tuba.example", "carol@corp.example"),
        (
            "diamond",
            "carol@corp.example bob@outside.example root@dev01.corp.example alice@dev01.corp.example",
        ),
        ("nosuch", "UserUnknown"),
        ("nosuch+root", "UserUnknown"),
    ] {
        assert_eq!(expand(&host, to), expected, "{to}");
    }
}

#[test]
fn operators_are_root_where_there_is_no_alias() {
    let mut host = host();
    host.rules.aliases.clear();
    assert_eq!(expand(&host, "postmaster"), "root@dev01.corp.example");
    host.rules.aliases = aliases(&[("postmaster", &["alice"])]);
    assert_eq!(expand(&host, "Postmaster"), "alice@dev01.corp.example");
    assert_eq!(expand(&host, "MAILER-DAEMON"), "alice@dev01.corp.example");
}

#[test]
fn a_chain_of_aliases_ends() {
    let chain = |length: usize| {
        let mut host = host();
        let names: Vec<String> = (0..=length).map(|n| format!("a{n}")).collect();
        for pair in names.windows(2) {
            host.rules.aliases.extend(aliases(&[(&pair[0], &[pair[1].as_str()])]));
        }
        expand(&host, "a0")
    };
    assert_eq!(chain(10), "a10@dev01.corp.example");
    assert_eq!(chain(11), "AliasLoop");
}
