//! The hosts of sendmail.md's network, as rules.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mailstack_policy::rules::{AliasTarget, HopHost, Masquerade, NextHop, Qualify, Rules};
use mailstack_policy::{Client, DomainName, Here};

pub(crate) const LOCAL: Client = Client::Local { uid: 0 };

/// A host with its rules.
pub(crate) struct Host {
    pub(crate) name: DomainName,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) rules: Rules,
}

impl Host {
    pub(crate) fn here(&self) -> Here<'_> {
        Here::new(&self.name, &self.addresses)
    }
}

pub(crate) fn domain(text: &str) -> DomainName {
    text.parse().unwrap()
}

pub(crate) fn domains(texts: &[&str]) -> BTreeSet<DomainName> {
    texts.iter().map(|text| domain(text)).collect()
}

pub(crate) fn network(addr: &str) -> Client {
    Client::Network { addr: addr.parse().unwrap() }
}

pub(crate) fn hop(host: &str) -> NextHop {
    NextHop { host: HopHost::Mx(domain(host)), port: 25 }
}

pub(crate) fn masquerade() -> Masquerade {
    Masquerade {
        domain: domain("corp.example"),
        envelope: true,
        recipients: true,
        domains: BTreeSet::new(),
        whole_domain: false,
        limited: false,
        exceptions: BTreeSet::new(),
        exposed_users: BTreeSet::new(),
    }
}

pub(crate) fn aliases(entries: &[(&str, &[&str])]) -> BTreeMap<String, Vec<AliasTarget>> {
    let target = |text: &&str| match text.strip_prefix('\\') {
        Some(user) => AliasTarget::User(user.to_owned()),
        None => AliasTarget::Address(text.parse().unwrap()),
    };
    let entry =
        |(name, targets): &(&str, &[&str])| ((*name).to_owned(), targets.iter().map(target).collect());
    entries.iter().map(entry).collect()
}

pub(crate) fn empty_rules() -> Rules {
    Rules {
        qualify: Qualify::OwnHost,
        local_mailboxes: true,
        local_domains: BTreeSet::new(),
        relay_domains: BTreeSet::new(),
        relay_networks: BTreeSet::new(),
        access: BTreeMap::new(),
        masquerade: None,
        generics: None,
        virtual_domains: BTreeSet::new(),
        virtusertable: BTreeMap::new(),
        aliases: BTreeMap::new(),
        mailertable: BTreeMap::new(),
        mail_hosts: Vec::new(),
    }
}

/// The border relay: relays for corp.example, takes mail for tuba.example.
pub(crate) fn gateway() -> Host {
    Host {
        name: domain("gw.corp.example"),
        addresses: ["192.168.10.2", "203.0.113.2", "2001:db8::2"].map(|ip| ip.parse().unwrap()).to_vec(),
        rules: Rules {
            local_domains: domains(&["tuba.example"]),
            relay_domains: domains(&["corp.example", "relayed.example"]),
            relay_networks: ["192.168.10.0/24", "2001:db8:10::/64"].map(|net| net.parse().unwrap()).into(),
            ..empty_rules()
        },
    }
}

/// An MTA for its own programs, with a smart host.
pub(crate) fn loopback() -> Host {
    Host {
        name: domain("dev01.corp.example"),
        addresses: vec!["192.168.10.13".parse().unwrap()],
        rules: Rules {
            masquerade: Some(masquerade()),
            mail_hosts: vec![hop("mailhost.corp.example")],
            aliases: aliases(&[("root", &["carol@corp.example"])]),
            ..empty_rules()
        },
    }
}

/// A host that only sends, with the masquerade domain that is given.
pub(crate) fn client(qualify: Qualify, masquerade: Option<Masquerade>) -> Host {
    Host {
        name: domain("web01.corp.example"),
        addresses: Vec::new(),
        rules: Rules {
            qualify,
            local_mailboxes: false,
            masquerade,
            mail_hosts: vec![hop("mailhost.corp.example")],
            ..empty_rules()
        },
    }
}

/// `nullclient` and `msp` with masquerading.
pub(crate) fn masqueraded_client() -> Host {
    client(Qualify::Domain(domain("corp.example")), Some(masquerade()))
}

/// The users of every host.
pub(crate) fn is_user(name: &str) -> bool {
    ["root", "alice", "joe", "a+b"].contains(&name)
}
