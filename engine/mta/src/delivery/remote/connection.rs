//! One connection to a next hop: the driver of the client's session over TCP.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use mailstack_smtp::client::{Action, CannotBegin, Closed, Hello, Outcome, Session, Stage, Transaction};
use mailstack_smtp::data::Stuffer;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fold::Folder;
use crate::bounce::Peer;
use crate::delivery::Body;

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
            Stage::Hello | Stage::Mail | Stage::Rcpt | Stage::Reset => self.command,
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
    stream: TcpStream,
    session: Session,
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
}

/// What the session asks for that a driver cannot do on its own.
enum Turn {
    Ready,
    SendBody,
    Done(Vec<Outcome>),
    Closed(Closed),
}

impl Connection {
    /// Connects, and waits until the peer has answered EHLO. `own_name`: a peer of this name is ourselves.
    pub(super) async fn open(
        name: String,
        address: SocketAddr,
        hello: &str,
        own_name: Option<&str>,
        timeouts: Timeouts,
    ) -> Result<Box<Self>, NoSession> {
        let connect = async { flatten(timeout(timeouts.connect, TcpStream::connect(address)).await) };
        let stream = connect.await.map_err(NoSession::Unreachable)?;
        stream.set_nodelay(true).map_err(NoSession::Unreachable)?;
        let vanished = u32::try_from(timeouts.vanished.as_millis()).unwrap_or(u32::MAX);
        set_tcp_user_timeout(&stream, vanished).map_err(|e| NoSession::Unreachable(e.into()))?;
        let session = Session::new(Hello { name: hello.to_owned(), lmtp: false });
        let peer = Peer { name, address };
        let input = Vec::new();
        let mut connection = Box::new(Self { peer, used: 0, stream, session, input, timeouts });
        match connection.turn().await {
            Turn::Closed(closed) => {
                connection.flush().await;
                Err(NoSession::Closed(closed))
            }
            _ if own_name.is_some_and(|name| connection.is_greeted_by(name)) => {
                connection.quit().await;
                Err(NoSession::Loop)
            }
            _ => Ok(connection),
        }
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
                Turn::SendBody => match self.write_body(body).await {
                    Ok(()) => self.session.body_sent(),
                    Err(_) => self.hear_why().await,
                },
                Turn::Ready | Turn::Closed(_) => {
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
        let written = timeout(self.timeouts.block, self.stream.write_all(&output)).await;
        if flatten(written).is_err() && self.read(self.timeouts.quit).await.is_err() {
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
        Ok(())
    }
}

fn flatten<T>(result: Result<io::Result<T>, tokio::time::error::Elapsed>) -> io::Result<T> {
    result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
