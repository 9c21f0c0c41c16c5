//! VRFY and EXPN, where privacy flags leave them.

use mailstack_policy::{Expanded, RecipientVerdict};
use mailstack_runtime::Privacy;
use mailstack_smtp::address::Address;
use mailstack_smtp::command::CommandError;
use mailstack_smtp::reply::{Enhanced, Reply};
use mailstack_smtp::server::Answer;

use super::message::Arrival;
use super::{Shared, words};

/// The most mailboxes that EXPN tells of.
const MOST: usize = 100;

impl Shared {
    /// The answer to VRFY: who is meant, each alias as it is.
    pub(super) fn verify(&self, arrival: &Arrival, who: &str) -> Answer {
        match self.is(Privacy::Novrfy) {
            true => Answer::Accept,
            false => Answer::Reply(self.meant(arrival, who, false)),
        }
    }

    /// The answer to EXPN: whom mail for an alias goes to.
    pub(super) fn expand(&self, arrival: &Arrival, who: &str) -> Answer {
        match self.is(Privacy::Noexpn) {
            true => Answer::Accept,
            false => Answer::Reply(self.meant(arrival, who, true)),
        }
    }

    fn meant(&self, arrival: &Arrival, who: &str, expanded: bool) -> Reply {
        let text = who.trim().trim_start_matches('<').trim_end_matches('>');
        if text.is_empty() {
            return CommandError::NoArgument.reply();
        }
        let Ok(address) = text.parse::<Address>() else {
            return Reply::new(501, Some(Enhanced(5, 5, 2)), format!("{text}... is no address"));
        };
        match self.recipient(&arrival.client, &address) {
            Err(reply) => reply,
            Ok(RecipientVerdict::Refuse(refusal)) => words::refusal(&refusal, text),
            Ok(RecipientVerdict::Deliver(_)) if !expanded => mailboxes([self.at_home(&address)]),
            Ok(RecipientVerdict::Deliver(found)) => {
                mailboxes(found.into_iter().take(MOST).map(|Expanded { address, .. }| address))
            }
        }
    }

    fn at_home(&self, address: &Address) -> Address {
        let own = || mailstack_smtp::address::Domain::Name(self.hostname.clone());
        address.with_domain(Some(address.domain().cloned().unwrap_or_else(own)))
    }
}

fn mailboxes(found: impl IntoIterator<Item = Address>) -> Reply {
    let lines: Vec<String> = found.into_iter().map(|address| format!("<{address}>")).collect();
    Reply::new(250, Some(Enhanced(2, 1, 5)), lines.join("\n"))
}
