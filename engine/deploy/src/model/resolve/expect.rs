//! What must become of messages.

use mailstack_policy::{Address, Client, ReversePath};
use mailstack_prove::expect::{Expectation, Hop, Outcome};
use mailstack_schema::host::expect::{Expectation as Written, Leaves, Outcome as WrittenOutcome, Refused};
use mailstack_schema::spans::{child, element};

use super::Faults;
use crate::model::fault::FaultKind;
use crate::model::parse;

/// The expectations, without those that have a fault.
pub(super) fn resolve(written: &[Written], faults: &mut Faults) -> Vec<Expectation> {
    let one = |(index, written)| expectation(&element("expect", index), written, faults);
    written.iter().enumerate().filter_map(one).collect()
}

fn expectation(path: &str, written: &Written, faults: &mut Faults) -> Option<Expectation> {
    let at = |key| child(path, key);
    let client = written.client.as_deref().unwrap_or("local");
    let client = faults.keep(&at("client"), self::client(client));
    let from = match (written.from.as_deref(), client) {
        (Some(text), _) => faults.keep(&at("from"), sender(text)),
        (None, Some(Client::Local { .. })) => faults.keep(&at("from"), sender("root")),
        (None, _) => Some(ReversePath::Null),
    };
    let to = faults.keep(&at("to"), address(&written.to));
    let outcome = match &written.outcome {
        WrittenOutcome::Leaves(leaves) => self::leaves(&at("leaves"), leaves, faults),
        WrittenOutcome::Delivered(user) => {
            faults.keep(&at("delivered"), parse::user(user)).map(|user| Outcome::Delivered { user })
        }
        WrittenOutcome::Refused(refused) => faults.keep(&at("refused"), self::refused(refused)),
    };
    Some(Expectation { client: client?, from: from?, to: to?, outcome: outcome? })
}

fn client(text: &str) -> Result<Client, FaultKind> {
    match text {
        "local" => Ok(Client::Local { uid: 0 }),
        _ => match text.parse() {
            Ok(addr) => Ok(Client::Network { addr }),
            Err(_) => Err(FaultKind::ExpectedClient { text: text.to_owned() }),
        },
    }
}

fn address(text: &str) -> Result<Address, FaultKind> {
    text.parse().map_err(|reason| FaultKind::Address { text: text.to_owned(), reason })
}

fn sender(text: &str) -> Result<ReversePath, FaultKind> {
    if text.is_empty() { Ok(ReversePath::Null) } else { address(text).map(ReversePath::Address) }
}

fn leaves(path: &str, written: &Leaves, faults: &mut Faults) -> Option<Outcome> {
    let hop = faults.keep(&child(path, "for"), parse::mail_host(&written.hop)).map(|hop| {
        // The port of SMTP stands for none.
        let written_port = written.hop.ends_with(&format!(":{}", hop.port));
        Hop { host: hop.host, port: written_port.then_some(hop.port) }
    });
    let from = written.sender.as_deref().map(|text| faults.keep(&child(path, "sender"), sender(text)));
    let to = written.recipient.as_deref().map(|text| faults.keep(&child(path, "recipient"), address(text)));
    // A part that is written and faulty leaves nothing to hold the rest against.
    let sender = match from {
        Some(sender) => Some(sender?),
        None => None,
    };
    let recipient = match to {
        Some(recipient) => Some(recipient?),
        None => None,
    };
    Some(Outcome::Leaves { hop: hop?, sender, recipient })
}

fn refused(written: &Refused) -> Result<Outcome, FaultKind> {
    let enhanced = written.enhanced.clone();
    match enhanced.as_deref() {
        Some(text) if !text.starts_with(&(written.code / 100).to_string()) => {
            Err(FaultKind::ExpectedCodes { code: written.code, enhanced: text.to_owned() })
        }
        _ => Ok(Outcome::Refused { code: written.code, enhanced }),
    }
}
