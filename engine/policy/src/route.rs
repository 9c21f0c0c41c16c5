//! Where a final recipient goes next: `mailertable`, mail hosts, MX.

use mailstack_smtp::address::{Address, Domain, DomainName};

use crate::decision::{Here, Refusal, Route, Target};
use crate::rules::{Mailer, MailertableKey, Rules};
use crate::virtuser::is_virtual;
use crate::why::Rule;

/// The port of SMTP between hosts.
const SMTP_PORT: u16 = 25;

/// The next step of a final recipient, as [`crate::recipient`] gives it. Aliases are not looked up.
pub fn route(rules: &Rules, here: Here<'_>, address: &Address) -> Route {
    let (rule, route) = match address.domain() {
        // Nobody lives there: whoever it means is another address.
        Some(domain) if is_virtual(rules, domain) => {
            (Rule::Refused(Refusal::UserUnknown), Route::Fail(Refusal::UserUnknown))
        }
        Some(domain) if !here.is_local(rules, domain) => route_away(rules, address, domain),
        _ if rules.local_mailboxes => (Rule::Mailbox, local(address.local())),
        _ => to_mail_hosts(rules).unwrap_or((Rule::Refused(Refusal::NoRoute), Route::Fail(Refusal::NoRoute))),
    };
    here.note_of(|| rule, address);
    route
}

/// The same, where something else is done with it than its address says.
pub fn route_target(rules: &Rules, here: Here<'_>, address: &Address, target: &Target) -> Route {
    match target {
        Target::Address => route(rules, here, address),
        Target::List(alias) => {
            here.note_of(|| Rule::List(alias.clone()), address);
            local(alias)
        }
        Target::Program(command) => {
            here.note_of(|| Rule::Program(command.clone()), address);
            Route::Program { command: command.clone() }
        }
        Target::File(path) => {
            here.note_of(|| Rule::File(path.clone()), address);
            Route::File { path: path.clone() }
        }
        Target::Refused(refusal) => {
            here.note_of(|| Rule::Refused(refusal.clone()), address);
            Route::Fail(refusal.clone())
        }
    }
}

fn route_away(rules: &Rules, address: &Address, domain: &Domain) -> (Rule, Route) {
    let entry = domain.name().and_then(|name| mailertable(rules, name));
    let by_entry =
        entry.and_then(|(key, mailer)| Some((Rule::Mailertable(key), by_mailer(rules, mailer, address)?)));
    by_entry.or_else(|| to_mail_hosts(rules)).unwrap_or_else(|| direct(domain))
}

fn by_mailer(rules: &Rules, mailer: &Mailer, address: &Address) -> Option<Route> {
    match mailer {
        Mailer::Smtp { hosts, .. } => (!hosts.is_empty()).then(|| Route::Hops(hosts.clone())),
        Mailer::Local { user } => {
            rules.local_mailboxes.then(|| local(user.as_deref().unwrap_or(address.local())))
        }
        Mailer::Error { code, enhanced, text } => Some(Route::Fail(Refusal::MailerError {
            code: *code,
            enhanced: enhanced.clone(),
            text: text.clone(),
        })),
    }
}

fn local(user: &str) -> Route {
    Route::Local { user: user.to_ascii_lowercase() }
}

fn to_mail_hosts(rules: &Rules) -> Option<(Rule, Route)> {
    (!rules.mail_hosts.is_empty()).then(|| (Rule::MailHosts, Route::Hops(rules.mail_hosts.clone())))
}

fn direct(domain: &Domain) -> (Rule, Route) {
    match domain {
        Domain::Name(name) => (Rule::Mx, Route::Mx { domain: name.clone(), port: SMTP_PORT }),
        Domain::Literal(addr) => (Rule::Literal, Route::Literal { addr: *addr, port: SMTP_PORT }),
    }
}

/// The entry for a domain: its own before `.parent`, and of those the longest.
pub(crate) fn mailertable<'a>(rules: &'a Rules, domain: &DomainName) -> Option<(MailertableKey, &'a Mailer)> {
    if rules.mailertable.is_empty() {
        return None;
    }
    let exact = MailertableKey::Exact(domain.clone());
    let parents = std::iter::successors(domain.parent(), DomainName::parent).map(MailertableKey::Below);
    std::iter::once(exact).chain(parents).find_map(|key| {
        let mailer = rules.mailertable.get(&key)?;
        Some((key, mailer))
    })
}
