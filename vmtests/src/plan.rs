//! From a topology file to what a level builds: reads it, checks that names agree, resolves each declaration.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use mailstack_schema::host::{Engine, Host, OneOrMany, ServiceBy};
use mailstack_schema::topology::{Action, Level, Machine, Outcome, Send, Topology};
use mailstack_schema::{Fault, read_bytes};

use crate::backend::{HostPlan, World};
use crate::dns::Zone;
use crate::served;

/// A topology that can be built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the file says.
    pub topology: Topology,
    /// What is built.
    pub world: World,
}

/// Who runs the roles of hosts that say nothing of it.
#[derive(Clone, Debug)]
pub struct Engines {
    /// Of hosts that are not named.
    pub others: Engine,
    /// Of hosts of these names.
    pub named: BTreeMap<String, Engine>,
}

impl Engines {
    fn of(&self, host: &str) -> Engine {
        self.named.get(host).copied().unwrap_or(self.others)
    }
}

/// Why a topology cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is wrong with the text, all at once.
    #[error("{} faults", faults.len())]
    Faults {
        /// The text.
        text: String,
        /// In the order of the text.
        faults: Vec<Fault>,
    },
    /// A declaration that cannot be written out again.
    #[error("host.{host}.declaration: {reason}")]
    Declaration {
        /// Whose.
        host: String,
        /// Why.
        reason: String,
    },
    /// Names or addresses that do not agree.
    #[error("{key}: {reason}")]
    Disagree {
        /// The key.
        key: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Plan {
    /// Reads a topology and all that it names. `engines` run the hosts that say none.
    pub fn read(path: &Path, engines: &Engines) -> Result<Self, PlanError> {
        let bytes = fs::read(path).map_err(|source| PlanError::Read { path: path.to_owned(), source })?;
        let written = read_bytes::<Topology>(&bytes);
        let topology = written
            .map_err(|faults| PlanError::Faults {
                text: String::from_utf8_lossy(&bytes).into_owned(),
                faults,
            })?
            .value;
        let networks = networks(&topology)?;
        let base = path.parent().unwrap_or(Path::new("."));
        let host = |(name, machine): (&String, &Machine)| {
            Ok((name.clone(), host(name, machine, base, &networks, engines)?))
        };
        let hosts = topology.host.iter().map(host).collect::<Result<_, PlanError>>()?;
        let zone = |zone: &mailstack_schema::topology::Zone| Zone {
            origin: zone.origin.clone(),
            records: zone.records.join("\n"),
        };
        let world = World { networks, hosts, zones: topology.zone.iter().map(zone).collect() };
        let plan = Self { topology, world };
        plan.check_steps()?;
        Ok(plan)
    }

    /// Whether the topology is for this level.
    pub fn is_for(&self, level: Level) -> bool {
        self.topology.levels().contains(&level)
    }

    fn check_steps(&self) -> Result<(), PlanError> {
        if let Some((at, level)) = self.topology.beyond() {
            return Err(PlanError::Disagree {
                key: format!("step[{at}]"),
                reason: format!("the {level} level cannot perform this; take it out of `levels`"),
            });
        }
        for (at, step) in self.topology.step.iter().enumerate() {
            let key = format!("step[{at}]");
            let outcomes = step.expect.iter().map(|expect| match &expect.outcome {
                Outcome::Delivered(delivered) => &delivered.host,
                Outcome::Queued(queued) => &queued.host,
                Outcome::Bounced(bounced) => &bounced.host,
                Outcome::Listens(listens) => &listens.host,
            });
            for host in acting(&step.action).into_iter().chain(outcomes) {
                if !self.world.hosts.contains_key(host) {
                    let known = self.world.hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
                    return Err(PlanError::Disagree {
                        key,
                        reason: format!("no host {host}; there are {known}"),
                    });
                }
            }
        }
        Ok(())
    }
}

/// The hosts that a step does something at.
fn acting(action: &Action) -> Vec<&String> {
    match action {
        Action::Send(Send::Sendmail(send)) => vec![&send.message.from],
        Action::Send(Send::Smtp(send)) => vec![&send.message.from],
        Action::Down(host) | Action::Up(host) | Action::RollBack(host) => vec![host],
        Action::DiskFull(host) | Action::DiskFreed(host) | Action::PowerCut(host) => vec![host],
        Action::Delay(delay) => vec![&delay.host],
        Action::Clock(clock) => vec![&clock.host],
        Action::Apply(apply) => vec![&apply.host],
        Action::Flush(hosts) | Action::Partition(hosts) | Action::Heal(hosts) => {
            texts(hosts).iter().collect()
        }
        Action::Look(_) | Action::Dns(_) => Vec::new(),
    }
}

/// The texts of a key that takes one or several.
pub fn texts(value: &OneOrMany) -> &[String] {
    match value {
        OneOrMany::One(one) => std::slice::from_ref(one),
        OneOrMany::Many(many) => many,
    }
}

fn networks(topology: &Topology) -> Result<BTreeMap<String, (IpAddr, u8)>, PlanError> {
    let network = |(name, network): (&String, &mailstack_schema::topology::Network)| {
        let parsed = network
            .subnet
            .split_once('/')
            .and_then(|(ip, bits)| Some((ip.parse().ok()?, bits.parse().ok()?)));
        let disagree = || PlanError::Disagree {
            key: format!("network.{name}.subnet"),
            reason: format!("{}: not a network; write 192.168.10.0/24 or 2001:db8:1::/64", network.subnet),
        };
        Ok((name.clone(), parsed.ok_or_else(disagree)?))
    };
    topology.network.iter().map(network).collect()
}

fn host(
    name: &str,
    machine: &Machine,
    base: &Path,
    networks: &BTreeMap<String, (IpAddr, u8)>,
    engines: &Engines,
) -> Result<HostPlan, PlanError> {
    let mut addresses = Vec::new();
    for (network, written) in &machine.addresses {
        let key = format!("host.{name}.addresses.{network}");
        if !networks.contains_key(network) {
            return Err(PlanError::Disagree { key, reason: "no network of this name".to_owned() });
        }
        for text in texts(written) {
            let parsed: Result<IpAddr, _> = text.parse();
            let disagree =
                |_| PlanError::Disagree { key: key.clone(), reason: format!("{text}: not an address") };
            addresses.push((network.clone(), parsed.map_err(disagree)?));
        }
    }
    let engine = machine.engine.unwrap_or_else(|| engines.of(name));
    let (declaration, engine, served_by) = match declaration(name, machine, base)? {
        Some(text) => {
            let written = mailstack_schema::read::<Host>(&text);
            let by = written.map_or(ServiceBy::Daemon, |written| served::by(&written.value));
            let (text, engine) = with_engine(text, engine);
            (Some(text), engine, by)
        }
        None => (None, engine, ServiceBy::Daemon),
    };
    let fqdn = machine.hostname.clone().unwrap_or_else(|| name.to_owned());
    let users: BTreeSet<String> = machine.users.iter().filter(|user| *user != "root").cloned().collect();
    Ok(HostPlan { fqdn, addresses, users: users.into_iter().collect(), declaration, engine, served_by })
}

/// A declaration that says this engine, unless it says one itself; and the one that it says. One that cannot be read is
/// left for `mailstack apply` to refuse.
fn with_engine(text: String, engine: Engine) -> (String, Engine) {
    let Ok(written) = mailstack_schema::read::<Host>(&text) else { return (text, engine) };
    match (written.value.common().engine, engine) {
        (Some(said), _) => (text, said),
        (None, Engine::Builtin) => (text, engine),
        // Above the first table.
        (None, Engine::Sendmail) => (format!("engine = \"sendmail\"\n{text}"), engine),
    }
}

/// A declaration as text, for a host that this engine runs.
pub fn declared(host: &Host, engine: Engine) -> Result<String, toml::ser::Error> {
    toml::to_string(host).map(|text| with_engine(text, engine).0)
}

fn declaration(name: &str, machine: &Machine, base: &Path) -> Result<Option<String>, PlanError> {
    match (&machine.host_toml, &machine.declaration) {
        (None, None) => Ok(None),
        (Some(file), None) => {
            let path = base.join(file);
            fs::read_to_string(&path).map(Some).map_err(|source| PlanError::Read { path, source })
        }
        (None, Some(host)) => toml::to_string(host)
            .map(Some)
            .map_err(|error| PlanError::Declaration { host: name.to_owned(), reason: error.to_string() }),
        (Some(_), Some(_)) => Err(PlanError::Disagree {
            key: format!("host.{name}"),
            reason: "host_toml and declaration say it twice; keep one".to_owned(),
        }),
    }
}
