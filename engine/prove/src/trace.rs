//! One message from one sender to one recipient, decision by decision, with the rules that took part in each.

use std::fmt::Display;
use std::net::IpAddr;

use mailstack_policy::access::{self, Found, Tag};
use mailstack_policy::header::fields;
use mailstack_policy::rules::Rules;
use mailstack_policy::{
    Address, Client, Expanded, Here, Notes, RecipientVerdict, Refusal, ReversePath, Route, Rule, Step,
    recipient, rewrite_header, route_target, sender,
};
use serde::Serialize;

/// What is asked: a message of one sender to one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Who hands it in.
    pub client: Client,
    /// The envelope sender, which `From:` names too.
    pub from: ReversePath,
    /// The envelope recipient, which `To:` names too.
    pub to: Address,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decided<T> {
    /// What was decided about.
    pub written: String,
    /// What was decided.
    pub result: T,
    /// The rules that took part, in order.
    pub steps: Vec<Step>,
}

/// All decisions about a message, in the order in which an MTA takes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// The envelope sender.
    pub sender: Decided<Result<ReversePath, Refusal>>,
    /// The envelope recipient, and what it expands to.
    pub recipient: Decided<Result<Vec<Expanded>, Refusal>>,
    /// Where each final recipient goes next.
    pub hops: Vec<Decided<Route>>,
    /// `From:`; None for the null sender.
    pub header_sender: Option<Decided<String>>,
    /// `To:`
    pub header_recipient: Decided<String>,
}

impl Trace {
    /// The first refusal of the envelope: what the client is answered.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.sender.result.as_ref().err().or(self.recipient.result.as_ref().err())
    }
}

/// Answers a question by the MTA's own decisions. `user_exists` as in [`recipient`].
pub fn trace(
    rules: &Rules,
    here: Here<'_>,
    question: &Question,
    user_exists: &dyn Fn(&str) -> bool,
) -> Trace {
    let Question { client, from, to } = question;
    let sender = noted(here, from, |here| {
        let listed = listed_sender(rules, client, from);
        check(here, from, listed, Tag::From).and_then(|()| sender(rules, here, client, from))
    });
    let recipient = noted(here, to, |here| {
        let listed = address_of(client).and_then(|_| access::found_recipient(rules, here, to));
        check(here, to, listed, Tag::To)?;
        match recipient(rules, here, client, to, user_exists) {
            RecipientVerdict::Deliver(found) => Ok(found),
            RecipientVerdict::Refuse(refusal) => Err(refusal),
        }
    });
    let found = recipient.result.as_deref().unwrap_or_default();
    let hop = |one: &Expanded| {
        noted(here, &one.address, |here| route_target(rules, here, &one.address, &one.target))
    };
    let hops = found.iter().map(hop).collect();
    let header = |name, address: &Address| noted(here, address, |here| rewritten(rules, here, name, address));
    let header_sender = from.address().map(|from| header("From", from));
    let header_recipient = header("To", to);
    Trace { sender, recipient, hops, header_sender, header_recipient }
}

/// The access entry about the client, by its address alone, or else about its sender.
fn listed_sender<'r>(rules: &'r Rules, client: &Client, from: &ReversePath) -> Option<Found<'r>> {
    let address = address_of(client)?;
    let of_client = access::found_connection(rules, address, None);
    // A client that is let in is not yet a sender who is.
    let of_client = of_client.filter(|(_, action)| access::refusal(action, Tag::Connect).is_some());
    of_client.or_else(|| from.address().and_then(|from| access::found_sender(rules, from)))
}

/// Programs of the host are not looked up.
fn address_of(client: &Client) -> Option<IpAddr> {
    match client {
        Client::Local { .. } => None,
        Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } => Some(*addr),
    }
}

fn check(here: Here<'_>, written: &impl Display, found: Option<Found<'_>>, tag: Tag) -> Result<(), Refusal> {
    match found.and_then(|(key, action)| Some((key, access::refusal(action, tag)?))) {
        Some((key, refusal)) => {
            here.note_rule(Rule::Access(key), written);
            Err(refusal)
        }
        None => Ok(()),
    }
}

fn noted<T>(here: Here<'_>, written: &impl ToString, decide: impl FnOnce(Here<'_>) -> T) -> Decided<T> {
    let notes = Notes::default();
    let result = decide(here.noting(&notes));
    Decided { written: written.to_string(), result, steps: notes.take() }
}

/// The address that a header field has when it leaves.
fn rewritten(rules: &Rules, here: Here<'_>, name: &str, address: &Address) -> String {
    let written = format!("{name}: {address}\r\n");
    let block = rewrite_header(rules, here, written.as_bytes());
    let body = fields(&block).next().map(|field| String::from_utf8_lossy(field.body).trim().to_owned());
    body.unwrap_or_else(|| address.to_string())
}
