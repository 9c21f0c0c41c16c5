//! The tables of addresses in Debian's Sendmail: it and the policy, which the built-in MTA asks, make the same of
//! each address.

use mailstack_policy::{
    Address, Client, Here, RecipientVerdict, ReversePath, recipient, rewrite_header, sender,
};

use crate::hosts::{Example, examples};
use crate::real_sendmail::{Root, SMMTA};

/// Users of the root's passwd.
const USERS: [&str; 3] = ["root", "alice", "mail"];

const RECIPIENTS: [&str; 24] = [
    "sales@tuba.example",
    "Sales+detail@TUBA.example",
    "gone@tuba.example",
    "later@tuba.example",
    "local@tuba.example",
    "nobody@tuba.example",
    "joe+@tuba.example",
    "joe+a@tuba.example",
    "Joe+a+b@tuba.example",
    "plus@tuba.example",
    "plus+x@tuba.example",
    "twice@tuba.example",
    "team@tuba.example",
    "alice@tuba.example",
    "nosuch@tuba.example",
    "chain@virt.example",
    "info@virt.example",
    "root@virt.example",
    "alice@virt.example",
    "postmaster@virt.example",
    "x@all.example",
    "x+y@all.example",
    "root@gw.corp.example",
    "alice@gw.corp.example",
];

const SENDERS: [&str; 20] = [
    "joe@gw.corp.example",
    "Joe+x@gw.corp.example",
    "joe@web01.corp.example",
    "joe@corp.example",
    "joe@localhost",
    "joe@tuba.example",
    "joe@virt.example",
    "joe@lists.example",
    "joe@far.example",
    "mary@gw.corp.example",
    "mary@web01.corp.example",
    "boss@corp.example",
    "boss@web01.corp.example",
    "list+a@gw.corp.example",
    "list+a@corp.example",
    "someone@lab.corp.example",
    "root@gw.corp.example",
    "operator@gw.corp.example",
    "alice@gw.corp.example",
    "alice@virt.example",
];

/// The example and its root, in which every domain has an address: a name that no server answers for defers.
fn prepared() -> Option<(Example, Root)> {
    let example = examples("hosts").into_iter().find(|example| example.name == "gateway-tables").unwrap();
    let root = Root::of(&example)?;
    let file = root.path().join("etc/hosts");
    let names = "tuba virt all lists far outside gw.corp corp web01.corp lab.corp";
    let lines: String = names.split(' ').map(|name| format!("192.0.2.78 {name}.example\n")).collect();
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap() + &lines).unwrap();
    Some((example, root))
}

/// `user@host` of each line that says where an address goes; a line that says no such thing, as it is.
fn destinations(said: &str) -> Vec<String> {
    let one = |line: &str| match line
        .split_once(", user ")
        .filter(|_| line.contains("deliverable: mailer") && !line.contains("mailer *error*"))
    {
        Some((_, user)) if user.contains('@') => user.trim_end_matches('.').to_owned(),
        Some((_, user)) => format!("{user}@gw.corp.example"),
        None => "refused".to_owned(),
    };
    let mut all: Vec<String> = said.lines().filter(|line| line.contains("... ")).map(one).collect();
    all.sort();
    all.dedup();
    all
}

fn by_policy(rules: &mailstack_policy::rules::Rules, to: &str) -> Vec<String> {
    let (hostname, client) = ("gw.corp.example".parse().unwrap(), "192.168.10.7".parse().unwrap());
    let client = Client::Network { addr: client };
    let exists = |user: &str| USERS.contains(&user);
    match recipient(rules, Here::named(&hostname), &client, &to.parse().unwrap(), &exists) {
        RecipientVerdict::Refuse(_) => vec!["refused".to_owned()],
        RecipientVerdict::Deliver(found) => {
            let at_home = |address: &Address| match address.domain_name() {
                Some(name) if name.as_str() == "tuba.example" => {
                    format!("{}@gw.corp.example", address.local())
                }
                _ => address.to_string(),
            };
            let mut all: Vec<String> = found.iter().map(|one| at_home(&one.address)).collect();
            all.sort();
            all
        }
    }
}

#[test]
fn both_mean_the_same_by_an_address_of_a_virtual_domain() {
    let Some((example, root)) = prepared() else { return };
    let rules = example.model().runtime_config().rules;
    let mut differ = Vec::new();
    for to in RECIPIENTS {
        let said = root.verify(SMMTA, "sendmail.cf", to);
        let (theirs, ours) = (destinations(&said), by_policy(&rules, to));
        if theirs != ours {
            differ.push(format!("{to}: {said}{ours:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// What `-bt` makes of each address with these flags (`/tryflags`).
fn tried(root: &Root, flags: &str, addresses: &[&str]) -> Vec<String> {
    let tries: String = addresses.iter().map(|address| format!("/try esmtp {address}\\n")).collect();
    let line = format!(
        "printf '/tryflags {flags}\\n{tries}' | /usr/libexec/sendmail/sendmail -C /etc/mail/sendmail.cf -bt 2>&1"
    );
    let output = root.run(SMMTA, &line);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let result = |line: &str| Some(line.split_once("addr = ")?.1.trim_end_matches('.').to_owned());
    let found: Vec<String> = said.lines().filter_map(result).collect();
    assert_eq!(found.len(), addresses.len(), "{said}");
    found
}

#[test]
fn both_rewrite_senders_alike_in_envelope_and_header() {
    let Some((example, root)) = prepared() else { return };
    let rules = example.model().runtime_config().rules;
    let hostname = "gw.corp.example".parse().unwrap();
    let here = Here::named(&hostname);
    let client = Client::Network { addr: "127.0.0.1".parse().unwrap() };
    let header = |field: &str, address: &str| {
        let written = format!("{field}: {address}\r\n");
        let rewritten = rewrite_header(&rules, here, written.as_bytes()).into_owned();
        String::from_utf8(rewritten).unwrap().split_once(": ").unwrap().1.trim_end().to_owned()
    };
    let envelope = |from: &str| {
        let path = ReversePath::Address(from.parse().unwrap());
        sender(&rules, here, &client, &path).unwrap().address().unwrap().to_string()
    };
    let columns = [tried(&root, "ES", &SENDERS), tried(&root, "HS", &SENDERS), tried(&root, "HR", &SENDERS)];
    let mut differ = Vec::new();
    for (at, from) in SENDERS.iter().enumerate() {
        let theirs = [&columns[0][at], &columns[1][at], &columns[2][at]].map(|text| text.to_lowercase());
        let ours = [envelope(from), header("From", from), header("To", from)];
        if theirs != ours.clone().map(|text| text.to_lowercase()) {
            differ.push(format!("{from}: Sendmail {theirs:?}, policy {ours:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// The submission program completes bare names with it: senders are looked up and masqueraded by these classes.
#[test]
fn the_classes_hold_the_hosts_own_name() {
    let Some((_, root)) = prepared() else { return };
    for (class, names) in [("{G}", "corp.example gw.corp.example"), ("{M}", "gw.corp.example lists.example")]
    {
        let line =
            format!("printf '$={class}\\n' | /usr/libexec/sendmail/sendmail -C /etc/mail/sendmail.cf -bt");
        let output = root.run(SMMTA, &line);
        let said = String::from_utf8_lossy(&output.stdout).replace("> ", "");
        let mut found: Vec<&str> = said.lines().filter(|line| line.ends_with(".example")).collect();
        found.sort_unstable();
        assert_eq!(found.join(" "), names, "{said}");
    }
}
