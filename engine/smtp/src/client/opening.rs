//! From the answer to EHLO to a session that is ready: TLS, then authentication.

use super::session::{Session, State};
use super::{Closed, NoAuth, Stage, Tls, Violation};
use crate::reply::Reply;
use crate::sasl::{self, Mechanism};

impl Session {
    /// What follows EHLO.
    pub(super) fn open(&mut self) -> State {
        match self.hello.tls {
            _ if self.secure => self.log_in(),
            Tls::Never | Tls::Implicit => self.log_in(),
            Tls::IfOffered if !self.offered.starttls => self.log_in(),
            Tls::Required if !self.offered.starttls => self.take_leave(Closed::NoTls),
            Tls::IfOffered | Tls::Required => {
                self.output.extend_from_slice(b"STARTTLS\r\n");
                State::ExpectTls
            }
        }
    }

    pub(super) fn after_starttls(&mut self, reply: Reply) -> State {
        match self.hello.tls {
            _ if reply.code() == 220 => State::Handshake,
            _ if reply.is_positive() || reply.is_intermediate() => {
                let code = reply.code();
                State::Closed(Closed::Protocol(Violation::WrongCode { code, stage: Stage::StartTls }))
            }
            Tls::IfOffered => self.log_in(),
            _ => self.refused_session(Stage::StartTls, reply),
        }
    }

    fn log_in(&mut self) -> State {
        let Some(login) = self.hello.login.clone() else { return State::Ready };
        // Whoever only takes the TLS that is offered may talk to anybody.
        if !self.secure || !matches!(self.hello.tls, Tls::Required | Tls::Implicit) {
            return self.take_leave(Closed::NoAuth(NoAuth::NotSecure));
        }
        let Some(mechanism) = self.offered.auth.iter().next() else {
            return self.take_leave(Closed::NoAuth(NoAuth::NotOffered));
        };
        let mut exchange = sasl::Client::new(mechanism, login.credentials, login.nonce);
        self.say_auth(mechanism, exchange.initial());
        State::ExpectAuth(Box::new(exchange))
    }

    fn say_auth(&mut self, mechanism: Mechanism, initial: Option<Vec<u8>>) {
        let name = mechanism.as_str();
        let line = match initial {
            Some(initial) => format!("AUTH {name} {}\r\n", sasl::encode(&initial)),
            None => format!("AUTH {name}\r\n"),
        };
        self.output.extend_from_slice(line.as_bytes());
    }

    pub(super) fn after_auth(&mut self, mut exchange: Box<sasl::Client>, reply: &Reply) -> State {
        if reply.code() == 334 {
            let challenge = sasl::decode(reply.text().trim()).unwrap_or_default();
            return match exchange.respond(&challenge) {
                Ok(response) => {
                    self.output.extend_from_slice(format!("{}\r\n", sasl::encode(&response)).as_bytes());
                    State::ExpectAuth(exchange)
                }
                Err(error) => {
                    self.output.extend_from_slice(b"*\r\n");
                    self.take_leave(Closed::NoAuth(NoAuth::Exchange(error)))
                }
            };
        }
        if !reply.is_positive() {
            return self.refused_session(Stage::Auth, reply.clone());
        }
        match exchange.accepted() {
            Ok(()) => State::Ready,
            Err(error) => self.take_leave(Closed::NoAuth(NoAuth::Exchange(error))),
        }
    }

    fn take_leave(&mut self, closed: Closed) -> State {
        self.output.extend_from_slice(b"QUIT\r\n");
        State::Closed(closed)
    }
}
