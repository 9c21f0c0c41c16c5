//! A driver of the server's session with a policy of a few names.

use mailstack_smtp::address::Address;
use mailstack_smtp::data::Fault;
use mailstack_smtp::reply::{Enhanced, Reply};
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
}

impl Server {
    pub(crate) fn new(offer: Offer) -> Self {
        let (input, output, body) = (Vec::new(), Vec::new(), Vec::new());
        let (messages, aborted) = (Vec::new(), Vec::new());
        Self { session: Session::new(offer), input, output, messages, aborted, closed: None, body }
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
