//! Expectations: what an administrator says must become of a message, and what becomes of it instead.

use std::collections::BTreeSet;
use std::fmt;

use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_policy::{Address, Client, Domain, Expanded, Here, ReversePath, Route, Step};
use mailstack_runtime::Config;
use serde::Serialize;

use crate::site::{own_addresses, unnamed};
use crate::trace::{Decided, Question, Trace, trace};

/// What must become of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expectation {
    /// Who hands it in.
    pub client: Client,
    /// Its envelope sender.
    pub from: ReversePath,
    /// Its envelope recipient.
    pub to: Address,
    /// What must become of it.
    pub outcome: Outcome,
}

/// What must become of a message; where its recipient expands to several, of one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It leaves.
    Leaves {
        /// The host that it is handed to first.
        hop: Hop,
        /// Its envelope sender then; None: any.
        sender: Option<ReversePath>,
        /// Its envelope recipient then; None: any.
        recipient: Option<Address>,
    },
    /// It reaches a mailbox of this host.
    Delivered {
        /// The user, lower case.
        user: String,
    },
    /// It is refused.
    Refused {
        /// With this reply code.
        code: u16,
        /// And this enhanced status code; None: any.
        enhanced: Option<String>,
    },
}

/// A next hop as an expectation names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hop {
    /// The host; a name without brackets stands for the name with them too.
    pub host: HopHost,
    /// The port; None: any.
    pub port: Option<u16>,
}

/// The decision that an expectation failed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deciding {
    /// The envelope sender.
    Sender,
    /// The envelope recipient.
    Recipient,
    /// The next hop.
    Hop,
}

/// An expectation that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unmet {
    /// Which, from 0.
    pub index: usize,
    /// What becomes of the message instead.
    pub instead: String,
    /// The decision that it failed at.
    pub at: Deciding,
    /// The rules behind that decision.
    pub steps: Vec<Step>,
}

/// The expectations that do not hold. The host is only known by its configuration, so that the result is the same on
/// every machine; `root` and the users that expectations deliver to exist, and nobody else.
pub fn unmet(config: &Config, expectations: &[Expectation]) -> Vec<Unmet> {
    let hostname = config.hostname.clone().unwrap_or_else(unnamed);
    let addresses = own_addresses(config);
    let here = Here::new(&hostname, &addresses);
    let delivered = expectations.iter().filter_map(|expectation| match &expectation.outcome {
        Outcome::Delivered { user } => Some(user.as_str()),
        Outcome::Leaves { .. } | Outcome::Refused { .. } => None,
    });
    let users: BTreeSet<&str> = delivered.chain(["root"]).collect();
    let one = |(index, expectation): (usize, &Expectation)| {
        let Expectation { client, from, to, outcome } = expectation;
        let question = Question { client: *client, from: from.clone(), to: to.clone() };
        let trace = trace(&config.rules, here, &question, &|name| users.contains(name));
        let (at, steps) = failing(&trace, outcome)?;
        Some(Unmet { index, instead: fate(&trace), at, steps: steps.to_vec() })
    };
    expectations.iter().enumerate().filter_map(one).collect()
}

/// The decision that the outcome fails at, with its rules; None: it does not.
fn failing<'t>(trace: &'t Trace, outcome: &Outcome) -> Option<(Deciding, &'t [Step])> {
    if let Some(refusal) = trace.refusal() {
        let sender = trace.sender.result.is_err();
        let steps = if sender { &trace.sender.steps } else { &trace.recipient.steps };
        let at = if sender { Deciding::Sender } else { Deciding::Recipient };
        let (code, enhanced) = refusal.codes();
        let enhanced = enhanced.map(|enhanced| enhanced.to_string());
        let as_expected = matches!(outcome, Outcome::Refused { code: wanted, enhanced: class }
            if *wanted == code && (class.is_none() || *class == enhanced));
        return (!as_expected).then_some((at, steps));
    }
    match outcome {
        Outcome::Refused { .. } => Some((Deciding::Recipient, &trace.recipient.steps)),
        Outcome::Delivered { user } => {
            let delivers = |(to, hop): (&Expanded, &Decided<Route>)| {
                to.target.is_address() && matches!(&hop.result, Route::Local { user: one } if one == user)
            };
            (!hops(trace).any(delivers)).then(|| any_hop(trace))
        }
        Outcome::Leaves { hop, sender, recipient } => {
            let (leaving, others): (Vec<_>, Vec<_>) =
                hops(trace).partition(|(_, decided)| hop.is(&decided.result));
            let Some(_) = leaving.first() else {
                return others.first().map(|(_, hop)| (Deciding::Hop, hop.steps.as_slice()));
            };
            if sender.as_ref().is_some_and(|sender| trace.sender.result.as_ref() != Ok(sender)) {
                return Some((Deciding::Sender, &trace.sender.steps));
            }
            let is_for = |(one, _): &(&Expanded, _)| recipient.as_ref().is_none_or(|to| *to == one.address);
            (!leaving.iter().any(is_for)).then_some((Deciding::Recipient, &trace.recipient.steps))
        }
    }
}

fn any_hop(trace: &Trace) -> (Deciding, &[Step]) {
    match trace.hops.first() {
        // Where an alias leads away, that is what decided.
        Some(hop) if trace.recipient.steps.is_empty() => (Deciding::Hop, &hop.steps),
        _ => (Deciding::Recipient, &trace.recipient.steps),
    }
}

fn hops(trace: &Trace) -> impl Iterator<Item = (&Expanded, &Decided<Route>)> {
    trace.recipient.result.iter().flatten().zip(&trace.hops)
}

impl Hop {
    fn is(&self, route: &Route) -> bool {
        let at = |host: &HopHost, port: u16| {
            let named = match (&self.host, host) {
                (HopHost::Mx(wanted), HopHost::Mx(name) | HopHost::Host(name)) => wanted == name,
                (wanted, host) => wanted == host,
            };
            named && self.port.is_none_or(|wanted| wanted == port)
        };
        match route {
            Route::Hops(hops) => hops.first().is_some_and(|hop| at(&hop.host, hop.port)),
            Route::Mx { domain, port } => at(&HopHost::Mx(domain.clone()), *port),
            Route::Literal { addr, port } => at(&HopHost::Address(*addr), *port),
            Route::Local { .. } | Route::Program { .. } | Route::File { .. } | Route::Fail(_) => false,
        }
    }
}

/// What becomes of a message, in words.
pub(crate) fn fate(trace: &Trace) -> String {
    if let Some(refusal) = trace.refusal() {
        let (code, enhanced) = refusal.codes();
        let enhanced = enhanced.map(|enhanced| format!(" {enhanced}")).unwrap_or_default();
        return format!("is refused with {code}{enhanced}");
    }
    let sender = trace.sender.result.as_ref().map_or_else(|_| String::new(), ToString::to_string);
    let one = |(expanded, hop): (&Expanded, &Decided<Route>)| match &hop.result {
        Route::Local { user } if !expanded.target.is_address() => {
            format!("is queued anew for the members of the list {user}")
        }
        Route::Local { user } => format!("is delivered to {user}"),
        Route::Program { .. } | Route::File { .. } => format!("goes to {}", RouteName(&hop.result)),
        Route::Fail(refusal) => {
            format!("cannot be delivered ({}) and bounces to {sender}", refusal.codes().0)
        }
        route => format!("leaves for {} from {sender} to <{}>", RouteName(route), expanded.address),
    };
    hops(trace).map(one).collect::<Vec<_>>().join(", and ")
}

/// Where a route leads first.
pub(crate) struct RouteName<'r>(pub(crate) &'r Route);

impl fmt::Display for RouteName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Route::Hops(hops) => hops.first().map_or(Ok(()), |hop| HopName(hop).fmt(f)),
            Route::Mx { domain, .. } => write!(f, "{domain} (by MX)"),
            Route::Literal { addr, .. } => Domain::Literal(*addr).fmt(f),
            Route::Local { user } => write!(f, "the mailbox of {user}"),
            Route::Program { command } => write!(f, "the program {command}"),
            Route::File { path } => write!(f, "the file {path}"),
            Route::Fail(_) => f.write_str("nowhere"),
        }
    }
}

/// A next hop as a declaration spells it.
pub(crate) struct HopName<'h>(pub(crate) &'h NextHop);

impl fmt::Display for HopName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.host {
            HopHost::Mx(name) => name.fmt(f)?,
            HopHost::Host(name) => write!(f, "[{name}]")?,
            HopHost::Address(addr) => Domain::Literal(*addr).fmt(f)?,
        }
        if self.0.port == 25 { Ok(()) } else { write!(f, ":{}", self.0.port) }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mail from {} to <{}>", self.from, self.to)?;
        if let Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } =
            &self.client
        {
            write!(f, " by {addr}")?;
        }
        match &self.outcome {
            Outcome::Delivered { user } => write!(f, " is delivered to {user}"),
            Outcome::Refused { code, enhanced } => {
                write!(f, " is refused with {code}")?;
                enhanced.as_ref().map_or(Ok(()), |enhanced| write!(f, " {enhanced}"))
            }
            Outcome::Leaves { hop, sender, recipient } => {
                let port = hop.port.unwrap_or(25);
                write!(f, " leaves for {}", HopName(&NextHop { host: hop.host.clone(), port }))?;
                sender.as_ref().map_or(Ok(()), |sender| write!(f, " from {sender}"))?;
                recipient.as_ref().map_or(Ok(()), |recipient| write!(f, " to <{recipient}>"))
            }
        }
    }
}
