//! An SMTP server that takes what it is told to take.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use mailstack_smtp::reply::{Enhanced, Reply};
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
}

/// A message that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) from: String,
    pub(super) to: Vec<String>,
    pub(super) octets: Vec<u8>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    pub(super) taken: Vec<Taken>,
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

async fn serve(mut stream: TcpStream, plan: Plan, seen: Arc<Mutex<Seen>>) -> Option<()> {
    if let Some((At::Greeting, code, text)) = plan.answer_at {
        let _ = stream.write_all(format!("{code} {text}\r\n").as_bytes()).await;
        return None;
    }
    plan.survives(At::Greeting)?;
    let mut offer = Offer::new(if plan.name.is_empty() { "sink.example" } else { plan.name });
    offer.max_size = if plan.size > 0 { plan.size } else { offer.max_size };
    let mut session = Session::new(offer);
    let mut input = Vec::new();
    let mut message = Taken { from: String::new(), to: Vec::new(), octets: Vec::new() };
    loop {
        let step = session.step(&input);
        let consumed = step.consumed;
        match step.action {
            Action::NeedInput => {
                stream.write_all(&session.take_output()).await.ok()?;
                if stream.read_buf(&mut input).await.ok()? == 0 {
                    return None;
                }
                continue;
            }
            Action::Close(_) => {
                stream.write_all(&session.take_output()).await.ok()?;
                return None;
            }
            Action::Body(octets) => {
                plan.survives(At::Body)?;
                message.octets.extend_from_slice(octets);
            }
            Action::Hello { .. } => session.answer(plan.answer(At::Hello)?),
            Action::Mail(mail) => {
                message = Taken { from: mail.from.to_string(), to: Vec::new(), octets: Vec::new() };
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
                    seen.lock().unwrap().taken.push(message.clone());
                    session.answer(Reply::fixed(250, Enhanced(2, 0, 0), "taken"));
                }
            }
            _ => {}
        }
        input.drain(..consumed);
    }
}

impl Plan {
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
