//! topology.toml as types: hosts, networks, zones, and what must happen, step by step.
//!
//! Owns the language as written. An expectation says what arrives where and never by which engine or level, so that
//! one file serves all. Must not know how a level does what a step says.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::host::{Engine, Host, OneOrMany};
use crate::schema::{Document, VERSION};

/// Hosts, what joins them, and what must happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    /// Version of the language that this file is written in. Always 1.
    #[schemars(extend("const" = VERSION), extend("examples" = [VERSION]))]
    pub schema: u32,
    /// The topology's name in reports.
    #[schemars(extend("examples" = ["nullclient-pair"]))]
    pub name: String,
    /// What it shows, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["Mail of a null client arrives masqueraded"]))]
    pub description: Option<String>,
    /// The levels that it is for. Default: all that can perform its events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["netns"]]))]
    pub levels: Option<Vec<Level>>,
    /// Networks by name.
    #[schemars(extend("examples" = [{"lan": {"subnet": "192.168.10.0/24"}}]))]
    pub network: BTreeMap<String, Network>,
    /// What the name server of the topology answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [[{"origin": "corp.example", "records": ["@ MX 10 mailhost.corp.example."]}]]))]
    pub zone: Vec<Zone>,
    /// Hosts by short name.
    #[schemars(extend("examples" = [{"web01": {"addresses": {"lan": "192.168.10.11"}, "host_toml": "web01.host.toml"}}]))]
    pub host: BTreeMap<String, Machine>,
    /// What happens and what must come of it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [[{"flush": "web01"}]]))]
    pub step: Vec<Step>,
}

impl Document for Topology {
    const NAME: &'static str = "topology";

    fn kept() -> &'static OnceLock<Value> {
        static KEPT: OnceLock<Value> = OnceLock::new();
        &KEPT
    }
}

/// A way to make the hosts of a topology real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// By policy alone: nothing runs.
    Static,
    /// Network namespaces of this machine.
    Netns,
    /// Containers.
    Container,
    /// Virtual machines.
    Vm,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Static => "static",
            Self::Netns => "netns",
            Self::Container => "container",
            Self::Vm => "vm",
        })
    }
}

/// One network; every host in it reaches every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    /// Its addresses (CIDR).
    #[schemars(extend("examples" = ["192.168.10.0/24"]))]
    pub subnet: String,
}

/// One DNS zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Zone {
    /// The zone's name; for PTR a name below `in-addr.arpa.` or `ip6.arpa.`.
    #[schemars(extend("examples" = ["corp.example", "10.168.192.in-addr.arpa"]))]
    pub origin: String,
    /// Records as a zone file has them, one per text: owner, type, data; a name without a dot at its end is below
    /// the origin, and `@` is the origin.
    #[schemars(extend("examples" = [["@ MX 10 mailhost.corp.example.", "mailhost A 192.168.10.2"]]))]
    pub records: Vec<String>,
}

/// One host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The host's fully qualified name. Default: none, its short name alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["web01.corp.example"]))]
    pub hostname: Option<String>,
    /// Its addresses by network.
    #[schemars(extend("examples" = [{"lan": "192.168.10.11"}]))]
    pub addresses: BTreeMap<String, OneOrMany>,
    /// Its host.toml, as a path from this file. Without this and `declaration` no MTA runs there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["web01.host.toml"]))]
    pub host_toml: Option<String>,
    /// Its host.toml, written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"schema": 1, "role": "nullclient", "mail_host": "mailhost.corp.example"}]))]
    pub declaration: Option<Host>,
    /// Who runs its role. Default: as its host.toml says, else as the run is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["sendmail"]))]
    pub engine: Option<Engine>,
    /// Its users, beside root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["alice"]]))]
    pub users: Vec<String>,
}

/// One thing that happens, and what must come of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// The step's name in reports. Default: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["cron mail arrives"]))]
    pub name: Option<String>,
    /// What happens.
    #[serde(flatten)]
    pub action: Action,
    /// What must come of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [[{"queued": {"host": "web01", "count": 1}}]]))]
    pub expect: Vec<Expect>,
}

/// What happens in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A message is handed in.
    Send(#[schemars(extend("examples" = [{"from": "web01", "via": "sendmail", "to": ["root"]}]))] Send),
    /// The host stops at once, as by a crash: its processes and its network; what was on disk stays.
    Down(#[schemars(extend("examples" = ["mailhost"]))] String),
    /// The host comes back as it was on disk, network included, and its MTA is started again.
    Up(#[schemars(extend("examples" = ["mailhost"]))] String),
    /// Hosts are cut off from all their networks, and run on. Levels: netns, container, vm.
    Partition(#[schemars(extend("examples" = ["mailhost", ["mailhost", "web01"]]))] OneOrMany),
    /// Hosts that were cut off are joined to their networks again. Levels: netns, container, vm.
    Heal(#[schemars(extend("examples" = ["mailhost", ["mailhost", "web01"]]))] OneOrMany),
    /// The name server of the topology is silent from here on, or answers again. Levels: netns, container, vm.
    Dns(#[schemars(extend("examples" = ["silent"]))] Dns),
    /// The host's disk is full from here on. Levels: netns.
    DiskFull(#[schemars(extend("examples" = ["mailhost"]))] String),
    /// The host's disk has room again. Levels: netns.
    DiskFreed(#[schemars(extend("examples" = ["mailhost"]))] String),
    /// What a host sends arrives later, or not at all. Levels: netns.
    Delay(#[schemars(extend("examples" = [{"host": "mailhost", "latency": "1s", "loss": 5}]))] Delay),
    /// A host's clock goes forward. Levels: vm.
    Clock(#[schemars(extend("examples" = [{"host": "web01", "forward": "5d"}]))] Clock),
    /// The host loses its power: it is down, and what its disk had not been told to keep is gone. Images of its disk, cut
    /// at and between flushes, are read. Levels: vm.
    PowerCut(#[schemars(extend("examples" = ["mailhost"]))] String),
    /// A new declaration is applied on a host. Levels: netns, container, vm.
    Apply(
        #[schemars(extend("examples" = [{"host": "web01", "declaration": {"schema": 1, "role": "nullclient", "mail_host": "mailhost.corp.example"}}]))]
         Box<Apply>,
    ),
    /// A host goes back to its generation before. Levels: netns, container, vm.
    RollBack(#[schemars(extend("examples" = ["web01"]))] String),
    /// The host's queue is run; a host that is listed twice, twice at the same time.
    Flush(#[schemars(extend("examples" = ["web01", ["web01", "web01"]]))] OneOrMany),
    /// Nothing happens: only the expectations are looked at.
    Look(#[schemars(extend("const" = true), extend("examples" = [true]))] bool),
}

impl Action {
    /// The levels that can perform it. The static level follows steps up to the first that needs hosts that run.
    pub fn levels(&self) -> &'static [Level] {
        use Level::{Container, Netns, Static, Vm};
        match self {
            Self::Send(_) | Self::Down(_) | Self::Up(_) | Self::Flush(_) | Self::Look(_) => {
                &[Static, Netns, Container, Vm]
            }
            Self::Partition(_) | Self::Heal(_) | Self::Dns(_) | Self::Apply(_) | Self::RollBack(_) => {
                &[Netns, Container, Vm]
            }
            Self::DiskFull(_) | Self::DiskFreed(_) | Self::Delay(_) => &[Netns],
            Self::Clock(_) | Self::PowerCut(_) => &[Vm],
        }
    }
}

impl Topology {
    /// The levels that it is for: those it names, else all that can perform its events.
    pub fn levels(&self) -> Vec<Level> {
        let able = |level: &Level| {
            *level == Level::Static || self.step.iter().all(|step| step.action.levels().contains(level))
        };
        match &self.levels {
            Some(levels) => levels.clone(),
            None => {
                [Level::Static, Level::Netns, Level::Container, Level::Vm].into_iter().filter(able).collect()
            }
        }
    }

    /// The first step that a level which the file names cannot perform: its number from 0, and the level.
    pub fn beyond(&self) -> Option<(usize, Level)> {
        let steps = self.step.iter().enumerate();
        let lacks = |(at, step): (usize, &Step)| {
            let able = step.action.levels();
            let named = self.levels.iter().flatten().copied().filter(|level| *level != Level::Static);
            Some((at, { named }.find(|level| !able.contains(level))?))
        };
        steps.filter_map(lacks).next()
    }
}

/// What the name server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dns {
    /// It takes questions and answers none.
    Silent,
    /// It answers.
    Answers,
}

/// What happens to all that a host sends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delay {
    /// The host.
    #[schemars(extend("examples" = ["mailhost"]))]
    pub host: String,
    /// How much later it arrives. Unit: s, m, h, d. Default: `0s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["1s"]))]
    pub latency: Option<String>,
    /// How much of it never arrives, in percent. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100), extend("examples" = [5]))]
    pub loss: Option<u8>,
}

/// A clock that goes forward.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Clock {
    /// The host.
    #[schemars(extend("examples" = ["web01"]))]
    pub host: String,
    /// By how much. Unit: s, m, h, d.
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["5d"]))]
    pub forward: String,
}

/// A declaration that takes the place of a host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Apply {
    /// The host.
    #[schemars(extend("examples" = ["web01"]))]
    pub host: String,
    /// Its new host.toml.
    #[schemars(extend("examples" = [{"schema": 1, "role": "nullclient", "mail_host": "mailhost.corp.example"}]))]
    pub declaration: Host,
    /// Whether it must be refused, with nothing changed. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub refused: Option<bool>,
}

/// How a message is handed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "via", rename_all = "lowercase")]
pub enum Send {
    /// By the host's `sendmail` command.
    Sendmail(BySendmail),
    /// By SMTP.
    Smtp(BySmtp),
}

/// A message handed in by the `sendmail` command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BySendmail {
    /// What is sent from where.
    #[serde(flatten)]
    pub message: Message,
    /// The user who runs the command. Default: `root`.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["alice"]))]
    pub user: Option<String>,
    /// Arguments of the command, before the recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["-t", "-i"]]))]
    pub args: Vec<String>,
    /// The exit status that must come back. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 255), extend("examples" = [67]))]
    pub exit: Option<u8>,
}

/// A message handed in by SMTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BySmtp {
    /// What is sent from where.
    #[serde(flatten)]
    pub message: Message,
    /// The address and port to connect to.
    #[schemars(extend("examples" = ["192.168.10.2:25"]))]
    pub server: String,
    /// The name in EHLO. Default: the sending host's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["probe.example"]))]
    pub helo: Option<String>,
    /// The refusal that must come back. Default: the message is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"code": 550, "enhanced": "5.7.1"}]))]
    pub refused: Option<Refused>,
}

/// What is sent from where.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Message {
    /// The host it is sent from.
    #[schemars(extend("examples" = ["web01"]))]
    pub from: String,
    /// The envelope sender; empty is the null sender. Default: whoever sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["alice@corp.example", ""]))]
    pub envelope_from: Option<String>,
    /// The envelope recipients, sent as they are written. Default: none, as for `sendmail -t`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("examples" = [["root"]]))]
    pub to: Vec<String>,
    /// Header fields by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"Subject": "cron"}]))]
    pub headers: BTreeMap<String, String>,
    /// The body. Default: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["hello\n"]))]
    pub body: Option<String>,
}

/// A refusal at any command of the dialogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The reply code.
    #[schemars(range(min = 400, max = 599), extend("examples" = [550]))]
    pub code: u16,
    /// The enhanced status code. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::ENHANCED), extend("examples" = ["5.7.1"]))]
    pub enhanced: Option<String>,
}

/// One thing that must come of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expect {
    /// What must be so.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// How long it may take. Unit: s, m, h, d. Default: `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::DURATION), extend("examples" = ["10s"]))]
    pub within: Option<String>,
    /// Engines of the host on which it is not so, each with the reason. Where it is so all the same, the step fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [{"sendmail": "one socket of IPv6 takes connections of IPv4 too"}]))]
    pub not_on: Option<NotOn>,
}

/// Why something is not so on an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotOn {
    /// Why not on mailstack's own MTA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["it keeps Maildirs itself"]))]
    pub builtin: Option<String>,
    /// Why not on the host's Sendmail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["one socket of IPv6 takes connections of IPv4 too"]))]
    pub sendmail: Option<String>,
}

impl NotOn {
    /// The reason for this engine.
    pub fn reason(&self, engine: Engine) -> Option<&str> {
        match engine {
            Engine::Builtin => self.builtin.as_deref(),
            Engine::Sendmail => self.sendmail.as_deref(),
        }
    }
}

/// What must be so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The step's message lies in a mailbox.
    Delivered(
        #[schemars(extend("examples" = [{"host": "mailhost", "mailbox": "root", "envelope_from": "root@corp.example"}]))]
         Delivered,
    ),
    /// Messages wait in a host's queue.
    Queued(#[schemars(extend("examples" = [{"host": "web01", "count": 1}]))] Queued),
    /// A notice of the step's message, from the null sender, lies in a mailbox.
    Bounced(#[schemars(extend("examples" = [{"host": "mailhost", "mailbox": "alice"}]))] Bounced),
    /// A host listens on exactly these TCP ports.
    Listens(#[schemars(extend("examples" = [{"host": "web01", "tcp": []}]))] Listens),
}

/// The step's message in a mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Delivered {
    /// The host that has the mailbox.
    #[schemars(extend("examples" = ["mailhost"]))]
    pub host: String,
    /// The user whose mailbox it is.
    #[schemars(extend("examples" = ["root"]))]
    pub mailbox: String,
    /// The envelope sender it arrived with (Return-Path); empty is the null sender. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["root@corp.example"]))]
    pub envelope_from: Option<String>,
    /// Header fields by name; a value must be equal but for folding and case of domains. Default: any.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{"From": "root@corp.example"}]))]
    pub headers: BTreeMap<String, String>,
    /// How often it is there; 0 when it must not be. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000), extend("examples" = [1]))]
    pub count: Option<u32>,
}

/// Messages in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Queued {
    /// The host whose queue it is.
    #[schemars(extend("examples" = ["web01"]))]
    pub host: String,
    /// How many wait there.
    #[schemars(range(min = 0, max = 1_000_000), extend("examples" = [1]))]
    pub count: u32,
}

/// A notice in a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bounced {
    /// The host that has the mailbox.
    #[schemars(extend("examples" = ["mailhost"]))]
    pub host: String,
    /// The user whose mailbox it is.
    #[schemars(extend("examples" = ["alice"]))]
    pub mailbox: String,
}

/// The TCP listeners of a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listens {
    /// The host.
    #[schemars(extend("examples" = ["web01"]))]
    pub host: String,
    /// Addresses with ports, in any order; none: it listens nowhere.
    #[schemars(extend("examples" = [["127.0.0.1:25", "[::1]:25"]]))]
    pub tcp: Vec<String>,
}
