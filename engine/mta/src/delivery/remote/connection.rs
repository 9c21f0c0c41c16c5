//! One connection to a next hop: the driver of the client's session over TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mailstack_runtime::TlsPolicy;
use mailstack_smtp::client::{
    Action, CannotBegin, Closed, Hello, Login, Outcome, Session, Stage, Tls, Transaction,
};
use mailstack_smtp::data::Stuffer;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::chunks::Chunker;
use super::fold::Folder;
use super::policy::Terms;
use crate::bounce::Peer;
use crate::delivery::Body;
use crate::tls::{Channel, Connector, Stream, TlsFault, Trust};

/// Octets of the body written at once.
const WRITE: usize = 64 * 1024;
/// Octets read at once.
const READ: usize = 4096;

/// How long a peer is waited for (RFC 5321 4.5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until the connection is made; short, since there may be other addresses.
    pub connect: Duration,
    /// The greeting.
    pub greeting: Duration,
    /// EHLO, MAIL, RCPT and RSET.
    pub command: Duration,
    /// DATA.
    pub data: Duration,
    /// A piece of the message.
    pub block: Duration,
    /// The reply to the message.
    pub end_of_data: Duration,
    /// QUIT, which nothing depends on.
    pub quit: Duration,
    /// A host that takes no octets any more, by TCP (RFC 5482). A slow one does, however long its replies take; one
    /// that is gone would keep a connection that is used again waiting for minutes.
    pub vanished: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            greeting: Duration::from_secs(300),
            command: Duration::from_secs(300),
            data: Duration::from_secs(120),
            block: Duration::from_secs(180),
            end_of_data: Duration::from_secs(600),
            quit: Duration::from_secs(5),
            vanished: Duration::from_secs(20),
        }
    }
}

impl Timeouts {
    fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Connect => self.greeting,
            Stage::Hello | Stage::StartTls | Stage::Auth | Stage::Mail | Stage::Rcpt | Stage::Reset => {
                self.command
            }
            Stage::Data => self.data,
            Stage::Body => self.block,
            Stage::EndOfData => self.end_of_data,
            Stage::Quit => self.quit,
        }
    }
}

/// A connection whose session is ready for a transaction.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// Transactions so far.
    pub(super) used: u32,
    stream: Stream,
    session: Session,
    /// The TLS that there is.
    channel: Option<Channel>,
    /// Why there is none, where it was tried.
    failed: Option<TlsFault>,
    input: Vec<u8>,
    timeouts: Timeouts,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum NoSession {
    /// No connection was made.
    Unreachable(io::Error),
    /// The peer ended it before it could be used.
    Closed(Closed),
    /// The peer bears our own name.
    Loop,
    /// TLS was begun, and is not what it must be.
    NoTls(TlsFault),
}

/// How a host is opened.
pub(super) struct Opening<'a> {
    pub(super) hello: &'a str,
    /// A peer of this name is ourselves.
    pub(super) own_name: Option<&'a str>,
    pub(super) terms: &'a Terms,
    pub(super) connector: &'a Connector,
    pub(super) timeouts: Timeouts,
}

/// What the session asks for that a driver cannot do on its own.
enum Turn {
    Ready,
    StartTls,
    SendBody,
    Done(Vec<Outcome>),
    Closed(Closed),
}

impl Connection {
    /// Connects, and waits until the peer has answered EHLO, over the TLS and as the user that the terms say. Where
    /// TLS is only taken if it works, and does not, the peer is asked again without.
    pub(super) async fn open(
        name: String,
        address: SocketAddr,
        opening: &Opening<'_>,
    ) -> Result<Box<Self>, NoSession> {
        let peer = Peer { name, address };
        let tls = match opening.terms.policy {
            TlsPolicy::None => Tls::Never,
            _ if opening.terms.implicit => Tls::Implicit,
            TlsPolicy::Opportunistic => Tls::IfOffered,
            TlsPolicy::Verified => Tls::Required,
        };
        match Self::open_with(tls, peer.clone(), opening).await {
            Err(NoSession::NoTls(fault)) if tls == Tls::IfOffered => {
                let mut opened = Self::open_with(Tls::Never, peer, opening).await?;
                opened.failed = Some(fault);
                Ok(opened)
            }
            opened => opened,
        }
    }

    async fn open_with(tls: Tls, peer: Peer, opening: &Opening<'_>) -> Result<Box<Self>, NoSession> {
        let timeouts = opening.timeouts;
        let connect = async { flatten(timeout(timeouts.connect, TcpStream::connect(peer.address)).await) };
        let stream = connect.await.map_err(NoSession::Unreachable)?;
        stream.set_nodelay(true).map_err(NoSession::Unreachable)?;
        let vanished = u32::try_from(timeouts.vanished.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(&stream, vanished).map_err(|e| NoSession::Unreachable(e.into()))?;
        let login =
            opening.terms.credentials.clone().map(|credentials| Login { credentials, nonce: nonce() });
        let session = Session::new(Hello { tls, login, ..Hello::new(opening.hello) });
        let (stream, input) = (Stream::Tcp(stream), Vec::new());
        let mut connection =
            Box::new(Self { peer, used: 0, stream, session, channel: None, failed: None, input, timeouts });
        if tls == Tls::Implicit {
            connection.secure(opening).await.map_err(NoSession::NoTls)?;
        }
        loop {
            match connection.turn().await {
                Turn::StartTls => {
                    connection.secure(opening).await.map_err(NoSession::NoTls)?;
                    connection.session.secured();
                }
                Turn::Closed(closed) => {
                    connection.flush().await;
                    return Err(NoSession::Closed(closed));
                }
                _ if opening.own_name.is_some_and(|name| connection.is_greeted_by(name)) => {
                    connection.quit().await;
                    return Err(NoSession::Loop);
                }
                _ => return Ok(connection),
            }
        }
    }

    /// Makes TLS. What came in clear is thrown away.
    async fn secure(&mut self, opening: &Opening<'_>) -> Result<(), TlsFault> {
        self.flush().await;
        self.input.clear();
        let trust = match opening.terms.policy {
            TlsPolicy::Verified => Trust::Verified,
            TlsPolicy::None | TlsPolicy::Opportunistic => Trust::Anybody,
        };
        let stream = self.stream.take_tcp().map_err(TlsFault::Failed)?;
        let connect = opening.connector.connect(stream, &opening.terms.name, trust);
        let timed_out = |_| Err(TlsFault::Failed(io::ErrorKind::TimedOut.into()));
        self.stream = timeout(self.timeouts.greeting, connect).await.unwrap_or_else(timed_out)?;
        self.channel = self.stream.channel(trust == Trust::Verified);
        Ok(())
    }

    /// The TLS that there is.
    pub(super) fn channel(&self) -> Option<&Channel> {
        self.channel.as_ref()
    }

    /// Why there is no TLS, where it was tried.
    pub(super) fn failed(&self) -> Option<&TlsFault> {
        self.failed.as_ref()
    }

    /// The most recipients of one transaction, where the peer says so (RFC 9422).
    pub(super) fn max_recipients(&self) -> usize {
        let most = self.session.offered().max_recipients;
        most.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
    }

    fn is_greeted_by(&self, name: &str) -> bool {
        let greeting = self.session.greeting().and_then(|reply| reply.text().split_whitespace().next());
        greeting.is_some_and(|greeting| greeting.eq_ignore_ascii_case(name))
    }

    /// Whether the peer takes NOTIFY over, and reports itself.
    pub(super) fn reports(&self) -> bool {
        self.session.offered().dsn
    }

    /// Hands over a message. The outcomes are in the order of the recipients. Errors: nothing was sent.
    pub(super) async fn send(
        &mut self,
        transaction: Transaction,
        body: &mut impl Body,
    ) -> Result<Vec<Outcome>, CannotBegin> {
        let count = transaction.recipients.len();
        self.used += 1;
        self.begin(transaction)?;
        loop {
            match self.turn().await {
                Turn::Done(outcomes) => return Ok(outcomes),
                Turn::SendBody if self.session.is_chunked() => match self.write_chunks(body).await {
                    Ok(chunks) => self.session.chunks_sent(chunks),
                    Err(_) => self.hear_why().await,
                },
                Turn::SendBody => match self.write_body(body).await {
                    Ok(()) => self.session.body_sent(),
                    Err(_) => self.hear_why().await,
                },
                Turn::Ready | Turn::StartTls | Turn::Closed(_) => {
                    return Ok(vec![Outcome::NoAnswer { stage: Stage::Mail }; count]);
                }
            }
        }
    }

    /// A message with octets over 127 goes to a peer without 8BITMIME as it is, as Sendmail's `pass8` has it.
    fn begin(&mut self, mut transaction: Transaction) -> Result<(), CannotBegin> {
        match self.session.begin(transaction.clone()) {
            Err(CannotBegin::EightBit) => {
                transaction.eight_bit = false;
                self.session.begin(transaction)
            }
            begun => begun,
        }
    }

    /// Whether the session is ready again.
    pub(super) async fn is_ready(&mut self) -> bool {
        matches!(self.turn().await, Turn::Ready)
    }

    /// Takes leave. The answer is waited for a short time only.
    pub(super) async fn quit(mut self: Box<Self>) {
        self.session.quit();
        self.turn().await;
    }

    async fn turn(&mut self) -> Turn {
        loop {
            let step = self.session.step(&self.input);
            self.input.drain(..step.consumed);
            match step.action {
                Action::Continue => {}
                Action::NeedInput => self.exchange().await,
                Action::Ready => return Turn::Ready,
                Action::SendBody => return Turn::SendBody,
                Action::StartTls => return Turn::StartTls,
                Action::Done(outcomes) => return Turn::Done(outcomes),
                Action::Closed(closed) => return Turn::Closed(closed),
            }
        }
    }

    async fn exchange(&mut self) {
        let limit = self.timeouts.of(self.session.stage());
        self.flush().await;
        if self.read(limit).await.is_err() {
            self.session.lost();
        }
    }

    async fn flush(&mut self) {
        let output = self.session.take_output();
        let written = self.write(&output).await;
        if written.is_err() && self.read(self.timeouts.quit).await.is_err() {
            self.session.lost();
        }
    }

    async fn read(&mut self, limit: Duration) -> io::Result<()> {
        self.input.reserve(READ);
        match flatten(timeout(limit, self.stream.read_buf(&mut self.input)).await)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The message could not be written to its end. A peer that closes has often said why before.
    async fn hear_why(&mut self) {
        if self.read(self.timeouts.quit).await.is_err() {
            return self.session.lost();
        }
        let step = self.session.step(&self.input);
        self.input.drain(..step.consumed);
        if matches!(step.action, Action::SendBody) {
            self.session.lost();
        }
    }

    /// Writes the message, the final dot in the last write: in one of its own it would wait for a delayed
    /// acknowledgement.
    async fn write_body(&mut self, body: &mut impl Body) -> io::Result<()> {
        let mut out = self.session.take_output();
        let (mut stuffer, mut folder) = (Stuffer::new(), Folder::default());
        let mut next = body.chunk().await?;
        while let Some(octets) = next {
            stuffer.push(&folder.fold(&octets), &mut out);
            next = body.chunk().await?;
            if next.is_some() && out.len() >= WRITE {
                self.write(&out).await?;
                out.clear();
            }
        }
        stuffer.finish(&mut out);
        self.write(&out).await
    }

    async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        // RFC 5321 4.5.3.2.5: the limit is for a piece.
        for piece in octets.chunks(WRITE) {
            flatten(timeout(self.timeouts.block, self.stream.write_all(piece)).await)?;
        }
        flatten(timeout(self.timeouts.block, self.stream.flush()).await)
    }

    /// Writes the message in chunks, and says how many (RFC 3030).
    async fn write_chunks(&mut self, body: &mut impl Body) -> io::Result<u32> {
        let mut out = self.session.take_output();
        let (mut chunker, mut folder) = (Chunker::default(), Folder::default());
        while let Some(octets) = body.chunk().await? {
            chunker.push(&folder.fold(&octets));
            if chunker.len() >= WRITE {
                chunker.chunk(&mut out);
                self.write(&out).await?;
                out.clear();
            }
        }
        let chunks = chunker.finish(&mut out);
        self.write(&out).await?;
        Ok(chunks)
    }
}

/// What a server cannot know in advance.
fn nonce() -> String {
    let mut octets = [0; 18];
    // A SCRAM exchange with a known nonce can at worst be played again to the server that it came from, over TLS.
    let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut octets);
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn flatten<T>(result: Result<io::Result<T>, tokio::time::error::Elapsed>) -> io::Result<T> {
    result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
