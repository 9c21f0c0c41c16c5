//! The tables, as source text: makemap and newaliases derive the maps.

use std::collections::BTreeMap;
use std::fmt::Write;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mailstack_policy::DomainName;
use mailstack_policy::access::{AccessKey, Action, Subject};
use mailstack_policy::rules::{Agent, Generics, Mailer, MailertableKey, NextHop, Virtuser, VirtuserKey};

use super::{Files, Kind, add as add_file, add_link, mc};
use crate::model::{ALWAYS_ALIASED, Model, Mta, Relay, RoleModel};

/// Adds the tables that the role needs and no other.
pub(super) fn add(model: &Model, files: &mut Files) {
    let Some(mta) = model.mta() else { return };
    let mut table = |path: &str, text: String| add_file(files, path, Kind::Table, text);
    table("etc/mail/aliases", aliases(mta));
    let names = local_names(model, mta);
    if !names.is_empty() {
        table("etc/mail/local-host-names", local_host_names(&names));
    }
    if !mta.mailertable.is_empty() {
        table("etc/mail/mailertable", mailertable(mta));
    }
    if !mta.virtusertable.is_empty() {
        table("etc/mail/virtusertable", virtusertable(mta));
    }
    if let Some(generics) = &mta.generics {
        table("etc/mail/genericstable", genericstable(generics));
    }
    if let RoleModel::Gateway(_, relay) = &model.role {
        table("etc/mail/access", access(model, relay));
    }
    for (name, path) in mta.restricted.iter().flat_map(|restricted| &restricted.programs) {
        if let Some(directory) = model.packaging().programs {
            add_link(files, &format!("{directory}/{name}"), path);
        }
    }
    add_file(files, "etc/mail/mailstack.help", Kind::Config, HELPFILE.to_owned());
}

/// What HELP says: the file of the package tells the version.
const HELPFILE: &str = "\
#vers\t2
smtp\tTopics:
smtp\t    HELO    EHLO    MAIL    RCPT    DATA
smtp\t    RSET    NOOP    QUIT    HELP    VRFY
";

fn head(about: &str) -> String {
    format!(
        "# {about}\n# Generated from host.toml by mailstack, which replaces it: change host.toml instead.\n"
    )
}

/// Class w beside what Sendmail finds out itself.
pub(super) fn local_names(model: &Model, mta: &Mta) -> Vec<String> {
    let own = model.hostname.iter().filter(|name| !mta.local_domains.contains(name));
    own.chain(&mta.local_domains).chain(&mta.virtual_domains).map(ToString::to_string).collect()
}

fn local_host_names(names: &[String]) -> String {
    names.iter().fold(head("Names whose mail ends on this host (class w)."), |text, name| text + name + "\n")
}

fn aliases(mta: &Mta) -> String {
    let mut text = head("Local names and what they expand to; newaliases derives the map.");
    for (name, target) in ALWAYS_ALIASED {
        if !mta.aliases.contains_key(name) {
            let _ = writeln!(text, "{name}: {target}");
        }
    }
    for (name, targets) in &mta.aliases {
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "{name}: {}", targets.join(", "));
    }
    text
}

fn mailertable(mta: &Mta) -> String {
    let port = mta.mail_hosts.as_ref().map_or(25, |hosts| hosts.port());
    let mut text = head("Next hops by domain; makemap derives the map.");
    if port != 25 && mta.mailertable.values().any(is_relay) {
        let _ = writeln!(text, "# esmtp stands for relay here: the relay mailer goes to port {port}.");
    }
    for (key, mailer) in &mta.mailertable {
        let key = match key {
            MailertableKey::Exact(domain) => domain.to_string(),
            MailertableKey::Below(domain) => format!(".{domain}"),
        };
        let _ = writeln!(text, "{key}\t{}", mailer_entry(mailer, port));
    }
    text
}

/// Virtual domains are in class w, and what no entry is for is refused here: a local user would get it else.
fn virtusertable(mta: &Mta) -> String {
    let mut text = head("What addresses of local and virtual domains mean; makemap derives the map.");
    for (key, value) in &mta.virtusertable {
        let _ = match value {
            Virtuser::To(to) => writeln!(text, "{key}\t{to}"),
            Virtuser::Error { code, enhanced, text: words } => {
                writeln!(text, "{key}\terror:{enhanced}:{code} {words}")
            }
        };
    }
    let has = |local: &str, domain: &DomainName| {
        let key = VirtuserKey { local: local.to_owned(), domain: domain.clone() };
        mta.virtusertable.contains_key(&key)
    };
    for domain in mta.virtual_domains.iter().filter(|domain| !has("", domain)) {
        for (name, _) in ALWAYS_ALIASED.into_iter().filter(|(name, _)| !has(name, domain)) {
            let _ = writeln!(text, "{name}@{domain}\t{name}");
        }
        let _ = writeln!(text, "@{domain}\terror:5.1.1:550 User unknown");
    }
    text
}

fn genericstable(generics: &Generics) -> String {
    let head = head("What senders appear as; makemap derives the map.");
    generics.table.iter().fold(head, |text, (key, value)| text + &format!("{key}\t{value}\n"))
}

fn is_relay(mailer: &Mailer) -> bool {
    matches!(mailer, Mailer::Smtp { agent: Agent::Relay, .. })
}

fn mailer_entry(mailer: &Mailer, mail_host_port: u16) -> String {
    match mailer {
        Mailer::Smtp { agent, hosts } => {
            let agent = match agent {
                Agent::Smtp => "smtp",
                Agent::Relay if mail_host_port == 25 => "relay",
                Agent::Esmtp | Agent::Relay => "esmtp",
            };
            let hosts: Vec<String> = hosts.iter().map(|hop: &NextHop| mc::host(hop)).collect();
            format!("{agent}:{}", hosts.join(":"))
        }
        Mailer::Local { user } => format!("local:{}", user.as_deref().unwrap_or_default()),
        Mailer::Error { code, enhanced, text } => format!("error:{enhanced}:{code} {text}"),
    }
}

/// Networks carry their tag: an untagged one would act as Connect, From and To at once. Relay domains stand here and
/// not in class R, which would let any host relay whose own name lies in the domain.
fn access(model: &Model, relay: &Relay) -> String {
    let mut text = head("Who may connect, send, be sent to and relay; makemap derives the map.");
    for (prefix, (_, value)) in &prefixes(relay) {
        let _ = writeln!(text, "Connect:{prefix}\t{value}");
    }
    for domain in &relay.domains {
        let _ = writeln!(text, "To:{domain}\tRELAY");
    }
    let is_network = |key: &AccessKey| matches!(key.subject, Subject::Network(_));
    for (key, action) in relay.access.iter().filter(|(key, _)| !is_network(key)) {
        let _ = writeln!(text, "{key}\t{}", access_value(action));
    }
    let _ = writeln!(text, "ClientConn:127.0.0.1\t0\nClientConn:\t{}", model.limits.connections_per_client);
    let rate = relay.checks.connection_rate_per_client;
    if rate > 0 {
        let _ = writeln!(text, "ClientRate:127.0.0.1\t0\nClientRate:\t{rate}");
    }
    if relay.checks.greet_pause > 0 {
        let trusted = prefixes(relay).into_iter().filter(|(_, (_, value))| value == "RELAY" || value == "OK");
        let local = ["127.0.0.1", "IPv6:0:0:0:0:0:0:0:1"].map(str::to_owned);
        for prefix in local.into_iter().chain(trusted.map(|(prefix, _)| prefix)) {
            let _ = writeln!(text, "GreetPause:{prefix}\t0");
        }
    }
    mc::security::access(model).iter().for_each(|line| text = format!("{text}{line}\n"));
    text
}

/// The value of each address prefix. Where two networks need the same key, the narrower one decides.
fn prefixes(relay: &Relay) -> BTreeMap<String, (u8, String)> {
    let relayed = relay.networks.iter().map(|network| (network, "RELAY".to_owned()));
    let listed = relay.access.iter().filter_map(|(key, action)| match &key.subject {
        Subject::Network(network) => Some((network, access_value(action))),
        _ => None,
    });
    let mut prefixes: BTreeMap<String, (u8, String)> = BTreeMap::new();
    for (network, value) in relayed.chain(listed) {
        for prefix in address_prefixes(network) {
            let length = network.prefix_len();
            match prefixes.get(&prefix) {
                Some((other, _)) if *other > length => {}
                _ => drop(prefixes.insert(prefix, (length, value.clone()))),
            }
        }
    }
    prefixes
}

fn access_value(action: &Action) -> String {
    match action {
        Action::Relay => "RELAY".to_owned(),
        Action::Ok => "OK".to_owned(),
        Action::Reject => "REJECT".to_owned(),
        Action::Discard => "DISCARD".to_owned(),
        Action::Error { code, enhanced, text } => format!("ERROR:{enhanced}:{code} {text}"),
    }
}

/// The keys that cover a network: access matches whole octets or groups, and never CIDR. At most 128 for IPv4 and
/// 32768 for IPv6.
fn address_prefixes(network: &IpNet) -> Vec<String> {
    match network {
        IpNet::V4(network) => v4_prefixes(network),
        IpNet::V6(network) => v6_prefixes(network),
    }
}

fn v4_prefixes(network: &Ipv4Net) -> Vec<String> {
    let octets = network.prefix_len().div_ceil(8).max(1);
    let whole = network.subnets(octets * 8).into_iter().flatten();
    let key = |subnet: Ipv4Net| {
        let octets = &subnet.network().octets()[..usize::from(octets)];
        octets.iter().map(u8::to_string).collect::<Vec<_>>().join(".")
    };
    whole.map(key).collect()
}

fn v6_prefixes(network: &Ipv6Net) -> Vec<String> {
    let groups = network.prefix_len().div_ceil(16).max(1);
    let whole = network.subnets(groups * 16).into_iter().flatten();
    let key = |subnet: Ipv6Net| {
        let groups = &subnet.network().segments()[..usize::from(groups)];
        let groups: Vec<String> = groups.iter().map(|group| format!("{group:x}")).collect();
        format!("IPv6:{}", groups.join(":"))
    };
    whole.map(key).collect()
}
