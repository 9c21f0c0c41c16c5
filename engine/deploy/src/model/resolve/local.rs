//! The keys of the roles with mailboxes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use mailstack_policy::rules::{AliasTarget, Mailer, MailertableKey, Masquerade};
use mailstack_runtime::{MailboxFormat, Mailboxes};
use mailstack_schema::host::{Local, Masquerade as WrittenMasquerade, OneOrMany, Permissions};
use mailstack_schema::spans::{child, element};

use super::common::Common;
use super::security::mail_hosts;
use super::virtusers::{Ours, generics, virtuser_loops, virtusers};
use super::{Faults, cross, masquerade as client_masquerade, restricted};
use crate::model::defaults::Defaults;
use crate::model::fault::FaultKind;
use crate::model::{ALWAYS_ALIASED, Engine, Mta, Platform, mailbox_format, parse, privacy};

/// The keys, resolved; None where a fault leaves nothing to hold. `listen` None: the role's default.
pub(super) fn resolve(
    written: &Local,
    listen: Option<&[String]>,
    common: &Common,
    defaults: &Defaults,
    faults: &mut Faults,
) -> Option<Mta> {
    let mail_hosts = written.mail_host.as_ref().and_then(|hosts| mail_hosts(hosts, faults));
    let listeners = listeners(listen, defaults, faults);
    let local = distinct("local_domains", written.local_domains.as_deref(), parse::domain, faults);
    let masquerade = written.masquerade.as_ref().map(|written| masquerade(written, defaults, faults));
    let aliases = aliases(written.aliases.as_ref(), faults);
    let (aliases, restricted) = restricted::resolve(written, aliases, defaults, faults);
    let mailertable = mailertable(written.mailertable.as_ref(), faults);
    cross::mailertable(&mailertable, &local, common, faults);
    let masquerade = masquerade.flatten();
    let ours = Ours { local: &local, hostname: common.hostname.as_ref() };
    let virtusers = virtusers(written, &ours, faults);
    let envelope = masquerade.as_ref().map_or(defaults.masquerade.envelope, |masquerade| masquerade.envelope);
    let mta = Mta {
        mail_hosts,
        listeners,
        listener_kinds: BTreeMap::new(),
        masquerade,
        generics: generics(written, envelope, defaults, faults),
        virtual_domains: virtusers.domains.clone(),
        virtusertable: virtusers.table.clone(),
        local_domains: local.into_iter().map(|(_, domain)| domain).collect(),
        aliases,
        mailertable: mailertable.into_iter().map(|(_, key, mailer)| (key, mailer)).collect(),
        mailboxes: mailboxes(written, defaults, faults)?,
        restricted,
        no_root: no_root(written, common, faults),
        greeting: greeting(written.greeting.as_deref(), faults),
        privacy: written.privacy.as_ref().map_or_else(|| defaults.privacy.clone(), |flags| privacy(flags)),
    };
    virtuser_loops(&virtusers, &mta, common, faults);
    Some(mta)
}

/// Whether the MTA is never root once a client is connected. What runs as another user than the recipient would run as the
/// owner of queue and mailboxes then.
fn no_root(written: &Local, common: &Common, faults: &mut Faults) -> bool {
    if written.permissions != Some(Permissions::NoRoot) {
        return false;
    }
    let mut refuse = |at: &str, reason: &'static str| faults.add(at, FaultKind::NotWithoutRoot { reason });
    if common.engine != Engine::Sendmail {
        refuse(
            "permissions",
            "the built-in MTA is never root once it listens, and writes mailboxes as their users",
        );
    } else if common.platform != Platform::Debian {
        refuse("permissions", "the users and directories of this packaging are not known well enough");
    }
    let keys = [
        ("programs", written.programs.is_some()),
        ("file_jail", written.file_jail.is_some()),
        ("default_user", written.default_user.is_some()),
    ];
    for (key, _) in keys.into_iter().filter(|(_, is_written)| *is_written) {
        refuse(key, "without root nobody becomes another user: it would be done as the owner of all mail");
    }
    true
}

/// Names of programs that a greeting shall not tell.
const PROGRAMS: [&str; 2] = ["sendmail", "mailstack"];

fn greeting(written: Option<&str>, faults: &mut Faults) -> String {
    let Some(text) = written else { return String::new() };
    let lower = text.to_ascii_lowercase();
    let fault = match parse::reply_text(text) {
        None => FaultKind::ReplyText { text: text.to_owned() },
        Some(_) if PROGRAMS.iter().any(|program| lower.contains(program)) => {
            FaultKind::GreetingTells { text: text.to_owned() }
        }
        Some(text) => return text.to_owned(),
    };
    faults.add("greeting", fault);
    String::new()
}

/// The parsed entries of a list with their index; an entry that says the same as one before is a fault.
pub(super) fn distinct<T: PartialEq>(
    path: &str,
    written: Option<&[String]>,
    parse: impl Fn(&str) -> Result<T, FaultKind>,
    faults: &mut Faults,
) -> Vec<(usize, T)> {
    let mut parsed: Vec<(usize, T)> = Vec::new();
    for (index, text) in written.unwrap_or_default().iter().enumerate() {
        let Some(value) = faults.keep(&element(path, index), parse(text)) else { continue };
        match parsed.iter().find(|(_, other)| *other == value) {
            Some((other, _)) => {
                let other = element(path, *other);
                faults.add(element(path, index), FaultKind::Twice { text: text.clone(), other });
            }
            None => parsed.push((index, value)),
        }
    }
    parsed
}

fn listeners(written: Option<&[String]>, defaults: &Defaults, faults: &mut Faults) -> BTreeSet<SocketAddr> {
    match written {
        None => defaults.listen.clone(),
        Some([]) => {
            faults.add("listen", FaultKind::Empty);
            BTreeSet::new()
        }
        Some(written) => {
            let parsed = distinct("listen", Some(written), parse::listen, faults);
            cross::listeners(&parsed, written, faults);
            parsed.into_iter().map(|(_, at)| at).collect()
        }
    }
}

fn masquerade(written: &WrittenMasquerade, defaults: &Defaults, faults: &mut Faults) -> Option<Masquerade> {
    let common = client_masquerade(&written.common, defaults, faults);
    let domains = distinct("masquerade.domains", written.domains.as_deref(), parse::domain, faults);
    let whole_domain = written.whole_domain.unwrap_or(defaults.masquerade.whole_domain);
    if whole_domain && written.domains.as_ref().is_none_or(Vec::is_empty) {
        let needed = "masquerade.domains".to_owned();
        faults.add("masquerade.whole_domain", FaultKind::Without { needed });
    }
    let domains = domains.into_iter().map(|(_, domain)| domain).collect();
    let exceptions = distinct("masquerade.exceptions", written.exceptions.as_deref(), parse::domain, faults);
    let exceptions = exceptions.into_iter().map(|(_, domain)| domain).collect();
    let limited = !written.local_domains.unwrap_or(defaults.masquerade.local_domains);
    common.map(|common| Masquerade { domains, whole_domain, limited, exceptions, ..common })
}

/// The aliases, with each target parsed and no loop among them.
fn aliases(
    written: Option<&BTreeMap<String, OneOrMany>>,
    faults: &mut Faults,
) -> BTreeMap<String, Vec<AliasTarget>> {
    let mut aliases = BTreeMap::new();
    let mut written_as = BTreeMap::new();
    for (name, targets) in written.into_iter().flatten() {
        let path = child("aliases", name);
        let Some(user) = faults.keep_key(&path, parse::user(name)) else { continue };
        if let Some(other) = written_as.insert(user.clone(), path.clone()) {
            faults.add(&path, FaultKind::Twice { text: name.clone(), other });
        }
        if let Some(targets) = alias_targets(&path, targets, faults) {
            aliases.insert(user, targets);
        }
    }
    cross::alias_loops(&with_always(&aliases), &written_as, faults);
    aliases
}

/// The aliases with those that need no declaration: `root = "postmaster"` is a loop.
fn with_always(declared: &BTreeMap<String, Vec<AliasTarget>>) -> BTreeMap<String, Vec<AliasTarget>> {
    let always = ALWAYS_ALIASED
        .into_iter()
        .filter_map(|(name, target)| Some((name.to_owned(), vec![parse::alias_target(target).ok()?])));
    let mut all: BTreeMap<_, _> = always.collect();
    all.extend(declared.clone());
    all
}

fn alias_targets(path: &str, written: &OneOrMany, faults: &mut Faults) -> Option<Vec<AliasTarget>> {
    match written {
        OneOrMany::One(text) => faults.keep(path, parse::alias_target(text)).map(|target| vec![target]),
        OneOrMany::Many(texts) if texts.is_empty() => {
            faults.add(path, FaultKind::Empty);
            None
        }
        OneOrMany::Many(texts) => {
            let parsed = distinct(path, Some(texts), parse::alias_target, faults);
            Some(parsed.into_iter().map(|(_, target)| target).collect())
        }
    }
}

/// The entries with the path that each was written at.
fn mailertable(
    written: Option<&BTreeMap<String, String>>,
    faults: &mut Faults,
) -> Vec<(String, MailertableKey, Mailer)> {
    let mut entries: Vec<(String, MailertableKey, Mailer)> = Vec::new();
    for (key, value) in written.into_iter().flatten() {
        let path = child("mailertable", key);
        let mailer = faults.keep(&path, parse::mailer(value));
        let bad = |reason| FaultKind::DomainName { text: key.clone(), reason };
        let Some(parsed) = faults.keep_key(&path, MailertableKey::try_from(key.clone()).map_err(bad)) else {
            continue;
        };
        if let Some((other, ..)) = entries.iter().find(|(_, other, _)| *other == parsed) {
            faults.add(&path, FaultKind::Twice { text: key.clone(), other: other.clone() });
        }
        entries.extend(mailer.map(|mailer| (path, parsed, mailer)));
    }
    entries
}

fn mailboxes(written: &Local, defaults: &Defaults, faults: &mut Faults) -> Option<Mailboxes> {
    let written = written.mailboxes.clone().unwrap_or_default();
    let default = defaults.mailboxes.clone();
    let default_format = default.as_ref().map(|mailboxes| mailboxes.format);
    let format = written.format.map(mailbox_format).or(default_format)?;
    let text = match written.path {
        Some(text) => text,
        None if Some(format) == default_format => return default,
        None => conventional_path(format).to_owned(),
    };
    let path = PathBuf::from(&text);
    if format == MailboxFormat::Lmtp && parse::literal_with_port(&text) {
        return Some(Mailboxes { format, path });
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let place = path.is_absolute() == (format != MailboxFormat::Maildir) && has_only_names(&path);
    if !place || !text.chars().all(plain) {
        faults.add("mailboxes.path", FaultKind::MailboxPath { text });
        return None;
    }
    Some(Mailboxes { format, path })
}

fn conventional_path(format: MailboxFormat) -> &'static str {
    match format {
        MailboxFormat::Mbox => "/var/mail",
        MailboxFormat::Maildir => "Maildir",
        MailboxFormat::Lmtp => "/run/dovecot/lmtp",
    }
}

/// Whether the path is some names below the root or the home, without `.` and `..`.
pub(super) fn has_only_names(path: &Path) -> bool {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_))).count();
    let rest = path.components().filter(|part| !matches!(part, Component::Normal(_) | Component::RootDir));
    names > 0 && rest.count() == 0
}
