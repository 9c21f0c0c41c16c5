//! Whether a recipient is taken, and who it is in the end.

use mailstack_smtp::address::Address;

use crate::access;
use crate::alias::{self, Final};
use crate::decision::{Client, Expanded, Here, RecipientVerdict, Refusal, Target};
use crate::interpret::{Meaning, hidden, interpret};
use crate::route::mailertable;
use crate::rules::{Mailer, MailertableKey, Rules};
use crate::sender::qualified;
use crate::virtuser::{self, is_virtual};
use crate::why::Rule;

/// Decides about one recipient of a client, and expands it: aliases, and what a relay reads into an address.
/// `user_exists` tells whether this host has a user of that (lower-case) name; it is asked only where the host
/// has mailboxes.
pub fn recipient(
    rules: &Rules,
    here: Here<'_>,
    client: &Client,
    to: &Address,
    user_exists: &dyn Fn(&str) -> bool,
) -> RecipientVerdict {
    let resolved = resolve(rules, here, client, to, user_exists);
    if let Err(refusal) = &resolved {
        here.note_of(|| Rule::Refused(refusal.clone()), to);
    }
    match resolved {
        Ok(found) => RecipientVerdict::Deliver(marked(found, to)),
        Err(refusal) if is_returned(client, &refusal) => {
            here.note_of(|| Rule::Returned, to);
            let address = qualified(rules, here, to.clone());
            let target = match refusal {
                // The delivery helper may know users that are in no file.
                Refusal::UserUnknown if !to.domain().is_some_and(|domain| is_virtual(rules, domain)) => {
                    Target::Address
                }
                refusal => Target::Refused(refusal),
            };
            RecipientVerdict::Deliver(marked(vec![Final { address, target }], to))
        }
        Err(refusal) => RecipientVerdict::Refuse(refusal),
    }
}

/// Whether a recipient is taken although it will fail, to come back as a bounce. A program that hands mail in (cron,
/// say) seldom looks at what is refused: the message would be lost. What is no address cannot be returned.
fn is_returned(client: &Client, refusal: &Refusal) -> bool {
    matches!(client, Client::Local { .. }) && !matches!(refusal, Refusal::BadAddress(_))
}

fn marked(found: Vec<Final>, to: &Address) -> Vec<Expanded> {
    let mark = |Final { address, target }| {
        let expanded_from = (address != *to).then(|| to.clone());
        Expanded { address, expanded_from, target }
    };
    found.into_iter().map(mark).collect()
}

fn resolve(
    rules: &Rules,
    here: Here<'_>,
    client: &Client,
    to: &Address,
    user_exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<Final>, Refusal> {
    match interpret(rules, here, to)? {
        Meaning::Here(address) if rules.local_mailboxes => {
            // Sendmail's submission program gives a bare name the host's own, before any table is looked into.
            let address = match client {
                Client::Local { .. } if !rules.virtusertable.is_empty() => qualified(rules, here, address),
                _ => address,
            };
            match virtuser::follow(rules, here, Meaning::Here(address))? {
                Meaning::Here(address) => alias::expand(rules, here, address, user_exists),
                Meaning::Away(address) => away(rules, here, address, user_exists),
            }
        }
        Meaning::Here(address) if may_relay(rules, here, client, &address) => {
            Ok(vec![qualified(rules, here, address).into()])
        }
        Meaning::Here(_) => Err(Refusal::RelayingDenied),
        Meaning::Away(address) => {
            if !may_relay(rules, here, client, &address) {
                permit_foreign(rules, here, &address)?;
            }
            away(rules, here, address, user_exists)
        }
    }
}

fn may_relay(rules: &Rules, here: Here<'_>, client: &Client, address: &Address) -> bool {
    let by = client.relays_by(rules);
    let may = by.is_ok();
    here.note_of(|| by.unwrap_or_else(|rule| rule), address);
    may
}

/// Whether a client that may not relay may send to this address elsewhere: a relay domain, and then whatever the
/// local part hides must be permitted too, for the next hop may read it.
fn permit_foreign(rules: &Rules, here: Here<'_>, address: &Address) -> Result<(), Refusal> {
    let Some(rule) = address.domain_name().and_then(|name| access::relays_to(rules, name)) else {
        return Err(Refusal::RelayingDenied);
    };
    here.note_of(|| rule, address);
    match hidden(address.local())? {
        None => Ok(()),
        Some(inner) => match interpret(rules, here, &inner)? {
            Meaning::Here(_) => Ok(()),
            Meaning::Away(inner) => permit_foreign(rules, here, &inner),
        },
    }
}

/// What the `mailertable` makes of an address elsewhere before it is queued.
fn away(
    rules: &Rules,
    here: Here<'_>,
    address: Address,
    user_exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<Final>, Refusal> {
    let entry = address.domain_name().and_then(|name| mailertable(rules, name));
    match entry.as_ref().map(|(_, mailer)| *mailer) {
        Some(Mailer::Local { user }) if rules.local_mailboxes => {
            let name = user.as_deref().unwrap_or(address.local());
            let local = Address::new(name, None).map_err(|_| Refusal::UserUnknown)?;
            note_entry(here, entry, &address, &local);
            alias::expand(rules, here, local, user_exists)
        }
        Some(Mailer::Error { code, enhanced, text }) => {
            note_entry(here, entry, &address, &address);
            Err(Refusal::MailerError { code: *code, enhanced: enhanced.clone(), text: text.clone() })
        }
        Some(Mailer::Smtp { .. } | Mailer::Local { .. }) | None => Ok(vec![address.into()]),
    }
}

fn note_entry(here: Here<'_>, entry: Option<(MailertableKey, &Mailer)>, before: &Address, after: &Address) {
    if let Some((key, _)) = entry {
        here.note(|| Rule::Mailertable(key), before, after);
    }
}
