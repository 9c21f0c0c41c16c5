//! The daemon within its runtime: everything opened, served, and closed again.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mailstack_policy::rules::Rules;
use mailstack_policy::{DomainName, Here, route_target};
use mailstack_runtime::{Config, Role};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::confine::Confinement;
use super::notify::notify;
use super::sockets::Bound;
use super::{Root, RunError};
use crate::control::{self, Facts};
use crate::delivery;
use crate::delivery::helper::Helper;
use crate::delivery::remote::Remote;
use crate::dns::Dns;
use crate::event::{Event, Events};
use crate::host::Users;
use crate::message::Timestamp;
use crate::queue::{Destination, Dispatcher, Queue, Route};
use crate::secrets::{self, Secrets};
use crate::server::{Parts, Server, Sockets};
use crate::spool::{UnderWay, Unreadable};
use crate::tls::Acceptor;

/// How long sessions may go on once the daemon is to stop.
const GRACE: Duration = Duration::from_secs(30);
/// How often is looked whether there is anything to do.
const IDLE_TICK: Duration = Duration::from_secs(5);
/// Ticks without anything to do before a daemon that may end does.
const IDLE_TICKS: u32 = 3;

/// What the daemon was given before its runtime was made.
pub(super) struct Daemon {
    pub(super) root: Root,
    pub(super) config: Arc<Config>,
    pub(super) hostname: DomainName,
    pub(super) events: Events,
    pub(super) secrets: Secrets,
    pub(super) helper: Option<Helper>,
    pub(super) restricted: Option<Helper>,
    /// Of this host.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) confinement: Confinement,
    pub(super) exit_when_idle: bool,
}

/// What runs, and how it is told to stop.
struct Running {
    server: Server,
    control: tokio::task::JoinHandle<()>,
    delivery: tokio::task::JoinHandle<()>,
    stop: watch::Sender<bool>,
    queue: Queue,
}

impl Daemon {
    /// Serves until a signal, or until there is nothing to do where that ends it.
    pub(super) async fn run(self, bound: Bound) -> Result<(), RunError> {
        let mut signals = Signals::new().map_err(RunError::Runtime)?;
        let may_end = self.exit_when_idle && matches!(self.config.role, Role::Nullclient | Role::Msp);
        let events = self.events.clone();
        let renewal = Renewal {
            root: self.root.clone(),
            config: Arc::clone(&self.config),
            acceptor: self.secrets.acceptor.clone(),
            events: self.events.clone(),
        };
        let mut running = self.start(bound)?;
        notify("READY=1");
        let ended = signals.end(&mut running, &renewal, may_end).await;
        notify("STOPPING=1");
        let reason = ended.as_ref().map_or_else(ToString::to_string, Clone::clone);
        events.emit(Event::Stopping { reason });
        running.stop().await;
        events.emit(Event::Stopped);
        ended.map(drop)
    }

    fn start(self, bound: Bound) -> Result<Running, RunError> {
        let listening = bound.names(&self.root, &self.config.paths);
        let addresses = self.addresses.clone();
        let (queue, dispatcher) = self.open_queue(addresses.clone())?;
        let (sockets, control) = sockets(bound).map_err(RunError::Runtime)?;
        let dns = Dns::open(&self.root).map_err(RunError::Resolver)?;
        let server = Server::start(self.parts(&queue, addresses, dns.clone()), sockets);
        let facts = Facts {
            role: self.config.role,
            hostname: self.hostname.to_string(),
            since: now(),
            listening: listening.clone(),
            confinement: self.confinement,
            privacy: self.config.privacy.clone(),
            queue: queue.clone(),
            server: server.handle(),
            events: self.events.clone(),
            acceptor: self.secrets.acceptor.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let events = self.events.clone();
        let delivery = self.deliver(dns, &queue, dispatcher, stopped);
        let control = tokio::spawn(serve_control(control, facts));
        events.emit(Event::Ready { listening });
        Ok(Running { server, control, delivery, stop, queue })
    }

    fn open_queue(&self, addresses: Vec<IpAddr>) -> Result<(Queue, Dispatcher), RunError> {
        let opened = Queue::open(&self.config, self.root.as_path(), self.router(addresses));
        let (queue, dispatcher, recovery) = opened
            .map_err(|source| RunError::Queue { path: self.root.path(&self.config.paths.spool), source })?;
        if recovery.torn > 0 {
            let torn = recovery.torn;
            self.events.warn(format!("queue: {torn} octets at its end were not committed, and are cut off"));
        }
        for unreadable in &recovery.unreadable {
            let Unreadable { file, offset, reason, .. } = unreadable;
            self.events
                .warn(format!("queue: {file} cannot be read at octet {offset}: {reason}; it stays there"));
        }
        self.tell_of_repeats(&recovery.under_way, recovery.went_down);
        Ok((queue, dispatcher))
    }

    /// Names what may arrive twice since the process before was killed, and counts it.
    fn tell_of_repeats(&self, under_way: &[UnderWay], went_down: bool) {
        for UnderWay { id, recipients } in under_way {
            for to in recipients {
                self.events.emit(Event::UnderWay { id: *id, to: to.clone() });
            }
        }
        let count: usize = under_way.iter().map(|one| one.recipients.len()).sum();
        let others = match went_down {
            true => " as far as it was on the disk when the machine went down",
            false => "",
        };
        if count > 0 || went_down {
            self.events.warn(format!(
                "queue: {count} recipients were being delivered to when mailstack was killed{others}: they may get \
                 a second copy"
            ));
        }
    }

    fn router(&self, addresses: Vec<IpAddr>) -> Route {
        router(self.config.rules.clone(), self.hostname.clone(), addresses)
    }

    fn parts(&self, queue: &Queue, addresses: Vec<IpAddr>, dns: Dns) -> Parts {
        Parts {
            config: Arc::clone(&self.config),
            root: self.root.clone(),
            hostname: self.hostname.clone(),
            addresses,
            dns,
            secrets: self.secrets.clone(),
            queue: queue.clone(),
            events: self.events.clone(),
        }
    }

    fn deliver(
        self,
        dns: Dns,
        queue: &Queue,
        dispatcher: Dispatcher,
        mut stopped: watch::Receiver<bool>,
    ) -> tokio::task::JoinHandle<()> {
        let mut remote = Remote::new(dns, self.hostname.clone());
        remote.trust(&self.secrets);
        remote.events = Some(self.events.clone());
        let context = delivery::Context {
            remote,
            users: Users::of(&self.root),
            root: self.root,
            config: self.config,
            hostname: self.hostname,
            helper: self.helper,
            restricted: self.restricted,
            events: self.events,
        };
        let stop = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        tokio::spawn(delivery::run(context, queue.clone(), dispatcher, stop))
    }
}

/// Where recipients go from a host of this name with these addresses.
pub fn router(rules: Rules, hostname: DomainName, addresses: Vec<IpAddr>) -> Route {
    Box::new(move |recipient| {
        let here = Here::new(&hostname, &addresses);
        Destination::from(&route_target(&rules, here, &recipient.address, &recipient.target))
    })
}

/// The sockets as the runtime wants them.
fn sockets(bound: Bound) -> io::Result<(Sockets, Option<UnixListener>)> {
    let network = bound.network.into_iter().map(|listener| {
        listener.set_nonblocking(true)?;
        TcpListener::from_std(listener)
    });
    let unix = |listener: std::os::unix::net::UnixListener| {
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    let network = network.collect::<io::Result<Vec<_>>>()?;
    let submission = bound.submission.map(unix).transpose()?;
    let sessions = bound.sessions.map(unix).transpose()?;
    Ok((Sockets { network, submission, sessions }, bound.control.map(unix).transpose()?))
}

async fn serve_control(listener: Option<UnixListener>, facts: Facts) {
    if let Some(listener) = listener {
        control::serve(listener, facts).await;
    }
}

/// The addresses of this host; without them only its names and the loopback addresses are known to be its own.
pub fn interfaces() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |storage: nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    interfaces.filter_map(|interface| interface.address.and_then(address)).collect()
}

fn now() -> Timestamp {
    Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0))
}

impl Running {
    /// Accepts nothing more, lets sessions and deliveries end within their time, and closes the queue.
    async fn stop(self) {
        let _ = timeout(GRACE, self.server.stop()).await;
        self.control.abort();
        let _ = self.stop.send(true);
        if !self.delivery.is_finished() {
            let _ = self.delivery.await;
        }
        // The last handle: the spool is closed, what it has is durable.
        drop(self.queue);
    }

    /// Whether nothing is under way and nothing waits.
    fn is_idle(&self) -> bool {
        self.server.handle().sessions() == 0 && self.queue.count() == 0
    }
}

/// The certificate as the configuration names it, taken in anew.
struct Renewal {
    root: Root,
    config: Arc<Config>,
    acceptor: Option<Acceptor>,
    events: Events,
}

impl Renewal {
    /// As far as the rights go that the daemon has kept; else the old one stays, and that is said.
    fn take_in(&self) {
        let Some(shown) = &self.acceptor else { return };
        match secrets::certificate(&self.root, &self.config, super::USER) {
            Ok(Some((renewed, _))) => {
                shown.renew(&renewed);
                self.events.emit(Event::CertificateRenewed { expires: shown.expires() });
            }
            Ok(None) => {}
            Err(error) => self.events.warn(format!(
                "the certificate is not taken in anew: {error}; `mailstack reload`, as root, hands it over whoever may \
                 read the key"
            )),
        }
    }
}

/// The signals that end the daemon; SIGHUP has a renewed certificate taken in.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for what ends the daemon, and returns what it was. Errors: [`RunError::DeliveryEnded`].
    async fn end(
        &mut self,
        running: &mut Running,
        renewal: &Renewal,
        may_end: bool,
    ) -> Result<String, RunError> {
        let mut tick = interval(IDLE_TICK);
        let mut idle = 0;
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok("SIGTERM".to_owned()),
                _ = self.interrupt.recv() => return Ok("SIGINT".to_owned()),
                _ = &mut running.delivery => return Err(RunError::DeliveryEnded),
                _ = self.hangup.recv() => renewal.take_in(),
                _ = tick.tick(), if may_end => {
                    idle = if running.is_idle() { idle + 1 } else { 0 };
                    if idle > IDLE_TICKS {
                        return Ok("nothing to do".to_owned());
                    }
                }
            }
        }
    }
}
