//! The notice of a job: whom it goes to, and that it goes to somebody who is there.

use std::net::{IpAddr, Ipv4Addr};

use mailstack_policy::{Client, Expanded, Here, RecipientVerdict, Refusal, Route, Target};
use mailstack_runtime::Privacy;
use mailstack_smtp::address::Address;

use super::manager::{Context, Ending, fate, now, random};
use super::remote::Verdict;
use crate::bounce::{self, Action, Addressee, Cause, Fate, MAX_RETURNED, Original, Reader, Reporter, Stamp};
use crate::message::Ret;
use crate::queue::Job;
use crate::spool::Notice;

/// Who is asked for in turn where a report has no other reader.
const POSTMASTERS: [&str; 2] = ["postmaster", "root"];

/// Somebody is to be told, and nobody can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nobody;

impl Nobody {
    /// Keeps what failed and would be gone without a word to anybody. What was delivered is.
    pub(super) fn keep(self, job: &Job, endings: &mut [Ending]) {
        for (due, ending) in job.recipients.iter().zip(endings) {
            if let Ending::Verdict(Verdict::Failed(cause)) = ending
                && bounce::is_wanted(&due.recipient, Action::Failed)
            {
                let text = format!(
                    "neither sender nor postmaster can be told: give postmaster an alias and restart \
                     mailstack; it failed: {cause}"
                );
                *ending = Ending::Held(Cause::here("4.3.5", text));
            }
        }
    }
}

/// Writes the one notice about all recipients of a job that is to be sent, if any is.
/// Errors: it is to be sent, and nobody is there whom it could go to.
pub(super) async fn write(
    context: &Context,
    job: &Job,
    endings: &[Ending],
) -> Result<Option<Notice>, Nobody> {
    let fates: Vec<Fate<'_>> = job
        .recipients
        .iter()
        .zip(endings)
        .filter_map(|(due, ending)| {
            let (action, cause) = fate(ending)?;
            let recipient = &due.recipient;
            bounce::is_wanted(recipient, action).then_some(Fate { recipient, action, cause })
        })
        .collect();
    let Some(addressee) = bounce::addressee(&job.envelope.sender, &fates) else { return Ok(None) };
    // A damaged body must not keep the sender from being told.
    let octets = job.body.beginning(MAX_RETURNED + 1).await.unwrap_or_default();
    let mut envelope = job.envelope.as_ref().clone();
    if context.config.privacy.contains(&Privacy::Nobodyreturn) {
        envelope.ret = Some(Ret::Headers);
    }
    let original = Original { envelope: &envelope, octets: &octets };
    compose(context, addressee, &original, &fates).map(Some).ok_or(Nobody)
}

fn compose(
    context: &Context,
    addressee: Addressee,
    original: &Original<'_>,
    fates: &[Fate<'_>],
) -> Option<Notice> {
    let stamp = Stamp { now: now(), random: random() };
    let render = |address, is_postmaster| {
        let reader = Reader { address, is_postmaster };
        bounce::render(&reporter(context), stamp, reader, original, fates)
    };
    if let Addressee::Sender(sender) = addressee
        && let Some(to) = mailboxes(context, &sender)
    {
        let octets = render(&sender, false);
        return Some(Notice { envelope: bounce::sender_notice(to, stamp.now, &octets), octets });
    }
    let (postmaster, to) = postmaster(context)?;
    let octets = render(&postmaster, true);
    Some(Notice { envelope: bounce::postmaster_notice(to, stamp.now, &octets), octets })
}

fn reporter(context: &Context) -> Reporter {
    let hostname = context.hostname.clone();
    let masquerade = context.config.rules.masquerade.as_ref();
    let domain = masquerade.map_or_else(|| hostname.clone(), |masquerade| masquerade.domain.clone());
    Reporter { hostname, domain }
}

fn postmaster(context: &Context) -> Option<(Address, Vec<Expanded>)> {
    POSTMASTERS.iter().find_map(|name| {
        let address = Address::new(*name, None).ok()?;
        let to = mailboxes(context, &address)?;
        Some((to.first().map_or(address, |first| first.address.clone()), to))
    })
}

/// What an address stands for here, aliases expanded; None where nobody is behind it.
fn mailboxes(context: &Context, address: &Address) -> Option<Vec<Expanded>> {
    // As a client that may send anywhere, yet is told of who is not there.
    let client = Client::Network { addr: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let here = Here::named(&context.hostname);
    let exists = |name: &str| may_exist(context, name);
    match mailstack_policy::recipient(&context.config.rules, here, &client, address, &exists) {
        // Postmaster is always taken, and root need not exist.
        RecipientVerdict::Deliver(to) => to.iter().any(|one| is_there(context, one)).then_some(to),
        RecipientVerdict::Refuse(_) => None,
    }
}

/// Whether mail for an address goes anywhere, as far as this host knows.
fn is_there(context: &Context, one: &Expanded) -> bool {
    if matches!(one.target, Target::List(_) | Target::Program(_) | Target::File(_)) {
        return true;
    }
    match context.route(&one.address, &one.target) {
        Route::Local { user } => may_exist(context, &user),
        Route::Fail(_) => false,
        _ => true,
    }
}

/// While the users cannot be read everybody may be there: the notice waits, and does not go to somebody else.
fn may_exist(context: &Context, name: &str) -> bool {
    !matches!(context.users.by_name(name), Ok(None))
}

/// Why the policy has nowhere to send a recipient, in the words of a report.
pub(super) fn refusal(refusal: &Refusal) -> Cause {
    let (status, text) = match refusal {
        Refusal::MailerError { enhanced, text, .. } | Refusal::Access { enhanced, text, .. } => {
            return Cause::here(enhanced, text);
        }
        Refusal::RelayingDenied => ("5.7.1", "relaying denied"),
        Refusal::UserUnknown => ("5.1.1", "user unknown"),
        Refusal::BadAddress(_) => ("5.1.3", "the address cannot be read"),
        Refusal::NotAMailbox(_) => ("5.7.1", "that is no mailbox"),
        Refusal::AliasLoop => ("5.4.6", "the aliases lead back to where they began"),
        Refusal::SenderUnqualified | Refusal::SenderNotReal => ("5.5.4", "the sender is not acceptable"),
        Refusal::NoRoute => ("5.3.5", "this host has neither mailboxes nor a mail host"),
    };
    Cause::here(status, text)
}
