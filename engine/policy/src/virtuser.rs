//! `virtusertable`: what an address of a local or virtual domain means.

use mailstack_smtp::address::{Address, Domain, DomainName};

use crate::alias::ALWAYS;
use crate::decision::{Here, Refusal};
use crate::interpret::{Meaning, interpret};
use crate::rules::{Rules, Virtuser, VirtuserKey};
use crate::why::Rule;

/// Entries that lead to entries (Sendmail's limit of a recursive rewriting).
const MAX_DEPTH: usize = 50;

/// Reads an address as [`interpret`] does, and then by the `virtusertable` until that has no more to say. A bare name
/// is not looked up. Errors: an entry refuses it, nobody has it in a virtual domain, or the entries lead in a circle.
pub(crate) fn mean(rules: &Rules, here: Here<'_>, address: &Address) -> Result<Meaning, Refusal> {
    let meaning = interpret(rules, here, address)?;
    follow(rules, here, meaning)
}

/// The same, of an address that is read already.
pub(crate) fn follow(rules: &Rules, here: Here<'_>, mut meaning: Meaning) -> Result<Meaning, Refusal> {
    for _ in 0..MAX_DEPTH {
        let Meaning::Here(address) = &meaning else { return Ok(meaning) };
        match lookup(rules, here, address)? {
            Some(next) => meaning = interpret(rules, here, &next)?,
            None => return Ok(meaning),
        }
    }
    Err(Refusal::AliasLoop)
}

/// What an address of this host stands for by its entry. None: it has none, and is what it is.
fn lookup(rules: &Rules, here: Here<'_>, address: &Address) -> Result<Option<Address>, Refusal> {
    let Some(domain) = address.domain() else { return Ok(None) };
    let name = match domain.name() {
        Some(name) if !here.is_own_host(domain) => name,
        _ => here.hostname,
    };
    if let Some((key, found)) = find(rules, address.local(), name) {
        let after = found.as_ref().unwrap_or(address);
        here.note(|| Rule::Virtuser(key), address, after);
        return found.map(Some);
    }
    if !is_virtual(rules, domain) {
        return Ok(None);
    }
    here.note_of(|| Rule::VirtualDomain(name.clone()), address);
    unnamed(address).map(Some)
}

/// Whether a domain has no other addresses than those of the table.
pub(crate) fn is_virtual(rules: &Rules, domain: &Domain) -> bool {
    domain.name().is_some_and(|name| rules.virtual_domains.contains(name))
}

/// Somebody reads what is sent to the postmaster of any domain (RFC 5321 4.5.1).
fn unnamed(address: &Address) -> Result<Address, Refusal> {
    let name = address.local().to_ascii_lowercase();
    match ALWAYS.contains(&name.as_str()) {
        true => Ok(address.with_domain(None)),
        false => Err(Refusal::UserUnknown),
    }
}

/// The first entry in Sendmail's order, and what it says.
fn find(rules: &Rules, local: &str, domain: &DomainName) -> Option<(VirtuserKey, Result<Address, Refusal>)> {
    if rules.virtusertable.is_empty() {
        return None;
    }
    keys(local).into_iter().find_map(|(local, arguments)| {
        let key = VirtuserKey { local: local.to_ascii_lowercase(), domain: domain.clone() };
        let entry = rules.virtusertable.get(&key)?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Some((key, apply(entry, &arguments)))
    })
}

/// What an address is looked up by in turn, each with its arguments: the whole; `user++`, `user+*`, `user`; `++`,
/// `+*`, and the domain alone.
fn keys(local: &str) -> Vec<(String, Vec<String>)> {
    let whole = vec![local.to_owned()];
    let mut keys = vec![(local.to_owned(), whole.clone())];
    let Some((user, detail)) = local.split_once('+').filter(|(user, _)| !user.is_empty()) else {
        keys.push((String::new(), whole));
        return keys;
    };
    let some = !detail.is_empty();
    let parts = vec![user.to_owned(), detail.to_owned(), format!("+{detail}")];
    let more = [
        (some, format!("{user}++")),
        (true, format!("{user}+*")),
        (true, user.to_owned()),
        (some, "++".to_owned()),
        (true, "+*".to_owned()),
        (true, String::new()),
    ];
    keys.extend(more.into_iter().filter(|(applies, _)| *applies).map(|(_, key)| (key, parts.clone())));
    keys
}

fn apply(entry: &Virtuser, arguments: &[&str]) -> Result<Address, Refusal> {
    match entry {
        // An address that its parts make too long is nobody's.
        Virtuser::To(template) => template.fill(arguments).map_err(|_| Refusal::UserUnknown),
        Virtuser::Error { code, enhanced, text } => {
            Err(Refusal::MailerError { code: *code, enhanced: enhanced.clone(), text: text.clone() })
        }
    }
}
