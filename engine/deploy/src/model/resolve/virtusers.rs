//! The tables of addresses: virtual domains, virtusertable, genericstable.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use mailstack_policy::rules::{Generics, Template, Virtuser, VirtuserKey};
use mailstack_policy::{Address, Client, Domain, DomainName, Here, RecipientVerdict, Refusal, recipient};
use mailstack_schema::host::Local;
use mailstack_schema::spans::{child, element};

use super::common::Common;
use super::local::distinct;
use super::{Faults, cross};
use crate::model::defaults::Defaults;
use crate::model::fault::FaultKind;
use crate::model::{Mta, parse};

/// What the virtual domains are, and which addresses mean another one.
#[derive(Default)]
pub(super) struct Virtusers {
    pub(super) domains: BTreeSet<DomainName>,
    pub(super) table: BTreeMap<VirtuserKey, Virtuser>,
    /// Where each entry was written.
    written_at: Vec<(String, VirtuserKey)>,
}

/// The names whose mail this host takes: what an entry's domain must be one of.
pub(super) struct Ours<'a> {
    pub(super) local: &'a [(usize, DomainName)],
    pub(super) hostname: Option<&'a DomainName>,
}

pub(super) fn virtusers(written: &Local, ours: &Ours<'_>, faults: &mut Faults) -> Virtusers {
    let domains = distinct("virtual_domains", written.virtual_domains.as_deref(), parse::domain, faults);
    cross::virtual_domains(&domains, ours, written, faults);
    let mut found = Virtusers::default();
    for (key, value) in written.virtusertable.iter().flatten() {
        let path = child("virtusertable", key);
        let value = faults.keep(&path, virtuser(value));
        let Some(parsed) = faults.keep_key(&path, virtuser_key(key)) else { continue };
        let is_ours = |name: &DomainName| {
            domains.iter().chain(ours.local).any(|(_, other)| other == name) || ours.hostname == Some(name)
        };
        if !is_ours(&parsed.domain) {
            let domain = parsed.domain.to_string();
            let _ = faults.keep_key::<()>(&path, Err(FaultKind::NotOurs { domain }));
        }
        if let Some((other, _)) = found.written_at.iter().find(|(_, other)| *other == parsed) {
            faults.add(&path, FaultKind::Twice { text: key.clone(), other: other.clone() });
        }
        found.written_at.push((path, parsed.clone()));
        found.table.extend(value.map(|value| (parsed, value)));
    }
    for (index, domain) in &domains {
        if !found.written_at.iter().any(|(_, key)| key.domain == *domain) {
            let needed = "virtusertable".to_owned();
            faults.add(element("virtual_domains", *index), FaultKind::Without { needed });
        }
    }
    found.domains = domains.into_iter().map(|(_, domain)| domain).collect();
    found
}

fn virtuser_key(text: &str) -> Result<VirtuserKey, FaultKind> {
    let bad = || FaultKind::VirtuserKey { text: text.to_owned() };
    let key: VirtuserKey = text.parse().map_err(|_| bad())?;
    let user = key.local.strip_suffix("+*").or_else(|| key.local.strip_suffix("++")).unwrap_or(&key.local);
    if !user.is_empty() {
        parse::user(user).map_err(|_| bad())?;
    }
    parse::domain(key.domain.as_str())?;
    Ok(key)
}

fn virtuser(text: &str) -> Result<Virtuser, FaultKind> {
    if let Some(rest) = text.strip_prefix("error:") {
        let bad = |kind| match kind {
            FaultKind::Mailer { text } => FaultKind::Virtuser { text },
            kind => kind,
        };
        let (code, enhanced, words) = parse::error_entry(text, rest).map_err(bad)?;
        return Ok(Virtuser::Error { code, enhanced, text: words });
    }
    let template = template(text, 3);
    template.map(Virtuser::To).ok_or_else(|| FaultKind::Virtuser { text: text.to_owned() })
}

/// An address or a user's name, with so many arguments.
fn template(text: &str, arguments: usize) -> Option<Template> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-=%@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '%');
    let template = Template::new(text, arguments).ok()?;
    let filled = template.fill(&["x"; 3][..arguments]).ok()?;
    let qualified = filled.domain_name().is_none_or(DomainName::is_qualified);
    (begins && qualified && text.chars().all(plain)).then_some(template)
}

/// Notes the entries that lead back to where they began, over aliases too.
pub(super) fn virtuser_loops(found: &Virtusers, mta: &Mta, common: &Common, faults: &mut Faults) {
    let Some(hostname) = common.hostname.clone().or_else(|| "this-host.invalid".parse().ok()) else { return };
    let rules = mta.rules();
    let client = Client::Network { addr: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    // An entry that is no entry would be taken for what stands behind it.
    for (path, key) in found.written_at.iter().filter(|(_, key)| found.table.contains_key(key)) {
        let Some(sample) = sample(key) else { continue };
        let verdict = recipient(&rules, Here::named(&hostname), &client, &sample, &|_| true);
        if verdict == RecipientVerdict::Refuse(Refusal::AliasLoop) {
            faults.add(path, FaultKind::VirtuserLoop { text: key.to_string() });
        }
    }
}

/// An address that the entry is for.
fn sample(key: &VirtuserKey) -> Option<Address> {
    let local = match key.local.as_str() {
        "" => "somebody".to_owned(),
        "+*" | "++" => "somebody+detail".to_owned(),
        local => local.replace("+*", "+detail").replace("++", "+detail"),
    };
    Address::new(local, Some(Domain::Name(key.domain.clone()))).ok()
}

/// The genericstable; None where there is no entry. Envelopes follow masquerading, or without it the profile.
pub(super) fn generics(
    written: &Local,
    envelope: bool,
    defaults: &Defaults,
    faults: &mut Faults,
) -> Option<Generics> {
    let which = written.generics.clone().unwrap_or_default();
    let domains = distinct("generics.domains", which.domains.as_deref(), parse::domain, faults);
    let whole_domain = which.whole_domain.unwrap_or(defaults.generics_whole_domain);
    if whole_domain && domains.is_empty() {
        let needed = "generics.domains".to_owned();
        faults.add("generics.whole_domain", FaultKind::Without { needed });
    }
    let table = genericstable(written, faults);
    if table.is_empty() {
        if written.generics.is_some() && written.genericstable.as_ref().is_none_or(BTreeMap::is_empty) {
            faults.add("generics", FaultKind::Without { needed: "genericstable".to_owned() });
        }
        return None;
    }
    let domains = domains.into_iter().map(|(_, domain)| domain).collect();
    Some(Generics { domains, whole_domain, envelope, table })
}

fn genericstable(written: &Local, faults: &mut Faults) -> BTreeMap<String, Template> {
    let (mut table, mut written_as) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in written.genericstable.iter().flatten() {
        let path = child("genericstable", key);
        let Some((parsed, arguments)) = faults.keep_key(&path, generic_key(key)) else { continue };
        if let Some(other) = written_as.insert(parsed.clone(), path.clone()) {
            faults.add(&path, FaultKind::Twice { text: key.clone(), other });
        }
        let bad = || FaultKind::Generic { text: value.clone(), arguments: arguments > 0 };
        if let Some(value) = faults.keep(&path, template(value, arguments).ok_or_else(bad)) {
            table.insert(parsed, value);
        }
    }
    table
}

/// The key in lower case, and how many arguments its value has.
fn generic_key(text: &str) -> Result<(String, usize), FaultKind> {
    let bad = || FaultKind::GenericKey { text: text.to_owned() };
    let (local, domain) = match text.split_once('@') {
        Some((local, domain)) => (local, Some(parse::domain(domain)?)),
        None => (text, None),
    };
    let user = local.strip_suffix("+*").unwrap_or(local);
    match user {
        "" if local.is_empty() && domain.is_some() => {}
        user => drop(parse::user(user).map_err(|_| bad())?),
    }
    let arguments = usize::from(local.is_empty() || user.len() < local.len());
    let domain = domain.map_or_else(String::new, |domain| format!("@{domain}"));
    Ok((format!("{}{domain}", local.to_ascii_lowercase()), arguments))
}
