//! The server's side of an exchange.

use super::{Mechanism, Verifier, attributes, decode, encode, verifier};

/// The most octets of a user's name and of a password.
const MAX_TEXT: usize = 255;

/// What follows a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Say this, and give the response to [`Exchange::step`].
    Challenge(Vec<u8>),
    /// Look whether this is the user's password.
    Check {
        /// Who.
        user: String,
        /// With what.
        password: String,
    },
    /// It is this user.
    Success {
        /// Who.
        user: String,
    },
    /// It is not, or not known to be.
    Failure {
        /// Who it was said to be, as far as it came.
        user: Option<String>,
    },
    /// What came is no response of the mechanism.
    Malformed,
}

/// One exchange.
#[derive(Debug)]
pub struct Exchange {
    state: State,
    /// This server's part of the nonce, printable and without a comma.
    nonce: String,
    /// What makes up the salt of a user who is none, so that nobody is told.
    secret: [u8; 32],
}

#[derive(Debug)]
enum State {
    Plain,
    LoginUser,
    LoginPassword {
        user: String,
    },
    ScramFirst,
    ScramFinal(Box<Scram>),
    /// The server has shown that it knows the user; the client has nothing more to say.
    ScramEnd {
        user: String,
    },
    Over,
}

#[derive(Debug)]
struct Scram {
    user: String,
    /// `c=` as it must come, in base64.
    binding: String,
    nonce: String,
    /// The messages so far, as they are signed.
    so_far: String,
    verifier: Verifier,
    is_known: bool,
}

impl Exchange {
    /// An exchange. `nonce`: random, printable, no comma; `secret`: random, the same for all exchanges of a server.
    pub fn new(mechanism: Mechanism, nonce: String, secret: [u8; 32]) -> Self {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginUser,
            Mechanism::ScramSha256 => State::ScramFirst,
        };
        Self { state, nonce, secret }
    }

    /// What the server says where the client said nothing with AUTH.
    pub fn first_challenge(&self) -> &'static [u8] {
        match self.state {
            State::LoginUser => b"Username:",
            _ => b"",
        }
    }

    /// Takes a response. `find`: what is kept of a user's password.
    pub fn step(&mut self, response: &[u8], find: &dyn Fn(&str) -> Option<Verifier>) -> Progress {
        let state = std::mem::replace(&mut self.state, State::Over);
        let Ok(text) = std::str::from_utf8(response) else { return Progress::Malformed };
        match state {
            State::Plain => plain(text),
            State::LoginUser if is_text(text) => {
                self.state = State::LoginPassword { user: text.to_owned() };
                Progress::Challenge(b"Password:".to_vec())
            }
            State::LoginPassword { user } if is_text(text) => {
                Progress::Check { user, password: text.to_owned() }
            }
            State::ScramFirst => self.scram_first(text, find).unwrap_or(Progress::Malformed),
            State::ScramFinal(scram) => self.scram_final(*scram, text),
            State::ScramEnd { user } if text.is_empty() => Progress::Success { user },
            _ => Progress::Malformed,
        }
    }

    /// RFC 5802 7, client-first-message. Channel binding is not offered; a client that saw that says `n` or `y`.
    fn scram_first(&mut self, text: &str, find: &dyn Fn(&str) -> Option<Verifier>) -> Option<Progress> {
        let header_end = text.match_indices(',').nth(1)?.0 + 1;
        let (header, bare) = text.split_at(header_end);
        let (flag, authzid) =
            header.trim_end_matches(',').split_once(',').unwrap_or((header.split(',').next()?, ""));
        let mut parts = attributes(bare);
        let user = parts.next().filter(|(key, _)| *key == "n").and_then(|(_, name)| unescaped(name))?;
        let (_, client_nonce) = parts.next().filter(|(key, nonce)| *key == "r" && !nonce.is_empty())?;
        let acts_for_itself = authzid.is_empty() || authzid.strip_prefix("a=").and_then(unescaped)? == user;
        if !matches!(flag, "n" | "y") || !acts_for_itself || !is_text(&user) || client_nonce.len() > MAX_TEXT
        {
            return None;
        }
        let found = find(&user);
        let is_known = found.is_some();
        let verifier = found.unwrap_or_else(|| self.nobody(&user));
        let nonce = format!("{client_nonce}{}", self.nonce);
        let first = format!("r={nonce},s={},i={}", encode(&verifier.salt), verifier.iterations);
        let (so_far, binding) = (format!("{bare},{first}"), encode(header.as_bytes()));
        self.state = State::ScramFinal(Box::new(Scram { user, binding, nonce, so_far, verifier, is_known }));
        Some(Progress::Challenge(first.into_bytes()))
    }

    fn scram_final(&mut self, scram: Scram, text: &str) -> Progress {
        let Some((without_proof, proof)) = text.rsplit_once(",p=") else { return Progress::Malformed };
        let expected = format!("c={},r={}", scram.binding, scram.nonce);
        let Some(proof) = decode(proof).filter(|_| without_proof == expected) else {
            return Progress::Malformed;
        };
        let auth_message = format!("{},{without_proof}", scram.so_far).into_bytes();
        if !scram.verifier.proves(&auth_message, &proof) || !scram.is_known {
            return Progress::Failure { user: Some(scram.user) };
        }
        let signature = encode(&scram.verifier.server_signature(&auth_message));
        self.state = State::ScramEnd { user: scram.user };
        Progress::Challenge(format!("v={signature}").into_bytes())
    }

    /// The verifier of a user who is none: the same salt each time, and no password.
    fn nobody(&self, user: &str) -> Verifier {
        let salt = &verifier::sign(&self.secret, user.as_bytes())[..16];
        let (stored, server) = (encode(&self.secret), encode(&self.secret));
        let text =
            format!("SCRAM-SHA-256${}:{}${stored}:{server}", verifier::DEFAULT_ITERATIONS, encode(salt));
        text.parse().unwrap_or_else(|_| Verifier::derive(&stored, salt, verifier::DEFAULT_ITERATIONS))
    }
}

/// RFC 4616 2: authorization identity, user, password.
fn plain(text: &str) -> Progress {
    let parts: Vec<&str> = text.split('\0').collect();
    match parts.as_slice() {
        [as_whom, user, password]
            if (as_whom.is_empty() || as_whom == user) && is_text(user) && is_text(password) =>
        {
            Progress::Check { user: (*user).to_owned(), password: (*password).to_owned() }
        }
        // To act for another is nobody's right here.
        [_, user, _] if is_text(user) => Progress::Failure { user: Some((*user).to_owned()) },
        _ => Progress::Malformed,
    }
}

fn is_text(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len()) && !text.contains(char::is_control)
}

/// RFC 5802 5.1: `=2C` is a comma, `=3D` an equals sign.
fn unescaped(name: &str) -> Option<String> {
    let plain = name.replace("=2C", ",").replace("=3D", "=");
    let escapes = name.matches('=').count();
    (escapes == name.matches("=2C").count() + name.matches("=3D").count()).then_some(plain)
}
