//! SMTP over the submission socket, as its client: blocking, one message.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use mailstack_smtp::address::Address;
use mailstack_smtp::client::{Action, CannotBegin, Closed, Hello, Outcome, Session, Stage, Transaction};
use mailstack_smtp::command::RcptRequest;
use mailstack_smtp::data::Stuffer;
use mailstack_smtp::reply::{Enhanced, Reply};

use super::{Request, SubmitError, Submitted};

/// How long the MTA may be silent: its limit for a message's end (RFC 5321 4.5.3.2.6).
const SILENCE: Duration = Duration::from_secs(10 * 60);
/// Octets of the message handed over at once.
const CHUNK: usize = 32 * 1024;

/// Why the message is not handed in.
pub(super) enum Failure {
    /// Not a word of the message was read: there is another way.
    BeforeMessage,
    /// There is none.
    Final(SubmitError),
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        Failure::Final(error)
    }
}

struct Dialogue<'a> {
    stream: UnixStream,
    session: Session,
    input: Vec<u8>,
    request: &'a Request,
    message: &'a mut dyn Read,
    begun: bool,
    message_read: bool,
}

/// Hands one message to the server at the other end of the stream.
pub(super) fn hand_in(
    stream: UnixStream,
    request: &Request,
    message: &mut dyn Read,
) -> Result<Submitted, Failure> {
    let timeouts =
        stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.set_write_timeout(Some(SILENCE)));
    timeouts.map_err(|_| Failure::BeforeMessage)?;
    let session = Session::new(Hello::new("localhost"));
    let input = Vec::new();
    Dialogue { stream, session, input, request, message, begun: false, message_read: false }.run()
}

impl Dialogue<'_> {
    fn run(mut self) -> Result<Submitted, Failure> {
        loop {
            let step = self.session.step(&self.input);
            self.input.drain(..step.consumed);
            match step.action {
                Action::Continue => {}
                Action::NeedInput => self.exchange()?,
                Action::Ready if !self.begun => self.begin()?,
                // The outcomes came before this.
                Action::Ready => return Err(self.interrupted(None)),
                Action::SendBody => self.send()?,
                // Never asked for on this socket.
                Action::StartTls => return Err(self.interrupted(None)),
                Action::Done(outcomes) => {
                    self.say_goodbye();
                    return self.conclude(outcomes);
                }
                Action::Closed(closed) => return Err(self.closed(closed)),
            }
        }
    }

    fn exchange(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.read()
    }

    fn read(&mut self) -> Result<(), Failure> {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.session.lost(),
            Ok(read) => self.input.extend_from_slice(&chunk[..read]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(self.interrupted(Some(e))),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let output = self.session.take_output();
        let mut rest = &output[..];
        // Thousands of recipients: the server reads on only while its replies are read.
        while !rest.is_empty() {
            match self.write_some(rest) {
                Ok(written) => rest = &rest[written..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.read()?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => break,
                Err(e) => return Err(self.interrupted(Some(e))),
            }
        }
        Ok(())
    }

    fn write_some(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.stream.set_nonblocking(true)?;
        let written = self.stream.write(octets);
        self.stream.set_nonblocking(false)?;
        written
    }

    /// A server that closes has said why: its last words are read before the broken pipe counts.
    fn write(&mut self, octets: &[u8]) -> Result<(), Failure> {
        match self.stream.write_all(octets) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(self.interrupted(Some(e))),
            _ => Ok(()),
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        self.begun = true;
        let begun = self.session.begin(transaction(self.request));
        begun.map_err(|e| match e {
            CannotBegin::NoRecipients => {
                let reply = Reply::fixed(554, Enhanced(5, 5, 1), "No recipients specified");
                Failure::Final(SubmitError::Refused { reply, recipients: Vec::new() })
            }
            _ => Failure::BeforeMessage,
        })
    }

    fn send(&mut self) -> Result<(), Failure> {
        self.flush()?;
        self.message_read = true;
        let mut stuffer = Stuffer::new();
        let (mut chunk, mut ready) = (vec![0; CHUNK], Vec::with_capacity(2 * CHUNK));
        loop {
            let read = read_some(self.message, &mut chunk).map_err(SubmitError::Message)?;
            if read == 0 {
                break;
            }
            if ready.len() >= CHUNK {
                self.write(&ready)?;
                ready.clear();
            }
            stuffer.push(&chunk[..read], &mut ready);
        }
        // The end goes with the last of the body.
        stuffer.finish(&mut ready);
        self.write(&ready)?;
        self.session.body_sent();
        Ok(())
    }

    fn say_goodbye(&mut self) {
        self.session.quit();
        let output = self.session.take_output();
        let _ = self.stream.write_all(&output);
    }

    fn conclude(&self, outcomes: Vec<Outcome>) -> Result<Submitted, Failure> {
        let (mut accepted, mut refused) = (None, Vec::new());
        for (address, outcome) in self.request.recipients.iter().zip(outcomes) {
            match outcome {
                Outcome::Accepted(reply) => accepted = Some(reply),
                Outcome::Refused { reply, .. } => refused.push((address.clone(), reply)),
                Outcome::NoAnswer { stage: Stage::EndOfData } => return Err(self.lost(true, None)),
                Outcome::NoAnswer { .. } => return Err(self.interrupted(None)),
            }
        }
        match accepted {
            Some(reply) => Ok(Submitted::Queued { reply, refused }),
            None => Err(self.all_refused(refused)),
        }
    }

    fn all_refused(&self, refused: Vec<(Address, Reply)>) -> Failure {
        let is_over = refused.iter().all(|(_, reply)| reply.code() == 421);
        if is_over && !self.message_read {
            return Failure::BeforeMessage;
        }
        // A reply that bids to try again later counts most: the caller then keeps the message.
        let counts = refused.iter().find(|(_, reply)| reply.is_transient()).or(refused.first());
        match counts.map(|(_, reply)| reply.clone()) {
            Some(reply) => SubmitError::Refused { reply, recipients: refused }.into(),
            None => self.interrupted(None),
        }
    }

    fn closed(&self, closed: Closed) -> Failure {
        match closed {
            Closed::Refused { reply, .. } if reply.is_permanent() => {
                SubmitError::Refused { reply, recipients: Vec::new() }.into()
            }
            _ => self.interrupted(None),
        }
    }

    fn interrupted(&self, source: Option<io::Error>) -> Failure {
        if self.message_read {
            self.lost(self.session.stage() == Stage::EndOfData, source)
        } else {
            Failure::BeforeMessage
        }
    }

    fn lost(&self, in_doubt: bool, source: Option<io::Error>) -> Failure {
        SubmitError::Interrupted { in_doubt, source }.into()
    }
}

/// Line ends are the stuffer's business.
fn read_some(message: &mut dyn Read, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match message.read(chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn transaction(request: &Request) -> Transaction {
    let recipient = |to: &Address| RcptRequest { notify: request.notify, ..RcptRequest::new(to.clone()) };
    Transaction {
        from: request.sender.clone(),
        recipients: request.recipients.iter().map(recipient).collect(),
        size: None,
        eight_bit: request.eight_bit,
        smtputf8: false,
        ret: request.ret,
        envid: request.envid.clone(),
    }
}
