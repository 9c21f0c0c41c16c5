//! Words of the rules behind a decision: what each means, and the key of host.toml that it comes from.

use mailstack_deploy::build::role_name;
use mailstack_policy::{BadAddress, Refusal, Rule};
use mailstack_runtime::Role;
use mailstack_schema::profiles;
use mailstack_schema::spans::{child, element};
use serde::Serialize;

use crate::declaration::Declaration;
use crate::sources::Place;

/// The decision that a rule took part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// MAIL FROM.
    EnvelopeSender,
    /// RCPT TO.
    EnvelopeRecipient,
    /// Where a final recipient goes.
    NextHop,
    /// `From:`
    HeaderSender,
    /// `To:`
    HeaderRecipient,
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "origin")]
pub enum Origin {
    /// A key of the declaration.
    Declared {
        /// The key.
        key: String,
        /// Where it stands.
        #[serde(flatten)]
        place: Place,
    },
    /// A default of the role.
    Profile {
        /// The key.
        key: String,
        /// The role.
        role: &'static str,
    },
    /// Nothing that can be declared.
    BuiltIn,
}

impl Origin {
    /// Where, in a word or two.
    pub fn place(&self) -> String {
        match self {
            Origin::Declared { place, .. } => place.to_string(),
            Origin::Profile { role, .. } => format!("profile {role}"),
            Origin::BuiltIn => String::new(),
        }
    }

    /// The key, where there is one.
    pub fn key(&self) -> &str {
        match self {
            Origin::Declared { key, .. } | Origin::Profile { key, .. } => key,
            Origin::BuiltIn => "",
        }
    }
}

/// Where a rule comes from: the first of its keys that the declaration has, else the first that the profile has.
pub fn origin(declaration: &Declaration, part: Part, rule: &Rule) -> Origin {
    let keys = keys(declaration, part, rule);
    let declared = keys
        .iter()
        .find_map(|key| Some(Origin::Declared { place: declaration.place(key)?, key: key.clone() }));
    declared.or_else(|| in_profile(declaration, &keys)).unwrap_or(Origin::BuiltIn)
}

fn in_profile(declaration: &Declaration, keys: &[String]) -> Option<Origin> {
    let role = role_name(declaration.model.role());
    let profile = toml::Value::Table(profiles::defaults_table(role.parse().ok()?));
    let has = |key: &&String| key.split('.').try_fold(&profile, |at, name| at.get(name)).is_some();
    keys.iter().find(has).map(|key| Origin::Profile { key: key.clone(), role })
}

/// The keys that say a rule, the nearest first.
fn keys(declaration: &Declaration, part: Part, rule: &Rule) -> Vec<String> {
    let in_list = |list: &str, text: String| vec![listed(declaration, list, &text), list.to_owned()];
    match rule {
        Rule::RelayNetwork(network) => in_list("relay.networks", network.to_string()),
        Rule::RelayDomain(domain) => in_list("relay.domains", domain.to_string()),
        Rule::Access(key) => vec![named(declaration, "access", &key.to_string())],
        Rule::TrustedName => vec!["access".into()],
        Rule::LocalDomain(domain) => in_list("local_domains", domain.to_string()),
        Rule::MasqueradeDomain(domain) => in_list("masquerade.domains", domain.to_string()),
        Rule::ExposedUser(user) => in_list("masquerade.exposed_users", user.clone()),
        Rule::Untrusted(_) => vec!["relay.networks".into()],
        Rule::OwnName => vec!["hostname".into()],
        Rule::Alias(name) | Rule::List(name) => vec![named(declaration, "aliases", name)],
        Rule::Program(command) => {
            let program = command.split(' ').next().unwrap_or_default();
            in_list("programs", program.to_owned())
        }
        Rule::File(_) => vec!["file_jail".into()],
        Rule::Virtuser(key) => vec![named(declaration, "virtusertable", &key.to_string())],
        Rule::VirtualDomain(domain) => in_list("virtual_domains", domain.to_string()),
        Rule::Generics(key) => vec![named(declaration, "genericstable", key)],
        Rule::Mailertable(key) => vec![named(declaration, "mailertable", &String::from(key.clone()))],
        Rule::MailHosts => vec!["mail_host".into()],
        Rule::Mailbox => vec!["mailboxes".into(), "mailboxes.format".into()],
        Rule::Masquerade => vec!["masquerade.domain".into(), "mail_host".into()],
        Rule::NotMasqueraded => match part {
            Part::HeaderRecipient => vec!["masquerade.recipients".into()],
            _ => vec!["masquerade.envelope".into()],
        },
        Rule::Qualify => match declaration.model.role() {
            Role::Nullclient | Role::Msp => vec!["masquerade.domain".into(), "hostname".into()],
            Role::Loopback | Role::Gateway => vec!["hostname".into()],
        },
        Rule::Refused(refusal) => refusal_keys(refusal),
        Rule::LocalProgram
        | Rule::LoopbackClient
        | Rule::Authenticated
        | Rule::Hidden
        | Rule::NotExpanded(_)
        | Rule::User(_)
        | Rule::AliasToNobody(_)
        | Rule::StandIn(_)
        | Rule::Returned
        | Rule::Mx
        | Rule::Literal => Vec::new(),
    }
}

fn refusal_keys(refusal: &Refusal) -> Vec<String> {
    let keys: &[&str] = match refusal {
        Refusal::RelayingDenied => &["relay.domains", "relay.networks"],
        Refusal::UserUnknown => &["aliases", "local_domains"],
        Refusal::AliasLoop => &["aliases"],
        Refusal::NoRoute => &["mail_host"],
        Refusal::MailerError { .. } => &["virtusertable", "mailertable"],
        Refusal::Access { .. } => &["access"],
        Refusal::BadAddress(_)
        | Refusal::NotAMailbox(_)
        | Refusal::SenderUnqualified
        | Refusal::SenderNotReal => &[],
    };
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// The element of a list that says this; a name that is no path where none does.
fn listed(declaration: &Declaration, list: &str, text: &str) -> String {
    let elements = (0..).map(|at| element(list, at)).take_while(|path| declaration.spans.contains(path));
    let says = |path: &String| {
        let written = declaration.value(path);
        written.trim_matches(['"', '\'']).trim_end_matches('.').eq_ignore_ascii_case(text)
    };
    elements.into_iter().find(says).unwrap_or_default()
}

/// The key of a table that is spelt so, whatever the case.
fn named(declaration: &Declaration, table: &str, name: &str) -> String {
    let wanted = child("", name);
    let found = declaration.spans.keys(table).find(|key| key.eq_ignore_ascii_case(&wanted));
    format!("{table}.{}", found.unwrap_or(&wanted))
}

/// What a rule means.
pub fn meaning(rule: &Rule) -> String {
    match rule {
        Rule::LocalProgram => "a program of this host may send anywhere".into(),
        Rule::LoopbackClient => "who connects from loopback may send anywhere".into(),
        Rule::Authenticated => "who has authenticated may send anywhere".into(),
        Rule::RelayNetwork(network) => format!("{network} may send anywhere"),
        Rule::Untrusted(addr) => format!("{addr} may not send anywhere"),
        Rule::RelayDomain(domain) => format!("anybody may send to {domain}"),
        Rule::TrustedName => "a client of this name may send anywhere".into(),
        Rule::Access(key) => format!("access entry {key}"),
        Rule::OwnName => "this host".into(),
        Rule::LocalDomain(_) => "a local domain".into(),
        Rule::Hidden => "the address in the local part".into(),
        Rule::Alias(_) => "alias".into(),
        Rule::List(_) => "a list: its owner is the sender to its members".into(),
        Rule::Program(_) => "a program, run as `default_user`".into(),
        Rule::File(_) => "a file, written as `default_user`".into(),
        Rule::NotExpanded(_) => "the mailbox, not expanded again".into(),
        Rule::User(_) => "a user".into(),
        Rule::AliasToNobody(_) => "no user: comes back as a bounce".into(),
        Rule::StandIn(_) => "must take mail: the operator stands in".into(),
        Rule::Returned => "a program's mail is taken, and bounces".into(),
        Rule::Virtuser(_) => "virtusertable".into(),
        Rule::VirtualDomain(_) => "a virtual domain: postmaster, and those of virtusertable".into(),
        Rule::Generics(_) => "genericstable".into(),
        Rule::Mailertable(_) => "mailertable".into(),
        Rule::MailHosts => "mail host".into(),
        Rule::Mx => "by MX".into(),
        Rule::Literal => "to the address".into(),
        Rule::Mailbox => "mailbox".into(),
        Rule::Qualify => "gets a domain".into(),
        Rule::Masquerade => "masqueraded".into(),
        Rule::MasqueradeDomain(domain) => format!("masqueraded: within {domain}"),
        Rule::ExposedUser(_) => "an exposed user".into(),
        Rule::NotMasqueraded => "masquerading does not reach here".into(),
        Rule::Refused(refusal) => self::refusal(refusal),
    }
}

/// A refusal with its codes.
pub fn refusal(refusal: &Refusal) -> String {
    let (code, enhanced) = refusal.codes();
    let enhanced = enhanced.map(|enhanced| format!(" {enhanced}")).unwrap_or_default();
    let why = match refusal {
        Refusal::RelayingDenied => "relaying denied",
        Refusal::UserUnknown => "neither an alias nor a user",
        Refusal::BadAddress(BadAddress::UserRequired) => "no user in front of the host",
        Refusal::BadAddress(BadAddress::HostRequired) => "no host behind the user",
        Refusal::BadAddress(BadAddress::InvalidRoute) => "not an address",
        Refusal::NotAMailbox(_) => "only an alias may name a program, a file or a list",
        Refusal::AliasLoop => "aliases lead back to where they began",
        Refusal::SenderUnqualified => "a sender needs a domain",
        Refusal::SenderNotReal => "localhost is no domain of another host",
        Refusal::MailerError { text, .. } | Refusal::Access { text, .. } => text,
        Refusal::NoRoute => "nowhere to send it",
    };
    format!("refused, {code}{enhanced}: {why}")
}
