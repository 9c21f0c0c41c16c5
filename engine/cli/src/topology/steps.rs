//! The steps of a topology, resolved: each message followed through the fleet, each expectation held against its ends.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mailstack_policy::header::{addresses, fields};
use mailstack_policy::{Address, Client, ReversePath};
use mailstack_prove::fleet::{Answer, Delivered, End, Fleet, Mail, follow};
use mailstack_schema::spans::{child, element};
use mailstack_schema::topology::{
    Action, BySendmail, BySmtp, Delivered as Expected, Level, Message, Outcome, Refused, Send,
    Topology as Written,
};
use mailstack_smtp::command::{Command, parse};

use super::read::Topology;

/// An expectation that does not hold.
pub struct Unmet {
    /// Where it stands.
    pub path: String,
    /// What it says.
    pub expected: String,
    /// What becomes of the message instead.
    pub instead: String,
    /// The host that decides so.
    pub host: Option<String>,
    /// The keys that it decides by, the nearest first.
    pub keys: &'static [&'static str],
}

/// By which a host decides where mail goes.
const ROUTING: &[&str] = &["mailertable", "mail_host", "local_domains", "relay", "role"];

/// The hosts that steps name, each with its place.
pub fn hosts(written: &Written) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (index, step) in written.step.iter().enumerate() {
        let path = element("step", index);
        match &step.action {
            Action::Send(send) => {
                let message = match send {
                    Send::Sendmail(send) => &send.message,
                    Send::Smtp(send) => &send.message,
                };
                found.push((format!("{path}.send.from"), message.from.clone()));
            }
            Action::Down(host) => found.push((child(&path, "down"), host.clone())),
            Action::Up(host) => found.push((child(&path, "up"), host.clone())),
            Action::Flush(hosts) => several(&mut found, &path, "flush", hosts.as_slice()),
            Action::Partition(hosts) => several(&mut found, &path, "partition", hosts.as_slice()),
            Action::Heal(hosts) => several(&mut found, &path, "heal", hosts.as_slice()),
            Action::DiskFull(host) => found.push((child(&path, "disk_full"), host.clone())),
            Action::DiskFreed(host) => found.push((child(&path, "disk_freed"), host.clone())),
            Action::PowerCut(host) => found.push((child(&path, "power_cut"), host.clone())),
            Action::RollBack(host) => found.push((child(&path, "roll_back"), host.clone())),
            Action::Delay(delay) => found.push((format!("{path}.delay.host"), delay.host.clone())),
            Action::Clock(clock) => found.push((format!("{path}.clock.host"), clock.host.clone())),
            Action::Apply(apply) => found.push((format!("{path}.apply.host"), apply.host.clone())),
            Action::Look(_) | Action::Dns(_) => {}
        }
        for (at, expect) in step.expect.iter().enumerate() {
            let path = element(&child(&path, "expect"), at);
            let (kind, host) = match &expect.outcome {
                Outcome::Delivered(one) => ("delivered", &one.host),
                Outcome::Queued(one) => ("queued", &one.host),
                Outcome::Bounced(one) => ("bounced", &one.host),
                Outcome::Listens(one) => ("listens", &one.host),
            };
            found.push((format!("{path}.{kind}.host"), host.clone()));
        }
    }
    found
}

fn several(found: &mut Vec<(String, String)>, path: &str, key: &str, hosts: &[String]) {
    found.extend(hosts.iter().map(|host| (child(path, key), host.clone())));
}

/// The first step that policy alone cannot follow, from 0: what happens there is not a matter of policy.
pub fn followed(written: &Written) -> usize {
    let beyond = |step: &mailstack_schema::topology::Step| !step.action.levels().contains(&Level::Static);
    written.step.iter().position(beyond).unwrap_or(written.step.len())
}

/// All expectations that do not hold, of the steps that policy can follow.
pub fn unmet(topology: &Topology) -> Vec<Unmet> {
    let mut run = Run { fleet: topology.fleet.clone(), sent: Sent::default(), ends: Vec::new() };
    let steps = topology.written.step.iter().enumerate().take(followed(&topology.written));
    steps.flat_map(|(index, step)| run.step(&element("step", index), step)).collect()
}

/// The last message, as it was handed in.
#[derive(Default)]
struct Sent {
    mails: Vec<Mail>,
    /// What the first host answered to the path itself.
    refused: Option<(u16, Option<String>)>,
}

struct Run {
    fleet: Fleet,
    sent: Sent,
    /// What became of it so far: what waits goes on when its host's queue is run, and no clock does that here.
    ends: Vec<End>,
}

impl Run {
    fn step(&mut self, path: &str, step: &mailstack_schema::topology::Step) -> Vec<Unmet> {
        let mut unmet = Vec::new();
        match &step.action {
            Action::Send(Send::Sendmail(send)) => self.sent = by_sendmail(send),
            Action::Send(Send::Smtp(send)) => match self.by_smtp(send) {
                Ok(sent) => {
                    self.sent = sent;
                    unmet.extend(self.answered(path, send.refused.as_ref()));
                }
                Err(why) => unmet.push(Unmet {
                    path: format!("{path}.send.server"),
                    expected: format!("{} takes the connection", send.server),
                    instead: why,
                    host: None,
                    keys: &[],
                }),
            },
            Action::Down(host) => drop(self.fleet.down.insert(host.clone())),
            Action::Up(host) => drop(self.fleet.down.remove(host)),
            // The rest is not followed: see `followed`.
            _ => {}
        }
        if matches!(step.action, Action::Send(_) | Action::Flush(_)) {
            self.ends = self.sent.mails.iter().flat_map(|mail| follow(&self.fleet, mail)).collect();
        }
        for (at, expect) in step.expect.iter().enumerate() {
            if let Some(wrong) = self.wrong(&expect.outcome, &self.ends) {
                unmet.push(Unmet { path: element(&child(path, "expect"), at), ..wrong });
            }
        }
        unmet
    }

    fn by_smtp(&self, send: &BySmtp) -> Result<Sent, String> {
        let server: SocketAddr = send.server.parse().map_err(|_| "it is not address:port".to_owned())?;
        let connected = self.fleet.connect(&send.message.from, server);
        let (host, client) = connected.map_err(|stuck| super::report::stuck(&stuck))?;
        let client = Client::Network { addr: client };
        let from = path_of("MAIL FROM", send.message.envelope_from.as_deref().unwrap_or_default());
        let mut sent = Sent::default();
        let from = match parse(from.as_bytes()) {
            Ok(Command::Mail(request)) => request.from,
            Ok(_) => ReversePath::Null,
            Err(error) => {
                sent.refused = Some(codes(&error.reply()));
                return Ok(sent);
            }
        };
        for to in &send.message.to {
            match parse(path_of("RCPT TO", to).as_bytes()) {
                Ok(Command::Rcpt(request)) => sent.mails.push(Mail {
                    at: host.clone(),
                    client,
                    from: from.clone(),
                    to: request.to,
                    header: header(&send.message, None),
                }),
                Ok(_) => {}
                Err(error) => sent.refused = Some(codes(&error.reply())),
            }
        }
        Ok(sent)
    }

    /// What the dialogue must end with, and does not.
    fn answered(&self, path: &str, expected: Option<&Refused>) -> Option<Unmet> {
        let at_once = self.sent.mails.iter().flat_map(|mail| follow(&self.fleet, mail)).find_map(|end| {
            match end.answer {
                Answer::Refused { code, enhanced, by, .. } if end.path.is_empty() => {
                    Some((code, enhanced, by))
                }
                _ => None,
            }
        });
        let host = at_once.as_ref().map(|(.., by)| by.clone());
        let found = self.sent.refused.clone().or(at_once.map(|(code, enhanced, _)| (code, enhanced)));
        let said = |code: u16, enhanced: Option<&str>| {
            format!("refused with {code} {}", enhanced.unwrap_or_default())
        };
        let holds = match (expected, &found) {
            (None, None) => true,
            (Some(expected), Some((code, enhanced))) => {
                let same = expected.enhanced.is_none() || expected.enhanced == *enhanced;
                expected.code == *code && same
            }
            _ => false,
        };
        let words = |found: Option<(u16, Option<&str>)>| match found {
            Some((code, enhanced)) => format!("it is {}", said(code, enhanced).trim_end()),
            None => "it is accepted".to_owned(),
        };
        (!holds).then(|| Unmet {
            path: format!("{path}.send"),
            expected: words(expected.map(|expected| (expected.code, expected.enhanced.as_deref()))),
            instead: words(found.as_ref().map(|(code, enhanced)| (*code, enhanced.as_deref()))),
            host,
            keys: &["relay.networks", "relay", "local_domains", "role"],
        })
    }

    fn wrong(&self, outcome: &Outcome, ends: &[End]) -> Option<Unmet> {
        let unmet = |expected: String, host: Option<String>| Unmet {
            path: String::new(),
            expected,
            instead: super::report::fates(ends),
            host,
            keys: ROUTING,
        };
        let decides = || ends.first().map(decider);
        match outcome {
            Outcome::Delivered(expected) => {
                let arrives = ends.iter().any(|end| is_delivered(end, expected));
                let wanted = expected.count != Some(0);
                (arrives != wanted).then(|| {
                    let not = if wanted { "" } else { "not " };
                    let from = expected.envelope_from.as_ref().map(|from| format!(" from <{from}>"));
                    let from = from.unwrap_or_default();
                    let (mailbox, host) = (&expected.mailbox, &expected.host);
                    unmet(format!("it is {not}delivered to {mailbox} on {host}{from}"), decides())
                })
            }
            Outcome::Bounced(expected) => {
                let notices = ends.iter().filter_map(|end| bounce(&self.fleet, end)).flatten();
                let arrives = |end: End| is_in(&end, &expected.host, &expected.mailbox).is_some();
                let bounced = notices.into_iter().any(arrives);
                let (mailbox, host) = (&expected.mailbox, &expected.host);
                (!bounced).then(|| unmet(format!("it bounces to {mailbox} on {host}"), decides()))
            }
            Outcome::Queued(expected) => {
                let waits = |end: &End| {
                    matches!(end.answer, Answer::Waits(_)) && end.path.last() == Some(&expected.host)
                };
                let wanted = expected.count > 0;
                (ends.iter().any(waits) != wanted).then(|| {
                    let what = if wanted { "it waits" } else { "nothing waits" };
                    unmet(format!("{what} on {}", expected.host), decides())
                })
            }
            Outcome::Listens(expected) => {
                let config = self.fleet.hosts.get(&expected.host)?.config.as_ref();
                let found: BTreeSet<SocketAddr> =
                    config.map(|config| config.listeners.clone()).unwrap_or_default();
                let wanted: BTreeSet<SocketAddr> =
                    expected.tcp.iter().filter_map(|text| text.parse().ok()).collect();
                (found != wanted || wanted.len() != expected.tcp.len()).then(|| {
                    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
                    let found = if found.is_empty() { "nowhere".to_owned() } else { found.join(", ") };
                    let expected_at = expected.tcp.join(", ");
                    Unmet {
                        path: String::new(),
                        expected: format!("{} listens on {expected_at}", expected.host),
                        instead: format!("it listens: {found}"),
                        host: Some(expected.host.clone()),
                        keys: &["listen", "role"],
                    }
                })
            }
        }
    }
}

/// The host whose decision an end is.
fn decider(end: &End) -> String {
    match &end.answer {
        Answer::Refused { by, .. } => by.clone(),
        Answer::Delivered(Delivered { host, .. }) | Answer::Loops { host, .. } => host.clone(),
        Answer::Waits(_) => end.path.last().cloned().unwrap_or_default(),
    }
}

/// What becomes of the notice that an end brings forth.
fn bounce(fleet: &Fleet, end: &End) -> Option<Vec<End>> {
    let Answer::Refused { .. } = &end.answer else { return None };
    let at = end.path.last()?.clone();
    let to = end.from.address()?.clone();
    let client = Client::Local { uid: 0 };
    Some(follow(fleet, &Mail { at, client, from: ReversePath::Null, to, header: Vec::new() }))
}

fn is_in<'e>(end: &'e End, host: &str, user: &str) -> Option<&'e Delivered> {
    match &end.answer {
        Answer::Delivered(delivered) if delivered.host == host && delivered.user == user => Some(delivered),
        _ => None,
    }
}

fn is_delivered(end: &End, expected: &Expected) -> bool {
    let Some(delivered) = is_in(end, &expected.host, &expected.mailbox) else { return false };
    let from = end.from.address().map(ToString::to_string).unwrap_or_default();
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let has = |(name, value): (&String, &String)| {
        let mut named =
            fields(&delivered.header).filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        named.any(|field| squeeze(&String::from_utf8_lossy(field.body)).eq_ignore_ascii_case(&squeeze(value)))
    };
    expected.envelope_from.as_ref().is_none_or(|wanted| *wanted == from) && expected.headers.iter().all(has)
}

fn by_sendmail(send: &BySendmail) -> Sent {
    let user = send.user.as_deref().unwrap_or("root");
    // `-f` among the arguments is the same as the key.
    let mut arguments = send.args.iter();
    let mut by_flag = None;
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix("-f") {
            Some("") => by_flag = arguments.next().cloned(),
            Some(rest) => by_flag = Some(rest.to_owned()),
            None => {}
        }
    }
    let from = send.message.envelope_from.clone().or(by_flag).unwrap_or_else(|| user.to_owned());
    let from = ReversePath::try_from(from.trim_matches(['<', '>']).to_owned()).unwrap_or(ReversePath::Null);
    let header = header(&send.message, Some(user));
    let from_header = send.args.iter().any(|argument| argument == "-t");
    let named = |name: &[u8]| [&b"To"[..], b"Cc", b"Bcc"].iter().any(|one| name.eq_ignore_ascii_case(one));
    let listed = fields(&header)
        .filter(|field| from_header && named(field.name))
        .flat_map(|field| addresses(field.body).unwrap_or_default());
    let written = send.message.to.iter().filter_map(|to| to.parse::<Address>().ok());
    let mail = |to: Address| Mail {
        at: send.message.from.clone(),
        client: Client::Local { uid: 0 },
        from: from.clone(),
        to,
        header: header.clone(),
    };
    Sent { mails: written.chain(listed).map(mail).collect(), refused: None }
}

/// The header block; a program's has a `From:` in any case.
fn header(message: &Message, user: Option<&str>) -> Vec<u8> {
    let field = |(name, value): (&String, &String)| format!("{name}: {value}\r\n");
    let mut text: String = message.headers.iter().map(field).collect();
    let has_from = message.headers.keys().any(|name| name.eq_ignore_ascii_case("From"));
    if let (false, Some(user)) = (has_from, user) {
        text.push_str(&format!("From: {user}\r\n"));
    }
    text.into_bytes()
}

/// A command with a path, which gets its brackets unless it has them.
fn path_of(command: &str, path: &str) -> String {
    if path.starts_with('<') { format!("{command}:{path}") } else { format!("{command}:<{path}>") }
}

fn codes(reply: &mailstack_smtp::reply::Reply) -> (u16, Option<String>) {
    (reply.code(), reply.enhanced().map(|enhanced| enhanced.to_string()))
}
