//! Delivery over SMTP: one host after the other, until every recipient has an answer.
//!
//! Owns: the connections, the order in which hosts and addresses are tried, and what an attempt means. May use TCP
//! and the resolver. Must not know the queue's schedule nor a mailbox.

mod chunks;
mod connection;
mod fold;
mod policy;
mod pool;
mod verdict;

use std::net::{IpAddr, SocketAddr};

use mailstack_policy::DomainName;
use mailstack_policy::rules::{HopHost, NextHop};
use mailstack_runtime::{Config, Role};
use mailstack_smtp::client::{CannotBegin, Outcome, Stage, Transaction};

use self::connection::{Connection, Opening};
use self::policy::Policies;
use self::pool::Pool;
use self::verdict::{Judged, judge, no_session};
use super::Body;
use crate::bounce::{Cause, Peer};
use crate::dns::{Dns, NoRoute};
use crate::event::{Event, Events};
use crate::queue::Destination;
use crate::secrets::Secrets;
use crate::tls::Connector;

pub use connection::Timeouts;
pub use verdict::Verdict;

/// The most addresses that one attempt tries.
const MAX_ADDRESSES: usize = 12;
/// The port of SMTP.
const SMTP: u16 = 25;

/// Delivers over SMTP.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The resolver.
    pub dns: Dns,
    /// What we call ourselves.
    pub hostname: DomainName,
    /// Names that are this host's own in an MX list, beside `hostname`.
    pub own_names: Vec<DomainName>,
    /// Whether a peer of our own name is ourselves. It is not where the host's other MTA is the mail host.
    pub checks_loops: bool,
    /// How long a peer is waited for.
    pub timeouts: Timeouts,
    /// Who is told of TLS.
    pub events: Option<Events>,
    policies: Policies,
    connector: Connector,
    pool: Pool,
}

/// A host to try, and the hop that it is a host of.
struct Host {
    target: Target,
    hop: Option<NextHop>,
}

/// By name or by address.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Name(DomainName, u16),
    Address(IpAddr, u16),
}

/// The recipients of one attempt and what is known of them.
struct Attempt {
    transaction: Transaction,
    verdicts: Vec<Option<Verdict>>,
    /// What the hosts said that had no final word.
    waits: Vec<Option<Cause>>,
    /// Whom they were last given to: nobody is asked for a recipient twice in a row.
    asked: Vec<Option<SocketAddr>>,
    /// The last fault that concerned nobody in particular.
    last: Option<Cause>,
    /// Some host had a session for us.
    talked: bool,
    /// Hosts that do not exist.
    missing: usize,
    /// Where a host was asked already: it is not asked again in the same attempt.
    tried: Vec<SocketAddr>,
}

impl Remote {
    /// A deliverer with the RFC's timeouts.
    pub fn new(dns: Dns, hostname: DomainName) -> Self {
        Self {
            dns,
            hostname,
            own_names: Vec::new(),
            checks_loops: true,
            timeouts: Timeouts::default(),
            events: None,
            policies: Policies::default(),
            connector: Connector::default(),
            pool: Pool::default(),
        }
    }

    /// Takes over what the configuration says about loops: names of this host in an MX list, and whether another
    /// MTA of the same name may be the mail host, as it may for submission alone (Sendmail's mailer flag `k`).
    pub fn heed(&mut self, config: &Config) {
        self.own_names = config.rules.local_domains.iter().cloned().collect();
        self.checks_loops = config.role != Role::Msp;
        self.policies.tls = config.tls.clone();
    }

    /// Takes over what is believed of other hosts' certificates, and what is shown to them.
    pub fn trust(&mut self, secrets: &Secrets) {
        self.connector = secrets.connector.clone();
        self.policies.credentials = secrets.credentials.clone();
    }

    /// Tries the recipients of `transaction` at the destination, which is not [`Destination::Local`]. Returns what
    /// became of each, in their order. `body` yields the message from its beginning at each call. `random` decides
    /// among mail hosts of equal preference.
    pub async fn deliver<B: Body>(
        &self,
        destination: &Destination,
        transaction: Transaction,
        body: &(dyn Fn() -> B + Sync),
        random: u64,
    ) -> Vec<Verdict> {
        let mut attempt = Attempt::new(transaction);
        if attempt.is_open()
            && let Some(connection) = self.pool.take(destination)
        {
            self.send(connection, destination, &mut attempt, body).await;
        }
        if attempt.is_open() {
            match self.targets(destination, random).await {
                Ok(targets) => self.try_all(&targets, destination, &mut attempt, body).await,
                Err(fault) => attempt.end(&no_route(destination, &fault)),
            }
        }
        attempt.finish()
    }

    async fn try_all<B: Body>(
        &self,
        targets: &[Host],
        destination: &Destination,
        attempt: &mut Attempt,
        body: &(dyn Fn() -> B + Sync),
    ) {
        let mut left = MAX_ADDRESSES;
        for host in targets {
            let addresses = match self.addresses(&host.target).await {
                Ok(addresses) => addresses,
                Err(fault) => {
                    attempt.last = Some(Cause::here(fault.status(), fault.to_string()).with_class('4'));
                    attempt.missing += usize::from(!fault.is_temporary());
                    continue;
                }
            };
            for address in addresses {
                if left == 0 || !attempt.is_open() {
                    return;
                }
                if attempt.tried.contains(&address) {
                    continue;
                }
                left -= 1;
                self.try_one(host, address, destination, attempt, body).await;
            }
        }
        if attempt.missing == targets.len() && matches!(destination, Destination::Mx(_)) {
            attempt.fail_as_missing();
        }
    }

    async fn try_one<B: Body>(
        &self,
        host: &Host,
        address: SocketAddr,
        destination: &Destination,
        attempt: &mut Attempt,
        body: &(dyn Fn() -> B + Sync),
    ) {
        let name = match &host.target {
            Target::Name(name, _) => name.to_string(),
            Target::Address(address, _) => address.to_string(),
        };
        let peer = Peer { name: name.clone(), address };
        let own_name = Some(self.hostname.as_str()).filter(|_| self.checks_loops);
        let terms = self.policies.of(destination, host.hop.as_ref(), &host.target);
        let (hello, connector, timeouts) = (self.hostname.as_str(), &self.connector, self.timeouts);
        let opening = Opening { hello, own_name, terms: &terms, connector, timeouts };
        match Connection::open(name, address, &opening).await {
            Ok(connection) => {
                self.tell(&connection);
                self.send(connection, destination, attempt, body).await;
            }
            Err(fault) => match no_session(fault, peer.clone()) {
                Some(cause) => attempt.last = Some(cause),
                None => attempt.end(&looped(peer)),
            },
        }
    }

    fn tell(&self, connection: &Connection) {
        if let (Some(events), Some(fault)) = (&self.events, connection.failed()) {
            events.warn(format!("{}: in clear, for there is no TLS: {fault}", connection.peer));
        }
        if let (Some(events), Some(channel)) = (&self.events, connection.channel()) {
            let (peer, channel) = (connection.peer.to_string(), channel.clone());
            events.emit(Event::Secured { server: false, peer, channel });
        }
    }

    /// Hands the message over for the recipients that are still open.
    async fn send<B: Body>(
        &self,
        mut connection: Box<Connection>,
        destination: &Destination,
        attempt: &mut Attempt,
        body: &(dyn Fn() -> B + Sync),
    ) {
        let is_reused = connection.used > 0;
        let mut begun = false;
        loop {
            let (open, transaction) = attempt.open(connection.max_recipients(), &connection.peer);
            if open.is_empty() {
                break;
            }
            match connection.send(transaction, &mut body()).await {
                // The peer closed it while it waited: that says nothing.
                Ok(outcomes) if is_reused && !begun && outcomes.iter().all(is_stale) => {
                    open.iter().for_each(|&at| attempt.asked[at] = None);
                    return;
                }
                Ok(outcomes) => attempt.record(&open, outcomes, &connection),
                Err(fault) => {
                    attempt.end_open(&open, &cannot_begin(fault, connection.peer.clone()));
                }
            }
            begun = true;
            if !connection.is_ready().await {
                return;
            }
        }
        if connection.is_ready().await {
            self.pool.put(destination.clone(), connection).await;
        }
    }

    async fn targets(&self, destination: &Destination, random: u64) -> Result<Vec<Host>, NoRoute> {
        let alone = |target| Host { target, hop: None };
        match destination {
            Destination::Mx(domain) => {
                let targets = self.exchangers(domain, SMTP, random).await?;
                Ok(targets.into_iter().map(alone).collect())
            }
            Destination::Literal(address) => Ok(vec![alone(Target::Address(*address, SMTP))]),
            Destination::Hops(hops) => self.hops(hops, random).await,
            Destination::Local | Destination::Nowhere => Ok(Vec::new()),
        }
    }

    /// All hosts of all hops. A fault counts only where no hop has a host.
    async fn hops(&self, hops: &[NextHop], random: u64) -> Result<Vec<Host>, NoRoute> {
        let (mut targets, mut fault) = (Vec::new(), None);
        for hop in hops {
            let of_hop = |target| Host { target, hop: Some(hop.clone()) };
            match &hop.host {
                HopHost::Address(address) => targets.push(of_hop(Target::Address(*address, hop.port))),
                HopHost::Host(name) => targets.push(of_hop(Target::Name(name.clone(), hop.port))),
                HopHost::Mx(domain) => match self.exchangers(domain, hop.port, random).await {
                    Ok(found) => targets.extend(found.into_iter().map(of_hop)),
                    Err(error) => fault = Some(error),
                },
            }
        }
        match fault {
            Some(fault) if targets.is_empty() => Err(fault),
            _ => Ok(targets),
        }
    }

    async fn exchangers(&self, domain: &DomainName, port: u16, random: u64) -> Result<Vec<Target>, NoRoute> {
        // The host's other MTA is a mail host like any other where loops are not looked for.
        let is_own = |name: &DomainName| {
            self.checks_loops && (*name == self.hostname || self.own_names.contains(name))
        };
        let names = self.dns.exchangers(domain, &is_own, random).await?;
        Ok(names.into_iter().map(|name| Target::Name(name, port)).collect())
    }

    async fn addresses(&self, target: &Target) -> Result<Vec<SocketAddr>, NoRoute> {
        match target {
            Target::Address(address, port) => Ok(vec![SocketAddr::new(*address, *port)]),
            Target::Name(name, port) => {
                let found = self.dns.addresses(name).await?;
                Ok(found.into_iter().map(|address| SocketAddr::new(address, *port)).collect())
            }
        }
    }
}

fn is_stale(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::NoAnswer { stage } => *stage <= Stage::Mail,
        Outcome::Refused { stage, reply } => *stage <= Stage::Mail && reply.code() == 421,
        Outcome::Accepted(_) => false,
    }
}

fn looped(peer: Peer) -> Verdict {
    Verdict::Failed(Cause::connection("5.4.6", peer, "mail loops back to me: that host bears my own name"))
}

fn cannot_begin(fault: CannotBegin, peer: Peer) -> Verdict {
    match fault {
        CannotBegin::TooLarge { .. } => Verdict::Failed(Cause::connection("5.3.4", peer, fault.to_string())),
        // RFC 6531 3.5
        CannotBegin::NotAscii => Verdict::Failed(Cause::connection("5.6.7", peer, fault.to_string())),
        CannotBegin::EightBit | CannotBegin::NoRecipients | CannotBegin::NotReady => {
            let cause = Cause::connection("4.3.0", peer, fault.to_string());
            Verdict::Deferred { cause, unreachable: false }
        }
    }
}

/// A mail host that is not there is a fault of this host's configuration: the mail waits until it is corrected.
fn no_route(destination: &Destination, fault: &NoRoute) -> Verdict {
    let cause = Cause::here(fault.status(), fault.to_string());
    let is_configured = matches!(destination, Destination::Hops(_)) && !matches!(fault, NoRoute::Loop(_));
    match fault.is_temporary() || is_configured {
        true => Verdict::Deferred { cause: cause.with_class('4'), unreachable: true },
        false => Verdict::Failed(cause),
    }
}

impl Attempt {
    fn new(transaction: Transaction) -> Self {
        let count = transaction.recipients.len();
        let verdicts = vec![None; count];
        Self {
            transaction,
            verdicts,
            waits: vec![None; count],
            asked: vec![None; count],
            last: None,
            talked: false,
            missing: 0,
            tried: Vec::new(),
        }
    }

    fn is_open(&self) -> bool {
        self.verdicts.iter().any(Option::is_none)
    }

    /// The places of the recipients without a verdict that this host was not asked for, at most so many, and a
    /// transaction of them alone. One of a message that is beyond ASCII, or goes to such an address, must not keep the
    /// others from being sent to: it goes alone.
    fn open(&mut self, most: usize, peer: &Peer) -> (Vec<usize>, Transaction) {
        let is_open = |at: &usize| self.verdicts[*at].is_none() && self.asked[*at] != Some(peer.address);
        let mut open: Vec<usize> = (0..self.verdicts.len()).filter(is_open).collect();
        let is_ascii = |at: &usize| self.transaction.recipients[*at].to.local().is_ascii();
        if let Some(first) = open.first().map(&is_ascii) {
            open.retain(|at| is_ascii(at) == first);
        }
        open.truncate(most.max(1));
        open.iter().for_each(|&at| self.asked[at] = Some(peer.address));
        let recipients = open.iter().map(|&at| self.transaction.recipients[at].clone()).collect();
        (open, Transaction { recipients, ..self.transaction.clone() })
    }

    /// The same verdict for these.
    fn end_open(&mut self, open: &[usize], verdict: &Verdict) {
        open.iter().for_each(|&at| self.verdicts[at] = Some(verdict.clone()));
    }

    fn record(&mut self, open: &[usize], outcomes: Vec<Outcome>, connection: &Connection) {
        self.talked = true;
        self.tried.push(connection.peer.address);
        for (&at, outcome) in open.iter().zip(outcomes) {
            match judge(outcome, &connection.peer, connection.reports()) {
                Judged::Settled(verdict) => self.verdicts[at] = Some(verdict),
                Judged::NextHost(cause) => self.waits[at] = Some(cause),
            }
        }
    }

    /// The same verdict for all that have none.
    fn end(&mut self, verdict: &Verdict) {
        for open in self.verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
            *open = Some(verdict.clone());
        }
    }

    /// None of a domain's mail hosts exists, or the domain itself does not.
    fn fail_as_missing(&mut self) {
        if let Some(cause) = self.last.clone() {
            self.end(&Verdict::Failed(cause.with_class('5')));
        }
    }

    fn finish(self) -> Vec<Verdict> {
        let Self { verdicts, waits, last, talked, .. } = self;
        let last = last.unwrap_or_else(|| Cause::here("4.4.1", "no host could be tried"));
        let settle = |(verdict, wait): (Option<Verdict>, Option<Cause>)| {
            let deferred = || Verdict::Deferred { cause: wait.unwrap_or(last.clone()), unreachable: !talked };
            verdict.unwrap_or_else(deferred)
        };
        verdicts.into_iter().zip(waits).map(settle).collect()
    }
}
