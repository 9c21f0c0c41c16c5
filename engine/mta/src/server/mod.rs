//! Where mail comes in: SMTP over TCP, SMTP over the submission socket, the drop directory.
//!
//! Owns: sockets, sessions and their time limits, and the way of a message into the queue. A 250 to its end is said
//! only when the queue has it durably. Uses the policy crate for every decision about an address. Must not know
//! where a message goes next.

use std::net::IpAddr;
use std::sync::Arc;

use mailstack_policy::DomainName;
use mailstack_runtime::Config;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use crate::dns::Dns;
use crate::event::Events;
use crate::host::{Root, Users};
use crate::queue::Queue;
use crate::secrets::Secrets;
use crate::submission::drop;
use crate::tls::Acceptor;

use rates::Rates;

mod connections;
mod decide;
mod dropped;
mod gate;
mod handed;
mod header;
mod listen;
mod login;
mod message;
mod naming;
mod rates;
mod session;
mod verify;
mod words;

use login::Authority;

pub(crate) use connections::Connections;
pub(crate) use header::{Collected, Collector, survey};
pub(crate) use words::{header_too_large, too_many_hops};

/// What the server needs to know and to use.
pub struct Parts {
    /// The configuration.
    pub config: Arc<Config>,
    /// The prefix of its paths.
    pub root: Root,
    /// The host's own name, `$j`.
    pub hostname: DomainName,
    /// The addresses of the host's interfaces.
    pub addresses: Vec<IpAddr>,
    /// Who says what the name of a client is.
    pub dns: Dns,
    /// The certificate, and who may authenticate.
    pub secrets: Secrets,
    /// Where messages go.
    pub queue: Queue,
    /// Where is told what happens.
    pub events: Events,
}

/// What every session uses.
struct Shared {
    config: Arc<Config>,
    root: Root,
    hostname: DomainName,
    addresses: Vec<IpAddr>,
    users: Users,
    dns: Dns,
    acceptor: Option<Acceptor>,
    authority: Option<Arc<Authority>>,
    queue: Queue,
    events: Events,
    network: Arc<Connections<IpAddr>>,
    local: Arc<Connections<u32>>,
    rates: Rates<IpAddr>,
    scan: Notify,
    stop: watch::Sender<bool>,
}

/// The listening sockets.
#[derive(Debug, Default)]
pub struct Sockets {
    /// SMTP over TCP.
    pub network: Vec<TcpListener>,
    /// The submission socket.
    pub submission: Option<UnixListener>,
    /// Where connections of the network are handed over that somebody else accepted.
    pub sessions: Option<UnixListener>,
}

/// The running server.
pub struct Server {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

/// Asks a running server for things. Clones ask the same server.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Server {
    /// Serves the sockets and the drop directory, as tasks of the runtime that this is called in.
    pub fn start(parts: Parts, sockets: Sockets) -> Self {
        let shared = Arc::new(Shared::new(parts));
        let mut tasks = JoinSet::new();
        for listener in sockets.network {
            tasks.spawn(listen::network(Arc::clone(&shared), listener));
        }
        if let Some(listener) = sockets.submission {
            tasks.spawn(listen::submission(Arc::clone(&shared), listener));
        }
        if let Some(listener) = sockets.sessions {
            tasks.spawn(handed::sessions(Arc::clone(&shared), listener));
        }
        tasks.spawn(dropped::watch(Arc::clone(&shared)));
        Self { shared, tasks }
    }

    /// The handle for others.
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Accepts nothing more and waits for the sessions: one between messages is closed with 421, one within a
    /// message goes on. Whoever calls this bounds the wait.
    pub async fn stop(mut self) {
        let _ = self.shared.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        self.shared.network.none().await;
        self.shared.local.none().await;
    }
}

impl Handle {
    /// Sessions at this moment.
    pub fn sessions(&self) -> u32 {
        self.shared.network.count() + self.shared.local.count()
    }

    /// What lies in the drop directory: files that wait, files that were refused.
    pub fn dropped(&self) -> (u64, u64) {
        let directory = self.shared.root.path(&self.shared.config.paths.drop);
        let count = |directory: &std::path::Path| drop::count(directory).unwrap_or(0);
        (count(&directory), count(&directory.join(drop::ASIDE)))
    }

    /// Looks into the drop directory now.
    pub fn scan_drop(&self) {
        self.shared.scan.notify_one();
    }
}

impl Shared {
    fn new(parts: Parts) -> Self {
        let limits = &parts.config.limits;
        let Secrets { acceptor, users, .. } = parts.secrets;
        let authority = parts.config.auth.as_ref().map(|auth| Arc::new(Authority::new(auth, users)));
        Self {
            acceptor,
            authority,
            // Who may have how many is decided at the gate: relay networks have no limit.
            network: Connections::new(limits.connections, u32::MAX),
            rates: Rates::new(),
            // One user leaves room for another.
            local: Connections::new(
                limits.connections,
                limits.connections_per_client.min(limits.connections.div_ceil(2)),
            ),
            users: Users::of(&parts.root),
            scan: Notify::new(),
            stop: watch::Sender::new(false),
            config: parts.config,
            root: parts.root,
            hostname: parts.hostname,
            addresses: parts.addresses,
            dns: parts.dns,
            queue: parts.queue,
            events: parts.events,
        }
    }
}
