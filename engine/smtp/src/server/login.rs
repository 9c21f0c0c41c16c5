//! AUTH: challenges out, responses in (RFC 4954 4).

use super::session::{Session, State};
use super::state::{Due, Expect};
use super::{Action, words};
use crate::reply::Reply;
use crate::sasl;

impl Session {
    pub(super) fn challenge(&mut self, octets: &[u8]) {
        self.say(&words::challenge(octets));
        self.state = State::Response;
    }

    pub(super) fn response<'a>(&mut self, line: &[u8]) -> Action<'a> {
        let text = std::str::from_utf8(line).unwrap_or_default().trim();
        if text == "*" {
            return self.no_response(words::AUTH_ABORTED);
        }
        match sasl::decode(text) {
            Some(octets) => {
                self.state = State::Due(Due::Auth);
                Action::Response(octets)
            }
            None => self.no_response(words::NOT_BASE64),
        }
    }

    /// The exchange is over.
    pub(super) fn no_response<'a>(&mut self, reply: Reply) -> Action<'a> {
        self.state = State::Command(Expect::Mail);
        self.wrong(reply);
        Action::AuthAborted
    }

    /// Whether the client has shown who it is.
    pub fn is_authenticated(&self) -> bool {
        self.authenticated
    }
}
