//! `genericstable`: the address that a sender appears as, by table.

use mailstack_smtp::address::{Address, Domain, DomainName};

use crate::decision::Here;
use crate::rules::Generics;

/// What the table makes of a sender, and the entry that says so. None: it has no entry, or its domain none.
pub(crate) fn generic(
    generics: &Generics,
    here: Here<'_>,
    local: &str,
    domain: Option<&Domain>,
) -> Option<(String, Address)> {
    let domain = looked_up_as(generics, here, domain)?;
    let mut keys = keys(local, domain).into_iter();
    let (key, template, argument) = keys.find_map(|(key, argument)| {
        let key = key.to_ascii_lowercase();
        generics.table.get(&key).map(|template| (key, template, argument))
    })?;
    // An address that its parts make too long is nobody's.
    Some((key, template.fill(&[argument]).ok()?))
}

/// The domain that a sender is looked up with; None: it is not.
fn looked_up_as<'a>(
    generics: &Generics,
    here: Here<'a>,
    domain: Option<&'a Domain>,
) -> Option<&'a DomainName> {
    let Some(domain) = domain.filter(|domain| !here.is_own_host(domain)) else { return Some(here.hostname) };
    let name = domain.name()?;
    let listed = match generics.whole_domain {
        true => generics.domains.iter().any(|listed| name.is_within(listed)),
        false => generics.domains.contains(name),
    };
    listed.then_some(name)
}

/// The keys in Sendmail's order, each with its argument: with the domain, the domain alone, without it.
fn keys<'l>(local: &'l str, domain: &DomainName) -> Vec<(String, &'l str)> {
    let split = local.split_once('+').filter(|(user, _)| !user.is_empty());
    let plain = |at: &str| {
        let whole = (format!("{local}{at}"), "");
        let parts =
            split.map(|(user, detail)| [(format!("{user}+*{at}"), detail), (format!("{user}{at}"), "")]);
        std::iter::once(whole).chain(parts.into_iter().flatten()).collect::<Vec<_>>()
    };
    let at = format!("@{domain}");
    [plain(&at), vec![(at.clone(), local)], plain("")].concat()
}
