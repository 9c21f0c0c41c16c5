//! A driver of the server's session with a policy of a few names.

use std::num::NonZeroU32;

use mailstack_smtp::address::Address;
use mailstack_smtp::data::Fault;
use mailstack_smtp::reply::{Enhanced, Reply};
use mailstack_smtp::sasl::{Exchange, Progress, Verifier};
use mailstack_smtp::server::{Action, Answer, Closing, Offer, Session};

/// What a session came to.
pub(crate) struct Server {
    pub(crate) session: Session,
    pub(crate) input: Vec<u8>,
    pub(crate) output: Vec<u8>,
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) aborted: Vec<Fault>,
    pub(crate) closed: Option<Closing>,
    body: Vec<u8>,
    exchange: Option<Exchange>,
}

impl Server {
    pub(crate) fn new(offer: Offer) -> Self {
        let (input, output, body) = (Vec::new(), Vec::new(), Vec::new());
        let (messages, aborted) = (Vec::new(), Vec::new());
        Self {
            session: Session::new(offer),
            input,
            output,
            messages,
            aborted,
            closed: None,
            body,
            exchange: None,
        }
    }

    /// Gives the session a packet and answers what it asks.
    pub(crate) fn packet(&mut self, packet: &[u8]) {
        self.input.extend_from_slice(packet);
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while self.closed.is_none() {
            let step = self.session.step(&input[at..]);
            at += step.consumed;
            let answer = match step.action {
                Action::NeedInput => break,
                Action::StartTls => {
                    assert_eq!(at, input.len(), "input behind STARTTLS");
                    self.session.secured();
                    None
                }
                Action::Auth { mechanism, initial } => {
                    let exchange = Exchange::new(mechanism, "nonce".to_owned(), [7; 32]);
                    let first = exchange.first_challenge().to_vec();
                    self.exchange = Some(exchange);
                    Some(initial.map_or(Answer::Challenge(first), |response| self.respond(&response)))
                }
                Action::Response(response) => Some(self.respond(&response)),
                Action::AuthAborted => {
                    self.exchange = None;
                    None
                }
                Action::Continue | Action::Reset => None,
                Action::Hello { .. } | Action::DataStart | Action::Expand(_) | Action::Etrn(_) => {
                    Some(Answer::Accept)
                }
                Action::Verify(_) => Some(Answer::Accept),
                Action::Mail(request) => Some(judge(request.from.address())),
                Action::Rcpt(request) => Some(judge(Some(&request.to))),
                Action::Body(octets) => {
                    self.body.extend_from_slice(octets);
                    None
                }
                Action::EndOfData => {
                    self.messages.push(std::mem::take(&mut self.body));
                    Some(Answer::Accept)
                }
                Action::Aborted(fault) => {
                    self.body.clear();
                    self.aborted.push(fault);
                    None
                }
                Action::Close(why) => {
                    self.closed = Some(why);
                    None
                }
            };
            if let Some(answer) = answer {
                self.session.answer(answer);
            }
        }
        self.input = input[at..].to_vec();
        self.output.extend(self.session.take_output());
    }

    /// Alice is known, by the password pencil.
    fn respond(&mut self, response: &[u8]) -> Answer {
        let kept = || Verifier::derive("pencil", b"salt", NonZeroU32::new(4096).unwrap());
        let find = |user: &str| (user == "alice").then(kept);
        let yes = match self.exchange.as_mut().unwrap().step(response, &find) {
            Progress::Challenge(challenge) => return Answer::Challenge(challenge),
            Progress::Check { user, password } => find(&user).is_some_and(|kept| kept.is_of(&password)),
            Progress::Success { .. } => true,
            Progress::Failure { .. } | Progress::Malformed => false,
        };
        match yes {
            true => Answer::Accept,
            false => Reply::fixed(535, Enhanced(5, 7, 8), "authentication failed").into(),
        }
    }

    pub(crate) fn take_output(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.output)).unwrap()
    }
}

/// `nobody` is unknown, `later` comes too early, `leave` is sent away; all others are welcome.
fn judge(address: Option<&Address>) -> Answer {
    match address.map(Address::local) {
        Some("nobody") => Reply::fixed(550, Enhanced(5, 1, 1), "User unknown").into(),
        Some("later") => Reply::fixed(450, Enhanced(4, 2, 0), "Come back later").into(),
        Some("leave") => Reply::fixed(421, Enhanced(4, 3, 2), "mx.example Closing").into(),
        _ => Answer::Accept,
    }
}

/// An offer with small limits.
pub(crate) fn offer() -> Offer {
    Offer {
        max_size: 2000,
        max_line: 200,
        max_recipients: 3,
        max_errors: 5,
        max_idle_commands: 8,
        ..Offer::new("mx.example")
    }
}
