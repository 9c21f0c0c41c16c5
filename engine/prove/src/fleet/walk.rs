//! Mail followed through a fleet, host by host.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use mailstack_policy::{
    Address, Client, Includes, ReversePath, Route, Rule, Target, list_members, list_owner, rewrite_header,
    route_target, sender,
};
use serde::Serialize;

use super::{Fleet, FleetHost};
use crate::expect::RouteName;
use crate::trace::{Question, Trace, trace};

/// Hosts that a message passes before it is taken to loop (`MaxHopCount`).
const MAX_HOPS: usize = 25;

/// A message where it is handed in.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The host.
    pub at: String,
    /// Who hands it in there.
    pub client: Client,
    /// Its envelope sender.
    pub from: ReversePath,
    /// One envelope recipient.
    pub to: Address,
    /// Its header block.
    pub header: Vec<u8>,
}

/// What becomes of a message for one final recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The hosts that had it, in order; the last one is where it ended.
    pub path: Vec<String>,
    /// Its envelope sender by then.
    pub from: ReversePath,
    /// What became of it.
    pub answer: Answer,
}

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is in a mailbox.
    Delivered(Delivered),
    /// The host before refused it, or has nowhere to send it: the last host bounces it, or where there is only one
    /// the client is told.
    Refused {
        /// The host that refused.
        by: String,
        /// The reply code.
        code: u16,
        /// The enhanced status code.
        enhanced: Option<String>,
        /// The recipient that it refused.
        to: Address,
        /// The last rule behind it.
        rule: Option<Rule>,
    },
    /// It waits at the last host until it bounces.
    Waits(Wait),
    /// It comes back to a host that had it.
    Loops {
        /// Which.
        host: String,
        /// The recipient.
        to: Address,
    },
}

/// A message in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The host.
    pub host: String,
    /// The user.
    pub user: String,
    /// The header block by then.
    pub header: Vec<u8>,
}

/// A message that cannot be sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For whom.
    pub to: Address,
    /// Why; the first next hop's reason.
    pub stuck: Stuck,
}

/// Why a host cannot be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Stuck {
    /// A name that no zone has an address for, or that only leads back.
    NoName {
        /// The name.
        name: String,
    },
    /// An address that no host has.
    NoHost {
        /// The address.
        at: SocketAddr,
    },
    /// A host that shares no network.
    NoNetwork {
        /// The host.
        host: String,
        /// Its address.
        at: SocketAddr,
    },
    /// A host that does not listen there.
    Deaf {
        /// The host.
        host: String,
        /// Where it does not.
        at: SocketAddr,
    },
    /// A host that is down.
    Down {
        /// The host.
        host: String,
    },
}

/// What becomes of a message: an end for each final recipient.
pub fn follow(fleet: &Fleet, mail: &Mail) -> Vec<End> {
    let seen = BTreeSet::from([(mail.at.clone(), mail.to.clone())]);
    let mut walk = Walk { fleet, ends: Vec::new(), seen };
    walk.at_host(mail, &mut Vec::new());
    walk.ends
}

/// What one host answers to a message, without sending it on.
pub fn answer(host: &FleetHost, client: Client, from: &ReversePath, to: &Address) -> Option<Trace> {
    let config = host.config.as_ref()?;
    let question = Question { client, from: from.clone(), to: to.clone() };
    Some(trace(&config.rules, host.here(), &question, &|name| host.users.contains(name)))
}

struct Walk<'f> {
    fleet: &'f Fleet,
    ends: Vec<End>,
    /// Who had the message for whom.
    seen: BTreeSet<(String, Address)>,
}

impl Walk<'_> {
    fn at_host(&mut self, mail: &Mail, path: &mut Vec<String>) {
        let Some((name, host)) = self.fleet.hosts.get_key_value(&mail.at) else { return };
        let (Some(trace), Some(config)) = (answer(host, mail.client, &mail.from, &mail.to), &host.config)
        else {
            return;
        };
        if let Some(refusal) = trace.refusal() {
            let (code, enhanced) = refusal.codes();
            let steps = trace.sender.steps.iter().chain(&trace.recipient.steps);
            let rule = steps.last().map(|step| step.rule.clone());
            let enhanced = enhanced.map(|enhanced| enhanced.to_string());
            let answer = Answer::Refused { by: name.clone(), code, enhanced, to: mail.to.clone(), rule };
            return self.end(path, mail.from.clone(), answer);
        }
        path.push(name.clone());
        let from = trace.sender.result.clone().unwrap_or(ReversePath::Null);
        let header = rewrite_header(&config.rules, host.here(), &mail.header).into_owned();
        for (expanded, hop) in trace.recipient.result.iter().flatten().zip(&trace.hops) {
            let onward = Onward { from: &from, to: &expanded.address, header: &header };
            match &expanded.target {
                Target::List(alias) => self.list(name, host, &onward, alias, path),
                Target::Address | Target::Program(_) | Target::File(_) | Target::Refused(_) => {
                    self.onward(name, host, &onward, &hop.result, path);
                }
            }
        }
        path.pop();
    }

    /// The members of a list as far as they are declared: what its files hold only the host knows.
    fn list(&mut self, name: &str, host: &FleetHost, mail: &Onward<'_>, alias: &str, path: &mut Vec<String>) {
        let Some(config) = &host.config else { return };
        // A list within itself is returned.
        if !self.seen.insert((format!("list of {name}"), mail.to.clone())) {
            let answer = Answer::Loops { host: name.to_owned(), to: mail.to.clone() };
            return self.end(path, mail.from.clone(), answer);
        }
        let (rules, here) = (&config.rules, host.here());
        let owner = list_owner(rules, alias).map(ReversePath::Address);
        let owner = owner.filter(|_| *mail.from != ReversePath::Null);
        let owner =
            owner.map(|owner| sender(rules, here, &Client::Local { uid: 0 }, &owner).unwrap_or(owner));
        let from = owner.as_ref().unwrap_or(mail.from);
        let known = |user: &str| host.users.contains(user);
        let members = list_members(rules, here, alias, &Includes::new(), &known).unwrap_or_default();
        for member in members {
            let onward = Onward { from, to: &member.address, header: mail.header };
            match &member.target {
                Target::List(alias) => self.list(name, host, &onward, alias, path),
                target => {
                    let route = route_target(rules, here, &member.address, target);
                    self.onward(name, host, &onward, &route, path);
                }
            }
        }
    }

    fn onward(
        &mut self,
        name: &str,
        host: &FleetHost,
        mail: &Onward<'_>,
        route: &Route,
        path: &mut Vec<String>,
    ) {
        let Onward { from, to, header } = *mail;
        match route {
            Route::Local { user } => {
                let known = host.users.contains(user);
                let delivered =
                    Delivered { host: name.to_owned(), user: user.clone(), header: header.to_vec() };
                let nobody = Answer::Refused {
                    by: name.to_owned(),
                    code: 550,
                    enhanced: Some("5.1.1".to_owned()),
                    to: to.clone(),
                    rule: None,
                };
                self.end(path, from.clone(), if known { Answer::Delivered(delivered) } else { nobody });
            }
            Route::Program { .. } | Route::File { .. } => {
                let user = RouteName(route).to_string();
                let delivered = Delivered { host: name.to_owned(), user, header: header.to_vec() };
                self.end(path, from.clone(), Answer::Delivered(delivered));
            }
            Route::Fail(refusal) => {
                let (code, enhanced) = refusal.codes();
                let enhanced = enhanced.map(|enhanced| enhanced.to_string());
                let rule = Some(Rule::Refused(refusal.clone()));
                let answer = Answer::Refused { by: name.to_owned(), code, enhanced, to: to.clone(), rule };
                self.end(path, from.clone(), answer);
            }
            route => self.remote(name, host, mail, route, path),
        }
    }

    fn remote(
        &mut self,
        name: &str,
        host: &FleetHost,
        mail: &Onward<'_>,
        route: &Route,
        path: &mut Vec<String>,
    ) {
        let Onward { from, to, header } = *mail;
        match self.next(name, host, route) {
            Err(stuck) => self.end(path, from.clone(), Answer::Waits(Wait { to: to.clone(), stuck })),
            Ok((next, client)) => {
                let looped = path.len() > MAX_HOPS || !self.seen.insert((next.clone(), to.clone()));
                if looped && path.contains(&next) {
                    return self.end(path, from.clone(), Answer::Loops { host: next, to: to.clone() });
                }
                let client = Client::Network { addr: client };
                let header = header.to_vec();
                self.at_host(&Mail { at: next, client, from: from.clone(), to: to.clone(), header }, path);
            }
        }
    }

    /// The first next hop that takes a connection; else the first one's reason.
    fn next(&self, name: &str, host: &FleetHost, route: &Route) -> Result<(String, IpAddr), Stuck> {
        let is_own = |name: &mailstack_policy::DomainName| {
            host.here().is_own_host(&mailstack_policy::Domain::Name(name.clone()))
        };
        let found = self.fleet.zones.resolve(route, &is_own)?;
        let mut first = None;
        for at in found {
            match self.fleet.connect(name, at) {
                Ok((next, client)) => return Ok((next.clone(), client)),
                Err(stuck) => first = first.or(Some(stuck)),
            }
        }
        Err(first.unwrap_or(Stuck::NoName { name: String::new() }))
    }

    fn end(&mut self, path: &[String], from: ReversePath, answer: Answer) {
        self.ends.push(End { path: path.to_vec(), from, answer });
    }
}

/// A message that leaves a host.
struct Onward<'m> {
    from: &'m ReversePath,
    to: &'m Address,
    header: &'m [u8],
}
