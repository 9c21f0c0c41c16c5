//! Senders: which are taken, and in what domain they appear (qualification and masquerading).

use mailstack_smtp::address::{Address, Domain, DomainName, ReversePath};

use crate::decision::{Client, Here, Refusal};
use crate::generics::generic;
use crate::rules::{Generics, Masquerade, Qualify, Rules};
use crate::virtuser::is_virtual;
use crate::why::{Parts, Rule};

/// Decides about an envelope sender, and gives it the domain that the rules say. Whether that domain exists is
/// for the server to look up. Errors: [`Refusal::SenderUnqualified`] and [`Refusal::SenderNotReal`], never for a
/// program of this host.
pub fn sender(
    rules: &Rules,
    here: Here<'_>,
    client: &Client,
    from: &ReversePath,
) -> Result<ReversePath, Refusal> {
    let ReversePath::Address(address) = from else {
        return Ok(ReversePath::Null);
    };
    if let Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } = client {
        check_network_sender(address, addr.to_canonical().is_loopback())
            .inspect_err(|refusal| here.note_of(|| Rule::Refused(refusal.clone()), address))?;
    }
    let masquerade = rules.masquerade.as_ref().filter(|masquerade| masquerade.envelope);
    let generics = rules.generics.as_ref().filter(|generics| generics.envelope);
    let rewriting = Rewriting { generics, masquerade };
    let new = sender_address(rules, here, rewriting, address.local(), address.domain());
    Ok(ReversePath::Address(match new {
        Some(New::Domain(domain)) => address.with_domain(Some(Domain::Name(domain.clone()))),
        Some(New::Address(new)) => new,
        None => address.clone(),
    }))
}

/// Which tables apply in a place; None: not there.
#[derive(Clone, Copy)]
pub(crate) struct Rewriting<'a> {
    /// `genericstable`
    pub(crate) generics: Option<&'a Generics>,
    /// Masquerading.
    pub(crate) masquerade: Option<&'a Masquerade>,
}

/// What takes the place of a sender.
pub(crate) enum New<'a> {
    /// The same local part in this domain.
    Domain(&'a DomainName),
    /// Another address.
    Address(Address),
}

/// What a sender becomes, in the envelope or a header; None: it stays. As ruleset 93 does it: what the genericstable
/// gives is final where it has a domain; a bare name is masqueraded as any user's of this host.
pub(crate) fn sender_address<'a>(
    rules: &'a Rules,
    here: Here<'a>,
    rewriting: Rewriting<'a>,
    local: &str,
    domain: Option<&Domain>,
) -> Option<New<'a>> {
    let masquerade = rewriting.masquerade;
    match rewriting.generics.and_then(|generics| generic(generics, here, local, domain)) {
        None => sender_domain(rules, here, masquerade, local, domain).map(New::Domain),
        Some((key, new)) if new.domain().is_some() => {
            here.note(|| Rule::Generics(key), &Parts(local, domain), &new);
            Some(New::Address(new))
        }
        Some((key, new)) => {
            here.note(|| Rule::Generics(key), &Parts(local, domain), &new);
            let domain = sender_domain(rules, here, masquerade, new.local(), None);
            let domain = domain.unwrap_or(here.hostname).clone();
            Some(New::Address(new.with_domain(Some(Domain::Name(domain)))))
        }
    }
}

fn check_network_sender(address: &Address, from_loopback: bool) -> Result<(), Refusal> {
    match address.domain() {
        None => Err(Refusal::SenderUnqualified),
        Some(Domain::Name(name)) if name.as_str() == "localhost" && !from_loopback => {
            Err(Refusal::SenderNotReal)
        }
        Some(_) => Ok(()),
    }
}

/// The domain that a sender gets, in the envelope or a header; None: the one it has. `masquerade` is None where
/// it does not apply there.
fn sender_domain<'a>(
    rules: &'a Rules,
    here: Here<'a>,
    masquerade: Option<&'a Masquerade>,
    local: &str,
    domain: Option<&Domain>,
) -> Option<&'a DomainName> {
    let exposed = masquerade.is_some_and(|masquerade| is_exposed(masquerade, local));
    let (new, rule) = match masquerade.filter(|_| !exposed) {
        Some(masquerade) => {
            let rule = match domain {
                Some(domain) => masqueraded_by(rules, here, masquerade, domain)?,
                None => Rule::Masquerade,
            };
            (&masquerade.domain, rule)
        }
        // A user left as he is, or a place that is: the name of the host, not the one it hides behind.
        None if rules.masquerade.is_some() => {
            let rule =
                if exposed { Rule::ExposedUser(local.to_ascii_lowercase()) } else { Rule::NotMasqueraded };
            (is_own(here, domain).then_some(here.hostname)?, rule)
        }
        None => return recipient_domain(rules, here, local, domain),
    };
    note_domain(here, rule, local, domain, new);
    Some(new)
}

fn note_domain(here: Here<'_>, rule: Rule, local: &str, domain: Option<&Domain>, new: &DomainName) {
    here.note(|| rule, &Parts(local, domain), &Parts(local, Some(&Domain::Name(new.clone()))));
}

/// The domain that a bare or own-host recipient gets, in the envelope or a header; None: the one it has.
pub(crate) fn recipient_domain<'a>(
    rules: &'a Rules,
    here: Here<'a>,
    local: &str,
    domain: Option<&Domain>,
) -> Option<&'a DomainName> {
    // A host that receives nothing has no use for its own name: it is as good as a bare one.
    let bare = domain.is_none() || !rules.local_mailboxes;
    let new = is_own(here, domain).then_some(match &rules.qualify {
        Qualify::Domain(domain) if bare => domain,
        Qualify::Domain(_) | Qualify::OwnHost => here.hostname,
    })?;
    note_domain(here, Rule::Qualify, local, domain, new);
    Some(new)
}

/// The recipient with the domain that it leaves this host with.
pub(crate) fn qualified(rules: &Rules, here: Here<'_>, address: Address) -> Address {
    match recipient_domain(rules, here, address.local(), address.domain()) {
        Some(domain) => address.with_domain(Some(Domain::Name(domain.clone()))),
        None => address,
    }
}

fn is_own(here: Here<'_>, domain: Option<&Domain>) -> bool {
    domain.is_none_or(|domain| here.is_own_host(domain))
}

/// `EXPOSED_USER`
fn is_exposed(masquerade: &Masquerade, local: &str) -> bool {
    !masquerade.exposed_users.is_empty() && masquerade.exposed_users.contains(&local.to_ascii_lowercase())
}

/// Class w, and `MASQUERADE_DOMAIN`: these names, or with `masquerade_entire_domain` all below them too. A virtual
/// domain is somebody else's name, and `MASQUERADE_EXCEPTION` takes its hosts along.
fn masqueraded_by(rules: &Rules, here: Here<'_>, masquerade: &Masquerade, domain: &Domain) -> Option<Rule> {
    let excepted =
        |name: &DomainName| masquerade.exceptions.iter().any(|exception| name.is_within(exception));
    if is_virtual(rules, domain) || domain.name().is_some_and(excepted) {
        return None;
    }
    let own = match masquerade.limited {
        true => here.is_own_host(domain),
        false => here.is_local(rules, domain),
    };
    if own {
        return Some(Rule::Masquerade);
    }
    let name = domain.name()?;
    let listed = match masquerade.whole_domain {
        true => masquerade.domains.iter().find(|listed| name.is_within(listed)),
        false => masquerade.domains.get(name),
    };
    listed.map(|listed| Rule::MasqueradeDomain(listed.clone()))
}
