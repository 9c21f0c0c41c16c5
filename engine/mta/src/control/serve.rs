//! The server of the control socket.

use std::sync::Arc;
use std::time::Duration;

use mailstack_runtime::Role;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Entry, MAX_REQUEST, Reply, Request, Status};
use crate::message::{QueueId, Timestamp};
use crate::queue::Queue;
use crate::server::Handle;

/// Connections at once; more wait.
const CONNECTIONS: usize = 16;
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
    /// Its queue.
    pub queue: Queue,
    /// Its server.
    pub server: Handle,
}

/// Answers on the socket until the task is dropped.
pub async fn serve(listener: UnixListener, facts: Facts) {
    let facts = Arc::new(facts);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Err(_) => tokio::time::sleep(EXHAUSTED).await,
            Ok((stream, _)) => {
                let facts = Arc::clone(&facts);
                tokio::spawn(async move {
                    // A client that hangs up or falls silent has lost interest.
                    let _ = talk(stream, &facts).await;
                    drop(permit);
                });
            }
        }
    }
}

async fn talk(stream: UnixStream, facts: &Facts) -> std::io::Result<()> {
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
            Ok(request) => answer(request, facts, &mut write).await?,
            Err(e) => say(&mut write, &Reply::Error { text: format!("no request: {e}") }).await?,
        }
    }
}

async fn answer(
    request: Request,
    facts: &Facts,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    let reply = match request {
        Request::Status => Reply::Status(status(facts)),
        Request::Flush => {
            facts.queue.flush();
            Reply::Done { count: 0 }
        }
        Request::ScanDrop => {
            facts.server.scan_drop();
            Reply::Done { count: 0 }
        }
        Request::QueueList { after, limit } => return list(facts, after, limit, write).await,
    };
    say(write, &reply).await
}

fn status(facts: &Facts) -> Status {
    Status {
        pid: std::process::id(),
        role: facts.role,
        hostname: facts.hostname.clone(),
        since: facts.since,
        listening: facts.listening.clone(),
        sessions: facts.server.sessions(),
        queued: facts.queue.count() as u64,
    }
}

async fn list(
    facts: &Facts,
    mut after: Option<QueueId>,
    limit: Option<u64>,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    let limit = limit.unwrap_or(u64::MAX);
    let mut count = 0;
    while count < limit {
        let page = usize::try_from(limit - count).unwrap_or(PAGE).min(PAGE);
        let listed = match facts.queue.list(after, page).await {
            Ok(listed) => listed,
            Err(e) => return say(write, &Reply::Error { text: e.to_string() }).await,
        };
        let Some(last) = listed.last().map(|last| last.id) else { break };
        after = Some(last);
        count += listed.len() as u64;
        let lines = listed.into_iter().map(|listed| line(&Reply::Message(Entry::from(listed))));
        send(write, &lines.collect::<Vec<_>>().concat()).await?;
    }
    say(write, &Reply::Done { count }).await
}

fn line(reply: &Reply) -> Vec<u8> {
    let mut line = serde_json::to_vec(reply).unwrap_or_default();
    line.push(b'\n');
    line
}

async fn say(write: &mut (impl AsyncWriteExt + Unpin), reply: &Reply) -> std::io::Result<()> {
    send(write, &line(reply)).await
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), octets: &[u8]) -> std::io::Result<()> {
    timeout(SILENCE, write.write_all(octets)).await?
}
