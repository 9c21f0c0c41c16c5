//! Parsing of the texts of a declaration, one function per kind of text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;
use mailstack_policy::access::Action;
use mailstack_policy::rules::{Agent, AliasTarget, HopHost, Mailer, NextHop};
use mailstack_policy::{Address, Domain, DomainName};
use mailstack_schema::value;

use super::fault::FaultKind;

/// SMTP's port.
const SMTP_PORT: u16 = 25;
/// The shortest prefixes of a network that may relay.
const WIDEST_V4: u8 = 8;
const WIDEST_V6: u8 = 16;

/// A name with a dot in it.
pub(super) fn domain(text: &str) -> Result<DomainName, FaultKind> {
    let name: DomainName =
        text.parse().map_err(|reason| FaultKind::DomainName { text: text.to_owned(), reason })?;
    if !name.is_qualified() {
        return Err(FaultKind::Unqualified { text: text.to_owned() });
    }
    Ok(name)
}

/// A domain to relay for: never everybody's.
pub(super) fn relay_domain(text: &str) -> Result<DomainName, FaultKind> {
    match domain(text) {
        Err(_) if text == "." => Err(FaultKind::RelayForTopLevel { text: text.to_owned() }),
        Err(FaultKind::Unqualified { text }) => Err(FaultKind::RelayForTopLevel { text }),
        parsed => parsed,
    }
}

/// `host`, `[host]`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`, each with an optional `:port`.
pub(super) fn mail_host(text: &str) -> Result<NextHop, FaultKind> {
    if let Some(bracketed) = bracketed(text) {
        return Err(FaultKind::BareAddress { text: text.to_owned(), bracketed });
    }
    let bad = || FaultKind::MailHost { text: text.to_owned() };
    let host_end = match text.strip_prefix('[') {
        Some(_) => text.find(']').ok_or_else(bad)? + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    let port = match rest.strip_prefix(':') {
        Some(port) => port_number(port).ok_or_else(bad)?,
        None if rest.is_empty() => SMTP_PORT,
        None => return Err(bad()),
    };
    Ok(NextHop { host: hop_host(host).ok_or_else(bad)?, port })
}

/// An address without brackets, with them; its port, too.
fn bracketed(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Domain::Literal(address).to_string());
    }
    let (address, port) = text.split_once(':')?;
    let address = Domain::Literal(address.parse::<Ipv4Addr>().ok()?.into());
    port_number(port).map(|port| format!("{address}:{port}"))
}

/// A host without port. An address without brackets is none: Sendmail would look it up as a name.
fn hop_host(text: &str) -> Option<HopHost> {
    let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) else {
        let name: DomainName = text.parse().ok()?;
        return (!is_numeric(&name)).then_some(HopHost::Mx(name));
    };
    match text.parse::<Domain>() {
        Ok(Domain::Literal(address)) => Some(HopHost::Address(address)),
        _ => inner.parse().ok().filter(|name| !is_numeric(name)).map(HopHost::Host),
    }
}

/// Whether the last label is a number, as in no name of a host (RFC 1123 2.1).
fn is_numeric(name: &DomainName) -> bool {
    let last = name.as_str().rsplit('.').next().unwrap_or_default();
    last.bytes().all(|b| b.is_ascii_digit())
}

fn port_number(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// `192.0.2.1`, `::1`, `192.0.2.1:25`, `[::1]`, `[::1]:25`.
pub(super) fn listen(text: &str) -> Result<SocketAddr, FaultKind> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let at = match bare.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, SMTP_PORT)),
        Err(_) => text.parse().ok(),
    };
    at.filter(|at| at.port() != 0).ok_or_else(|| FaultKind::Listen { text: text.to_owned() })
}

/// A network without stray bits and not wider than a site has.
pub(super) fn network(text: &str) -> Result<IpNet, FaultKind> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Err(FaultKind::NoPrefix { text: text.to_owned(), network: address.into() });
    }
    let network: IpNet = text.parse().map_err(|_| FaultKind::Network { text: text.to_owned() })?;
    let widest = if network.addr().is_ipv4() { WIDEST_V4 } else { WIDEST_V6 };
    if network.prefix_len() < widest {
        return Err(FaultKind::TooWide { text: text.to_owned(), widest });
    }
    if network != network.trunc() {
        return Err(FaultKind::HostBits { text: text.to_owned(), network: network.trunc() });
    }
    if network.addr().is_loopback() {
        return Err(FaultKind::LoopbackNetwork { text: text.to_owned() });
    }
    Ok(network)
}

/// A user's or alias's name, in lower case: nothing that Sendmail reads as a program, a file or a path.
pub(super) fn user(text: &str) -> Result<String, FaultKind> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    let atoms = text.split('.').all(|atom| !atom.is_empty() && !atom.starts_with('-'));
    if text.len() > 64 || !atoms || !text.bytes().all(plain) {
        return Err(FaultKind::UserName { text: text.to_owned() });
    }
    Ok(text.to_ascii_lowercase())
}

/// What an alias expands to: an address, a bare name, or `\user`.
pub(super) fn alias_target(text: &str) -> Result<AliasTarget, FaultKind> {
    if let Some(name) = text.strip_prefix('\\') {
        return user(name).map(AliasTarget::User);
    }
    if let Some(path) = text.strip_prefix(":include:") {
        return include(path)
            .map(AliasTarget::Include)
            .ok_or_else(|| FaultKind::Include { text: text.to_owned() });
    }
    if let Some(command) = text.strip_prefix('|') {
        return program(command)
            .map(AliasTarget::Program)
            .ok_or_else(|| FaultKind::Program { text: text.to_owned() });
    }
    if text.starts_with('/') {
        return include(text)
            .map(AliasTarget::File)
            .ok_or_else(|| FaultKind::AliasFile { text: text.to_owned() });
    }
    if text.trim_start().starts_with(['|', '/', ':']) {
        return Err(FaultKind::SpecialTarget { text: text.to_owned() });
    }
    let bad = |reason| FaultKind::Address { text: text.to_owned(), reason };
    let address: Address = text.parse().map_err(bad)?;
    // Sendmail takes a target that begins so for a program, a file or an include, whatever follows.
    let special = address.local().starts_with(['|', '/', ':', '\\']);
    if special || !address.to_string().is_ascii() {
        return Err(FaultKind::UserName { text: text.to_owned() });
    }
    if address.domain().is_none() {
        user(text)?;
    }
    Ok(AliasTarget::Address(address))
}

/// A program and its arguments, parted by single blanks. Nothing in it means anything to a shell, which Sendmail's
/// `smrsh` hands it to.
fn program(command: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-/:@%=,".contains(c);
    let words: Vec<&str> = command.split_ascii_whitespace().collect();
    let first = words.first().filter(|word| !word.contains(['=', '-']) || word.starts_with('/'))?;
    let good = !first.ends_with('/') && words.iter().all(|word| word.chars().all(plain));
    good.then(|| words.join(" "))
}

/// An absolute path that every reader of the aliases understands alike.
pub(super) fn include(path: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._+-".contains(c);
    let names = path.strip_prefix('/')?.split('/').all(|name| !matches!(name, "" | "." | ".."));
    (names && path.chars().all(plain)).then(|| path.to_owned())
}

/// The value of a mailertable entry.
pub(super) fn mailer(text: &str) -> Result<Mailer, FaultKind> {
    let bad = || FaultKind::Mailer { text: text.to_owned() };
    let (agent, rest) = text.split_once(':').ok_or_else(bad)?;
    match agent {
        "smtp" => smtp_mailer(Agent::Smtp, text, rest),
        "esmtp" => smtp_mailer(Agent::Esmtp, text, rest),
        "relay" => smtp_mailer(Agent::Relay, text, rest),
        "local" if rest.is_empty() => Ok(Mailer::Local { user: None }),
        "local" => user(rest).map(|user| Mailer::Local { user: Some(user) }),
        "error" => error_mailer(text, rest),
        _ => Err(bad()),
    }
}

fn smtp_mailer(agent: Agent, text: &str, hosts: &str) -> Result<Mailer, FaultKind> {
    let hop = |host: &str| match host.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() {
        true => Err(FaultKind::MailerPort { text: host.to_owned() }),
        false => hop_host(host)
            .map(|host| NextHop { host, port: SMTP_PORT })
            .ok_or_else(|| FaultKind::Mailer { text: text.to_owned() }),
    };
    let hosts = split_hosts(hosts).into_iter().map(hop).collect::<Result<Vec<_>, _>>()?;
    Ok(Mailer::Smtp { agent, hosts })
}

/// Splits at the colons outside of brackets.
fn split_hosts(text: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let at_colon = |c: char| {
        depth = match c {
            '[' => depth + 1,
            ']' => depth.saturating_sub(1),
            _ => depth,
        };
        c == ':' && depth == 0
    };
    text.split(at_colon).collect()
}

/// `5.1.2:550 text`
fn error_mailer(text: &str, rest: &str) -> Result<Mailer, FaultKind> {
    error_entry(text, rest).map(|(code, enhanced, text)| Mailer::Error { code, enhanced, text })
}

/// Reply code, enhanced code and text of `5.1.2:550 text`; `text` is all that was written.
pub(super) fn error_entry(text: &str, rest: &str) -> Result<(u16, String, String), FaultKind> {
    let bad = || FaultKind::Mailer { text: text.to_owned() };
    let (enhanced, rest) = rest.split_once(':').ok_or_else(bad)?;
    let (code, words) = rest.split_once(' ').ok_or_else(bad)?;
    let words = words.trim();
    // A map's value has its arguments behind a `%`.
    if words.is_empty() || words.contains('%') || !words.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return Err(bad());
    }
    let code = code.parse::<u16>().ok().filter(|code| (400..600).contains(code)).ok_or_else(bad)?;
    let class = enhanced_class(enhanced).ok_or_else(bad)?;
    if class != code / 100 {
        return Err(FaultKind::MailerCodes { text: text.to_owned() });
    }
    Ok((code, enhanced.to_owned(), words.to_owned()))
}

/// The class of an enhanced status code (RFC 3463 2), or None if it is none.
fn enhanced_class(text: &str) -> Option<u16> {
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    match parts.as_slice() {
        [class, subject, detail] if [class, subject, detail].into_iter().all(digits) => class.parse().ok(),
        _ => None,
    }
}

/// The value of an access entry.
pub(super) fn access_action(text: &str) -> Result<Action, FaultKind> {
    match text.to_ascii_uppercase().as_str() {
        "RELAY" => return Ok(Action::Relay),
        "OK" => return Ok(Action::Ok),
        "REJECT" => return Ok(Action::Reject),
        "DISCARD" => return Ok(Action::Discard),
        _ => {}
    }
    let bad = || FaultKind::AccessAction { text: text.to_owned() };
    let (enhanced, rest) =
        text.strip_prefix("ERROR:").and_then(|rest| rest.split_once(':')).ok_or_else(bad)?;
    let (code, words) = rest.split_once(' ').ok_or_else(bad)?;
    let code = code.parse::<u16>().ok().filter(|code| (400..600).contains(code)).ok_or_else(bad)?;
    let class = enhanced_class(enhanced).ok_or_else(bad)?;
    let words = reply_text(words.trim()).ok_or_else(bad)?;
    if class != code / 100 {
        return Err(FaultKind::MailerCodes { text: text.to_owned() });
    }
    // 421 would end the session in one engine and be a mere refusal in the other.
    if code == 421 {
        return Err(bad());
    }
    Ok(Action::Error { code, enhanced: enhanced.to_owned(), text: words.to_owned() })
}

/// A text that Sendmail says as it stands: what its rules and m4 read otherwise is not in it.
pub(super) fn reply_text(text: &str) -> Option<&str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b" .+-:/".contains(&b);
    ((1..=200).contains(&text.len()) && text.bytes().all(plain)).then_some(text)
}

/// A number of octets, `25MiB` or `500KiB`.
pub(super) fn size(text: &str) -> Result<u64, FaultKind> {
    value::size(text).map_err(|reason| FaultKind::Size { text: text.to_owned(), reason })
}

/// A time in seconds: `30s`, `5m`, `1h`, `5d`.
pub(super) fn duration(text: &str) -> Result<u64, FaultKind> {
    let parsed = value::duration(text).map(|duration| duration.as_secs());
    parsed.map_err(|reason| FaultKind::Duration { text: text.to_owned(), reason })
}
/// Whether this is `[address]:port`.
pub(super) fn literal_with_port(text: &str) -> bool {
    let parts = text.strip_prefix('[').and_then(|text| text.split_once("]:"));
    parts.is_some_and(|(address, port)| {
        address.parse::<std::net::IpAddr>().is_ok() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
