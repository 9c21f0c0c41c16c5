//! `mailstack trace`: what becomes of a message, decision by decision, with the line that decided.

use std::net::IpAddr;

use anstyle::{AnsiColor, Style};
use mailstack_mta::host::{Root, Users, own_name};
use mailstack_mta::run::interfaces;
use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_policy::{Client, Domain, Expanded, Here, Refusal, ReversePath, Route, Step};
use mailstack_prove::{Decided, Question, Trace, trace as trace_message};
use serde::Serialize;

use crate::args::TraceArguments;
use crate::declaration::Declaration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::words::rule::{self, Origin, Part};

/// One decision, as it is told.
#[derive(Serialize)]
struct Report {
    part: Part,
    written: String,
    /// What came of it.
    results: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused>,
    steps: Vec<Because>,
}

#[derive(Serialize)]
struct Refused {
    code: u16,
    enhanced: Option<String>,
    reason: Refusal,
}

impl From<&Refusal> for Refused {
    fn from(reason: &Refusal) -> Self {
        let (code, enhanced) = reason.codes();
        Self { code, enhanced: enhanced.map(|enhanced| enhanced.to_string()), reason: reason.clone() }
    }
}

/// A rule with where it comes from.
#[derive(Serialize)]
struct Because {
    #[serde(flatten)]
    step: Step,
    #[serde(flatten)]
    origin: Origin,
}

/// Traces a message.
pub fn trace(host: &HostTree, arguments: &TraceArguments) -> Result<Exit, Failure> {
    let live = arguments.host.is_none();
    let declaration = match &arguments.host {
        Some(file) => Declaration::read(file)?,
        None => live_declaration(host)?,
    };
    let config = declaration.model.runtime_config();
    let root = Root::new(&host.root);
    let hostname = config.hostname.clone().unwrap_or_else(|| own_name(&root).name);
    let listening = config.listeners.iter().map(|at| at.ip()).filter(|ip| !ip.is_unspecified());
    let addresses: Vec<IpAddr> = if live { interfaces() } else { listening.collect() };
    let users = Users::of(&root);
    let exists = |name: &str| users.by_name(name).is_ok_and(|user| user.is_some());
    let question = question(arguments);
    let found = trace_message(&config.rules, Here::new(&hostname, &addresses), &question, &exists);
    let reports = reports(&declaration, &found);
    if arguments.json {
        return super::print_json(&reports);
    }
    super::print(&render(&reports))
}

fn live_declaration(host: &HostTree) -> Result<Declaration, Failure> {
    let live =
        host.store.current_generation()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    Ok(Declaration::read_stored(&live.dir)?)
}

fn question(arguments: &TraceArguments) -> Question {
    let client = arguments.client.0;
    let default = || match client {
        // What cron does.
        Client::Local { .. } => "root".parse().map_or(ReversePath::Null, ReversePath::Address),
        Client::Network { .. } | Client::Trusted { .. } | Client::Authenticated { .. } => ReversePath::Null,
    };
    let from = arguments.from.clone().map_or_else(default, |from| from.0);
    Question { client, from, to: arguments.address.clone() }
}

fn reports(declaration: &Declaration, trace: &Trace) -> Vec<Report> {
    let report = |part, written: &str, steps: &[Step]| Report {
        part,
        written: written.to_owned(),
        results: Vec::new(),
        refused: None,
        steps: steps
            .iter()
            .map(|step| Because { step: step.clone(), origin: rule::origin(declaration, part, &step.rule) })
            .collect(),
    };
    let enveloped = |part, written: &str, steps: &[Step], result: Result<Vec<String>, &Refusal>| Report {
        refused: result.as_ref().err().map(|refusal| Refused::from(*refusal)),
        results: result.unwrap_or_default(),
        ..report(part, written, steps)
    };
    let Trace { sender, recipient, hops, header_sender, header_recipient } = trace;
    let path = sender.result.as_ref().map(|path| vec![path.to_string()]);
    let mut all = vec![enveloped(Part::EnvelopeSender, &sender.written, &sender.steps, path)];
    let address = |one: &Expanded| one.address.to_string();
    let found = recipient.result.as_ref().map(|found| found.iter().map(address).collect());
    all.push(enveloped(Part::EnvelopeRecipient, &recipient.written, &recipient.steps, found));
    all.extend(hops.iter().map(|hop| {
        let result = match &hop.result {
            Route::Fail(refusal) => Err(refusal),
            route => Ok(vec![route_words(route)]),
        };
        enveloped(Part::NextHop, &hop.written, &hop.steps, result)
    }));
    let header = |part, header: &Decided<String>| Report {
        results: vec![header.result.clone()],
        ..report(part, &header.written, &header.steps)
    };
    all.extend(header_sender.iter().map(|from| header(Part::HeaderSender, from)));
    all.push(header(Part::HeaderRecipient, header_recipient));
    all
}

/// Where a route leads.
pub fn route_words(route: &Route) -> String {
    match route {
        Route::Local { user } => format!("the mailbox of {user}"),
        Route::Program { command } => format!("the program {command}"),
        Route::File { path } => format!("the file {path}"),
        Route::Hops(hops) => hops.iter().map(hop_words).collect::<Vec<_>>().join(", then "),
        Route::Mx { domain, port } => format!("{domain} by MX, port {port}"),
        Route::Literal { addr, port } => format!("{}, port {port}", Domain::Literal(*addr)),
        Route::Fail(refusal) => rule::refusal(refusal),
    }
}

fn hop_words(hop: &NextHop) -> String {
    match &hop.host {
        HopHost::Mx(name) => format!("{name} by MX, port {}", hop.port),
        HopHost::Host(name) => format!("[{name}], port {}", hop.port),
        HopHost::Address(addr) => format!("{}, port {}", Domain::Literal(*addr), hop.port),
    }
}

fn title(part: Part) -> &'static str {
    match part {
        Part::EnvelopeSender => "envelope sender",
        Part::EnvelopeRecipient => "envelope recipient",
        Part::NextHop => "next hop",
        Part::HeaderSender => "header From",
        Part::HeaderRecipient => "header To",
    }
}

const BOLD: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default();
const PLACE: Style = AnsiColor::Cyan.on_default();
const PLAIN: Style = Style::new();

/// A decision per paragraph; the columns of its rules are aligned over all of them.
fn render(reports: &[Report]) -> String {
    let rows: Vec<_> =
        reports.iter().map(|report| report.steps.iter().map(row).collect::<Vec<_>>()).collect();
    let width = |at: usize| rows.iter().flatten().map(|row: &[String; 4]| row[at].chars().count()).max();
    let widths = [0, 1, 2].map(|at| width(at).unwrap_or(0));
    let mut text = String::new();
    for (report, rows) in reports.iter().zip(&rows) {
        let (style, result) = result(report);
        let title = title(report.part);
        text.push_str(&format!("{BOLD}{title:<18}{BOLD:#}  {}  {style}{result}{style:#}\n", report.written));
        rows.iter().for_each(|row| text.push_str(&line(row, widths)));
    }
    text
}

fn result(report: &Report) -> (Style, String) {
    if let Some(refused) = &report.refused {
        return (BAD, rule::refusal(&refused.reason));
    }
    let arrow = if report.part == Part::NextHop { "to" } else { "->" };
    match report.results.as_slice() {
        [same] if *same == report.written => (PLAIN, "stays".to_owned()),
        results => (PLAIN, format!("{arrow} {}", results.join(", "))),
    }
}

/// What the rule means, what it changed, and where it stands.
fn row(because: &Because) -> [String; 4] {
    let Step { rule, before, after } = &because.step;
    let change = if before == after { String::new() } else { format!("{before} -> {after}") };
    [rule::meaning(rule), change, because.origin.place(), because.origin.key().to_owned()]
}

fn line([meaning, change, place, key]: &[String; 4], widths: [usize; 3]) -> String {
    let [first, second, third] = widths;
    let line = match (place.is_empty(), change.is_empty()) {
        (false, _) => format!("{meaning:<first$}  {change:<second$}  {PLACE}{place:<third$}{PLACE:#}  {key}"),
        (true, false) => format!("{meaning:<first$}  {change}"),
        (true, true) => meaning.clone(),
    };
    format!("    {line}\n")
}
