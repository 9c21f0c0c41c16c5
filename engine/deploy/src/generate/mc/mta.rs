//! `sendmail.mc` of the roles with mailboxes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use mailstack_policy::access::{AccessKey, Subject};
use mailstack_policy::rules::Masquerade;
use mailstack_runtime::MailboxFormat;

use super::security::daemon_kind;
use super::{Mc, checks, host_list};
use crate::generate::tables;
use crate::model::{Model, Mta, Relay};

/// An MTA for the programs of this host.
pub(super) fn loopback_mc(model: &Model, mta: &Mta) -> String {
    let mut mc = Mc::new(
        model,
        "loopback MTA",
        &["Takes mail from this host alone, expands its aliases and hands the rest on."],
    );
    common(&mut mc, model, mta);
    mc.block("Programs do not look at a refusal, and the mail host may know their senders.");
    mc.feature("accept_unresolvable_domains");
    tables(&mut mc, model, mta, None);
    mailers(&mut mc, model, mta);
    if let Some(mail_hosts) = &mta.mail_hosts {
        mc.mail_hosts_rules(model, mail_hosts);
    }
    mc.0
}

/// A border relay.
pub(super) fn gateway_mc(model: &Model, mta: &Mta, relay: &Relay) -> String {
    let mut mc = Mc::new(
        model,
        "relay gateway",
        &["Takes mail for its domains, relays for its networks and refuses all else."],
    );
    common(&mut mc, model, mta);
    let relaying = relay.networks.iter().any(|network| network.addr().is_ipv6());
    let listed = |key: &AccessKey| matches!(key.subject, Subject::Network(IpNet::V6(_)));
    if relaying || relay.access.keys().any(listed) || relay.checks.greet_pause > 0 {
        mc.block("IPv6 addresses in full: the form that access is written in.");
        mc.define("confUSE_COMPRESSED_IPV6_ADDRESSES", "False");
    }
    checks::defines(&mut mc, &relay.checks);
    tables(&mut mc, model, mta, Some(relay));
    mailers(&mut mc, model, mta);
    checks::rulesets(&mut mc, &relay.checks);
    mc.0
}

/// All defines and listeners; features follow.
fn common(mc: &mut Mc, model: &Model, mta: &Mta) {
    mc.hostname(model);
    mc.block("Owner of the queue, of the pid file and of /etc/mail: without it nobody writes them.");
    mc.owner(model);
    mc.fixed("ALIAS_FILE", "/etc/mail/aliases");
    checks::disclosure(mc, mta);
    mc.block("No ident look-ups: they delay each session and prove nothing.");
    mc.fixed("confTO_IDENT", "0");
    mc.message_limits(model);
    mc.define_number("confMAX_DAEMON_CHILDREN", model.limits.connections.into());
    mc.define_number("confMIN_FREE_BLOCKS", model.limits.free_space.div_ceil(4096));
    mc.queue(model);
    if let Some(mail_hosts) = &mta.mail_hosts {
        mc.block("Everything that is not local goes to the mail host.");
        mc.define("SMART_HOST", &format!("relay:{}", host_list(mail_hosts)));
        mc.relay_port(mail_hosts.port());
    }
    restricted(mc, mta);
    senders(mc, mta);
    mc.security(model);
    listeners(mc, mta);
}

/// Programs and files of aliases. With a list of programs those of users' `.forward` are of it too.
fn restricted(mc: &mut Mc, mta: &Mta) {
    let Some(restricted) = &mta.restricted else { return };
    mc.block("As whom programs and files of aliases are run and written.");
    mc.define("confDEF_USER_ID", &restricted.user);
    if let Some(jail) = &restricted.file_jail {
        mc.block("Files of aliases, and of .forward, are below this directory alone.");
        mc.define("confSAFE_FILE_ENV", &jail.display().to_string());
    }
    if !restricted.programs.is_empty() || restricted.file_jail.is_none() {
        mc.block("No program but those that the directory of smrsh has a link to.");
        mc.feature("smrsh");
    }
}

/// What mail from here appears to come from. The names of this host stand in the class of masqueraded domains where
/// not all of class w is: the submission program completes a bare name with `$j`.
fn senders(mc: &mut Mc, mta: &Mta) {
    if let Some(masquerading) = &mta.masquerade {
        mc.block("What mail from here appears to come from.");
        masquerade(mc, masquerading);
        if masquerading.limited || !mta.virtual_domains.is_empty() {
            mc.feature("limited_masquerade");
            mc.line("MASQUERADE_DOMAIN(`$j')dnl");
            let local = mta.local_domains.iter().filter(|_| !masquerading.limited);
            local.for_each(|domain| mc.call("MASQUERADE_DOMAIN", domain.as_str()));
        }
    }
    let Some(generics) = &mta.generics else { return };
    mc.block("Senders by table, in front of masquerading. Not optional: a missing map must be an error.");
    mc.line("GENERICS_DOMAIN(`$j')dnl");
    generics.domains.iter().for_each(|domain| mc.call("GENERICS_DOMAIN", domain.as_str()));
    if generics.whole_domain {
        mc.feature("generics_entire_domain");
    }
    if generics.envelope && mta.masquerade.is_none() {
        mc.feature("masquerade_envelope");
    }
    mc.feature_with("genericstable", "hash /etc/mail/genericstable");
}

/// The order among these does not matter, but they must stand before mailers, `FEATURE(msp)` and nothing else.
pub(super) fn masquerade(mc: &mut Mc, masquerade: &Masquerade) {
    mc.call("MASQUERADE_AS", masquerade.domain.as_str());
    masquerade.domains.iter().for_each(|domain| mc.call("MASQUERADE_DOMAIN", domain.as_str()));
    masquerade.exceptions.iter().for_each(|domain| mc.call("MASQUERADE_EXCEPTION", domain.as_str()));
    masquerade.exposed_users.iter().for_each(|user| mc.call("EXPOSED_USER", user));
    if masquerade.whole_domain {
        mc.feature("masquerade_entire_domain");
    }
    if masquerade.recipients {
        mc.feature("allmasquerade");
    }
    if masquerade.envelope {
        mc.feature("masquerade_envelope");
    }
}

fn listeners(mc: &mut Mc, mta: &Mta) {
    mc.block("Where it listens. Without no_default_msa port 587 of every address would be open too.");
    mc.feature("no_default_msa");
    let alone = |at: &&SocketAddr| !taken_by_ipv6(at, mta);
    mta.listeners.iter().filter(alone).for_each(|at| mc.line(&daemon_options(at, mta)));
}

/// Whether an IPv6 socket takes this address's connections too: on Linux `::` binds IPv4 as well, and a second
/// socket for 0.0.0.0 would find its port in use.
fn taken_by_ipv6(at: &SocketAddr, mta: &Mta) -> bool {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, at.port()));
    at.is_ipv4() && mta.listeners.contains(&both)
}

/// One IPv6 address is optional (`M=O`): a host without IPv6 still starts. All of them are not, since they may be
/// all there is.
fn daemon_options(at: &SocketAddr, mta: &Mta) -> String {
    let port = at.port();
    let (name, modifiers) = daemon_kind(mta.listener_kinds.get(at));
    let optional = match (at.ip().is_unspecified(), modifiers) {
        (true, modifiers) => modifiers.to_owned(),
        (false, "") => ", M=O".to_owned(),
        (false, modifiers) => format!("{modifiers}O"),
    };
    match at.ip() {
        IpAddr::V4(v4) => {
            format!("DAEMON_OPTIONS(`Family=inet, Addr={v4}, Port={port}, Name={name}{modifiers}')dnl")
        }
        IpAddr::V6(v6) => {
            format!("DAEMON_OPTIONS(`Family=inet6, Addr={v6}, Port={port}, Name={name}6{optional}')dnl")
        }
    }
}

/// The features that read tables; none is optional (`-o`), which would hide a missing map.
fn tables(mc: &mut Mc, model: &Model, mta: &Mta, relay: Option<&Relay>) {
    mc.authinfo(model);
    mc.block("Local mail always carries a domain.");
    mc.feature("always_add_domain");
    if !tables::local_names(model, mta).is_empty() {
        mc.block("Names whose mail ends here: /etc/mail/local-host-names.");
        mc.feature("use_cw_file");
    }
    if !mta.mailertable.is_empty() {
        mc.block("Next hops by domain. Not optional: a missing map must be an error.");
        mc.feature_with("mailertable", "hash /etc/mail/mailertable");
    }
    if !mta.virtusertable.is_empty() {
        mc.block("What addresses of local and virtual domains mean. Not optional, as above.");
        mc.feature_with("virtusertable", "hash /etc/mail/virtusertable");
    }
    if let Some(relay) = relay {
        mc.block("Who may relay, and how many connections one client has. Not optional, as above.");
        mc.line("FEATURE(`access_db', `hash -T<TMPF> /etc/mail/access')dnl");
        checks::features(mc, relay);
    }
}

/// Last of all.
fn mailers(mc: &mut Mc, model: &Model, mta: &Mta) {
    match mta.mailboxes.format {
        MailboxFormat::Mbox if !model.packaging().mail_local => {
            mc.block("Mailboxes by procmail: OSTYPE names it.");
        }
        MailboxFormat::Mbox if mta.no_root => {
            mc.block("Mailboxes by procmail, which is setuid: mail.local must be started by root. -t: mail waits, if it can.");
            mc.line("FEATURE(`local_procmail', `/usr/bin/procmail', `procmail -t -Y -a $h -d $u')dnl");
        }
        MailboxFormat::Mbox => {
            mc.block("Mailboxes below /var/mail, by LMTP. Debian's default (sensible-mda) may not be there.");
            mc.feature_with("local_lmtp", "/usr/libexec/sendmail/mail.local");
        }
        MailboxFormat::Lmtp => {
            mc.block("Mailboxes by a server that speaks LMTP.");
            let place = mta.mailboxes.path.display().to_string();
            let place = match place.strip_prefix('[').and_then(|place| place.split_once("]:")) {
                Some((address, port)) => format!("TCP [{address}] {port}"),
                None => format!("FILE {place}"),
            };
            mc.line(&format!("FEATURE(`local_lmtp', `[IPC]', `{place}')dnl"));
        }
        MailboxFormat::Maildir => {
            mc.block(
                "Sendmail writes no Maildir: procmail does, if DEFAULT in /etc/procmailrc ends in a slash.",
            );
            mc.feature_with("local_procmail", "/usr/bin/procmail");
        }
    }
    mc.block("Mailers after everything that they are made of.");
    mc.call("MAILER", "local");
    mc.call("MAILER", "smtp");
}
