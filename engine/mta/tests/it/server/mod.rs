//! The server against real sockets and a real spool.
#![expect(clippy::expect_used, reason = "what a test cannot set up fails it")]

mod attacks;
mod checks;
mod daemon;
mod drop_directory;
mod local;
mod network;
mod slow;
mod tls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mailstack_mta::dns::Dns;
use mailstack_mta::event::{Event, Events, Log};
use mailstack_mta::host::{Root, unix};
use mailstack_mta::message::Envelope;
use mailstack_mta::queue::{Destination, Dispatcher, Queue};
use mailstack_mta::secrets::Secrets;
use mailstack_mta::server::{Parts, Server, Sockets};
use mailstack_policy::{Here, route_target};
use mailstack_runtime::{Config, ListenerKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::broadcast;
use tokio::time::timeout;

/// The longest that anything here may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// A gateway for `corp.example` that nobody may relay through; `alice` and `root` live here, `staff` is an alias.
const CONFIG: &str = r#"
version = 1
role = "gateway"
hostname = "gw.corp.example"
listeners = []

[paths]
spool = "/var/spool/mailstack"
submission_socket = "/run/mailstack/submit.sock"
drop = "/var/spool/mailstack-drop"
control_socket = "/run/mailstack/control.sock"
pid_file = "/run/mailstack/pid"

[limits]
message_size = 200000
recipients = 3
header_size = 2000
hops = 5
connections = 10
connections_per_client = 3

[queue]
first_retry = 300
longest_retry = 3600
lifetime = 432000
connections_per_destination = 20

[mailboxes]
format = "mbox"
path = "/var/mail"

[rules]
qualify = "own_host"
local_mailboxes = true
local_domains = ["corp.example"]
relay_domains = ["partner.example"]
relay_networks = []
mail_hosts = []
mailertable = {}

[rules.aliases]
staff = [{ address = "alice" }, { address = "bob@far.example" }]
"#;

/// A running server, its queue, and what it told.
struct World {
    root: Root,
    config: Arc<Config>,
    address: SocketAddr,
    server: Server,
    queue: Queue,
    dispatcher: Dispatcher,
    events: broadcast::Receiver<Event>,
    _directory: Option<TempDir>,
}

/// A tree with users, the directories of the MTA and no mail.
fn tree(below: &Path) -> Root {
    let root = Root::new(below);
    for directory in ["etc", "var/spool/mailstack", "var/spool/mailstack-drop", "run/mailstack"] {
        std::fs::create_dir_all(root.path(directory)).unwrap();
    }
    let me = nix::unistd::geteuid();
    let passwd = format!(
        "root:x:0:0:root:/root:/bin/sh\nalice:x:{}:1000:Alice Liddell:/home/alice:\n",
        alice(me.as_raw())
    );
    std::fs::write(root.path("etc/passwd"), passwd).unwrap();
    std::fs::write(root.path("etc/hosts"), "127.0.0.1 client.example\n").unwrap();
    std::fs::write(root.path("etc/resolv.conf"), "").unwrap();
    root
}

fn alice(me: u32) -> u32 {
    if me == 0 { 1000 } else { me }
}

fn config() -> Config {
    toml::from_str(CONFIG).unwrap()
}

impl World {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = tree(directory.path());
        let mut world = Self::start_in(root, change).await;
        world._directory = Some(directory);
        world
    }

    async fn start_in(root: Root, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(root, ListenerKind::Smtp, change).await
    }

    /// With a listener of this kind.
    async fn start_at(root: Root, kind: ListenerKind, change: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut config = config();
        config.listener_kinds.insert(address, kind);
        change(&mut config);
        let config = Arc::new(config);
        let (queue, dispatcher) = open_queue(&config, &root);
        let submission = unix::bind(&root.path(&config.paths.submission_socket), 0o666).unwrap();
        submission.set_nonblocking(true).unwrap();
        let submission = Some(UnixListener::from_std(submission).unwrap());
        let events = Events::new(Log::Off);
        let received = events.subscribe();
        let parts = Parts {
            config: Arc::clone(&config),
            root: root.clone(),
            hostname: config.hostname.clone().unwrap(),
            addresses: Vec::new(),
            dns: Dns::open(&root).unwrap(),
            secrets: Secrets::read(&root, &config, "mailstack").unwrap(),
            queue: queue.clone(),
            events,
        };
        let sockets = Sockets { network: vec![listener], submission, sessions: None };
        let server = Server::start(parts, sockets);
        Self { root, config, address, server, queue, dispatcher, events: received, _directory: None }
    }

    fn drop_directory(&self) -> PathBuf {
        self.root.path(&self.config.paths.drop)
    }

    /// Waits for an event that `pick` wants.
    async fn event<T>(&mut self, pick: impl Fn(&Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(picked) = pick(&event) {
                    return picked;
                }
            }
        };
        timeout(DEADLINE, wait).await.expect("no such event")
    }

    /// The next message that is due, whole.
    async fn next_message(&mut self) -> (Arc<Envelope>, String) {
        let job = timeout(DEADLINE, self.dispatcher.next()).await.expect("nothing is due").unwrap();
        let octets = job.body.beginning(usize::MAX).await.unwrap();
        (Arc::clone(&job.envelope), String::from_utf8(octets).unwrap())
    }

    async fn queued(&self) -> usize {
        self.queue.list(None, 100).await.unwrap().len()
    }

    /// Says EHLO, then everything at once; returns the replies to the latter.
    async fn pipelined(&self, batch: &[u8]) -> String {
        let mut client = connect(self.address).await;
        client.write_all(b"EHLO client.example\r\n").await.unwrap();
        read_until(&mut client, "\r\n250 ").await;
        client.write_all(batch).await.unwrap();
        client.shutdown().await.unwrap();
        let mut replies = String::new();
        timeout(DEADLINE, client.read_to_string(&mut replies)).await.expect("no end").unwrap();
        replies
    }
}

fn open_queue(config: &Arc<Config>, root: &Root) -> (Queue, Dispatcher) {
    let rules = Arc::clone(config);
    let router = move |recipient: &mailstack_mta::message::Recipient| {
        let hostname = rules.hostname.as_ref().unwrap();
        let (address, target) = (&recipient.address, &recipient.target);
        Destination::from(&route_target(&rules.rules, Here::named(hostname), address, target))
    };
    let (queue, dispatcher, _) = Queue::open(config, root.as_path(), Box::new(router)).unwrap();
    (queue, dispatcher)
}

/// Connects and reads the greeting.
async fn connect(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).await.unwrap();
    read_until(&mut client, " ").await;
    client
}

/// Reads until what was read has `mark` in its last line, or the end; returns all of it.
async fn read_until(client: &mut TcpStream, mark: &str) -> String {
    let mut text = String::new();
    let read = async {
        while !(text.contains(mark) && text.ends_with("\r\n")) {
            let mut buffer = [0; 4096];
            let read = client.read(&mut buffer).await.unwrap();
            if read == 0 {
                break;
            }
            text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
        }
    };
    timeout(DEADLINE, read).await.expect("no answer");
    text
}

/// The codes of replies, one per reply.
fn codes(replies: &str) -> Vec<String> {
    let last = |line: &&str| line.as_bytes().get(3) == Some(&b' ');
    let code = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    replies.lines().filter(last).map(code).collect()
}
