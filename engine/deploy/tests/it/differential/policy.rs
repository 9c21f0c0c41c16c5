//! The built-in MTA's answers, in the words of Sendmail's.

use std::net::{IpAddr, Ipv4Addr};

use mailstack_deploy::model::Model;
use mailstack_policy::header::fields;
use mailstack_policy::rules::{HopHost, NextHop, Rules};
use mailstack_policy::{
    Address, Client, Domain, DomainName, Expanded, Here, RecipientVerdict, Refusal, ReversePath, Route,
    recipient, rewrite_header, route_target, sender,
};

use super::sendmail::Question;

/// The users of the private root.
const USERS: [&str; 6] = ["root", "daemon", "mail", "smmta", "smmsp", "alice"];

/// A configuration, on a host of its name.
pub(super) struct Policy {
    rules: Rules,
    /// The declared name, else that of the private root.
    pub(super) hostname: DomainName,
}

impl Policy {
    pub(super) fn of(model: &Model) -> Self {
        let config = model.runtime_config();
        let hostname = config.hostname.unwrap_or_else(|| "here.corp.example".parse().unwrap());
        Self { rules: config.rules, hostname }
    }

    pub(super) fn has_mail_host(&self) -> bool {
        !self.rules.mail_hosts.is_empty()
    }

    /// The addresses that an alias expands.
    pub(super) fn aliased(&self, addresses: &[String]) -> Vec<String> {
        let bare = |address: &&String| {
            let name = address.to_ascii_lowercase();
            name == "postmaster" || self.rules.aliases.contains_key(&name)
        };
        addresses.iter().filter(bare).filter(|_| self.rules.local_mailboxes).cloned().collect()
    }

    pub(super) fn answer(&self, question: &Question) -> String {
        // Its address by the private root's file of hosts.
        let addresses = [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 10))];
        let here = Here::new(&self.hostname, &addresses);
        match question {
            Question::Try { flags: "HS", address, .. } => self.header(here, "From", address),
            Question::Try { flags: "HR", address, .. } => self.header(here, "To", address),
            Question::Try { address, .. } => {
                let from = ReversePath::Address(address.parse().unwrap());
                match sender(&self.rules, here, &Client::Local { uid: 0 }, &from) {
                    Ok(path) => path.address().map(Address::to_string).unwrap_or_default(),
                    Err(refusal) => refused(&refusal),
                }
            }
            Question::Parse { address } => {
                let rules = Rules { aliases: Default::default(), ..self.rules.clone() };
                routed(&rules, here, address, &|_| true)
            }
            Question::Verify { address } => routed(&self.rules, here, address, &|name| USERS.contains(&name)),
        }
    }

    fn header(&self, here: Here<'_>, name: &str, address: &str) -> String {
        let written = format!("{name}: {address}\r\n");
        let block = rewrite_header(&self.rules, here, written.as_bytes());
        let body = fields(&block).next().unwrap().body.to_vec();
        String::from_utf8(body).unwrap().trim().to_owned()
    }
}

fn routed(rules: &Rules, here: Here<'_>, to: &str, user_exists: &dyn Fn(&str) -> bool) -> String {
    let client = match rules.local_mailboxes {
        true => Client::Network { addr: IpAddr::V4(Ipv4Addr::LOCALHOST) },
        false => Client::Local { uid: 0 },
    };
    let found = match recipient(rules, here, &client, &to.parse().unwrap(), user_exists) {
        RecipientVerdict::Deliver(found) => found,
        RecipientVerdict::Refuse(refusal) => return refused(&refusal),
    };
    let one = |Expanded { address, target, .. }: &Expanded| match route_target(rules, here, address, target) {
        Route::Local { user } => format!("the mailbox of {user}"),
        Route::Program { command } => format!("the program {command}"),
        Route::File { path } => format!("the file {path}"),
        Route::Hops(hops) => format!("{} for {address}", hops.iter().map(host).collect::<Vec<_>>().join(":")),
        Route::Mx { domain, .. } => format!("{domain} for {address}"),
        Route::Literal { addr, .. } => format!("{} for {address}", Domain::Literal(addr)),
        Route::Fail(refusal) => refused(&refusal),
    };
    let mut found: Vec<String> = found.iter().map(one).collect();
    found.sort();
    found.join(", ")
}

fn refused(refusal: &Refusal) -> String {
    format!("refused: {}", refusal.codes().0)
}

fn host(hop: &NextHop) -> String {
    match &hop.host {
        HopHost::Mx(name) => name.to_string(),
        HopHost::Host(name) => format!("[{name}]"),
        HopHost::Address(addr) => Domain::Literal(*addr).to_string(),
    }
}
