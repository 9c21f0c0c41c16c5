//! The driver of one session: bytes from a stream to the session of the smtp crate, and its answers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mailstack_policy::Client;
use mailstack_runtime::{ListenerKind, Privacy};
use mailstack_smtp::command::{MailRequest, RcptRequest};
use mailstack_smtp::reply::Reply;
use mailstack_smtp::sasl::{Exchange, Mechanisms};
use mailstack_smtp::server::{Action, Answer, Closing, HelloFirst, Offer, Session, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::gate::{self, Count, Gate};
use super::message::{Arrival, Message, Transaction};
use super::{Shared, words};
use crate::event::Event;
use crate::submission::MAX_RECIPIENTS;
use crate::tls::Stream;

/// How long the server waits for a client (RFC 5321 4.5.3.2.7): for a whole command, not for its next octet.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// How long a client may take to make TLS.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// Octets of a message that buy one more second of waiting: whoever sends slower is cut off in the end.
const MIN_RATE: u32 = 500;
/// Octets that a read has room for at least. The room grows with a message that fills it, up to [`BODY_CHUNK`].
const COMMAND_CHUNK: usize = 4 * 1024;
/// Octets read at once within a large message.
const BODY_CHUNK: usize = 64 * 1024;
/// Octets that a session holds on to between messages: a larger buffer is given back.
const KEPT: usize = 16 * 1024;
/// Octets of replies that are kept while input goes on.
const MAX_OUTPUT: usize = 16 * 1024;

/// One session.
pub(super) struct Driver {
    pub(super) shared: Arc<Shared>,
    stream: Stream,
    pub(super) arrival: Arrival,
    pub(super) session: Session,
    /// AUTH under way.
    pub(super) exchange: Option<Exchange>,
    /// TLS from the first octet on.
    implicit_tls: bool,
    input: Vec<u8>,
    /// Where `input` begins that is not consumed.
    at: usize,
    /// The last read left no room.
    was_filled: bool,
    transaction: Option<Transaction>,
    message: Option<Message>,
    accepted: u32,
    patience: Patience,
    count: Count,
    /// Recipients refused in this session.
    refused_recipients: u32,
    stop: watch::Receiver<bool>,
}

/// How long is still waited for a client. Waiting uses it up; only what brings the session on renews it, so that
/// nobody holds a session by an octet now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience(Duration);

impl Patience {
    const FULL: Self = Self(SILENCE);

    fn after(self, waited: Duration) -> Self {
        Self(self.0.saturating_sub(waited))
    }

    fn bought_by(self, octets: usize) -> Self {
        let bought = Duration::from_secs(octets as u64) / MIN_RATE;
        Self(self.0.saturating_add(bought).min(SILENCE))
    }
}

/// How a session ended.
enum Ended {
    Closed(Closing),
    Lost(io::Error),
    HungUp,
    Silent,
    Stopping,
    NoTls(io::Error),
}

impl Ended {
    fn reason(&self) -> String {
        match self {
            Ended::Closed(Closing::Quit) => "quit".to_owned(),
            Ended::Closed(Closing::Answered) => "turned away".to_owned(),
            Ended::Closed(Closing::TooManyErrors) => "too many errors".to_owned(),
            Ended::Closed(Closing::Protocol) => "protocol error".to_owned(),
            Ended::Lost(error) => format!("lost: {error}"),
            Ended::HungUp => "hung up".to_owned(),
            Ended::Silent => "timeout".to_owned(),
            Ended::Stopping => "stopping".to_owned(),
            Ended::NoTls(error) => format!("no TLS: {error}"),
        }
    }
}

impl Driver {
    /// A session with this client, at a listener of this kind.
    pub(super) fn new(
        shared: Arc<Shared>,
        stream: Stream,
        arrival: Arrival,
        kind: ListenerKind,
        count: Count,
    ) -> Self {
        let session = Session::new(offer(&shared, &arrival, kind));
        let implicit_tls = kind == ListenerKind::Submissions;
        let stop = shared.stop.subscribe();
        Self {
            shared,
            stream,
            arrival,
            session,
            exchange: None,
            implicit_tls,
            input: Vec::new(),
            at: 0,
            was_filled: false,
            transaction: None,
            message: None,
            accepted: 0,
            patience: Patience::FULL,
            count,
            refused_recipients: 0,
            stop,
        }
    }

    /// Talks until the session ends. A message that is not whole by then is given up.
    pub(super) async fn run(mut self) {
        self.shared.events.emit(Event::SessionOpened { peer: self.arrival.peer.clone() });
        let begun = if self.implicit_tls { self.handshake().await } else { Ok(()) };
        let opened = match begun {
            Ok(()) => self.open().await,
            Err(ended) => Err(ended),
        };
        let conversed = match opened {
            Ok(()) => self.converse().await,
            Err(ended) => Err(ended),
        };
        let ended = match conversed {
            Ok(closing) => Ended::Closed(closing),
            Err(ended) => ended,
        };
        self.say_farewell(&ended).await;
        let (peer, messages) = (self.arrival.peer, self.accepted);
        self.shared.events.emit(Event::SessionClosed { peer, messages, reason: ended.reason() });
    }

    /// What comes before the greeting.
    async fn open(&mut self) -> Result<(), Ended> {
        let mut stop = self.shared.stop.subscribe();
        let gate = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Err(Ended::Stopping),
            gate = self.shared.gate(&self.arrival, self.count) => gate,
        };
        gate::admitted(&mut self.arrival, &gate);
        match gate {
            Gate::Open(pause) if pause.is_zero() => Ok(()),
            Gate::Open(pause) => self.pause(pause).await,
            Gate::Trusted | Gate::Discard => Ok(()),
            Gate::Denied(reply) => {
                let peer = self.arrival.peer.clone();
                self.shared.events.emit(Event::SessionRefused { peer, reply: reply.to_string() });
                self.session.turn_away(None, reply);
                Ok(())
            }
        }
    }

    /// Waits before the greeting. Who talks first takes no answer for one: not a mail server.
    async fn pause(&mut self, pause: Duration) -> Result<(), Ended> {
        let mut stop = self.shared.stop.subscribe();
        let talk = tokio::time::timeout(pause, self.stream.read_buf(&mut self.input));
        let talked = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return Err(Ended::Stopping),
            talked = talk => talked,
        };
        match talked {
            Err(_) => Ok(()),
            Ok(Err(e)) => Err(Ended::Lost(e)),
            Ok(Ok(0)) => Err(Ended::HungUp),
            Ok(Ok(_)) => {
                let (peer, hostname) = (self.arrival.peer.clone(), self.shared.hostname.as_str());
                let greeting = words::not_accepting(hostname);
                self.shared.events.emit(Event::SessionRefused { peer, reply: greeting.to_string() });
                self.session.turn_away(Some(greeting), words::COMMAND_REJECTED);
                Ok(())
            }
        }
    }

    async fn converse(&mut self) -> Result<Closing, Ended> {
        loop {
            let Step { consumed, action } = self.session.step(&self.input[self.at..]);
            self.at += consumed;
            match action {
                Action::NeedInput => {
                    self.flush().await?;
                    self.read().await?;
                }
                Action::Body(octets) => {
                    if let Some(message) = &mut self.message {
                        message.write(octets).await;
                    }
                }
                Action::Close(closing) => return Ok(closing),
                Action::Hello { name, extended } => self.hello(name, extended),
                Action::Mail(request) => self.mail(request).await,
                Action::Rcpt(request) => self.rcpt(request).await,
                Action::DataStart => self.data(),
                Action::StartTls => self.start_tls().await?,
                Action::Auth { mechanism, initial } => self.authenticate(mechanism, initial).await,
                Action::Response(response) => self.respond(&response).await,
                Action::AuthAborted => self.exchange = None,
                Action::EndOfData => self.end_of_data().await,
                Action::Aborted(fault) => self.aborted(fault.to_string()),
                Action::Reset => self.give_up(),
                Action::Verify(who) => self.session.answer(self.shared.verify(&self.arrival, &who)),
                Action::Expand(who) => self.session.answer(self.shared.expand(&self.arrival, &who)),
                Action::Etrn(_) => self.session.answer(Answer::Accept),
                Action::Continue => {}
            }
            if self.session.output_mut().len() > MAX_OUTPUT {
                self.flush().await?;
            }
        }
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        let output = self.session.output_mut();
        if output.is_empty() {
            return Ok(());
        }
        // A reply is due to a whole command, or to a whole message.
        self.patience = Patience::FULL;
        let stream = &mut self.stream;
        let write = async {
            stream.write_all(output).await?;
            stream.flush().await
        };
        let written = tokio::time::timeout(SILENCE, write).await;
        output.clear();
        written.map_err(|_| Ended::Silent)?.map_err(Ended::Lost)
    }

    async fn read(&mut self) -> Result<(), Ended> {
        self.input.drain(..self.at);
        self.at = 0;
        self.make_room();
        let may_stop = !self.session.in_transaction();
        let since = Instant::now();
        let read = tokio::time::timeout(self.patience.0, self.stream.read_buf(&mut self.input));
        let read = tokio::select! {
            _ = self.stop.wait_for(|stop| *stop), if may_stop => return Err(Ended::Stopping),
            read = read => read,
        };
        self.patience = self.patience.after(since.elapsed());
        match read {
            Err(_) => Err(Ended::Silent),
            Ok(Err(e)) => Err(Ended::Lost(e)),
            Ok(Ok(0)) => Err(Ended::HungUp),
            Ok(Ok(octets)) => {
                self.was_filled = self.input.len() == self.input.capacity();
                if self.message.is_some() {
                    self.patience = self.patience.bought_by(octets);
                }
                Ok(())
            }
        }
    }

    fn make_room(&mut self) {
        let room = match &self.message {
            // What filled the room before will do so again.
            Some(_) if self.was_filled => (self.input.capacity() * 2).clamp(COMMAND_CHUNK, BODY_CHUNK),
            Some(_) => COMMAND_CHUNK,
            None => {
                if self.input.capacity() > KEPT {
                    self.input.shrink_to(KEPT);
                }
                COMMAND_CHUNK
            }
        };
        if self.input.capacity() - self.input.len() < room {
            self.input.reserve(room);
        }
    }

    async fn say_farewell(&mut self, ended: &Ended) {
        let hostname = self.shared.hostname.as_str();
        let reply = match ended {
            Ended::Silent => Some(words::timed_out(hostname)),
            Ended::Stopping => Some(words::stopping(hostname)),
            _ => None,
        };
        if let Some(reply) = reply {
            reply.write_to(self.session.output_mut());
        }
        let _ = self.flush().await;
        let _ = self.stream.shutdown().await;
    }

    /// STARTTLS was answered. What is known of the client is forgotten (RFC 3207 4.2); there is no input that came in
    /// clear, for the session has refused it.
    async fn start_tls(&mut self) -> Result<(), Ended> {
        self.give_up();
        self.flush().await?;
        self.input.clear();
        self.at = 0;
        self.arrival.forget();
        self.exchange = None;
        self.handshake().await?;
        self.session.secured();
        Ok(())
    }

    async fn handshake(&mut self) -> Result<(), Ended> {
        let acceptor = self.shared.acceptor.clone();
        let acceptor = acceptor.ok_or_else(|| Ended::NoTls(io::Error::other("no certificate")))?;
        let stream = self.stream.take_tcp().map_err(Ended::NoTls)?;
        let accepted = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
        self.stream = accepted.map_err(|_| Ended::Silent)?.map_err(Ended::NoTls)?;
        self.arrival.channel = self.stream.channel(false);
        if let Some(channel) = self.arrival.channel.clone() {
            let peer = self.arrival.peer.to_string();
            self.shared.events.emit(Event::Secured { server: true, peer, channel });
        }
        Ok(())
    }

    fn hello(&mut self, name: String, extended: bool) {
        self.give_up();
        self.arrival.hello = name;
        self.arrival.extended = extended;
        self.session.answer(Answer::Accept);
    }

    async fn mail(&mut self, request: MailRequest) {
        let written = request.from.to_string();
        let answer = match self.shared.mail(&self.arrival, request).await {
            Ok(transaction) => {
                self.transaction = Some(transaction);
                words::sender_ok(&written)
            }
            Err(reply) => self.refused(format!("MAIL FROM:{written}"), reply),
        };
        self.session.answer(answer);
    }

    async fn rcpt(&mut self, request: RcptRequest) {
        self.slow_down().await;
        let command = format!("RCPT TO:<{}>", request.to);
        let Some(transaction) = &mut self.transaction else {
            return self.session.answer(words::LOCAL_ERROR);
        };
        let answer = match self.shared.rcpt(&self.arrival, transaction, request).await {
            Ok(reply) => reply,
            Err(reply) => {
                self.refused_recipients = self.refused_recipients.saturating_add(1);
                self.refused(command, reply)
            }
        };
        self.session.answer(answer);
    }

    /// `BadRcptThrottle`: who guesses recipients is kept waiting.
    async fn slow_down(&self) {
        let most = self.shared.config.checks.bad_recipients;
        if most > 0 && self.refused_recipients >= most {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn data(&mut self) {
        let Some(transaction) = self.transaction.take() else {
            return self.session.answer(words::LOCAL_ERROR);
        };
        let message = Message::begin(Arc::clone(&self.shared), self.arrival.clone(), transaction);
        self.message = Some(message);
        self.session.answer(Answer::Accept);
    }

    async fn end_of_data(&mut self) {
        let result = match self.message.take() {
            Some(message) => message.finish().await,
            None => Err(words::LOCAL_ERROR),
        };
        let answer = match result {
            Ok(id) => {
                self.accepted += 1;
                words::accepted(id)
            }
            Err(reply) => self.refused("DATA".to_owned(), reply),
        };
        self.session.answer(answer);
    }

    fn aborted(&mut self, fault: String) {
        self.give_up();
        let peer = self.arrival.peer.clone();
        self.shared.events.emit(Event::Refused { peer, command: "DATA".to_owned(), reply: fault });
    }

    fn give_up(&mut self) {
        self.transaction = None;
        self.message = None;
    }

    pub(super) fn refused(&self, command: String, reply: Reply) -> Reply {
        let peer = self.arrival.peer.clone();
        self.shared.events.emit(Event::Refused { peer, command, reply: reply.to_string() });
        reply
    }
}

fn offer(shared: &Shared, arrival: &Arrival, kind: ListenerKind) -> Offer {
    let limits = &shared.config.limits;
    let offer = Offer {
        max_size: limits.message_size,
        max_recipients: limits.recipients,
        dsn: !shared.is(Privacy::Noreceipts),
        smtputf8: true,
        greeting: shared.config.greeting.clone(),
        hello_first: HelloFirst {
            mail: shared.is(Privacy::Needmailhelo),
            // Who tells nobody anything need not know who asks.
            verify: shared.is(Privacy::Needvrfyhelo) && !shared.is(Privacy::Novrfy),
            expand: shared.is(Privacy::Needexpnhelo) && !shared.is(Privacy::Noexpn),
        },
        ..Offer::new(shared.hostname.as_str())
    };
    match arrival.client {
        Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } => {
            let authority = shared.authority.as_ref();
            Offer {
                starttls: shared.acceptor.is_some() && kind != ListenerKind::Submissions,
                secure: kind == ListenerKind::Submissions,
                auth: authority.map_or(Mechanisms::default(), |authority| authority.mechanisms()),
                auth_in_clear: addr.is_loopback(),
                needs_auth: kind != ListenerKind::Smtp,
                chunking: true,
                limits: true,
                ..offer
            }
        }
        // However many of its recipients are refused, the others get the message.
        Client::Local { .. } => Offer {
            local: true,
            max_recipients: MAX_RECIPIENTS,
            max_idle_commands: offer.max_idle_commands.saturating_add(MAX_RECIPIENTS),
            ..offer
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many seconds a message of so many octets a second, sent once in a while, goes on.
    fn lasts(rate: usize, pause: u64) -> Option<u64> {
        let (mut patience, mut second) = (Patience::FULL, 0);
        while second < 24 * 3600 {
            second += pause;
            patience = patience.after(Duration::from_secs(pause));
            if patience.0.is_zero() {
                return Some(second);
            }
            patience = patience.bought_by(rate * pause as usize);
        }
        None
    }

    #[test]
    fn a_message_must_get_on() {
        assert_eq!(lasts(500, 1), None);
        assert_eq!(lasts(700, 299), None, "silences within the limit are nobody's fault");
        assert_eq!(lasts(700, 300), Some(300));
        assert_eq!(lasts(0, 1), Some(300));
        assert!(lasts(400, 1).is_some_and(|seconds| seconds < 1600));
    }
}
