//! The server's side of a session: one answer a command, nothing out of order, nothing without bound.

use mailstack_smtp::address::Address;
use mailstack_smtp::reply::{Enhanced, Reply};
use mailstack_smtp::sasl::{Exchange, Mechanism, Mechanisms, Progress};
use mailstack_smtp::server::{Action, Answer, Closing, HelloFirst, MAX_COMMAND, Offer, Session};

use super::{packets, replies_in, split_settings};
use crate::seen::note;

/// Lines of sessions.
pub const TOKENS: &[&str] = &[
    "EHLO c.example\r\n",
    "HELO c\r\n",
    "MAIL FROM:<a@c.example>\r\n",
    "MAIL FROM:<>\r\n",
    "RCPT TO:<b@mx.example>\r\n",
    "RCPT TO:<nobody@mx.example>\r\n",
    "RCPT TO:<leave@mx.example>\r\n",
    "RCPT TO:<b@c>\r\nDATA\r\n",
    "DATA\r\n",
    "\r\n.\r\n",
    ".\r\n",
    "\n.\n",
    "\r.\r\n",
    "BDAT 3 LAST\r\nabc",
    "BDAT 5\r\n",
    "BDAT 0 LAST\r\n",
    "BDAT x\r\n",
    "RSET\r\n",
    "NOOP\r\n",
    "QUIT\r\n",
    "VRFY b\r\n",
    "EXPN b\r\n",
    "ETRN c\r\n",
    "HELP\r\n",
    "STARTTLS\r\n",
    "AUTH PLAIN AGEAYg==\r\n",
    "AUTH LOGIN\r\n",
    "*\r\n",
    "AUTH SCRAM-SHA-256 biws\r\n",
    "YQ==\r\n",
    " SIZE=99999",
    " BODY=8BITMIME SMTPUTF8",
    " NOTIFY=NEVER",
    "\u{e9}@x>\r\n",
    "\r\n",
    "\n",
    "\0",
];

/// Octets of a message, and accepted recipients of it: small, so that they are met.
const MAX_SIZE: u64 = 300;
const MAX_RECIPIENTS: u32 = 3;

/// Checks a stream: an octet that says what is offered, one that says how the stream comes, then the stream.
pub fn check(octets: &[u8]) {
    let ([offered, size], stream) = split_settings(octets);
    let one_by_one = Served::of(offer(offered), stream.chunks(1));
    let whole = Served::of(offer(offered), std::iter::once(stream));
    let parted = Served::of(offer(offered), packets(stream, size).into_iter());
    note(("closed", one_by_one.closed, whole.closed));
    // A client that does not wait where it must is sent away for it, and nothing else comes of it.
    for served in [&whole, &parted] {
        assert!(one_by_one.messages.starts_with(&served.messages), "packets make other messages");
    }
}

fn offer(setting: u8) -> Offer {
    let has = |bit: u8| setting & (1 << bit) != 0;
    Offer {
        max_size: MAX_SIZE,
        max_line: 60,
        max_recipients: MAX_RECIPIENTS,
        max_errors: 6,
        max_idle_commands: 12,
        starttls: has(0),
        auth: if has(1) { Mechanism::ALL.into_iter().collect() } else { Mechanisms::default() },
        auth_in_clear: has(2),
        chunking: !has(3),
        smtputf8: !has(4),
        dsn: !has(5),
        etrn: has(5),
        limits: has(5),
        needs_auth: has(6),
        local: has(7),
        denied: (setting == 0xff).then(|| Reply::fixed(554, Enhanced(5, 7, 1), "Access denied")),
        hello_first: HelloFirst { mail: !has(7), verify: has(4), expand: has(4) },
        ..Offer::new("mx.example")
    }
}

/// A session that was served.
struct Served {
    session: Session,
    messages: Vec<Vec<u8>>,
    body: Vec<u8>,
    /// Whether a message may come now.
    is_open: bool,
    recipients: u32,
    exchange: Option<Exchange>,
    closed: Option<Closing>,
    /// Replies since the last command was taken.
    replies: usize,
    /// More than one answer was given: only the end may follow.
    is_ending: bool,
    last: &'static str,
}

impl Served {
    fn of<'s>(offer: Offer, packets: impl Iterator<Item = &'s [u8]>) -> Self {
        let mut served = Self {
            session: Session::new(offer),
            messages: Vec::new(),
            body: Vec::new(),
            is_open: false,
            recipients: 0,
            exchange: None,
            closed: None,
            replies: 0,
            is_ending: false,
            last: "begin",
        };
        assert_eq!(replies_in(&served.session.take_output()), 1, "not one greeting");
        let mut held: Vec<u8> = Vec::new();
        for packet in packets {
            held.extend_from_slice(packet);
            let taken = served.feed(&held);
            held.drain(..taken);
            if served.closed.is_some() {
                break;
            }
            assert!(held.len() < MAX_COMMAND, "{} octets are held", held.len());
        }
        served
    }

    /// Steps until more is needed; returns the octets that were taken.
    fn feed(&mut self, input: &[u8]) -> usize {
        let (mut at, mut steps) = (0, 0);
        loop {
            let step = self.session.step(&input[at..]);
            at += step.consumed;
            steps += 1;
            assert!(steps <= 4 * input.len() + 16, "it goes round in circles");
            if step.consumed > 0 {
                self.replies = 0;
            }
            let is_close = matches!(step.action, Action::Close(_));
            assert!(is_close || !self.is_ending, "two answers to one command, after {}", self.last);
            let (name, answer) = match step.action {
                Action::NeedInput => {
                    self.hear();
                    return at;
                }
                Action::StartTls => {
                    self.hear();
                    assert!(self.session.offer().starttls, "TLS that is not offered");
                    assert_eq!(at, input.len(), "what came in clear is taken for what came over TLS");
                    self.session.secured();
                    self.forget();
                    return at;
                }
                Action::Close(why) => {
                    self.hear();
                    self.closed = Some(why);
                    return input.len();
                }
                action => self.answer(action),
            };
            note((self.last, name));
            self.last = name;
            if let Some(answer) = answer {
                self.session.answer(answer);
            }
            self.hear();
        }
    }

    /// One command has one answer; a session that ends may say so besides.
    fn hear(&mut self) {
        self.replies += replies_in(&self.session.take_output());
        assert!(self.replies <= 2, "{} answers to one command, after {}", self.replies, self.last);
        self.is_ending |= self.replies == 2;
    }

    fn answer(&mut self, action: Action<'_>) -> (&'static str, Option<Answer>) {
        match action {
            Action::Hello { .. } => {
                self.forget();
                ("hello", Some(Answer::Accept))
            }
            Action::Mail(request) => ("mail", Some(judge(request.from.address()))),
            Action::Rcpt(request) => {
                let answer = judge(Some(&request.to));
                self.recipients += u32::from(answer == Answer::Accept);
                assert!(self.recipients <= MAX_RECIPIENTS, "{} recipients", self.recipients);
                ("rcpt", Some(answer))
            }
            Action::DataStart => {
                assert!(self.recipients > 0, "a message for nobody");
                self.is_open = true;
                ("data", Some(Answer::Accept))
            }
            Action::Body(octets) => {
                assert!(self.is_open, "a message that was not announced");
                self.body.extend_from_slice(octets);
                assert!(self.body.len() as u64 <= MAX_SIZE, "{} octets", self.body.len());
                ("body", None)
            }
            Action::EndOfData => {
                assert!(self.is_open, "the end of no message");
                assert!(self.body.is_empty() || self.body.ends_with(b"\r\n"), "a line without its end");
                self.messages.push(std::mem::take(&mut self.body));
                self.forget();
                ("end", Some(Answer::Accept))
            }
            Action::Aborted(fault) => {
                note(fault);
                self.forget();
                ("aborted", None)
            }
            Action::Reset => {
                self.forget();
                ("reset", None)
            }
            Action::Auth { mechanism, initial } => {
                assert!(self.session.offer().usable_auth().has(mechanism), "AUTH that is not offered");
                let exchange = Exchange::new(mechanism, "nonce".to_owned(), [7; 32]);
                let first = exchange.first_challenge().to_vec();
                self.exchange = Some(exchange);
                ("auth", Some(initial.map_or(Answer::Challenge(first), |initial| self.respond(&initial))))
            }
            Action::Response(response) => ("response", Some(self.respond(&response))),
            Action::AuthAborted => ("no auth", None),
            Action::Verify(_) | Action::Expand(_) | Action::Etrn(_) => ("ask", Some(Answer::Accept)),
            _ => ("", None),
        }
    }

    /// Nobody is known; who says the password `b` is let in.
    fn respond(&mut self, response: &[u8]) -> Answer {
        let no = || Answer::Reply(Reply::fixed(535, Enhanced(5, 7, 8), "authentication failed"));
        match self.exchange.as_mut().map(|exchange| exchange.step(response, &|_| None)) {
            Some(Progress::Challenge(challenge)) => Answer::Challenge(challenge),
            Some(Progress::Check { password, .. }) if password == "b" => Answer::Accept,
            _ => no(),
        }
    }

    fn forget(&mut self) {
        self.body.clear();
        (self.is_open, self.recipients) = (false, 0);
    }
}

/// `nobody` is unknown, `leave` is sent away; all others are welcome.
fn judge(address: Option<&Address>) -> Answer {
    match address.map(Address::local) {
        Some("nobody") => Reply::fixed(550, Enhanced(5, 1, 1), "User unknown").into(),
        Some("leave") => Reply::fixed(421, Enhanced(4, 3, 2), "mx.example Closing").into(),
        _ => Answer::Accept,
    }
}
