//! Aliases and the files of lists: no file names a program, and no aliases go on for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mailstack_policy::rules::{AliasTarget, Qualify, Rules};
use mailstack_policy::{
    Address, Client, Here, Includes, RecipientVerdict, include_targets, list_members, recipient,
};

use crate::seen::note;

/// Parts of aliases: `name=targets`, a line each.
pub const TOKENS: &[&str] = &[
    "root=",
    "staff=",
    "owner-staff=",
    "list=",
    "a=b\n",
    "b=a\n",
    "c=c, d\n",
    "\\root",
    ":include:/etc/list",
    "|/bin/sh",
    "\"|/bin/sh\"",
    "/etc/passwd",
    "\"/etc/passwd\"",
    "\":include:/x\"",
    "alice",
    "bob@far.example",
    ", ",
    "\n",
    "#",
    "+detail",
    "postmaster=",
    "@",
    "\"",
    "mailer-daemon=",
    "<",
    ">",
    "(",
    ")",
    "\\",
    "owner-owner=",
    "x-request=",
];

/// Checks a text.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(octets);
    file(&text);
    let aliases: BTreeMap<String, Vec<AliasTarget>> = text.lines().filter_map(alias).collect();
    note(("aliases", aliases.len().min(4)));
    expanded(aliases);
}

/// What a list's file says.
fn file(text: &str) {
    match include_targets(text) {
        Err(error) => {
            note(("error", std::mem::discriminant(&error.fault)));
            assert!(error.line >= 1 && error.line <= text.lines().count(), "line {}", error.line);
        }
        Ok(targets) => {
            for target in &targets {
                note(("target", std::mem::discriminant(target)));
                let is_plain = !matches!(target, AliasTarget::Program(_) | AliasTarget::File(_));
                assert!(is_plain, "a file names {target}");
                assert!(!names_a_program(target), "a file names {target}");
                let written = match target {
                    AliasTarget::Address(address) => format!("<{address}>"),
                    other => other.to_string(),
                };
                let again = include_targets(&written);
                assert_eq!(again.as_deref(), Ok(std::slice::from_ref(target)), "{target} is read as another");
            }
        }
    }
}

fn names_a_program(target: &AliasTarget) -> bool {
    let AliasTarget::Address(address) = target else { return false };
    address.local().starts_with(['|', '/']) || address.local().starts_with(":include:")
}

fn alias(line: &str) -> Option<(String, Vec<AliasTarget>)> {
    let (name, targets) = line.split_once('=')?;
    let targets = include_targets(targets).ok().filter(|targets| !targets.is_empty())?;
    Some((name.trim().to_ascii_lowercase(), targets))
}

/// What they expand to, of programs and strangers.
fn expanded(aliases: BTreeMap<String, Vec<AliasTarget>>) {
    let Ok(name) = "gw.corp.example".parse() else { return };
    let names: Vec<String> = aliases.keys().cloned().collect();
    let rules = Rules {
        qualify: Qualify::OwnHost,
        local_mailboxes: true,
        local_domains: Default::default(),
        relay_domains: Default::default(),
        relay_networks: Default::default(),
        access: Default::default(),
        masquerade: None,
        generics: None,
        virtual_domains: Default::default(),
        virtusertable: Default::default(),
        aliases,
        mailertable: Default::default(),
        mail_hosts: Vec::new(),
    };
    let addresses: [IpAddr; 0] = [];
    let here = Here::new(&name, &addresses);
    let is_user = |user: &str| ["root", "alice"].contains(&user);
    let Ok(addr) = "198.51.100.7".parse() else { return };
    for alias in &names {
        let Ok(to) = Address::new(alias.as_str(), None) else { continue };
        for client in [Client::Network { addr }, Client::Local { uid: 0 }] {
            match recipient(&rules, here, &client, &to, &is_user) {
                RecipientVerdict::Refuse(refusal) => note(("refused", std::mem::discriminant(&refusal))),
                RecipientVerdict::Deliver(found) => {
                    note(("found", found.len().min(4)));
                    let once: BTreeSet<_> = found.iter().map(|one| (&one.address, &one.target)).collect();
                    assert_eq!(once.len(), found.len(), "{alias} has somebody twice");
                    assert!(!found.is_empty(), "{alias} is taken for nobody");
                    assert!(
                        found.iter().all(|one| one.address.domain().is_some()),
                        "{alias} has a bare name"
                    );
                }
            }
        }
        note(list_members(&rules, here, alias, &Includes::new(), &is_user).is_ok());
    }
}
