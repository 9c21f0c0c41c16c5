//! Senders: which are taken, and in what domain they appear (qualification and masquerading).

use mailstack_smtp::address::{Address, Domain, DomainName, ReversePath};

use crate::decision::{Client, Here, Refusal};
use crate::rules::{Masquerade, Qualify, Rules};

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
    if let Client::Network { addr } = client {
        check_network_sender(address, addr.to_canonical().is_loopback())?;
    }
    let masquerade = rules.masquerade.as_ref().filter(|masquerade| masquerade.envelope);
    let domain = sender_domain(rules, here, masquerade, address.local(), address.domain());
    Ok(ReversePath::Address(match domain {
        Some(domain) => address.with_domain(Some(Domain::Name(domain.clone()))),
        None => address.clone(),
    }))
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
pub(crate) fn sender_domain<'a>(
    rules: &'a Rules,
    here: Here<'a>,
    masquerade: Option<&'a Masquerade>,
    local: &str,
    domain: Option<&Domain>,
) -> Option<&'a DomainName> {
    match masquerade.filter(|masquerade| !is_exposed(masquerade, local)) {
        Some(masquerade) => match domain {
            Some(domain) if !is_masqueraded(rules, here, masquerade, domain) => None,
            _ => Some(&masquerade.domain),
        },
        // A user left as he is, or a place that is: the name of the host, not the one it hides behind.
        None if rules.masquerade.is_some() => is_own(here, domain).then_some(here.hostname),
        None => recipient_domain(rules, here, domain),
    }
}

/// The domain that a bare or own-host recipient gets, in the envelope or a header; None: the one it has.
pub(crate) fn recipient_domain<'a>(
    rules: &'a Rules,
    here: Here<'a>,
    domain: Option<&Domain>,
) -> Option<&'a DomainName> {
    // A host that receives nothing has no use for its own name: it is as good as a bare one.
    let bare = domain.is_none() || !rules.local_mailboxes;
    is_own(here, domain).then_some(match &rules.qualify {
        Qualify::Domain(domain) if bare => domain,
        Qualify::Domain(_) | Qualify::OwnHost => here.hostname,
    })
}

/// The recipient with the domain that it leaves this host with.
pub(crate) fn qualified(rules: &Rules, here: Here<'_>, address: Address) -> Address {
    match recipient_domain(rules, here, address.domain()) {
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

/// Class w, and `MASQUERADE_DOMAIN`: these names, or with `masquerade_entire_domain` all below them too.
fn is_masqueraded(rules: &Rules, here: Here<'_>, masquerade: &Masquerade, domain: &Domain) -> bool {
    let listed = |name: &DomainName| match masquerade.whole_domain {
        true => masquerade.domains.iter().any(|listed| name.is_within(listed)),
        false => masquerade.domains.contains(name),
    };
    here.is_local(rules, domain) || domain.name().is_some_and(listed)
}
