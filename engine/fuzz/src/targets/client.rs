//! The client's side of a session: whatever a server says, each recipient has one outcome, nobody is told more than he
//! may hear, and what is said is commands.

use mailstack_smtp::address::ReversePath;
use mailstack_smtp::client::{Action, Closed, Hello, Login, Outcome, Session, Stage, Step, Tls, Transaction};
use mailstack_smtp::command::{Notify, RcptRequest, Ret};
use mailstack_smtp::sasl::Credentials;

use super::{assert_command_lines, packets, split_settings};
use crate::seen::note;

/// What servers say.
pub const TOKENS: &[&str] = &[
    "220 mx ESMTP\r\n",
    "250-mx\r\n",
    "250-PIPELINING\r\n",
    "250-STARTTLS\r\n",
    "250-AUTH PLAIN LOGIN SCRAM-SHA-256\r\n",
    "250-SIZE 100\r\n",
    "250-CHUNKING\r\n",
    "250-8BITMIME\r\n",
    "250-SMTPUTF8\r\n",
    "250-DSN\r\n",
    "250 LIMITS RCPTMAX=1\r\n",
    "250 HELP\r\n",
    "250 2.1.0 ok\r\n",
    "250 ok\r\n",
    "354 go\r\n",
    "421 4.3.2 bye\r\n",
    "550 5.1.1 no\r\n",
    "450 later\r\n",
    "503 x\r\n",
    "500 what\r\n",
    "220 go ahead\r\n",
    "334 VXNlcm5hbWU6\r\n",
    "334 \r\n",
    "235 in\r\n",
    "535 out\r\n",
    "221 bye\r\n",
    "\r\n",
    "\n",
    "250-x\r\n550 y\r\n",
];

/// The recipients of the message.
const RECIPIENTS: usize = 3;
const PASSWORD: &str = "pencil";

/// Checks a dialogue: an octet that says who we are, one that says how replies come, then what the server says.
pub fn check(octets: &[u8]) {
    let ([who, size], said) = split_settings(octets);
    let mut peer = Peer::new(who);
    peer.converse(&packets(said, size));
    assert_eq!(peer.outcomes.len(), if peer.has_begun { RECIPIENTS } else { 0 }, "outcomes");
    note(("closed", format!("{:?}", peer.closed.as_ref().map(std::mem::discriminant))));
    let taken = peer.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Accepted(_)));
    assert!(!taken || peer.has_sent, "taken before it was sent");
    for outcome in &peer.outcomes {
        note(match outcome {
            Outcome::Accepted(_) => ("accepted", Stage::EndOfData),
            Outcome::Refused { stage, reply } if reply.is_permanent() => ("refused", *stage),
            Outcome::Refused { stage, .. } => ("deferred", *stage),
            Outcome::NoAnswer { stage } => ("lost", *stage),
        });
        match outcome {
            Outcome::Accepted(reply) => assert!(reply.is_positive(), "taken by {reply}"),
            Outcome::Refused { reply, .. } => {
                assert!(reply.is_transient() || reply.is_permanent(), "refused by {reply}");
            }
            Outcome::NoAnswer { .. } => {}
        }
    }
}

struct Peer {
    session: Session,
    tls: Tls,
    has_login: bool,
    is_secure: bool,
    has_begun: bool,
    has_sent: bool,
    is_over: bool,
    outcomes: Vec<Outcome>,
    closed: Option<Closed>,
}

impl Peer {
    fn new(who: u8) -> Self {
        let tls = match who & 3 {
            0 => Tls::Never,
            1 => Tls::IfOffered,
            2 => Tls::Required,
            _ => Tls::Implicit,
        };
        let has_login = who & 4 != 0;
        let credentials = Credentials { user: "user".to_owned(), password: PASSWORD.to_owned() };
        let login = has_login.then(|| Login { credentials, nonce: "nonce".to_owned() });
        let hello = Hello { lmtp: who & 8 != 0, tls, login, ..Hello::new("c.example") };
        Self {
            session: Session::new(hello),
            tls,
            has_login,
            is_secure: tls == Tls::Implicit,
            has_begun: false,
            has_sent: false,
            is_over: false,
            outcomes: Vec::new(),
            closed: None,
        }
    }

    fn converse(&mut self, packets: &[&[u8]]) {
        let mut held = Vec::new();
        for packet in packets {
            held.extend_from_slice(packet);
            let taken = self.feed(&held);
            held.drain(..taken);
            assert!(held.len() < mailstack_smtp::reply::MAX_LINE, "{} octets are held", held.len());
        }
        if self.closed.is_none() {
            self.session.lost();
            self.feed(b"");
        }
        assert!(self.closed.is_some(), "a lost connection is no end");
    }

    fn feed(&mut self, input: &[u8]) -> usize {
        let (mut at, mut steps) = (0, 0);
        while self.closed.is_none() {
            let Step { consumed, action } = self.session.step(&input[at..]);
            at += consumed;
            steps += 1;
            assert!(steps <= 4 * input.len() + 64, "it goes round in circles");
            self.hear();
            match action {
                Action::NeedInput => return at,
                Action::Continue => {}
                Action::Ready => self.go_on(),
                Action::StartTls => {
                    note("tls");
                    assert!(matches!(self.tls, Tls::IfOffered | Tls::Required), "TLS that nobody asked for");
                    self.session.secured();
                    self.is_secure = true;
                    self.hear();
                    assert_eq!(at, input.len(), "what came in clear is taken for what came over TLS");
                    return at;
                }
                Action::SendBody => {
                    let is_chunked = self.session.is_chunked();
                    note(("body", is_chunked));
                    self.has_sent = true;
                    if is_chunked { self.session.chunks_sent(2) } else { self.session.body_sent() }
                }
                Action::Done(outcomes) => {
                    assert!(!self.is_over, "outcomes come twice");
                    self.is_over = true;
                    self.outcomes = outcomes;
                }
                Action::Closed(closed) => self.closed = Some(closed),
            }
        }
        input.len()
    }

    fn go_on(&mut self) {
        assert!(self.is_secure || self.tls != Tls::Required, "ready without the TLS that is required");
        assert!(!self.has_login || self.is_secure, "ready without authentication");
        if self.has_begun {
            return self.session.quit();
        }
        match self.session.begin(transaction()) {
            Ok(()) => self.has_begun = true,
            Err(why) => {
                note(format!("{why:?}"));
                self.session.quit();
            }
        }
        self.hear();
    }

    /// What is said is commands, and none that this server may not hear.
    fn hear(&mut self) {
        let said = self.session.take_output();
        // The end of a message that nobody is to get (RFC 2920 3.1).
        assert_command_lines(&said);
        let text = String::from_utf8_lossy(&said);
        for line in text.lines() {
            let verb = line.split([' ', ':']).next().unwrap_or_default();
            note(("said", verb.chars().take(8).collect::<String>()));
            if self.tls == Tls::Required && !self.is_secure {
                let may = ["EHLO", "HELO", "LHLO", "STARTTLS", "QUIT"].contains(&verb);
                assert!(may, "{line:?} is said in clear");
            }
            let is_secret = verb == "AUTH" || line.contains(PASSWORD) || line.contains("cGVuY2ls");
            assert!(self.is_secure || !is_secret, "{line:?} is said in clear");
        }
    }
}

/// One with all that could be taken for more than it is.
fn transaction() -> Transaction {
    let address = |local: &str| {
        let domain = "mx.example".parse().map(mailstack_smtp::address::Domain::Name).ok();
        mailstack_smtp::address::Address::new(local, domain).ok()
    };
    let locals = ["b", "a b>\" NOTIFY=NEVER", "x> SIZE=0"];
    let mut recipients: Vec<RcptRequest> =
        locals.iter().filter_map(|local| address(local)).map(RcptRequest::new).collect();
    assert_eq!(recipients.len(), RECIPIENTS);
    if let Some(first) = recipients.first_mut() {
        first.notify = Some(Notify::default());
        first.orcpt = Some("rfc822;x\r\nQUIT".to_owned());
    }
    Transaction {
        from: address("a@b").map_or(ReversePath::Null, ReversePath::Address),
        recipients,
        size: Some(50),
        eight_bit: false,
        ret: Some(Ret::Headers),
        envid: Some("x\r\nRSET".to_owned()),
        smtputf8: false,
    }
}
