//! A header block: its fields lie in it in order, and rewriting changes domains and nothing else.

use std::net::IpAddr;

use mailstack_policy::header::{Field, addresses, fields, scan};
use mailstack_policy::rules::{Masquerade, Qualify, Rules};
use mailstack_policy::{DomainName, Here, address_list, rewrite_header};

use crate::seen::note;

/// Parts of headers.
pub const TOKENS: &[&str] = &[
    "From: ",
    "To: ",
    "Cc: ",
    "Bcc: ",
    "Reply-To: ",
    "Sender: ",
    "Received: from a by b;\r\n",
    "Date: x\r\n",
    "Message-ID: <a@b>\r\n",
    "\r\n",
    "\n",
    "\r\n\t",
    "\r\n ",
    "\r\n\r\n",
    " <a@web01.corp.example>",
    "root",
    "alice@gw.corp.example",
    "Group: a, b;",
    "(comment)",
    "\"",
    "\\",
    "=?utf-8?q?x?=",
    ",",
    ";",
    ":",
    "<",
    ">",
    "[",
    "]",
    "(",
    ")",
    "@",
    "a@corp.example",
    "root@gw",
    "X-Long-Name",
    " :",
    "\u{e9}",
    "\0",
];

/// Checks a block.
pub fn check(block: &[u8]) {
    let found: Vec<Field<'_>> = fields(block).collect();
    let mut at = 0;
    for field in &found {
        assert!(at <= field.start && field.start < field.body_start, "fields overlap");
        assert!(field.end() <= block.len(), "a field beyond its block");
        assert_eq!(field.body, &block[field.body_start..field.end()], "another body");
        assert!(field.name.iter().all(u8::is_ascii_graphic), "a name of {}", field.name.escape_ascii());
        at = field.end();
        list(field.body);
    }
    note(("fields", found.len().min(5), format!("{:?}", scan(block))));
    rewritten(block, &found);
}

fn list(body: &[u8]) {
    let mut at = 0;
    for place in address_list::addresses(body) {
        let Ok(place) = place else {
            note("malformed");
            break;
        };
        assert!(at <= place.start && place.start < place.end && place.end <= body.len(), "{place:?}");
        at = place.end;
    }
    note(("addresses", addresses(body).map(|found| found.len().min(3)).ok()));
}

/// Rewriting adds no field, no line, and is done once.
fn rewritten(block: &[u8], found: &[Field<'_>]) {
    for masquerading in [false, true] {
        let Some((name, rules)) = rules(masquerading) else { return };
        let own: [IpAddr; 0] = [];
        let here = Here::new(&name, &own);
        let once = rewrite_header(&rules, here, block);
        note(("rewritten", masquerading, *once != *block));
        let names = |fields: &mut dyn Iterator<Item = Vec<u8>>| fields.collect::<Vec<_>>();
        let before = names(&mut found.iter().map(|field| field.name.to_vec()));
        let after = names(&mut fields(&once).map(|field| field.name.to_vec()));
        assert_eq!(after, before, "other fields: {}", once.escape_ascii());
        let ends = |text: &[u8]| text.iter().filter(|b| matches!(b, b'\r' | b'\n' | 0)).count();
        assert_eq!(ends(&once), ends(block), "other lines: {}", once.escape_ascii());
        let twice = rewrite_header(&rules, here, &once);
        assert_eq!(
            twice.escape_ascii().to_string(),
            once.escape_ascii().to_string(),
            "another the second time"
        );
    }
}

fn rules(masquerading: bool) -> Option<(DomainName, Rules)> {
    let corp: DomainName = "corp.example".parse().ok()?;
    let masquerade = Masquerade {
        domain: corp.clone(),
        envelope: true,
        recipients: true,
        domains: [corp].into(),
        whole_domain: true,
        limited: false,
        exceptions: Default::default(),
        exposed_users: ["root".to_owned()].into(),
    };
    let rules = Rules {
        qualify: Qualify::OwnHost,
        local_mailboxes: true,
        local_domains: Default::default(),
        relay_domains: Default::default(),
        relay_networks: Default::default(),
        access: Default::default(),
        masquerade: masquerading.then_some(masquerade),
        generics: None,
        virtual_domains: Default::default(),
        virtusertable: Default::default(),
        aliases: Default::default(),
        mailertable: Default::default(),
        mail_hosts: Vec::new(),
    };
    Some(("gw.corp.example".parse().ok()?, rules))
}
