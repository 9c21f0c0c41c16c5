//! The hosts that mail is sent on to: SMTP servers that take everything but for the recipients that they must not.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mailstack_policy::{Address, ReversePath};
use mailstack_smtp::reply::{Enhanced, Reply};
use mailstack_smtp::server::{Action, Answer, Offer, Session};

use super::arrivals::{Arrival, Arrivals};

/// How long a client may stay silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Octets read at once.
const CHUNK: usize = 16 * 1024;
const UNKNOWN: Reply = Reply::fixed(550, Enhanced(5, 1, 1), "User unknown");
const TAKEN: Reply = Reply::fixed(250, Enhanced(2, 0, 0), "Message accepted for delivery");

/// What all sinks have in common.
#[derive(Clone, Debug)]
pub(super) struct Sink {
    pub(super) arrivals: Arrivals,
    /// Recipients that are refused with 550 5.1.1.
    pub(super) unknown: Arc<Vec<Address>>,
}

impl Sink {
    /// Serves a listener until the process ends.
    pub(super) fn serve(&self, listener: TcpListener) {
        let sink = self.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let sink = sink.clone();
                // A client that breaks off has sent nothing.
                thread::spawn(move || sink.converse(stream));
            }
        });
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut session = Session::new(Offer::new("sink.proof.example"));
        let mut transaction = Transaction { at: stream.local_addr()?.to_string(), ..Transaction::default() };
        let mut input = Vec::new();
        let mut chunk = vec![0; CHUNK];
        loop {
            let step = session.step(&input);
            let consumed = step.consumed;
            match step.action {
                Action::NeedInput => {
                    input.drain(..consumed);
                    stream.write_all(&session.take_output())?;
                    let count = stream.read(&mut chunk)?;
                    if count == 0 {
                        return Ok(());
                    }
                    input.extend_from_slice(&chunk[..count]);
                    continue;
                }
                Action::Close(_) => return stream.write_all(&session.take_output()),
                action => {
                    if let Some(answer) = self.answer(&mut transaction, action) {
                        session.answer(answer);
                    }
                }
            }
            input.drain(..consumed);
        }
    }

    fn answer(&self, transaction: &mut Transaction, action: Action<'_>) -> Option<Answer> {
        match action {
            Action::Mail(mail) => transaction.begin(mail.from),
            Action::Rcpt(rcpt) if self.unknown.contains(&rcpt.to) => return Some(UNKNOWN.into()),
            Action::Rcpt(rcpt) => transaction.recipients.push(rcpt.to),
            Action::Body(octets) => {
                transaction.message.extend_from_slice(octets);
                return None;
            }
            Action::EndOfData => {
                self.arrivals.push(transaction.arrival());
                return Some(TAKEN.into());
            }
            Action::Hello { .. } | Action::DataStart => {}
            Action::Verify(_) | Action::Expand(_) | Action::Etrn(_) => return Some(UNKNOWN.into()),
            _ => return None,
        }
        Some(Answer::Accept)
    }
}

#[derive(Default)]
struct Transaction {
    at: String,
    sender: Option<ReversePath>,
    recipients: Vec<Address>,
    message: Vec<u8>,
}

impl Transaction {
    fn begin(&mut self, sender: ReversePath) {
        self.sender = Some(sender);
        self.recipients.clear();
        self.message.clear();
    }

    fn arrival(&self) -> Arrival {
        Arrival {
            at: self.at.clone(),
            sender: self.sender.clone().unwrap_or(ReversePath::Null),
            recipients: self.recipients.clone(),
            message: self.message.clone(),
        }
    }
}
