//! The expansion of aliases.

use mailstack_policy::rules::AliasTarget;
use mailstack_policy::{
    Includes, RecipientVerdict, Refusal, Target, include_targets, list_includes, list_members, list_owner,
    recipient,
};

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

fn lists() -> Host {
    let mut host = host();
    host.rules.aliases.extend(aliases(&[
        ("team", &["alice", "joe", "inner"]),
        ("owner-team", &["team-request"]),
        ("team-request", &["root", "bob@outside.example"]),
        ("inner", &["bob@outside.example"]),
        ("owner-inner", &["root", "joe"]),
        ("file", &["alice"]),
        ("owner-owner", &["postmaster"]),
    ]));
    let include = AliasTarget::Include("/etc/file".to_owned());
    host.rules.aliases.get_mut("file").unwrap().push(include);
    host
}

#[test]
fn a_list_is_one_recipient_until_it_is_delivered_to() {
    let host = lists();
    let verdict = |to: &str| {
        let to = to.parse().unwrap();
        recipient(&host.rules, host.here(), &network("127.0.0.1"), &to, &is_user)
    };
    for (to, address, alias) in [
        ("Team@localhost", "team@dev01.corp.example", "team"),
        ("file+x", "file@dev01.corp.example", "file"),
        // `owner-owner` is the owner of owners.
        ("owner-team", "owner-team@dev01.corp.example", "owner-team"),
    ] {
        let RecipientVerdict::Deliver(found) = verdict(to) else { panic!("{to}") };
        assert_eq!((found.len(), found[0].address.to_string()), (1, address.to_owned()));
        assert_eq!(found[0].target, Target::List(alias.to_owned()));
    }
}

#[test]
fn the_members_of_a_list_and_its_owner() {
    let host = lists();
    let members = |alias: &str, includes: &Includes| {
        let found = list_members(&host.rules, host.here(), alias, includes, &is_user)?;
        let one = |one: &mailstack_policy::Expanded| match &one.target {
            Target::List(_) => format!("{} (list)", one.address),
            _ => one.address.to_string(),
        };
        Ok::<_, Refusal>(found.iter().map(one).collect::<Vec<_>>().join(" "))
    };
    let none = Includes::new();
    let team = "alice@dev01.corp.example joe@dev01.corp.example carol@corp.example bob@outside.example \
                root@dev01.corp.example inner@dev01.corp.example (list)";
    assert_eq!(members("team", &none), Ok(team.to_owned()));
    assert_eq!(members("gone", &none), Err(Refusal::UserUnknown));
    assert_eq!(list_includes(&host.rules, "file"), ["/etc/file"]);
    let text = "# nobody\n\"Doe, J.\" <J.Doe@far.example>, joe (here)\n\\alice\n:include:/etc/file\n team \n";
    let files = Includes::from([("/etc/file".to_owned(), include_targets(text).unwrap())]);
    let file = "alice@dev01.corp.example J.Doe@far.example joe@dev01.corp.example carol@corp.example \
                bob@outside.example root@dev01.corp.example team@dev01.corp.example (list)";
    assert_eq!(members("file", &files), Ok(file.to_owned()));
    let owner = |alias: &str| list_owner(&host.rules, alias).map(|owner| owner.to_string());
    assert_eq!(owner("team").as_deref(), Some("team-request"));
    assert_eq!(owner("inner").as_deref(), Some("owner-inner"));
    assert_eq!(owner("team-request").as_deref(), Some("postmaster"));
    assert_eq!(owner("file"), None);
}

#[test]
fn a_file_with_what_is_no_address_says_where() {
    for (text, said) in [
        ("a@b.example\n\nx y@c.example", "line 3: `x y@c.example` is not an address"),
        ("|/bin/sh", "line 1: `|/bin/sh`: a list of addresses names no program"),
        ("\"|/bin/sh x\"", "line 1: `\"|/bin/sh x\"`: a list of addresses names no program"),
        ("/var/mail/all", "line 1: `/var/mail/all`: a list"),
        ("bob, <joe", "line 1: quotes, brackets or comments do not balance"),
        ("bob@", "line 1: `bob@` is not an address: hostname required"),
    ] {
        let error = include_targets(text).unwrap_err().to_string();
        assert!(error.starts_with(said), "{text}: {error}");
    }
}
