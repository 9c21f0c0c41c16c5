//! The client's side of an exchange.

use std::num::NonZeroU32;

use super::{Credentials, Mechanism, attributes, decode, encode, is_same, verifier};

/// The most that a server may make a client hash: some tenths of a second.
const MAX_ITERATIONS: u32 = 1_000_000;
/// RFC 7677 4: fewer would give the password away to a server that only pretends.
const MIN_ITERATIONS: u32 = 4_096;

/// Why an exchange is given up. The server is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// A challenge where there is nothing more to say.
    #[error("unexpected challenge")]
    Unexpected,
    /// A challenge that is none of the mechanism.
    #[error("the challenge makes no sense")]
    Malformed,
    /// Iterations out of bounds.
    #[error("the server asks for too few or too many iterations")]
    Iterations,
    /// The server did not show that it knows the password.
    #[error("the server did not prove that it knows the user")]
    NoProof,
}

/// One exchange.
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    state: State,
}

#[derive(Debug)]
enum State {
    Plain,
    LoginUser,
    LoginPassword,
    ScramFirst { nonce: String },
    ScramSent { nonce: String },
    ScramFinal { signature: [u8; 32] },
    Over { proven: bool },
}

impl Client {
    /// An exchange. `nonce`: random, printable, no comma.
    pub fn new(mechanism: Mechanism, credentials: Credentials, nonce: String) -> Self {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginUser,
            Mechanism::ScramSha256 => State::ScramFirst { nonce },
        };
        Self { credentials, state }
    }

    /// What is said with AUTH; None: the server asks first.
    pub fn initial(&mut self) -> Option<Vec<u8>> {
        let Credentials { user, password } = &self.credentials;
        match std::mem::replace(&mut self.state, State::Over { proven: false }) {
            State::Plain => {
                self.state = State::Over { proven: true };
                Some(format!("\0{user}\0{password}").into_bytes())
            }
            State::ScramFirst { nonce } => {
                let first = format!("n,,n={},r={nonce}", escaped(user));
                self.state = State::ScramSent { nonce };
                Some(first.into_bytes())
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The response to a challenge.
    pub fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        let Credentials { user, password } = &self.credentials;
        match std::mem::replace(&mut self.state, State::Over { proven: false }) {
            State::LoginUser => {
                self.state = State::LoginPassword;
                Ok(user.clone().into_bytes())
            }
            State::LoginPassword => {
                self.state = State::Over { proven: true };
                Ok(password.clone().into_bytes())
            }
            State::ScramSent { nonce } => self.prove(&nonce, challenge),
            State::ScramFinal { signature } => {
                let text = std::str::from_utf8(challenge).map_err(|_| ClientError::Malformed)?;
                let (_, said) = attributes(text).find(|(key, _)| *key == "v").ok_or(ClientError::NoProof)?;
                let proven = decode(said).is_some_and(|said| is_same(&said, &signature));
                self.state = State::Over { proven };
                if proven { Ok(Vec::new()) } else { Err(ClientError::NoProof) }
            }
            State::Plain | State::ScramFirst { .. } | State::Over { .. } => Err(ClientError::Unexpected),
        }
    }

    /// The server said yes. Errors: it has not shown that it knows the password (RFC 5802 5).
    pub fn accepted(&self) -> Result<(), ClientError> {
        if let State::Over { proven: true } = self.state { Ok(()) } else { Err(ClientError::NoProof) }
    }

    fn prove(&mut self, nonce: &str, challenge: &[u8]) -> Result<Vec<u8>, ClientError> {
        let first = std::str::from_utf8(challenge).map_err(|_| ClientError::Malformed)?;
        let value = |wanted: &str| attributes(first).find(|(key, _)| *key == wanted).map(|(_, value)| value);
        let whole = value("r").filter(|whole| whole.len() > nonce.len() && whole.starts_with(nonce));
        let salt = value("s").and_then(decode).filter(|salt| !salt.is_empty());
        let (whole, salt) = whole.zip(salt).ok_or(ClientError::Malformed)?;
        let count: u32 = value("i").and_then(|i| i.parse().ok()).ok_or(ClientError::Malformed)?;
        let iterations =
            NonZeroU32::new(count).filter(|_| (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&count));
        let salted =
            verifier::salted(&self.credentials.password, &salt, iterations.ok_or(ClientError::Iterations)?);
        let client_key = verifier::sign(&salted, b"Client Key");
        let without_proof = format!("c={},r={whole}", encode(b"n,,"));
        let auth_message =
            format!("n={},r={nonce},{first},{without_proof}", escaped(&self.credentials.user)).into_bytes();
        let signature = verifier::sign(&verifier::hash(&client_key), &auth_message);
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        let server_key = verifier::sign(&salted, b"Server Key");
        self.state = State::ScramFinal { signature: verifier::sign(&server_key, &auth_message) };
        Ok(format!("{without_proof},p={}", encode(&proof)).into_bytes())
    }
}

/// RFC 5802 5.1.
fn escaped(user: &str) -> String {
    user.replace('=', "=3D").replace(',', "=2C")
}
