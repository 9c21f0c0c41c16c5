//! The part of a notice that people read, and what a status means to somebody who is not an expert.

use std::fmt::Write;

use super::{Action, Fate, Original, Reader, Reporter, Said};
use crate::message::Origin;

/// Meanings by RFC 3463 subject and detail; the first that the status begins with counts.
const MEANINGS: &[(&str, &str)] = &[
    ("1.10", "That domain takes no mail at all."),
    ("1.1", "There is no mailbox of that name. Check the part before the @."),
    ("1.2", "That domain cannot be found. Check the part after the @."),
    ("1.", "There is something wrong with the address. Check how it is written."),
    ("2.2", "The mailbox is full. Its owner has to make room."),
    ("2.3", "The message is larger than that mailbox takes."),
    ("2.", "The mailbox exists but cannot take mail now. Its owner or its postmaster has to act."),
    ("3.4", "The message is larger than that host takes."),
    ("4.6", "The message went in a circle. The postmaster has to correct the way it is sent."),
    ("4.7", "It was tried again and again, but could not be delivered in time."),
    ("4.", "That host could not be reached."),
    ("6.", "The contents of the message were not acceptable there."),
    ("7.", "It was refused by a rule of that host: who may send what to whom."),
];

/// The whole text, lines ended by CRLF.
pub(super) fn text(
    reporter: &Reporter,
    reader: Reader<'_>,
    original: &Original<'_>,
    fates: &[Fate<'_>],
    returned: bool,
) -> String {
    let mut text = format!("This is the mail system of {}.\n\n", reporter.hostname);
    text.push_str(opening(reader, fates));
    for fate in fates {
        let _ = writeln!(text, "\n{}", one(fate).trim_end());
    }
    let _ = writeln!(
        text,
        "\nThe message was received here on {}{}.",
        super::render::date(original.envelope.arrived),
        source(&original.envelope.origin)
    );
    text.push_str("A report for programs follows, and then ");
    text.push_str(if returned { "the message itself.\n" } else { "the header of the message.\n" });
    let _ = writeln!(text, "For help write to postmaster@{}, and include this report.", reporter.domain);
    text.replace('\n', "\r\n")
}

fn opening(reader: Reader<'_>, fates: &[Fate<'_>]) -> &'static str {
    if !fates.iter().any(|fate| fate.action == Action::Failed) {
        return "Your message was delivered, as you asked to be told:\n";
    }
    match reader.is_postmaster {
        false => "Your message could not be delivered to everybody. It will not be tried again for:\n",
        true => {
            "A message could not be delivered, and its sender could not be told.\n\
             You get this as the postmaster; nobody else is told. It was for:\n"
        }
    }
}

fn one(fate: &Fate<'_>) -> String {
    let mut text = format!("  <{}>\n", fate.recipient.address);
    if let Some(alias) = &fate.recipient.expanded_from {
        let _ = writeln!(text, "    (expanded from <{alias}>)");
    }
    let verb = match fate.action {
        Action::Failed => "refused it",
        Action::Delivered | Action::Relayed => "took it",
    };
    let _ = match &fate.cause.said {
        Said::Reply { peer, command, text: said } => {
            writeln!(text, "    {peer} {verb}, in reply to {command}:\n    {said}")
        }
        Said::Here { peer: Some(peer), text: said } => writeln!(text, "    {peer}:\n    {said}"),
        Said::Here { peer: None, text: said } => writeln!(text, "    {said}"),
    };
    if let Some(meaning) = meaning(fate) {
        let _ = writeln!(text, "    {meaning}");
    }
    text
}

fn meaning(fate: &Fate<'_>) -> Option<&'static str> {
    let rest = fate.cause.status.get(2..).filter(|_| fate.action == Action::Failed)?;
    let matches = |prefix: &str| rest == prefix || (prefix.ends_with('.') && rest.starts_with(prefix));
    MEANINGS.iter().find(|(prefix, _)| matches(prefix)).map(|(_, meaning)| *meaning)
}

fn source(origin: &Origin) -> String {
    match origin {
        Origin::Network { peer, hello } => format!(", from {hello} [{peer}]"),
        Origin::Local { .. } => ", from a program of this host".to_owned(),
        Origin::Bounce => ", written by this mail system".to_owned(),
    }
}
