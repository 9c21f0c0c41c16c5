//! A fleet: hosts with their configurations, users and addresses, and the zones that they look names up in.
//!
//! Pure: mail is followed from host to host by the decisions of the policy crate, each host's own, and by its zones.
//! Nothing runs, nothing waits; a host that is down does not listen.

mod findings;
mod walk;
mod zones;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mailstack_policy::{DomainName, Here};
use mailstack_runtime::Config;

pub use findings::{FleetFinding, Lost, fleet_findings};
pub use walk::{Answer, Delivered, End, Mail, Stuck, Wait, answer, follow};
pub use zones::{RecordFault, Zones};

/// All hosts by their short name, and the zones.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The hosts.
    pub hosts: BTreeMap<String, FleetHost>,
    /// What their name server answers.
    pub zones: Zones,
    /// Who has which address.
    by_address: BTreeMap<IpAddr, String>,
    /// Hosts that are down.
    pub down: BTreeSet<String>,
}

/// One host.
#[derive(Clone, Debug)]
pub struct FleetHost {
    /// Its fully qualified name.
    pub hostname: DomainName,
    /// Its addresses, each with its network's name.
    pub addresses: Vec<(String, IpAddr)>,
    /// Its users, root included.
    pub users: BTreeSet<String>,
    /// What its MTA runs by; None: it has none.
    pub config: Option<Config>,
    /// Its addresses alone.
    own: Vec<IpAddr>,
}

impl FleetHost {
    /// A host; its configuration's own name goes before the machine's.
    pub fn new(
        hostname: DomainName,
        addresses: Vec<(String, IpAddr)>,
        users: BTreeSet<String>,
        config: Option<Config>,
    ) -> Self {
        let declared = config.as_ref().and_then(|config| config.hostname.clone());
        let own = addresses.iter().map(|(_, addr)| *addr).collect();
        Self { hostname: declared.unwrap_or(hostname), addresses, users, config, own }
    }

    /// What it knows of itself.
    pub fn here(&self) -> Here<'_> {
        Here::new(&self.hostname, &self.own)
    }

    /// Whether its MTA listens at one of its addresses.
    pub fn listens_at(&self, at: SocketAddr) -> bool {
        let takes = |own: &SocketAddr| {
            let same = own.ip() == at.ip() || own.ip().is_unspecified() && own.is_ipv4() == at.is_ipv4();
            own.port() == at.port() && same
        };
        self.config.as_ref().is_some_and(|config| config.listeners.iter().any(takes))
    }

    /// The address that it connects from to one of this network, or to itself.
    fn address_in(&self, network: &str, family: IpAddr) -> Option<IpAddr> {
        let fits = |(name, addr): &&(String, IpAddr)| name == network && addr.is_ipv4() == family.is_ipv4();
        self.addresses.iter().find(fits).map(|(_, addr)| *addr)
    }
}

impl Fleet {
    /// A fleet of these hosts.
    pub fn new(hosts: BTreeMap<String, FleetHost>, zones: Zones) -> Self {
        let address = |(name, host): (&String, &FleetHost)| {
            host.own.iter().map(|addr| (*addr, name.clone())).collect::<Vec<_>>()
        };
        let by_address = hosts.iter().flat_map(address).collect();
        Self { hosts, zones, by_address, down: BTreeSet::new() }
    }

    /// The host that has an address.
    pub fn host_of(&self, addr: IpAddr) -> Option<(&String, &FleetHost)> {
        let name = self.by_address.get(&addr)?;
        self.hosts.get_key_value(name)
    }

    /// Which host takes a connection that `from` makes, and from which address it comes.
    pub fn connect(&self, from: &str, to: SocketAddr) -> Result<(&String, IpAddr), Stuck> {
        let nobody = || Stuck::NoHost { at: to };
        let source = self.hosts.get(from).ok_or_else(nobody)?;
        if to.ip().is_loopback() {
            let (name, _) = self.hosts.get_key_value(from).ok_or_else(nobody)?;
            let deaf = Stuck::Deaf { host: name.clone(), at: to };
            return if source.listens_at(to) { Ok((name, to.ip())) } else { Err(deaf) };
        }
        let (name, host) = self.host_of(to.ip()).ok_or_else(nobody)?;
        let network = host.addresses.iter().find(|(_, addr)| *addr == to.ip()).map(|(network, _)| network);
        let client = network.and_then(|network| source.address_in(network, to.ip()));
        let client = client.ok_or_else(|| Stuck::NoNetwork { host: name.clone(), at: to })?;
        if self.down.contains(name) {
            return Err(Stuck::Down { host: name.clone() });
        }
        match host.listens_at(to) {
            true => Ok((name, if name == from { to.ip() } else { client })),
            false => Err(Stuck::Deaf { host: name.clone(), at: to }),
        }
    }
}
