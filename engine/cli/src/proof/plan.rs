//! Who has which address in the world of a candidate. Pure.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mailstack_policy::rules::{HopHost, Mailer, NextHop};
use mailstack_policy::{Domain, DomainName, Here};
use mailstack_prove::{Probe, Source, probes_at};
use mailstack_runtime::{Config, ListenerKind};

/// The port of SMTP between hosts.
const SMTP_PORT: u16 = 25;

/// The addresses of the world. Those that nobody names are of RFC 2544 (IPv4) and RFC 5180 (IPv6): networks that
/// are for such a bench.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The candidate's host.
    pub(super) host: BTreeSet<IpAddr>,
    /// Its addresses of last resort: those that an unspecified listener is reached at.
    pub(super) host_v4: Ipv4Addr,
    /// As `host_v4`.
    pub(super) host_v6: Ipv6Addr,
    /// All other hosts.
    pub(super) others: BTreeSet<IpAddr>,
    /// What every name resolves to.
    pub(super) sink_v4: Ipv4Addr,
    /// As `sink_v4`; None: a world without IPv6.
    pub(super) sink_v6: Option<Ipv6Addr>,
    /// The name server.
    pub(super) name_server: Ipv4Addr,
    /// Where mail is taken in the world.
    pub(super) sinks: BTreeSet<SocketAddr>,
    /// Where mail is taken on the candidate's host, beside the candidate: another MTA.
    pub(super) sinks_beside: BTreeSet<SocketAddr>,
    /// What is tried.
    pub(super) probes: Vec<Probe>,
}

impl Plan {
    /// The world of a candidate that runs with `config` and must keep what `promised` promises.
    pub(super) fn new(config: &Config, promised: &Config, hostname: &DomainName, ipv6: bool) -> Self {
        let mut host: BTreeSet<IpAddr> = listening(config).chain(listening(promised)).collect();
        let mut named: BTreeSet<IpAddr> = next_hops(config).filter_map(|hop| literal(&hop.host)).collect();
        named.extend(&host);
        let host_v4 = host.iter().find_map(v4).unwrap_or_else(|| free_v4(&mut named));
        let host_v6 = host.iter().find_map(v6).unwrap_or_else(|| free_v6(&mut named));
        host.extend([IpAddr::V4(host_v4), IpAddr::V6(host_v6)]);
        let (sink_v4, sink_v6) = (free_v4(&mut named), ipv6.then(|| free_v6(&mut named)));
        let mut plan = Self {
            host,
            host_v4,
            host_v6,
            others: BTreeSet::new(),
            sink_v4,
            sink_v6,
            name_server: free_v4(&mut named),
            sinks: BTreeSet::new(),
            sinks_beside: BTreeSet::new(),
            probes: Vec::new(),
        };
        plan.place_sinks(config, hostname);
        plan.place_probes(promised, hostname, ipv6);
        plan.drop_family(ipv6);
        plan
    }

    fn place_sinks(&mut self, config: &Config, hostname: &DomainName) {
        self.add_sinks(None, SMTP_PORT);
        for hop in next_hops(config) {
            let name = match &hop.host {
                HopHost::Address(address) => {
                    let beside = address.is_loopback() || self.host.contains(address);
                    let sinks = if beside { &mut self.sinks_beside } else { &mut self.sinks };
                    sinks.insert(SocketAddr::new(*address, hop.port));
                    continue;
                }
                HopHost::Mx(name) | HopHost::Host(name) => Domain::Name(name.clone()),
            };
            let own = Here::named(hostname).is_own_host(&name);
            self.add_sinks(own.then_some(&name), hop.port);
        }
        // Another MTA cannot be where the candidate itself listens.
        self.sinks_beside.retain(|sink| !config.listeners.iter().any(|own| own.port() == sink.port()));
        self.others.extend(self.sinks.iter().map(SocketAddr::ip));
        self.others.insert(IpAddr::V4(self.name_server));
    }

    /// Sinks for a name: one of the candidate's host, or any other.
    fn add_sinks(&mut self, own: Option<&Domain>, port: u16) {
        let Some(own) = own else {
            let addresses = std::iter::once(IpAddr::V4(self.sink_v4)).chain(self.sink_v6.map(IpAddr::V6));
            return self.sinks.extend(addresses.map(|address| SocketAddr::new(address, port)));
        };
        let localhost = own.name().is_some_and(|name| name.as_str() == "localhost");
        let addresses: [IpAddr; 2] = match localhost {
            true => [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            false => [self.host_v4.into(), self.host_v6.into()],
        };
        self.sinks_beside.extend(addresses.map(|address| SocketAddr::new(address, port)));
    }

    fn place_probes(&mut self, promised: &Config, hostname: &DomainName, ipv6: bool) {
        let addresses: Vec<IpAddr> = self.host.iter().copied().collect();
        let probes = probes_at(promised, Here::new(hostname, &addresses));
        let from = |probe: &Probe| match probe.source {
            Source::Untrusted(address) | Source::Trusted(address) => Some(address),
            Source::Program => None,
        };
        self.probes = probes;
        self.probes.retain(|probe| ipv6 || from(probe).is_none_or(|address| address.is_ipv4()));
        self.others.extend(self.probes.iter().filter_map(from));
    }

    fn drop_family(&mut self, ipv6: bool) {
        if !ipv6 {
            self.host.retain(IpAddr::is_ipv4);
            self.others.retain(IpAddr::is_ipv4);
            self.sinks.retain(SocketAddr::is_ipv4);
            self.sinks_beside.retain(SocketAddr::is_ipv4);
        }
    }

    /// Where a client at `source` reaches the first listener that it can reach.
    pub(super) fn target(&self, promised: &Config, source: IpAddr) -> Option<SocketAddr> {
        let reachable =
            |listener: &&SocketAddr| listener.is_ipv4() == source.is_ipv4() && !listener.ip().is_loopback();
        let between_hosts = |listener: &&SocketAddr| promised.listener_kind(listener) == ListenerKind::Smtp;
        let listener = promised.listeners.iter().filter(between_hosts).find(reachable)?;
        let address = match (listener.ip().is_unspecified(), source) {
            (false, _) => listener.ip(),
            (true, IpAddr::V4(_)) => self.host_v4.into(),
            (true, IpAddr::V6(_)) => self.host_v6.into(),
        };
        Some(SocketAddr::new(address, listener.port()))
    }
}

fn listening(config: &Config) -> impl Iterator<Item = IpAddr> {
    config.listeners.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

fn next_hops(config: &Config) -> impl Iterator<Item = &NextHop> {
    let tables = config.rules.mailertable.values().flat_map(|mailer| match mailer {
        Mailer::Smtp { hosts, .. } => hosts.as_slice(),
        Mailer::Local { .. } | Mailer::Error { .. } => &[],
    });
    config.rules.mail_hosts.iter().chain(tables)
}

fn literal(host: &HopHost) -> Option<IpAddr> {
    match host {
        HopHost::Address(address) => Some(*address),
        HopHost::Mx(_) | HopHost::Host(_) => None,
    }
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(*address),
        IpAddr::V4(_) => None,
    }
}

/// The next address that nobody has.
fn free_v4(taken: &mut BTreeSet<IpAddr>) -> Ipv4Addr {
    let mut address = Ipv4Addr::new(198, 18, 77, 1);
    while !taken.insert(address.into()) {
        address = Ipv4Addr::from_bits(address.to_bits().wrapping_add(1));
    }
    address
}

/// As [`free_v4`].
fn free_v6(taken: &mut BTreeSet<IpAddr>) -> Ipv6Addr {
    let mut address = Ipv6Addr::new(0x2001, 0x2, 0, 0x77, 0, 0, 0, 1);
    while !taken.insert(address.into()) {
        address = Ipv6Addr::from_bits(address.to_bits().wrapping_add(1));
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gateway with this in its rules and listeners.
    fn plan(listeners: &str, mail_hosts: &str, ipv6: bool) -> Plan {
        let text = format!(
            r#"
            version = 1
            role = "gateway"
            listeners = [{listeners}]
            paths = {{ spool = "/s", submission_socket = "/u", drop = "/d", control_socket = "/c", pid_file = "/p" }}
            limits = {{ message_size = 1, recipients = 1, header_size = 1, hops = 1, connections = 1, connections_per_client = 1 }}
            queue = {{ first_retry = 1, longest_retry = 1, lifetime = 1, connections_per_destination = 1 }}
            [rules]
            qualify = "own_host"
            local_mailboxes = true
            local_domains = []
            relay_domains = []
            relay_networks = ["192.0.2.0/24"]
            aliases = {{}}
            mailertable = {{}}
            mail_hosts = [{mail_hosts}]
            "#
        );
        let config: Config = toml::from_str(&text).unwrap();
        Plan::new(&config, &config, &"gw.corp.example".parse().unwrap(), ipv6)
    }

    fn words<T: ToString>(set: &BTreeSet<T>) -> String {
        set.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn everybody_has_addresses_of_their_own() {
        let plan = plan(r#""198.18.77.1:25""#, r#"{ host = { address = "198.18.77.2" }, port = 26 }"#, true);
        assert_eq!(words(&plan.host), "198.18.77.1 2001:2:0:77::1");
        assert_eq!(
            (plan.sink_v4.to_string(), plan.name_server.to_string()),
            ("198.18.77.3".into(), "198.18.77.4".into())
        );
        assert_eq!(words(&plan.sinks), "198.18.77.2:26 198.18.77.3:25 [2001:2:0:77::2]:25");
        // The name server, the sinks, a foreigner, a host of the relay network.
        assert_eq!(
            words(&plan.others),
            "192.0.2.1 198.18.77.2 198.18.77.3 198.18.77.4 198.51.100.77 2001:2:0:77::2"
        );
        assert!(plan.sinks_beside.is_empty());
    }

    #[test]
    fn another_mta_of_the_same_host_is_beside_the_candidate() {
        let hops = r#"{ host = { host = "localhost" }, port = 587 }, { host = { mx = "gw.corp.example" }, port = 25 }"#;
        let plan = plan(r#""127.0.0.1:25""#, hops, false);
        // Where the candidate listens itself nobody else can.
        assert_eq!(words(&plan.sinks_beside), "127.0.0.1:587");
        assert_eq!(words(&plan.sinks), "198.18.77.2:25");
        assert!(plan.others.iter().all(IpAddr::is_ipv4));
    }
}
