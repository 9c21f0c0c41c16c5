//! The server of the control socket.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mailstack_runtime::{Privacy, Role};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, timeout};

use super::{Entry, FLUSH_INTERVAL, MAX_REQUEST, Operation, Reply, Request, Status, operate};
use crate::event::{Event, Events};
use crate::message::{QueueId, Timestamp};
use crate::metrics::label;
use crate::queue::{Listed, Queue, Selector};
use crate::run::Confinement;
use crate::secrets::Certificate;
use crate::server::{Connections, Handle};
use crate::tls::Acceptor;

/// Connections at once; more are closed.
const CONNECTIONS: u32 = 48;
/// Connections at once of one user; root and the MTA's own user have no limit but [`CONNECTIONS`].
const PER_USER: u32 = 4;
/// Connections that are kept for root and the MTA's own user.
const KEPT: u32 = 16;
/// How long a client may be silent.
const SILENCE: Duration = Duration::from_secs(30);
/// Messages fetched from the queue at once.
const PAGE: usize = 256;
/// The wait before accepting again when the host is out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(200);

/// What a running MTA knows of itself.
#[derive(Clone)]
pub struct Facts {
    /// Its role.
    pub role: Role,
    /// Its own name.
    pub hostname: String,
    /// When it was ready.
    pub since: Timestamp,
    /// Where it listens.
    pub listening: Vec<String>,
    /// What the kernel keeps it from.
    pub confinement: Confinement,
    /// What others than root and its own user may not do.
    pub privacy: BTreeSet<Privacy>,
    /// Its queue.
    pub queue: Queue,
    /// Its server.
    pub server: Handle,
    /// Who is told of what operators do, and who counts.
    pub events: Events,
    /// What shows its certificate to clients, where it has one.
    pub acceptor: Option<Acceptor>,
}

impl Facts {
    fn restricts(&self, flag: Privacy) -> bool {
        self.privacy.contains(&flag)
    }
}

/// Answers on the socket until the task is dropped.
pub async fn serve(listener: UnixListener, facts: Facts) {
    let facts = Arc::new(facts);
    let desk = Arc::new(Desk::new(facts));
    loop {
        match listener.accept().await {
            Err(_) => tokio::time::sleep(EXHAUSTED).await,
            Ok((stream, _)) => admit(&desk, stream),
        }
    }
}

/// Where the requests are answered.
struct Desk {
    facts: Arc<Facts>,
    operators: Arc<Connections<u32>>,
    others: Arc<Connections<u32>>,
    flushed: Mutex<Option<Instant>>,
}

impl Desk {
    fn new(facts: Arc<Facts>) -> Self {
        Self {
            facts,
            operators: Connections::new(KEPT, KEPT),
            others: Connections::new(CONNECTIONS - KEPT, PER_USER),
            flushed: Mutex::new(None),
        }
    }

    /// Flushes; others than operators, not again before its time. Errors: the reply that says so.
    fn flush(&self, asker: Asker) -> Reply {
        match self.allow_flush(asker) {
            Ok(()) => {
                self.facts.queue.flush();
                Reply::Done { count: 0 }
            }
            Err(text) => Reply::Error { text },
        }
    }

    /// Whether the queue may be run now; that it is, is remembered. Errors: why not.
    fn allow_flush(&self, asker: Asker) -> Result<(), String> {
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.facts.restricts(Privacy::Restrictqrun) && !asker.is_operator() {
            return Err("You do not have permission to process the queue".to_owned());
        }
        if !asker.may_flush(flushed.map(|at| at.elapsed())) {
            let seconds = FLUSH_INTERVAL.as_secs();
            return Err(format!("the queue was run less than {seconds} seconds ago"));
        }
        *flushed = Some(Instant::now());
        Ok(())
    }

    /// Shows another certificate from here on.
    fn renew(&self, asker: Asker, renewed: &Certificate) -> Reply {
        let refuse = |text: String| Reply::Error { text };
        let Some(shown) = &self.facts.acceptor else {
            return refuse("no certificate is configured".to_owned());
        };
        if !asker.is_operator() {
            return refuse("only root and the MTA's own user may change the certificate".to_owned());
        }
        match Acceptor::new(renewed.certificate.as_bytes(), renewed.key.as_bytes()) {
            Ok(acceptor) => {
                shown.renew(&acceptor);
                self.facts.events.emit(Event::CertificateRenewed { expires: shown.expires() });
                Reply::Done { count: 1 }
            }
            Err(fault) => refuse(fault.to_string()),
        }
    }

    /// Whether somebody may have this done. Errors: why not.
    fn allow(&self, asker: Asker, operation: &Operation) -> Result<(), String> {
        match operation {
            Operation::Flush => self.allow_flush(asker),
            _ if asker.is_operator() => Ok(()),
            _ => Err("only root and the MTA's own user may change the queue".to_owned()),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asker(u32);

impl Asker {
    /// The user.
    pub(super) fn uid(self) -> u32 {
        self.0
    }

    /// Root, or the user that the MTA runs as.
    fn is_operator(self) -> bool {
        self.0 == 0 || self.0 == nix::unistd::geteuid().as_raw()
    }

    /// Whether the queue may be flushed, which was last done so long ago.
    fn may_flush(self, ago: Option<Duration>) -> bool {
        self.is_operator() || ago.is_none_or(|ago| ago >= FLUSH_INTERVAL)
    }

    /// Whether a message is the asker's to see.
    pub(super) fn may_see(self, message: &Listed) -> bool {
        self.is_operator() || message.uid == Some(self.0)
    }
}

fn admit(desk: &Arc<Desk>, stream: UnixStream) {
    let Ok(credentials) = stream.peer_cred() else { return };
    let asker = Asker(credentials.uid());
    let connections = if asker.is_operator() { &desk.operators } else { &desk.others };
    let Some(slot) = connections.admit(asker.0) else { return };
    let desk = Arc::clone(desk);
    tokio::spawn(async move {
        // A client that hangs up or falls silent has lost interest.
        let _ = talk(stream, &desk, asker).await;
        drop(slot);
    });
}

async fn talk(stream: UnixStream, desk: &Desk, asker: Asker) -> std::io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut read).take(MAX_REQUEST);
        let count = timeout(SILENCE, limited.read_until(b'\n', &mut line)).await??;
        if count == 0 || !line.ends_with(b"\n") {
            return Ok(());
        }
        match serde_json::from_slice(&line) {
            Ok(request) => answer(request, desk, asker, &mut write).await?,
            Err(e) => say(&mut write, &Reply::Error { text: format!("no request: {e}") }).await?,
        }
    }
}

async fn answer(
    request: Request,
    desk: &Desk,
    asker: Asker,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    let reply = match request {
        Request::Status => Reply::Status(status(&desk.facts, asker).await),
        Request::Renew(certificate) => desk.renew(asker, &certificate),
        Request::Metrics => Reply::Metrics { text: metrics(&desk.facts).await },
        Request::Flush => desk.flush(asker),
        Request::ScanDrop => {
            desk.facts.server.scan_drop();
            Reply::Done { count: 0 }
        }
        Request::QueueList { after, limit, select } => {
            return list(&desk.facts, asker, after, limit, &select, write).await;
        }
        Request::QueueShow { id, body } => return operate::show(&desk.facts, asker, id, body, write).await,
        Request::QueueOperate { operation, select, dry_run } => match desk.allow(asker, &operation) {
            Ok(()) => {
                let facts = Arc::clone(&desk.facts);
                return operate::operate(facts, asker, operation, select, dry_run, write).await;
            }
            Err(text) => Reply::Error { text },
        },
        Request::QueueVerify if asker.is_operator() => return verify(&desk.facts, write).await,
        Request::QueueVerify => {
            Reply::Error { text: "only root and the MTA's own user may read all of the queue".to_owned() }
        }
    };
    say(write, &reply).await
}

async fn status(facts: &Facts, asker: Asker) -> Status {
    let facts = facts.clone();
    let troubles = if asker.is_operator() { facts.queue.troubles() } else { Vec::new() };
    let (server, queue) = (facts.server.clone(), facts.queue.clone());
    // A directory of any size is not read in the runtime's own time.
    let looked = move || (server.dropped(), queue.free(), queue.census());
    let looked = tokio::task::spawn_blocking(looked).await.unwrap_or_default();
    let ((dropped, refused), free, census) = looked;
    Status {
        pid: std::process::id(),
        role: facts.role,
        hostname: facts.hostname.clone(),
        since: facts.since,
        listening: facts.listening.clone(),
        confinement: Some(facts.confinement),
        sessions: facts.server.sessions(),
        queued: facts.queue.count() as u64,
        damaged: facts.queue.unreadable().len() as u64,
        dropped,
        refused,
        oldest: census.oldest,
        held: census.held,
        free,
        certificate_expires: facts.acceptor.as_ref().and_then(Acceptor::expires),
        troubles,
    }
}

async fn metrics(facts: &Facts) -> String {
    let facts = facts.clone();
    // A large queue and a directory of any size are not gone through in the runtime's own time.
    let text = move || {
        let (queue, (dropped, refused)) = (&facts.queue, facts.server.dropped());
        let census = queue.census();
        let age = census.oldest.map_or(0, |oldest| queue.now().0.saturating_sub(oldest.0) / 1000);
        let plain = |name, value: u64| (name, String::new(), value as f64);
        let state = |name, state, value: u64| (name, label("state", state), value as f64);
        let mut now = vec![
            ("mailstack_build_info", label("version", env!("CARGO_PKG_VERSION")), 1.0),
            plain("mailstack_start_time_seconds", facts.since.0 / 1000),
            plain("mailstack_queue_messages", queue.count() as u64),
            state("mailstack_queue_recipients", "waiting", census.waiting),
            state("mailstack_queue_recipients", "active", census.active),
            state("mailstack_queue_recipients", "held", census.held),
            plain("mailstack_queue_oldest_seconds", age),
            plain("mailstack_queue_damaged", queue.unreadable().len() as u64),
            state("mailstack_drop_files", "waiting", dropped),
            state("mailstack_drop_files", "refused", refused),
            plain("mailstack_sessions", u64::from(facts.server.sessions())),
        ];
        now.extend(queue.free().map(|free| plain("mailstack_spool_free_bytes", free)));
        let expires = facts.acceptor.as_ref().and_then(Acceptor::expires);
        now.extend(expires.map(|at| plain("mailstack_certificate_expiry_seconds", at)));
        facts.events.metrics().text(&now, queue.syncs())
    };
    tokio::task::spawn_blocking(text).await.unwrap_or_default()
}

async fn list(
    facts: &Facts,
    asker: Asker,
    mut after: Option<QueueId>,
    limit: Option<u64>,
    select: &Selector,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    if after.is_none() && asker.is_operator() {
        let damaged = facts.queue.unreadable().into_iter().map(|found| line(&Reply::Damaged(found.into())));
        send(write, &damaged.collect::<Vec<_>>().concat()).await?;
    }
    let limit = limit.unwrap_or(u64::MAX);
    let mut count = 0;
    while count < limit {
        // Others than operators may see few of them, and few may be meant.
        let page = match asker.is_operator() && select.is_everything() {
            true => PAGE.min(usize::try_from(limit - count).unwrap_or(PAGE)),
            false => PAGE,
        };
        let mut listed = match facts.queue.list(after, page).await {
            Ok(listed) => listed,
            Err(e) => return say(write, &Reply::Error { text: e.to_string() }).await,
        };
        let Some(last) = listed.last().map(|last| last.id) else { break };
        after = Some(last);
        let now = facts.queue.now();
        listed.retain(|message| {
            let may_see = !facts.restricts(Privacy::Restrictmailq) || asker.may_see(message);
            may_see && select.choose(now, message).is_some()
        });
        listed.truncate(usize::try_from(limit - count).unwrap_or(PAGE));
        count += listed.len() as u64;
        if listed.is_empty() {
            say(write, &Reply::Busy).await?;
        }
        let lines = listed.into_iter().map(|listed| line(&Reply::Message(Entry::from(listed))));
        send(write, &lines.collect::<Vec<_>>().concat()).await?;
    }
    say(write, &Reply::Done { count }).await
}

/// Reads all of the queue as it is now; what was found to be damaged before is told first.
async fn verify(facts: &Facts, write: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    let mut known = facts.queue.unreadable();
    let damaged = known.iter().map(|found| line(&Reply::Damaged(found.clone().into())));
    send(write, &damaged.collect::<Vec<_>>().concat()).await?;
    let (mut after, mut count) = (None, 0);
    loop {
        let found = match facts.queue.verify(after, PAGE).await {
            Ok(found) => found,
            Err(e) => return say(write, &Reply::Error { text: e.to_string() }).await,
        };
        let Some(last) = found.last else { break };
        after = Some(last);
        count += found.messages;
        for unreadable in found.unreadable {
            if !known.iter().any(|known| known.id == unreadable.id) {
                say(write, &Reply::Damaged(unreadable.clone().into())).await?;
                known.push(unreadable);
            }
        }
        say(write, &Reply::Verified { messages: found.messages, octets: found.octets }).await?;
    }
    say(write, &Reply::Done { count }).await
}

pub(super) fn line(reply: &Reply) -> Vec<u8> {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

pub(super) async fn say(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> std::io::Result<()> {
    send(write, &line(reply)).await
}

pub(super) async fn send(write: &mut (impl AsyncWriteExt + Unpin), octets: &[u8]) -> std::io::Result<()> {
    timeout(SILENCE, write.write_all(octets)).await?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_sees_what_the_user_handed_in() {
        let me = nix::unistd::geteuid().as_raw();
        let other = me.wrapping_add(1).max(1000);
        let message = |uid| Listed {
            id: QueueId(1),
            sender: mailstack_policy::ReversePath::Null,
            size: 1,
            arrived: Timestamp(0),
            held: false,
            held_because: None,
            is_importing: false,
            uid,
            recipients: Vec::new(),
        };
        for (asker, uid, sees) in [
            (0, None, true),
            (me, Some(other), true),
            (other, Some(other), true),
            (other, Some(other + 1), false),
            (other, None, false),
        ] {
            assert_eq!(Asker(asker).may_see(&message(uid)), sees, "{asker} {uid:?}");
        }
    }

    #[test]
    fn a_user_flushes_once_in_a_while() {
        let other = Asker(nix::unistd::geteuid().as_raw().wrapping_add(1).max(1000));
        let soon = Some(FLUSH_INTERVAL - Duration::from_millis(1));
        assert!(other.may_flush(None) && other.may_flush(Some(FLUSH_INTERVAL)) && !other.may_flush(soon));
        assert!(Asker(0).may_flush(soon));
    }
}
