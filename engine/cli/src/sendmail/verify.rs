//! `sendmail -bv`: says where recipients would go, and sends nothing.

use std::io::Write;

use mailstack_mta::host::{Root, Users, own_name};
use mailstack_mta::run::interfaces;
use mailstack_mta::sysexits::{EX_DATAERR, EX_IOERR, EX_NOUSER, EX_OK, EX_UNAVAILABLE};
use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_policy::{Address, Client, Expanded, Here, RecipientVerdict, Refusal, Route, Target};
use mailstack_runtime::Config;

use super::Failed;

/// Verifies each address by the rules that the MTA decides by, in Sendmail's words. Ends with the code of the first
/// that cannot be delivered to.
pub fn verify(
    root: &Root,
    config: &Config,
    addresses: &[Address],
    out: &mut dyn Write,
) -> Result<u8, Failed> {
    let hostname = config.hostname.clone().unwrap_or_else(|| own_name(root).name);
    let interfaces = interfaces();
    let here = Here::new(&hostname, &interfaces);
    let users = Users::of(root);
    // While the users cannot be read everybody may be there.
    let exists = |name: &str| !matches!(users.by_name(name), Ok(None));
    let client = Client::Local { uid: nix::unistd::getuid().as_raw() };
    let mut code = EX_OK;
    for address in addresses {
        let lines = match mailstack_policy::recipient(&config.rules, here, &client, address, &exists) {
            RecipientVerdict::Refuse(refusal) => vec![Err(refused(address, &refusal))],
            RecipientVerdict::Deliver(found) => {
                found.iter().map(|one| way(config, here, one, &exists)).collect()
            }
        };
        for line in lines {
            let (text, bad) = match line {
                Ok(text) => (text, EX_OK),
                Err((text, bad)) => (text, bad),
            };
            code = if code == EX_OK { bad } else { code };
            writeln!(out, "{text}").map_err(|error| Failed(EX_IOERR, format!("standard output: {error}")))?;
        }
    }
    Ok(code)
}

fn way(
    config: &Config,
    here: Here<'_>,
    one: &Expanded,
    exists: &dyn Fn(&str) -> bool,
) -> Result<String, (String, u8)> {
    let address = &one.address;
    if let Target::List(name) = &one.target {
        return Ok(format!("{address}... deliverable: list {name}"));
    }
    let deliverable = |mailer: &str, host: &str, user: &str| {
        let host = if host.is_empty() { String::new() } else { format!(", host {host}") };
        Ok(format!("{address}... deliverable: mailer {mailer}{host}, user {user}"))
    };
    let text = address.to_string();
    match mailstack_policy::route_target(&config.rules, here, address, &one.target) {
        Route::Local { user } if exists(&user) => deliverable("local", "", &user),
        Route::Local { .. } => Err(refused(address, &Refusal::UserUnknown)),
        Route::Program { command } => deliverable("prog", "", &command),
        Route::File { path } => deliverable("*file*", "", &path),
        Route::Hops(hops) => {
            let hops: Vec<String> = hops.iter().map(hop).collect();
            deliverable("relay", &hops.join(":"), &text)
        }
        Route::Mx { domain, .. } => deliverable("esmtp", &domain.to_string(), &text),
        Route::Literal { addr, .. } => deliverable("esmtp", &format!("[{addr}]"), &text),
        Route::Fail(refusal) => Err(refused(address, &refusal)),
    }
}

fn hop(hop: &NextHop) -> String {
    match &hop.host {
        HopHost::Mx(name) => name.to_string(),
        HopHost::Host(name) => format!("[{name}]"),
        HopHost::Address(address) => format!("[{address}]"),
    }
}

fn refused(address: &Address, refusal: &Refusal) -> (String, u8) {
    let why = match refusal {
        Refusal::UserUnknown => "User unknown".to_owned(),
        Refusal::RelayingDenied => "Relaying denied".to_owned(),
        Refusal::AliasLoop => "the aliases lead back to where they began".to_owned(),
        Refusal::NoRoute => "this host has neither mailboxes nor a mail host".to_owned(),
        Refusal::BadAddress(_) => "the address cannot be read".to_owned(),
        Refusal::NotAMailbox(_) => "that is no mailbox".to_owned(),
        Refusal::SenderUnqualified | Refusal::SenderNotReal => "not acceptable".to_owned(),
        Refusal::MailerError { text, .. } | Refusal::Access { text, .. } => text.clone(),
    };
    let code = match refusal {
        Refusal::UserUnknown => EX_NOUSER,
        Refusal::BadAddress(_) | Refusal::NotAMailbox(_) => EX_DATAERR,
        _ => EX_UNAVAILABLE,
    };
    let (number, enhanced) = refusal.codes();
    let enhanced = enhanced.map(|enhanced| format!(" {enhanced}")).unwrap_or_default();
    (format!("{address}... {why} ({number}{enhanced})"), code)
}
