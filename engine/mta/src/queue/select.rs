//! Which messages, and which of their recipients, somebody means.
//!
//! Owns: what a selection says and how it is read. Pure; must not know who asks, nor why.

use serde::{Deserialize, Serialize};

use super::Listed;
use crate::message::{QueueId, Timestamp};

/// A selection: what is said must all be so; what is not said may be anything. Patterns are read without regard to
/// case, `*` stands for any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selector {
    /// One of these messages; empty: any.
    pub ids: Vec<QueueId>,
    /// The envelope sender: `user@domain`, `@domain`, `user` in any domain, `<>`; with `*` and no `@`, all of it.
    pub sender: Option<String>,
    /// A recipient, as it is or as it was before an alias.
    pub recipient: Option<String>,
    /// Where a recipient goes: `domain.example`, `[mail.example]`, `[192.0.2.1]`, each with `:port` where that is not
    /// 25; `local`.
    pub destination: Option<String>,
    /// Accepted at least so many seconds ago.
    pub older_than: Option<u64>,
    /// Accepted less than so many seconds ago.
    pub younger_than: Option<u64>,
}

impl Selector {
    /// Whether it says nothing: everything is meant.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// The places of the recipients of a message that are meant and not done. None: the message is not.
    pub fn choose(&self, now: Timestamp, message: &Listed) -> Option<Vec<u32>> {
        let age = now.0.saturating_sub(message.arrived.0) / 1000;
        let is_meant = (self.ids.is_empty() || self.ids.contains(&message.id))
            && self.sender.as_ref().is_none_or(|pattern| is_address(pattern, &message.sender.to_string()))
            && self.older_than.is_none_or(|least| age >= least)
            && self.younger_than.is_none_or(|most| age < most);
        if !is_meant {
            return None;
        }
        let chosen = (0..).zip(&message.recipients).filter(|(_, recipient)| self.means(recipient));
        let chosen: Vec<u32> = chosen.map(|(index, _)| index).collect();
        (!chosen.is_empty()).then_some(chosen)
    }

    fn means(&self, recipient: &super::ListedRecipient) -> bool {
        let is_named = |pattern: &String| {
            let before = recipient.expanded_from.as_ref().map(ToString::to_string);
            is_address(pattern, &recipient.address.to_string())
                || before.is_some_and(|before| is_address(pattern, &before))
        };
        recipient.standing != crate::spool::Standing::Done
            && self.recipient.as_ref().is_none_or(is_named)
            && self.destination.as_ref().is_none_or(|pattern| {
                let destination = recipient.destination.to_string();
                destination.split(", ").any(|host| is_like(pattern, host)) || is_like(pattern, &destination)
            })
    }
}

fn is_address(pattern: &str, address: &str) -> bool {
    let bare = |text: &str| text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).map(str::to_owned);
    let (pattern, address) = (
        bare(pattern).unwrap_or_else(|| pattern.to_owned()),
        bare(address).unwrap_or_else(|| address.to_owned()),
    );
    match pattern.rfind('@') {
        Some(0) => address.rfind('@').is_some_and(|at| is_like(&pattern, &address[at..])),
        Some(_) => is_like(&pattern, &address),
        None if pattern.is_empty() => address.is_empty(),
        None if pattern.contains('*') => is_like(&pattern, &address),
        None => is_like(&pattern, &address[..address.rfind('@').unwrap_or(address.len())]),
    }
}

/// Whether a text is as a pattern says.
fn is_like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Timestamp;
    use crate::queue::{Destination, ListedRecipient};
    use crate::spool::Standing;

    #[test]
    fn patterns_of_addresses() {
        for (pattern, address, is) in [
            ("ada@corp.example", "Ada@CORP.example", true),
            ("ada@corp.example", "ada@corp.example.net", false),
            ("@corp.example", "ada@corp.example", true),
            ("@corp.example", "ada@mail.corp.example", false),
            ("@*.corp.example", "ada@mail.corp.example", true),
            ("ada", "ada@far.example", true),
            ("ada", "ada", true),
            ("ada", "adam@far.example", false),
            ("*bulk*@far.example", "news-bulk-7@far.example", true),
            ("a*a", "a", false),
            ("<>", "<>", true),
            ("<>", "<ada@corp.example>", false),
            ("*", "<>", true),
            ("*far*", "ada@far.example", true),
            ("ada", "<>", false),
            ("*", "ada@corp.example", true),
        ] {
            assert_eq!(is_address(pattern, address), is, "{pattern} {address}");
        }
    }

    fn to(address: &str, destination: Destination, standing: Standing) -> ListedRecipient {
        ListedRecipient {
            address: address.parse().unwrap(),
            expanded_from: Some("staff".parse().unwrap()),
            orcpt: None,
            notify: None,
            destination,
            standing,
            active: false,
            held: false,
        }
    }

    #[test]
    fn what_is_said_must_all_be_so_and_what_is_done_is_not_meant() {
        let far = || Destination::Mx("far.example".parse().unwrap());
        let message = Listed {
            id: QueueId(7),
            sender: mailstack_policy::ReversePath::Null,
            size: 1,
            arrived: Timestamp(1_000_000),
            held: false,
            held_because: None,
            is_importing: false,
            uid: None,
            recipients: vec![
                to("a@far.example", far(), Standing::Done),
                to("b@far.example", far(), Standing::Fresh),
                to("c", Destination::Local, Standing::Fresh),
            ],
        };
        let now = Timestamp(1_000_000 + 3_600_000);
        let said = |change: fn(&mut Selector)| {
            let mut selector = Selector::default();
            change(&mut selector);
            selector.choose(now, &message)
        };
        assert_eq!(said(|_| ()), Some(vec![1, 2]));
        assert_eq!(said(|s| s.ids = vec![QueueId(8)]), None);
        assert_eq!(said(|s| s.ids = vec![QueueId(8), QueueId(7)]), Some(vec![1, 2]));
        assert_eq!(said(|s| s.recipient = Some("staff".into())), Some(vec![1, 2]));
        assert_eq!(said(|s| s.recipient = Some("a@far.example".into())), None);
        assert_eq!(said(|s| s.destination = Some("far.example".into())), Some(vec![1]));
        assert_eq!(said(|s| s.destination = Some("LOCAL".into())), Some(vec![2]));
        assert_eq!(said(|s| s.older_than = Some(3600)), Some(vec![1, 2]));
        assert_eq!(said(|s| s.older_than = Some(3601)), None);
        assert_eq!(said(|s| s.younger_than = Some(3600)), None);
        let both = |s: &mut Selector| (s.sender, s.destination) = (Some("<>".into()), Some("local".into()));
        assert_eq!(said(both), Some(vec![2]));
    }
}
