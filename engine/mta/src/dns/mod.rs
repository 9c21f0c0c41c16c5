//! Names to mail hosts and addresses.
//!
//! Owns: the resolver of `etc/resolv.conf`, the names of `etc/hosts`, and what an answer means to a message. May
//! use hickory-resolver and the two files; never getaddrinfo. Must not know a connection or a queue.

mod hosts;
mod mx;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Resolver, TokioResolver};
use mailstack_smtp::address::DomainName;

use crate::host::Root;

pub use hosts::Hosts;

/// The longest that an answer "there is none" is believed.
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(300);
/// The longest that any answer is believed.
const MAX_TTL: Duration = Duration::from_secs(3600);
/// How long is believed that the files are as they were: several questions are asked about each message.
pub const LOOK: Duration = Duration::from_millis(100);
/// Answers kept.
const CACHE_SIZE: u64 = 1024;
/// The most mail hosts of one domain that are tried (RFC 5321 5.1 asks for at least two).
const MAX_EXCHANGERS: usize = 16;

/// The files that a resolver is made of could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", .path.display())]
pub struct ResolverError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Why there is nowhere to send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// The name does not exist, or has neither a mail host nor an address.
    NoSuchName(DomainName),
    /// The domain says that it takes no mail (RFC 7505).
    NullMx(DomainName),
    /// The best mail host of the domain is this host, and the domain is not local here (RFC 5321 5.1).
    Loop(DomainName),
    /// The name service did not answer, or said that it cannot.
    NoAnswer(DomainName, String),
}

impl NoRoute {
    /// RFC 3463 status.
    pub fn status(&self) -> &'static str {
        match self {
            NoRoute::NoSuchName(_) => "5.1.2",
            NoRoute::NullMx(_) => "5.1.10", // RFC 7505 4.2
            NoRoute::Loop(_) => "5.4.6",
            NoRoute::NoAnswer(..) => "4.4.3",
        }
    }

    /// Whether another try may end better.
    pub fn is_temporary(&self) -> bool {
        matches!(self, NoRoute::NoAnswer(..))
    }
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoRoute::NoSuchName(name) => write!(f, "{name}: host or domain not found"),
            NoRoute::NullMx(name) => write!(f, "{name} takes no mail (null MX)"),
            NoRoute::Loop(name) => {
                write!(f, "mail for {name} loops back to me: this host is its best mail host, yet not local")
            }
            NoRoute::NoAnswer(name, why) => write!(f, "{name}: name server failure: {why}"),
        }
    }
}

/// What the name service says of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reverse {
    /// The name.
    pub name: DomainName,
    /// Whether the name has this address; else anybody may have written it.
    pub confirmed: bool,
}

/// The name service does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name service does not answer")]
pub struct NameFault;

/// The resolver. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Dns(Arc<Watched>);

#[derive(Debug)]
struct Watched {
    /// The tree of its files; None: what it knows does not change.
    root: Option<Root>,
    known: Mutex<Read>,
}

/// What the files said, and when it was last looked whether they still do.
#[derive(Debug)]
struct Read {
    stamps: Stamps,
    looked: Instant,
    known: Arc<Known>,
}

/// Both files as they were read.
type Stamps = [Option<Stamp>; 2];

/// What changes with a file that is written anew or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What the files said.
struct Known {
    resolver: Option<TokioResolver>,
    hosts: Hosts,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Known").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Dns {
    /// Reads `etc/resolv.conf` and `etc/hosts` of the tree, or the host's where it has none, now and whenever they
    /// have changed: a host gets its name servers with its network. One without a name server knows `etc/hosts`
    /// alone.
    pub fn open(root: &Root) -> Result<Self, ResolverError> {
        // The stamps come first: what is written in between is read again.
        let stamps = stamps(root);
        Ok(Self::of(Some(root.clone()), stamps, Known::read(root)?))
    }

    /// A resolver of this configuration, which does not change.
    pub fn new(config: ResolverConfig, options: ResolverOpts, hosts: Hosts) -> Self {
        Self::of(None, [None; 2], Known::new(config, options, hosts))
    }

    fn of(root: Option<Root>, stamps: Stamps, known: Known) -> Self {
        let read = Read { stamps, looked: Instant::now(), known: Arc::new(known) };
        Self(Arc::new(Watched { root, known: Mutex::new(read) }))
    }

    /// As the files are now; as they were where they cannot be read.
    fn known(&self) -> Arc<Known> {
        let mut last = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = &self.0.root
            && last.looked.elapsed() >= LOOK
        {
            last.looked = Instant::now();
            let stamps = stamps(root);
            if stamps != last.stamps
                && let Ok(read) = Known::read(root)
            {
                (last.stamps, last.known) = (stamps, Arc::new(read));
            }
        }
        Arc::clone(&last.known)
    }

    /// The mail hosts of a domain, the best first; those of equal preference in an order that `random` decides.
    /// A domain without MX records is its own mail host (RFC 5321 5.1). Hosts that `is_own` holds for, and all
    /// that are no better, are left out.
    pub async fn exchangers(
        &self,
        domain: &DomainName,
        is_own: &(dyn Fn(&DomainName) -> bool + Sync),
        random: u64,
    ) -> Result<Vec<DomainName>, NoRoute> {
        self.known().exchangers(domain, is_own, random).await
    }

    /// The addresses of a host, IPv6 and IPv4 by turns. Never empty.
    pub async fn addresses(&self, host: &DomainName) -> Result<Vec<IpAddr>, NoRoute> {
        self.known().addresses(host).await
    }

    /// The name that an address says it has (PTR), and whether the name says the same of the address. None where it
    /// has none.
    pub async fn name_of(&self, address: IpAddr) -> Result<Option<Reverse>, NameFault> {
        self.known().name_of(address).await
    }

    /// Whether mail can be sent to a domain, as far as its records go: it has a mail host, of whatever kind, or an
    /// address. A host without a name server cannot know, and takes it for so.
    pub async fn exists(&self, domain: &DomainName) -> Result<bool, NameFault> {
        self.known().exists(domain).await
    }

    /// The IPv4 addresses of a name in a list of clients; none where the list does not answer.
    pub async fn answers(&self, name: &DomainName) -> Vec<Ipv4Addr> {
        let found = self.known().lookup(name, RecordType::A).await.unwrap_or_default();
        let v4 = |data: RData| match data.ip_addr() {
            Some(IpAddr::V4(v4)) => Some(v4),
            _ => None,
        };
        found.into_iter().filter_map(v4).collect()
    }
}

impl Known {
    fn read(root: &Root) -> Result<Self, ResolverError> {
        let hosts = Hosts::parse(&read(root.etc("hosts"))?);
        match parse_resolv_conf(read(root.etc("resolv.conf"))?) {
            Ok((config, options)) => Ok(Self::new(config, options, hosts)),
            Err(_) => Ok(Self { resolver: None, hosts }),
        }
    }

    fn new(config: ResolverConfig, mut options: ResolverOpts, hosts: Hosts) -> Self {
        options.use_hosts_file = ResolveHosts::Never;
        options.negative_max_ttl = Some(MAX_NEGATIVE_TTL);
        options.positive_max_ttl = Some(MAX_TTL);
        options.cache_size = CACHE_SIZE;
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        Self { resolver: builder.build().ok(), hosts }
    }

    async fn exchangers(
        &self,
        domain: &DomainName,
        is_own: &(dyn Fn(&DomainName) -> bool + Sync),
        random: u64,
    ) -> Result<Vec<DomainName>, NoRoute> {
        let records = match self.lookup(domain, RecordType::MX).await {
            Ok(records) => records.into_iter().filter_map(mx_record).collect(),
            Err(NoRoute::NoSuchName(_)) => Vec::new(),
            // Without a name server at all, as in a container with etc/hosts alone.
            Err(_) if self.resolver.is_none() && self.hosts.find(domain).is_some() => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let mut ordered = mx::order(domain, records, is_own, random)?;
        ordered.truncate(MAX_EXCHANGERS);
        Ok(ordered)
    }

    async fn addresses(&self, host: &DomainName) -> Result<Vec<IpAddr>, NoRoute> {
        if let Some(addresses) = self.hosts.find(host) {
            return Ok(by_turns(addresses.to_vec()));
        }
        let (v6, v4) = tokio::join!(self.lookup(host, RecordType::AAAA), self.lookup(host, RecordType::A));
        let found: Vec<IpAddr> =
            [&v6, &v4].into_iter().flatten().flatten().filter_map(RData::ip_addr).collect();
        if !found.is_empty() {
            return Ok(by_turns(found));
        }
        match (v6, v4) {
            (_, Err(fault)) | (Err(fault), _) if fault.is_temporary() => Err(fault),
            _ => Err(NoRoute::NoSuchName(host.clone())),
        }
    }

    async fn name_of(&self, address: IpAddr) -> Result<Option<Reverse>, NameFault> {
        if let Some(name) = self.hosts.name_of(address) {
            return Ok(Some(Reverse { name: name.clone(), confirmed: true }));
        }
        let Ok(arpa) = Name::from(address).to_ascii().parse() else { return Ok(None) };
        let records = match self.lookup(&arpa, RecordType::PTR).await {
            Ok(records) => records,
            Err(fault) if fault.is_temporary() && self.resolver.is_some() => return Err(NameFault),
            Err(_) => return Ok(None),
        };
        let name: Option<DomainName> = records.into_iter().find_map(|data| match data {
            RData::PTR(name) => name.0.to_ascii().parse().ok(),
            _ => None,
        });
        let Some(name) = name else { return Ok(None) };
        match self.addresses(&name).await {
            Ok(found) => Ok(Some(Reverse { name, confirmed: found.contains(&address) })),
            Err(fault) if fault.is_temporary() => Err(NameFault),
            Err(_) => Ok(Some(Reverse { name, confirmed: false })),
        }
    }

    async fn exists(&self, domain: &DomainName) -> Result<bool, NameFault> {
        if self.resolver.is_none() || self.hosts.find(domain).is_some() {
            return Ok(true);
        }
        match self.lookup(domain, RecordType::MX).await {
            Ok(records) if !records.is_empty() => return Ok(true),
            Err(fault) if fault.is_temporary() => return Err(NameFault),
            Ok(_) | Err(_) => {}
        }
        match self.addresses(domain).await {
            Ok(_) => Ok(true),
            Err(fault) if fault.is_temporary() => Err(NameFault),
            Err(_) => Ok(false),
        }
    }

    async fn lookup(&self, name: &DomainName, kind: RecordType) -> Result<Vec<RData>, NoRoute> {
        let no_answer = |why: String| NoRoute::NoAnswer(name.clone(), why);
        let resolver =
            self.resolver.as_ref().ok_or_else(|| no_answer("no name server is known".to_owned()))?;
        // A name of one label is completed by the search list, as resolv.conf(5) says; any other is whole.
        let dot = if name.is_qualified() { "." } else { "" };
        let query =
            Name::from_ascii(format!("{name}{dot}")).map_err(|_| NoRoute::NoSuchName(name.clone()))?;
        match resolver.lookup(query, kind).await {
            Ok(found) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) if is_definite(none.response_code) => {
                Err(NoRoute::NoSuchName(name.clone()))
            }
            Err(error) => Err(no_answer(words(&error))),
        }
    }
}

fn is_definite(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NXDomain | ResponseCode::NoError)
}

fn words(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::ResponseCode(code)) => format!("answered {code}"),
        NetError::Dns(DnsError::NoRecordsFound(none)) => format!("answered {}", none.response_code),
        NetError::Timeout => "no answer in time".to_owned(),
        other => other.to_string(),
    }
}

/// The preference and the host; no host for the root, which a null MX names.
fn mx_record(data: RData) -> Option<(u16, mx::Exchanger)> {
    let RData::MX(mx) = data else { return None };
    if mx.exchange.is_root() {
        return Some((mx.preference, mx::Exchanger::None));
    }
    let host = mx.exchange.to_ascii().parse().map_or(mx::Exchanger::Unusable, mx::Exchanger::Host);
    Some((mx.preference, host))
}

/// IPv6 first, then by turns: a family without a route costs one failed connect, not all of them.
fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let longest = v6.len().max(v4.len());
    (0..longest).flat_map(|at| [v6.get(at), v4.get(at)]).flatten().copied().collect()
}

fn stamps(root: &Root) -> Stamps {
    ["hosts", "resolv.conf"].map(|name| {
        let found = fs::metadata(root.etc(name)).ok()?;
        Some(Stamp {
            inode: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    })
}

/// Reads a file; empty where there is none.
fn read(path: PathBuf) -> Result<String, ResolverError> {
    match fs::read(&path) {
        Ok(octets) => Ok(String::from_utf8_lossy(&octets).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(ResolverError { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let ips = |list: &[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        let cases: [(&[&str], &[&str]); 4] = [
            (&["192.0.2.1", "192.0.2.2", "2001:db8::1"], &["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
            (&["2001:db8::1", "2001:db8::2", "192.0.2.1"], &["2001:db8::1", "192.0.2.1", "2001:db8::2"]),
            (&["192.0.2.1"], &["192.0.2.1"]),
            (&[], &[]),
        ];
        for (given, wanted) in cases {
            assert_eq!(by_turns(ips(given)), ips(wanted));
        }
    }
}
