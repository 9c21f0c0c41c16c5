//! What a step leaves behind so that a failure is understood without a rerun: the SMTP dialogue, what each host's MTA
//! wrote meanwhile, and the rules that decided.

use std::collections::BTreeMap;
use std::time::Duration;

use mailstack_schema::topology::{Action, Send, Step};
use serde::Serialize;

use crate::backend::{Backend, BackendError, Program};
use crate::plan::Plan;
use crate::talk::Exchange;

/// The logs of a host's MTA: mailstack's own, and Sendmail's.
const LOGS: [&str; 2] = ["/var/log/mailstack.log", "/var/log/mail.log"];
/// How long one question about rules may take.
const TRACE: Duration = Duration::from_secs(20);
/// Recipients of a step whose rules are asked for.
const TRACED: usize = 4;

/// What a step left behind.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Evidence {
    /// What was done, in words.
    pub action: String,
    /// The SMTP dialogue of the step itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dialogue: Vec<Exchange>,
    /// What each host's MTA wrote meanwhile: its hops with times, queue ids and replies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trail: Vec<Line>,
    /// What `mailstack trace` says of each recipient, on the host that took the message first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Line>,
    /// What was expected, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<String>,
}

/// A line and the host it comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The host's short name.
    pub host: String,
    /// What it wrote.
    pub text: String,
}

/// How far each log has been read.
#[derive(Clone, Debug, Default)]
pub struct Logs(BTreeMap<(String, &'static str), usize>);

impl Logs {
    /// The lines since the last call, host by host. A log that was cut is read anew.
    pub fn fresh(&mut self, plan: &Plan, backend: &dyn Backend) -> Result<Vec<Line>, BackendError> {
        let mut lines = Vec::new();
        for host in plan.world.hosts.keys() {
            for log in LOGS {
                let bytes = backend.get(host, log)?.unwrap_or_default();
                let read = self.0.entry((host.clone(), log)).or_default();
                let new = bytes.get(*read..).unwrap_or(&bytes);
                let text = String::from_utf8_lossy(new);
                lines.extend(text.lines().map(|text| Line { host: host.clone(), text: text.to_owned() }));
                *read = bytes.len();
            }
        }
        Ok(lines)
    }
}

/// What the rules say of the step's recipients, on the host that takes the message first.
pub fn rules(plan: &Plan, backend: &dyn Backend, step: &Step) -> Vec<Line> {
    let Action::Send(send) = &step.action else { return Vec::new() };
    let (host, message, client) = match send {
        Send::Sendmail(send) => (Some(send.message.from.clone()), &send.message, "local".to_owned()),
        Send::Smtp(send) => {
            let (taker, client) = ends(plan, &send.message.from, &send.server);
            (taker, &send.message, client)
        }
    };
    let Some(host) = host.filter(|host| runs_mta(plan, host)) else { return Vec::new() };
    let ask = |to: &String| {
        let mut command: Vec<String> = ["mailstack", "trace", to].map(str::to_owned).to_vec();
        command.extend(["--client".to_owned(), client.clone()]);
        command.extend(
            message
                .envelope_from
                .iter()
                .filter(|from| !from.is_empty())
                .flat_map(|from| ["--from".to_owned(), from.clone()]),
        );
        let program = Program { user: "root".to_owned(), command, input: Vec::new() };
        let said = backend.run(&host, &[program], TRACE).ok()?.pop()?;
        let text = String::from_utf8_lossy(&said.stdout).trim_end().to_owned();
        (!text.is_empty()).then(|| Line { host: host.clone(), text })
    };
    message.to.iter().take(TRACED).filter_map(ask).collect()
}

fn runs_mta(plan: &Plan, host: &str) -> bool {
    plan.world.hosts.get(host).is_some_and(|host| host.declaration.is_some())
}

/// The host behind a server's address, and the address that the client has there.
fn ends(plan: &Plan, from: &str, server: &str) -> (Option<String>, String) {
    let local = || "local".to_owned();
    let Ok(server) = server.parse::<std::net::SocketAddr>() else { return (None, local()) };
    let taker = plan
        .world
        .hosts
        .iter()
        .find_map(|(name, host)| Some((name, host.addresses.iter().find(|(_, ip)| *ip == server.ip())?)));
    let Some((name, (network, _))) = taker else { return (None, local()) };
    let addresses = plan.world.hosts.get(from).map(|host| host.addresses.as_slice()).unwrap_or_default();
    let same = |(on, ip): &&(String, std::net::IpAddr)| on == network && ip.is_ipv4() == server.is_ipv4();
    let client = addresses.iter().find(same).map_or_else(local, |(_, ip)| ip.to_string());
    (Some(name.clone()), client)
}

/// What a step does, as a line of the file.
pub fn action(step: &Step) -> String {
    words(&step.action)
}

/// What a step expects, a line each.
pub fn expected(step: &Step) -> Vec<String> {
    step.expect.iter().map(words).collect()
}

fn words(value: &impl Serialize) -> String {
    toml::to_string(value).unwrap_or_default().trim_end().to_owned()
}
