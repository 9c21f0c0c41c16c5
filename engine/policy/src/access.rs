//! The access table: who may connect, send, be sent to, and relay (`/etc/mail/access`).
//!
//! Owns: what an entry is keyed by, and which entry decides, in the order of Sendmail's rulesets LookUpDomain,
//! LookUpAddress and SearchList: the tag before none, the longer key before the shorter. What follows from an entry is
//! for the server.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use mailstack_smtp::address::{Address, DomainName};
use serde::{Deserialize, Serialize};

use crate::decision::{Here, Refusal};
use crate::interpret::{Meaning, hidden, interpret};
use crate::rules::Rules;
use crate::why::Rule;

/// The entries of a table.
pub type Access = BTreeMap<AccessKey, Action>;

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// May relay.
    Relay,
    /// Is taken, whatever else is checked; never permits relaying.
    Ok,
    /// Is refused, in Sendmail's words.
    Reject,
    /// Is taken, and the whole message thrown away.
    Discard,
    /// Is refused in these words (`ERROR:5.7.1:550 text`).
    Error {
        /// The reply code, 400 to 599.
        code: u16,
        /// The enhanced status code, `5.7.1`.
        enhanced: String,
        /// The text behind the codes.
        text: String,
    },
}

/// What an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The client.
    Connect,
    /// The envelope sender.
    From,
    /// The recipient.
    To,
}

impl Tag {
    /// As a key spells it, without the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Tag::Connect => "Connect",
            Tag::From => "From",
            Tag::To => "To",
        }
    }

    fn find(text: &str) -> Option<Self> {
        [Tag::Connect, Tag::From, Tag::To].into_iter().find(|tag| tag.as_str().eq_ignore_ascii_case(text))
    }
}

/// What an entry is keyed by: `Connect:192.0.2.0/24`, `From:user@far.example`, `far.example`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccessKey {
    /// What it is about; None: clients, senders and recipients. A network always has one.
    pub tag: Option<Tag>,
    /// Which of them.
    pub subject: Subject,
}

/// Which clients, senders or recipients.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Clients of a network.
    Network(IpNet),
    /// A domain or host, and all below it.
    Domain(DomainName),
    /// A user of any domain (of recipients: of this host's), `user@`; lower case.
    User(String),
    /// One mailbox; the user in lower case. `user+*` is the user with any detail.
    Mailbox(String, DomainName),
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessKeyError {
    /// Something with a colon that is no tag.
    #[error("the tags are Connect:, From: and To:")]
    Tag,
    /// `192.168`: Sendmail's form of a network.
    #[error("a network is written as 192.168.0.0/16")]
    Prefix,
    /// A network with bits set beyond its prefix.
    #[error("the network has bits set beyond its prefix")]
    HostBits,
    /// A sender or recipient is no network.
    #[error("only clients (Connect:) are keyed by network")]
    NetworkOfMail,
    /// A client is no mailbox.
    #[error("clients (Connect:) are keyed by network, host or domain, not by user")]
    UserOfClient,
    /// Not a domain name.
    #[error("it is not an address, a network, a domain, `user@` or `user@domain`")]
    Subject,
    /// Not the local part of an address that a table can hold.
    #[error("a user is letters, digits and ._+-, with `+*` for any detail")]
    User,
}

impl FromStr for AccessKey {
    type Err = AccessKeyError;

    fn from_str(text: &str) -> Result<Self, AccessKeyError> {
        let tagged = text.split_once(':').and_then(|(tag, rest)| Some((Tag::find(tag)?, rest)));
        let (tag, rest) = tagged.map_or((None, text), |(tag, rest)| (Some(tag), rest));
        if let Some(network) = network(rest)? {
            return match tag {
                None | Some(Tag::Connect) => Ok(Self { tag: Some(Tag::Connect), subject: network }),
                Some(_) => Err(AccessKeyError::NetworkOfMail),
            };
        }
        let subject = match rest.rsplit_once('@') {
            Some(_) if tag == Some(Tag::Connect) => return Err(AccessKeyError::UserOfClient),
            Some((user, "")) => Subject::User(local_part(user)?),
            Some((user, domain)) => Subject::Mailbox(local_part(user)?, domain_name(domain)?),
            None => Subject::Domain(domain_name(rest)?),
        };
        Ok(Self { tag, subject })
    }
}

impl fmt::Display for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = self.tag {
            write!(f, "{}:", tag.as_str())?;
        }
        match &self.subject {
            Subject::Network(network) => network.fmt(f),
            Subject::Domain(domain) => domain.fmt(f),
            Subject::User(user) => write!(f, "{user}@"),
            Subject::Mailbox(user, domain) => write!(f, "{user}@{domain}"),
        }
    }
}

impl TryFrom<String> for AccessKey {
    type Error = AccessKeyError;

    fn try_from(text: String) -> Result<Self, AccessKeyError> {
        text.parse()
    }
}

impl From<AccessKey> for String {
    fn from(key: AccessKey) -> String {
        key.to_string()
    }
}

/// An address or a network; None for what looks like neither.
fn network(text: &str) -> Result<Option<Subject>, AccessKeyError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Some(Subject::Network(address.to_canonical().into())));
    }
    match text.parse::<IpNet>() {
        Ok(network) if network != network.trunc() => Err(AccessKeyError::HostBits),
        Ok(network) => Ok(Some(Subject::Network(network))),
        Err(_) if text.contains('/') => Err(AccessKeyError::Subject),
        Err(_) => Ok(None),
    }
}

fn domain_name(text: &str) -> Result<DomainName, AccessKeyError> {
    if text.contains(':') {
        return Err(AccessKeyError::Tag);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(AccessKeyError::Prefix);
    }
    text.parse().map_err(|_| AccessKeyError::Subject)
}

fn local_part(text: &str) -> Result<String, AccessKeyError> {
    if text.contains(':') {
        return Err(AccessKeyError::Tag);
    }
    let plain = text.strip_suffix("+*").unwrap_or(text);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let ok = (1..=64).contains(&plain.len()) && plain.bytes().all(allowed);
    if ok { Ok(text.to_ascii_lowercase()) } else { Err(AccessKeyError::User) }
}

static RELAY: Action = Action::Relay;

/// An entry that decides.
pub type Found<'a> = (AccessKey, &'a Action);

/// The entry for one key. Relay networks and domains are entries too.
fn entry(rules: &Rules, tag: Option<Tag>, subject: Subject) -> Option<Found<'_>> {
    let implied = match (tag, &subject) {
        (Some(Tag::Connect), Subject::Network(network)) => rules.relay_networks.contains(network),
        (Some(Tag::To), Subject::Domain(domain)) => rules.relay_domains.contains(domain),
        _ => false,
    };
    let key = AccessKey { tag, subject };
    let action = rules.access.get(&key).or(implied.then_some(&RELAY))?;
    Some((key, action))
}

/// The entry with the tag, else the one without.
fn either(rules: &Rules, tag: Tag, subject: Subject) -> Option<Found<'_>> {
    entry(rules, Some(tag), subject.clone()).or_else(|| entry(rules, None, subject))
}

/// LookUpDomain: the domain, then each domain above it.
fn by_domain<'a>(rules: &'a Rules, tag: Tag, domain: &DomainName) -> Option<Found<'a>> {
    let names = std::iter::successors(Some(domain.clone()), DomainName::parent);
    names.map(Subject::Domain).find_map(|subject| either(rules, tag, subject))
}

/// LookUpAddress: the longest prefix.
fn by_address(rules: &Rules, address: IpAddr) -> Option<Found<'_>> {
    let address = address.to_canonical();
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let networks = (0..=longest).rev().filter_map(|length| IpNet::new(address, length).ok());
    networks
        .map(|network| Subject::Network(network.trunc()))
        .find_map(|s| entry(rules, Some(Tag::Connect), s))
}

/// LookUpFull and LookUpUser: as it is, then with any detail, then without it.
fn by_user<'a>(
    rules: &'a Rules,
    tag: Tag,
    user: &str,
    subject: impl Fn(String) -> Subject,
) -> Option<Found<'a>> {
    let user = user.to_ascii_lowercase();
    let whole = either(rules, tag, subject(user.clone()));
    whole.or_else(|| {
        let (base, _) = user.split_once('+')?;
        let any = either(rules, tag, subject(format!("{base}+*")));
        any.or_else(|| either(rules, tag, subject(base.to_owned())))
    })
}

/// The entry about a client: by its confirmed name, then by its address (ruleset check_relay).
pub fn connection<'a>(rules: &'a Rules, address: IpAddr, name: Option<&DomainName>) -> Option<&'a Action> {
    found_connection(rules, address, name).map(|(_, action)| action)
}

/// The same, with its key.
pub fn found_connection<'a>(
    rules: &'a Rules,
    address: IpAddr,
    name: Option<&DomainName>,
) -> Option<Found<'a>> {
    let named = name.and_then(|name| by_domain(rules, Tag::Connect, name));
    named.or_else(|| by_address(rules, address))
}

/// What an entry refuses, where it does; `DISCARD` takes the message and throws it away.
pub fn refusal(action: &Action, tag: Tag) -> Option<Refusal> {
    let (code, enhanced, text) = match action {
        Action::Relay | Action::Ok => return None,
        Action::Reject if tag == Tag::To => (550, "5.2.1", "Mailbox disabled for this recipient"),
        Action::Reject => (550, "5.7.1", "Access denied"),
        Action::Discard => (250, "2.0.0", "taken and thrown away"),
        Action::Error { code, enhanced, text } => (*code, enhanced.as_str(), text.as_str()),
    };
    Some(Refusal::Access { code, enhanced: enhanced.to_owned(), text: text.to_owned() })
}

/// The rule by which the address alone lets a client relay.
pub(crate) fn relays_for_address(rules: &Rules, address: IpAddr) -> Option<Rule> {
    by_address(rules, address).and_then(|found| relaying(rules, found))
}

/// The rule by which mail for this domain is relayed from anywhere.
pub(crate) fn relays_to(rules: &Rules, domain: &DomainName) -> Option<Rule> {
    by_domain(rules, Tag::To, domain).and_then(|found| relaying(rules, found))
}

fn relaying(rules: &Rules, (key, action): Found<'_>) -> Option<Rule> {
    if *action != Action::Relay {
        return None;
    }
    Some(match key.subject {
        Subject::Network(network) if rules.relay_networks.contains(&network) => Rule::RelayNetwork(network),
        Subject::Domain(domain) if rules.relay_domains.contains(&domain) => Rule::RelayDomain(domain),
        subject => Rule::Access(AccessKey { subject, ..key }),
    })
}

/// Whether an entry is keyed by the name of a client, so that the name must be known before the client is answered.
pub fn asks_for_names(rules: &Rules) -> bool {
    let named = |key: &AccessKey| {
        !matches!(key.tag, Some(Tag::From | Tag::To)) && matches!(key.subject, Subject::Domain(_))
    };
    rules.access.keys().any(named)
}

/// The entry about an envelope sender (ruleset check_mail).
pub fn sender<'a>(rules: &'a Rules, from: &Address) -> Option<&'a Action> {
    found_sender(rules, from).map(|(_, action)| action)
}

/// The same, with its key.
pub fn found_sender<'a>(rules: &'a Rules, from: &Address) -> Option<Found<'a>> {
    let user = || by_user(rules, Tag::From, from.local(), Subject::User);
    match from.domain_name() {
        Some(domain) => mailbox(rules, Tag::From, from.local(), domain)
            .or_else(user)
            .or_else(|| by_domain(rules, Tag::From, domain)),
        None => user(),
    }
}

/// The entry about a recipient, once the names that this host takes off an address are off (ruleset Rcpt_ok with
/// `FEATURE(blocklist_recipients)`). `user@` is about users of this host alone.
pub fn recipient<'a>(rules: &'a Rules, here: Here<'_>, to: &Address) -> Option<&'a Action> {
    found_recipient(rules, here, to).map(|(_, action)| action)
}

/// The same, with its key.
pub fn found_recipient<'a>(rules: &'a Rules, here: Here<'_>, to: &Address) -> Option<Found<'a>> {
    // What cannot be read is refused elsewhere.
    let (address, is_here) = stripped(rules, here, to)?;
    let user = || is_here.then(|| by_user(rules, Tag::To, address.local(), Subject::User)).flatten();
    match address.domain_name() {
        Some(domain) => mailbox(rules, Tag::To, address.local(), domain)
            .or_else(user)
            .or_else(|| by_domain(rules, Tag::To, domain)),
        None => user(),
    }
}

fn mailbox<'a>(rules: &'a Rules, tag: Tag, user: &str, domain: &DomainName) -> Option<Found<'a>> {
    by_user(rules, tag, user, |user| Subject::Mailbox(user, domain.clone()))
}

/// Ruleset ParseRecipient: while the domain is one that is relayed for, what the local part hides is the address.
fn stripped(rules: &Rules, here: Here<'_>, to: &Address) -> Option<(Address, bool)> {
    let mut address = to.clone();
    loop {
        address = match interpret(rules, here, &address).ok()? {
            Meaning::Here(address) => return Some((address, true)),
            Meaning::Away(address) => address,
        };
        match hidden(address.local()).ok()? {
            Some(inner) if address.domain_name().and_then(|domain| relays_to(rules, domain)).is_some() => {
                address = inner
            }
            _ => return Some((address, false)),
        }
    }
}

/// The networks whose clients may relay: those of `relay` and those of the table.
pub fn relaying_networks(rules: &Rules) -> impl Iterator<Item = &IpNet> {
    let listed = rules.access.iter().filter_map(|(key, action)| match (&key.subject, action) {
        (Subject::Network(network), Action::Relay) => Some(network),
        _ => None,
    });
    rules.relay_networks.iter().chain(listed)
}
