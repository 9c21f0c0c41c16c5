//! Delivery into the mailboxes of a server that speaks LMTP (RFC 2033): Dovecot, Cyrus.
//!
//! Each recipient is a transaction of its own, so that a session that breaks off puts off one of them alone. What the
//! server answered with 250 it has; where the answer is lost it may get the message again, as any next hop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use mailstack_runtime::{MailboxFormat, Mailboxes};
use mailstack_smtp::data::Stuffer;
use mailstack_smtp::reply::{Parser, Reply};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Facts;
use crate::delivery::Body;
use crate::delivery::helper::Failure;
use crate::host::Root;

/// How long a server may take to let somebody in, and to answer a command.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may take to answer the end of a message, which is when it writes it (RFC 5321 4.5.3.2.6).
const DELIVERY: Duration = Duration::from_secs(600);
/// Octets of a reply.
const MAX_REPLY: usize = 64 * 1024;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// On a Unix socket.
    Unix(PathBuf),
    /// On an address.
    Tcp(SocketAddr),
}

impl Server {
    /// The server that these mailboxes are of. None: they are of another form.
    pub fn of(mailboxes: &Mailboxes, root: &Root) -> Option<Self> {
        if mailboxes.format != MailboxFormat::Lmtp {
            return None;
        }
        let written = mailboxes.path.to_string_lossy();
        let parts = written.strip_prefix('[').and_then(|text| text.split_once("]:"));
        let address =
            parts.and_then(|(ip, port)| Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)));
        Some(address.map_or_else(|| Server::Unix(root.path(&mailboxes.path)), Server::Tcp))
    }

    /// Delivers a message to one recipient. Returns where it is, with what the server said.
    pub async fn deliver(
        &self,
        hostname: &str,
        user: &str,
        facts: &Facts,
        body: &mut impl Body,
    ) -> Result<String, Failure> {
        let delivered = match self {
            Server::Unix(path) => match timeout(PATIENCE, UnixStream::connect(path)).await {
                Ok(Ok(stream)) => Session::new(stream).deliver(hostname, user, facts, body).await,
                Ok(Err(error)) => Err(Broken::Io(error)),
                Err(_) => Err(Broken::Silent),
            },
            Server::Tcp(address) => match timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // What comes last in a session is small.
                    let _ = stream.set_nodelay(true);
                    Session::new(stream).deliver(hostname, user, facts, body).await
                }
                Ok(Err(error)) => Err(Broken::Io(error)),
                Err(_) => Err(Broken::Silent),
            },
        };
        delivered.map(|reply| format!("{self}: {}", reply.text())).map_err(|broken| self.failure(&broken))
    }

    fn failure(&self, broken: &Broken) -> Failure {
        let failure = |status: &str, text: String| Failure { status: status.to_owned(), text };
        match broken {
            Broken::Io(error) => failure("4.4.1", format!("cannot talk to {self}: {error}")),
            Broken::Silent => failure("4.4.2", format!("{self} does not answer")),
            Broken::Nonsense => failure("4.5.0", format!("{self} speaks no LMTP")),
            Broken::Refused(command, reply) => {
                let class = if reply.is_permanent() { 5 } else { 4 };
                // A status of another class than the code's says nothing that can be trusted.
                let status = reply.enhanced().filter(|status| status.0 == class);
                let status = status.map_or_else(|| format!("{class}.0.0"), |status| status.to_string());
                let text = reply.text();
                failure(&status, format!("{self} answered {command}: {} {text}", reply.code()))
            }
            Broken::Unread(error) => failure("4.3.0", format!("the message could not be read: {error}")),
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Server::Unix(path) => write!(f, "lmtp {}", path.display()),
            Server::Tcp(address) => write!(f, "lmtp {address}"),
        }
    }
}

/// How a session ended without the message being delivered.
enum Broken {
    Io(io::Error),
    Silent,
    Nonsense,
    Refused(&'static str, Reply),
    /// Of this host's own message.
    Unread(io::Error),
}

struct Session<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    fn new(stream: S) -> Self {
        Self { stream, read: Vec::new() }
    }

    async fn deliver(
        mut self,
        hostname: &str,
        user: &str,
        facts: &Facts,
        body: &mut impl Body,
    ) -> Result<Reply, Broken> {
        self.reply("the connection", PATIENCE).await?;
        self.command("LHLO", &format!("LHLO {hostname}\r\n")).await?;
        self.command("MAIL", &format!("MAIL FROM:<{}>\r\n", facts.sender)).await?;
        self.command("RCPT", &format!("RCPT TO:<{user}>\r\n")).await?;
        self.say(b"DATA\r\n").await?;
        let go_on = self.next(PATIENCE).await?;
        if !go_on.is_intermediate() {
            return Err(Broken::Refused("DATA", go_on));
        }
        self.message(facts, body).await?;
        // RFC 2033 4.2: one reply for each recipient, of which there is one.
        let delivered = self.reply("the message", DELIVERY).await?;
        let _ = self.say(b"QUIT\r\n").await;
        Ok(delivered)
    }

    /// The message. `Delivered-To:` goes in front, by which one that comes back is known; `Return-Path:` is the server's
    /// to write, who makes the final delivery (RFC 5321 4.4).
    async fn message(&mut self, facts: &Facts, body: &mut impl Body) -> Result<(), Broken> {
        let trace = format!("Delivered-To: {}\r\n", facts.delivered_to);
        let (mut stuffer, mut out) = (Stuffer::new(), Vec::new());
        stuffer.push(trace.as_bytes(), &mut out);
        while let Some(chunk) = body.chunk().await.map_err(Broken::Unread)? {
            stuffer.push(&chunk, &mut out);
            self.say(&out).await?;
            out.clear();
        }
        stuffer.finish(&mut out);
        self.say(&out).await
    }

    async fn command(&mut self, name: &'static str, line: &str) -> Result<Reply, Broken> {
        self.say(line.as_bytes()).await?;
        self.reply(name, PATIENCE).await
    }

    async fn say(&mut self, octets: &[u8]) -> Result<(), Broken> {
        let written = timeout(PATIENCE, self.stream.write_all(octets)).await;
        written.map_err(|_| Broken::Silent)?.map_err(Broken::Io)
    }

    /// A reply that is a 2xx.
    async fn reply(&mut self, to: &'static str, patience: Duration) -> Result<Reply, Broken> {
        let reply = self.next(patience).await?;
        if reply.is_positive() { Ok(reply) } else { Err(Broken::Refused(to, reply)) }
    }

    async fn next(&mut self, patience: Duration) -> Result<Reply, Broken> {
        let mut parser = Parser::default();
        timeout(patience, async {
            let mut at = 0;
            loop {
                let (taken, reply) = parser.parse(&self.read[at..]).map_err(|_| Broken::Nonsense)?;
                at += taken;
                if let Some(reply) = reply {
                    self.read.drain(..at);
                    return Ok(reply);
                }
                if self.read.len() > MAX_REPLY {
                    return Err(Broken::Nonsense);
                }
                let read = self.stream.read_buf(&mut self.read).await.map_err(Broken::Io)?;
                if read == 0 {
                    return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into()));
                }
            }
        })
        .await
        .map_err(|_| Broken::Silent)?
    }
}
