//! One transaction under way: what is still to be said, and what was said to whom.

use std::fmt;
use std::io::Write;

use super::{Extensions, Outcome, Stage, Transaction};
use crate::command::{RcptRequest, is_value};
use crate::reply::Reply;

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Progress {
    transaction: Transaction,
    /// Per recipient; None: no reply about it yet, or accepted at RCPT and nothing final.
    outcomes: Vec<Option<Outcome>>,
    /// Replies to RCPT that came.
    answered: usize,
}

impl Progress {
    pub(super) fn new(transaction: Transaction) -> Self {
        let outcomes = vec![None; transaction.recipients.len()];
        Self { transaction, outcomes, answered: 0 }
    }

    pub(super) fn write_mail(&self, offered: &Extensions, out: &mut Vec<u8>) {
        let Transaction { from, size, eight_bit, ret, envid, smtputf8, .. } = &self.transaction;
        push(out, format_args!("MAIL FROM:{from}"));
        if let Some(size) = size.filter(|_| offered.size) {
            push(out, format_args!(" SIZE={size}"));
        }
        if *eight_bit {
            push(out, format_args!(" BODY=8BITMIME"));
        }
        if *smtputf8 {
            push(out, format_args!(" SMTPUTF8"));
        }
        if let Some(ret) = ret.filter(|_| offered.dsn) {
            push(out, format_args!(" RET={}", ret.as_str()));
        }
        if let Some(envid) = envid.as_ref().filter(|envid| offered.dsn && is_value(envid)) {
            push(out, format_args!(" ENVID={envid}"));
        }
        push(out, format_args!("\r\n"));
    }

    pub(super) fn write_all_rcpt(&self, offered: &Extensions, out: &mut Vec<u8>) {
        self.transaction.recipients.iter().for_each(|recipient| write_rcpt(recipient, offered, out));
    }

    /// Writes RCPT for the next recipient that has no reply; false when there is none.
    pub(super) fn write_next_rcpt(&self, offered: &Extensions, out: &mut Vec<u8>) -> bool {
        let next = self.transaction.recipients.get(self.answered);
        next.map(|recipient| write_rcpt(recipient, offered, out)).is_some()
    }

    /// Takes the reply to the next RCPT; true if it was the last.
    pub(super) fn rcpt_reply(&mut self, reply: Reply) -> bool {
        if let Some(slot) = self.outcomes.get_mut(self.answered) {
            // Where MAIL was refused, that is the reason.
            if slot.is_none() && !reply.is_positive() {
                *slot = Some(Outcome::Refused { stage: Stage::Rcpt, reply });
            }
        }
        self.answered += 1;
        self.answered >= self.outcomes.len()
    }

    /// Whether some recipient is still to get the message.
    pub(super) fn any_open(&self) -> bool {
        self.outcomes.iter().any(Option::is_none)
    }

    /// Whether the message itself was refused, for somebody.
    pub(super) fn is_refused(&self) -> bool {
        let refused = |outcome: &Option<Outcome>| {
            matches!(outcome, Some(Outcome::Refused { stage: Stage::EndOfData, .. }))
        };
        self.outcomes.iter().any(refused)
    }

    /// Gives every open recipient the same outcome.
    pub(super) fn settle(&mut self, outcome: &Outcome) {
        self.outcomes.iter_mut().filter(|slot| slot.is_none()).for_each(|slot| *slot = Some(outcome.clone()));
    }

    /// Gives the first open recipient its outcome (RFC 2033 4.2: one reply per accepted recipient, in order).
    pub(super) fn settle_first(&mut self, outcome: Outcome) {
        if let Some(slot) = self.outcomes.iter_mut().find(|slot| slot.is_none()) {
            *slot = Some(outcome);
        }
    }

    /// The outcomes; a recipient that is still open has no answer to `stage`.
    pub(super) fn finish(self, stage: Stage) -> Vec<Outcome> {
        self.outcomes.into_iter().map(|slot| slot.unwrap_or(Outcome::NoAnswer { stage })).collect()
    }
}

fn write_rcpt(recipient: &RcptRequest, offered: &Extensions, out: &mut Vec<u8>) {
    push(out, format_args!("RCPT TO:<{}>", recipient.to));
    if let Some(notify) = recipient.notify.filter(|_| offered.dsn) {
        push(out, format_args!(" NOTIFY={notify}"));
    }
    if let Some(orcpt) = recipient.orcpt.as_ref().filter(|orcpt| offered.dsn && is_value(orcpt)) {
        push(out, format_args!(" ORCPT={orcpt}"));
    }
    push(out, format_args!("\r\n"));
}

/// Writing to a Vec does not fail.
fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
