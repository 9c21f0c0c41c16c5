//! The file tree of a candidate: its configuration as it is, and what a host tells an MTA.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use mailstack_mta::host::Root;
use mailstack_mta::run::USER;
use mailstack_policy::rules::{AliasTarget, Mailer, Rules, Virtuser};
use mailstack_policy::{DomainName, Here};
use mailstack_prove::{Attempt, Expectation, Probe};
use mailstack_runtime::{CONFIG_PATH, Checks, Config, MailboxFormat, Mailboxes};
use nix::mount::{MsFlags, mount};
use nix::unistd::{getegid, geteuid};

use super::plan::Plan;
use super::report::Request;

/// Directories that any host has and a candidate needs nothing of. In the mount namespace of the proof one of them
/// is covered by memory, so that nothing is left on a disk however the proof ends.
const PLACES: &[&str] = &["/mnt", "/media", "/srv", "/dev/shm", "/sys"];
/// The group that may add mailboxes, as Debian has it.
const MAIL_GROUP: &str = "mail:x:8:\n";
/// The first id of an account that exists in the tree alone.
const FIRST_ID: u32 = 64_900;

/// Mounts the memory that the tree is in. The caller has a mount namespace of its own.
pub(super) fn mount_memory() -> io::Result<PathBuf> {
    let binary = std::env::current_exe()?;
    let usable = |place: &&&str| Path::new(place).is_dir() && !binary.starts_with(place);
    let place = PLACES.iter().find(usable).ok_or_else(|| io::Error::other("no place for a scratch tree"))?;
    let options = Some("mode=0755,size=64m");
    mount(Some("tmpfs"), *place, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, options)?;
    Ok(PathBuf::from(place))
}

/// Writes the tree.
pub(super) fn write(root: &Root, request: &Request, config: &Config, plan: &Plan) -> io::Result<()> {
    let accounts = accounts(&request.hostname, config, plan);
    let file = |path: &str, text: &str| {
        let path = root.path(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)
    };
    file(CONFIG_PATH, &tried(config)?)?;
    file("etc/resolv.conf", &format!("nameserver {}\noptions timeout:1 attempts:2\n", plan.name_server))?;
    file("etc/hosts", &hosts(&request.hostname, plan))?;
    file("etc/passwd", &passwd(&accounts))?;
    file("etc/group", &group(&accounts))?;
    accounts.iter().try_for_each(|account| make_home(root, account))
}

/// The configuration without what hangs on the world outside, which is not here (lists, names of clients, room on the
/// disk), and without what makes probes wait: none of it lets anybody relay.
fn tried(config: &Config) -> io::Result<String> {
    let mut tried = config.as_daemon();
    tried.checks = Checks::default();
    tried.limits.free_space = 0;
    tried.mailboxes = stand_in(config);
    toml::to_string(&tried).map_err(io::Error::other)
}

/// The mailboxes of a candidate: those of a server are its own, and it is not there.
pub(super) fn stand_in(config: &Config) -> Option<Mailboxes> {
    let mailboxes = config.mailboxes.clone()?;
    Some(match mailboxes.format {
        MailboxFormat::Lmtp => Mailboxes { format: MailboxFormat::Mbox, path: "/var/mail".into() },
        MailboxFormat::Mbox | MailboxFormat::Maildir => mailboxes,
    })
}

fn hosts(hostname: &DomainName, plan: &Plan) -> String {
    let short = hostname.as_str().split('.').next().unwrap_or_default();
    let mut text = "127.0.0.1 localhost\n".to_owned();
    if plan.sink_v6.is_some() {
        text += &format!("::1 localhost\n{} {hostname} {short}\n", plan.host_v6);
    }
    text += &format!("{} {hostname} {short}\n", plan.host_v4);
    // A sender's domain must exist, and no resolver asks about `.invalid` (RFC 6761 6.4).
    senders(hostname, plan).iter().for_each(|domain| text += &format!("{} {domain}\n", plan.sink_v4));
    text
}

/// The domains that the probes send from.
fn senders(hostname: &DomainName, plan: &Plan) -> BTreeSet<DomainName> {
    let domain = |probe: &Probe| match &probe.attempt {
        Attempt::Envelope(lines) | Attempt::Message { lines, .. } => {
            lines.mail.trim_end_matches('>').rsplit_once('@')?.1.parse().ok()
        }
        Attempt::Listeners => None,
    };
    plan.probes.iter().filter_map(domain).filter(|domain| domain != hostname).collect()
}

/// A user of the candidate's host.
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// The users that an MTA needs, and all that its aliases and the probes name: whether a host has a user is nothing
/// that a proof of its declaration can say.
fn accounts(hostname: &DomainName, config: &Config, plan: &Plan) -> Vec<Account> {
    let mut names: BTreeSet<String> = BTreeSet::from(["postmaster".to_owned()]);
    names.extend(named_by_rules(&config.rules));
    names.extend(expected(hostname, config, plan));
    names.retain(|name| name != "root" && name != USER && is_login_name(name));
    let own = (geteuid().as_raw(), getegid().as_raw());
    let id = |at: u32| if geteuid().is_root() { (FIRST_ID + at, FIRST_ID + at) } else { own };
    let account = |(at, name): (u32, String)| Account { name, uid: id(at).0, gid: id(at).1 };
    let root = Account { name: "root".to_owned(), uid: 0, gid: 0 };
    std::iter::once(root)
        .chain((0..).zip(std::iter::once(USER.to_owned()).chain(names)).map(account))
        .collect()
}

fn named_by_rules(rules: &Rules) -> impl Iterator<Item = String> {
    let targets = rules.aliases.values().flatten().filter_map(|target| match target {
        AliasTarget::User(name) => Some(name.clone()),
        AliasTarget::Address(address) => Some(address.local().to_owned()),
        AliasTarget::Include(_) | AliasTarget::Program(_) | AliasTarget::File(_) => None,
    });
    let mailers = rules.mailertable.values().filter_map(|mailer| match mailer {
        Mailer::Local { user } => user.clone(),
        Mailer::Smtp { .. } | Mailer::Error { .. } => None,
    });
    let virtusers = rules.virtusertable.values().filter_map(|entry| match entry {
        Virtuser::To(to) => to.as_str().split('@').next().map(str::to_owned),
        Virtuser::Error { .. } => None,
    });
    targets.chain(virtusers).chain(mailers).map(|name| name.to_ascii_lowercase())
}

fn expected(hostname: &DomainName, config: &Config, plan: &Plan) -> Vec<String> {
    let here = Here::named(hostname);
    let local = |probe: &mailstack_prove::Probe| match &probe.expect {
        Expectation::Leaves { recipients, .. } => recipients
            .iter()
            .filter(|one| one.domain().is_none_or(|domain| here.is_local(&config.rules, domain)))
            .map(|one| one.local().to_ascii_lowercase())
            .collect(),
        _ => Vec::new(),
    };
    plan.probes.iter().flat_map(local).collect()
}

fn is_login_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) && !name.starts_with(['.', '-'])
}

fn passwd(accounts: &[Account]) -> String {
    accounts.iter().fold(String::new(), |mut text, Account { name, uid, gid }| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}:x:{uid}:{gid}:{name}:/home/{name}:/usr/sbin/nologin");
        text
    })
}

fn group(accounts: &[Account]) -> String {
    accounts.iter().fold(MAIL_GROUP.to_owned(), |mut text, Account { name, gid, .. }| {
        let _ = writeln!(text, "{name}:x:{gid}:");
        text
    })
}

fn make_home(root: &Root, account: &Account) -> io::Result<()> {
    let home = root.path("home").join(&account.name);
    fs::create_dir_all(&home)?;
    chown(&home, Some(account.uid).filter(|_| geteuid().is_root()), None)
}
