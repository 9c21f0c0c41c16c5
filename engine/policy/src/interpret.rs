//! What an address means to a relay: `user%host`, `host!user`, `"user@host"@here`.
//!
//! As Sendmail's rulesets 3 and 0 do it: while the domain is this host's, whatever the local part hides is the
//! address. Nothing is decided here about who may send there.

use mailstack_smtp::address::{Address, AddressError, Domain};

use crate::decision::{BadAddress, Here, Refusal};
use crate::rules::Rules;
use crate::why::Rule;

/// Where an address ends up once the names of this host are taken off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A name of this host or of one of its domains. No domain: a bare name.
    Here(Address),
    /// An address elsewhere.
    Away(Address),
}

/// Reads `address` as Sendmail does. Errors: a form that hides no address.
pub(crate) fn interpret(rules: &Rules, here: Here<'_>, address: &Address) -> Result<Meaning, Refusal> {
    let mut address = address.clone();
    // Each turn takes at least one octet off the local part, so this ends.
    loop {
        if address.domain().is_some_and(|domain| !here.is_local(rules, domain)) {
            return Ok(Meaning::Away(address));
        }
        match hidden(address.local())? {
            Some(inner) => {
                here.note(|| Rule::Hidden, &address, &inner);
                address = inner;
            }
            None => {
                here.note_of(|| ends_here_by(here, address.domain()), &address);
                return Ok(Meaning::Here(address));
            }
        }
    }
}

fn ends_here_by(here: Here<'_>, domain: Option<&Domain>) -> Rule {
    match domain {
        Some(Domain::Name(name)) if !here.is_own_host(&Domain::Name(name.clone())) => {
            Rule::LocalDomain(name.clone())
        }
        _ => Rule::OwnName,
    }
}

/// The address that a local part hides, or None where it is a plain name. Errors: a sign without a user or a host.
pub(crate) fn hidden(local: &str) -> Result<Option<Address>, Refusal> {
    if !local.contains(['@', '%', '!']) {
        return Ok(None);
    }
    // Quotes within quotes: what another relay would take off, it is safer to take off at once.
    let plain: String = local.chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    // A source route within the local part: a next hop that obeys it would be a relay (RFC 5321 appendix C).
    if plain.starts_with('@') {
        return Err(bad(BadAddress::InvalidRoute));
    }
    split(&plain).map(Some)
}

/// The last `@` binds first, then the first `!`, then the last `%`.
fn split(text: &str) -> Result<Address, Refusal> {
    let (user, host) = text
        .rsplit_once('@')
        .or_else(|| text.split_once('!').map(|(host, user)| (user, host)))
        .or_else(|| text.rsplit_once('%'))
        .map_or((text, None), |(user, host)| (user, Some(host)));
    if user.is_empty() {
        return Err(bad(BadAddress::UserRequired));
    }
    let domain = host.map(parse_host).transpose()?;
    Address::new(user, domain).map_err(|_| bad(BadAddress::InvalidRoute))
}

fn parse_host(host: &str) -> Result<Domain, Refusal> {
    host.parse().map_err(|error| match error {
        AddressError::NoDomain => bad(BadAddress::HostRequired),
        _ => bad(BadAddress::InvalidRoute),
    })
}

fn bad(kind: BadAddress) -> Refusal {
    Refusal::BadAddress(kind)
}
