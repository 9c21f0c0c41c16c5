//! An SMTP server that takes what it is told to take.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use mailstack_mta::tls::{Acceptor, Stream};
use mailstack_smtp::reply::{Enhanced, Reply};
use mailstack_smtp::sasl::{Exchange, Mechanisms, Progress, Verifier};
use mailstack_smtp::server::{Action, Answer, Offer, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Where a session is cut, or what is answered there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum At {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Data,
    Body,
    End,
}

/// How the sink behaves.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// The connection is closed in place of an answer.
    pub(super) drop_at: Option<At>,
    /// This is answered there.
    pub(super) answer_at: Option<(At, u16, &'static str)>,
    /// Local parts that RCPT is refused for, with what.
    pub(super) refuse: Vec<(&'static str, u16, &'static str)>,
    /// The sink's own name; `sink.example` where it is empty.
    pub(super) name: &'static str,
    /// Octets that it takes; 0: plenty.
    pub(super) size: u64,
    /// What it has of TLS and AUTH.
    pub(super) tls: TlsPlan,
    /// Whether it offers CHUNKING.
    pub(super) chunking: bool,
    /// Whether it offers SMTPUTF8.
    pub(super) smtputf8: bool,
    /// The most recipients that it takes, and says so; 0: as ever.
    pub(super) recipients: u32,
}

/// What a sink, or who sits in front of it, does about TLS.
#[derive(Clone, Debug, Default)]
pub(super) struct TlsPlan {
    /// Makes it.
    pub(super) acceptor: Option<Acceptor>,
    /// The offer is taken out of the reply to EHLO.
    pub(super) stripped: bool,
    /// The reply to STARTTLS in place of its own.
    pub(super) reply: Option<&'static str>,
    /// The connection ends where TLS would be made.
    pub(super) closes: bool,
    /// From the first octet on.
    pub(super) implicit: bool,
    /// Knows `me` by the password `secret`.
    pub(super) auth: Mechanisms,
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) octets: Vec<u8>,
}

impl Taken {
    fn new(from: String) -> Self {
        Self { from, to: Vec::new(), octets: Vec::new() }
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    pub(super) taken: Vec<Taken>,
    /// Messages that came over TLS, and from somebody who authenticated.
    pub(super) secured: usize,
    pub(super) authenticated: usize,
    /// What was said in clear, lines of commands.
    pub(super) clear: String,
}

/// A running sink.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    pub(super) address: SocketAddr,
    pub(super) seen: Arc<Mutex<Seen>>,
}

impl Sink {
    pub(super) async fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let sink = Self { address: listener.local_addr().unwrap(), seen: Arc::default() };
        let running = sink.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                running.seen.lock().unwrap().connections += 1;
                tokio::spawn(serve(stream, plan.clone(), Arc::clone(&running.seen)));
            }
        });
        sink
    }

    pub(super) fn taken(&self) -> Vec<Taken> {
        self.seen.lock().unwrap().taken.clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }
}

async fn serve(stream: TcpStream, plan: Plan, seen: Arc<Mutex<Seen>>) -> Option<()> {
    let mut stream = plan.tls.opened(stream).await?;
    if let Some((At::Greeting, code, text)) = plan.answer_at {
        let _ = stream.write_all(format!("{code} {text}\r\n").as_bytes()).await;
        return None;
    }
    plan.survives(At::Greeting)?;
    let mut session = Session::new(plan.offer());
    let mut exchange = None;
    let mut input = Vec::new();
    let mut message = Taken::new(String::new());
    loop {
        let step = session.step(&input);
        let consumed = step.consumed;
        match step.action {
            Action::NeedInput => {
                stream.write_all(&plan.tls.altered(session.take_output())).await.ok()?;
                stream.flush().await.ok()?;
                listen(&mut stream, &mut input, &seen).await?;
                continue;
            }
            Action::Close(_) => {
                stream.write_all(&session.take_output()).await.ok()?;
                stream.flush().await.ok()?;
                return None;
            }
            Action::StartTls => {
                stream.write_all(&plan.tls.altered(session.take_output())).await.ok()?;
                let acceptor = plan.tls.acceptor.clone().filter(|_| !plan.tls.closes)?;
                stream = acceptor.accept(stream.take_tcp().unwrap()).await.ok()?;
                session.secured();
            }
            Action::Auth { mechanism, initial } => {
                let begun = exchange.insert(Exchange::new(mechanism, "nonce".to_owned(), [7; 32]));
                session.answer(begin(begun, initial));
            }
            Action::Response(response) => session.answer(respond(exchange.as_mut().unwrap(), &response)),
            Action::Body(octets) => {
                plan.survives(At::Body)?;
                message.octets.extend_from_slice(octets);
            }
            Action::Hello { .. } => session.answer(plan.answer(At::Hello)?),
            Action::Mail(mail) => {
                message = Taken::new(mail.from.to_string());
                session.answer(plan.answer(At::Mail)?);
            }
            Action::Rcpt(rcpt) => {
                let answer = plan.answer_rcpt(rcpt.to.local())?;
                if answer == Answer::Accept {
                    message.to.push(rcpt.to.to_string());
                }
                session.answer(answer);
            }
            Action::DataStart => session.answer(plan.answer(At::Data)?),
            Action::EndOfData => {
                if let Answer::Reply(reply) = plan.answer(At::End)? {
                    session.answer(reply);
                } else {
                    let octets = std::mem::replace(&mut message, Taken::new(String::new()));
                    seen.lock().unwrap().take(octets, &stream, &session);
                    session.answer(Reply::fixed(250, Enhanced(2, 0, 0), "taken"));
                }
            }
            _ => {}
        }
        input.drain(..consumed);
    }
}

fn begin(exchange: &mut Exchange, initial: Option<Vec<u8>>) -> Answer {
    let first = Answer::Challenge(exchange.first_challenge().to_vec());
    initial.map_or(first, |response| respond(exchange, &response))
}

/// The next octets.
async fn listen(stream: &mut Stream, input: &mut Vec<u8>, seen: &Mutex<Seen>) -> Option<()> {
    let before = input.len();
    if stream.read_buf(input).await.ok()? == 0 {
        return None;
    }
    if let Stream::Tcp(_) = stream {
        seen.lock().unwrap().clear += &String::from_utf8_lossy(&input[before..]);
    }
    Some(())
}

impl Seen {
    fn take(&mut self, message: Taken, stream: &Stream, session: &Session) {
        self.taken.push(message);
        self.secured += usize::from(matches!(stream, Stream::Tls(_)));
        self.authenticated += usize::from(session.is_authenticated());
    }
}

/// `me` is known by the password `secret`.
fn respond(exchange: &mut Exchange, response: &[u8]) -> Answer {
    let find = |user: &str| {
        (user == "me").then(|| Verifier::derive("secret", b"salt", NonZeroU32::new(4096).unwrap()))
    };
    let yes = match exchange.step(response, &find) {
        Progress::Challenge(challenge) => return Answer::Challenge(challenge),
        Progress::Check { user, password } => find(&user).is_some_and(|kept| kept.is_of(&password)),
        Progress::Success { .. } => true,
        Progress::Failure { .. } | Progress::Malformed => false,
    };
    if yes { Answer::Accept } else { Reply::fixed(535, Enhanced(5, 7, 8), "no").into() }
}

impl TlsPlan {
    async fn opened(&self, stream: TcpStream) -> Option<Stream> {
        match (&self.acceptor, self.implicit) {
            (Some(acceptor), true) => acceptor.accept(stream).await.ok(),
            _ => Some(Stream::Tcp(stream)),
        }
    }

    /// What the sink says, as it arrives.
    fn altered(&self, output: Vec<u8>) -> Vec<u8> {
        let mut text = String::from_utf8(output).unwrap();
        if self.stripped {
            text = text.replace("STARTTLS", "XXXXXXXX");
        }
        if let Some(reply) = self.reply {
            text = text.replace("220 2.0.0 Ready to start TLS\r\n", reply);
        }
        text.into_bytes()
    }
}

impl Plan {
    fn offer(&self) -> Offer {
        let mut offer = Offer::new(if self.name.is_empty() { "sink.example" } else { self.name });
        offer.max_size = if self.size > 0 { self.size } else { offer.max_size };
        offer.starttls = self.tls.acceptor.is_some() && !self.tls.implicit;
        offer.secure = self.tls.implicit;
        offer.auth = self.tls.auth;
        (offer.chunking, offer.smtputf8) = (self.chunking, self.smtputf8);
        if self.recipients > 0 {
            (offer.limits, offer.max_recipients) = (true, self.recipients);
        }
        offer
    }

    fn survives(&self, at: At) -> Option<()> {
        (self.drop_at != Some(at)).then_some(())
    }

    fn answer(&self, at: At) -> Option<Answer> {
        self.survives(at)?;
        match self.answer_at {
            Some((here, code, text)) if here == at => Some(Reply::new(code, None, text).into()),
            _ => Some(Answer::Accept),
        }
    }

    fn answer_rcpt(&self, local: &str) -> Option<Answer> {
        let refused = self.refuse.iter().find(|(name, ..)| *name == local);
        match refused {
            Some((_, code, text)) => Some(Reply::new(*code, None, *text).into()),
            None => self.answer(At::Rcpt),
        }
    }
}
