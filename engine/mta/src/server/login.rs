//! AUTH: who may, and what a wrong answer costs.
//!
//! Passwords are not kept, so a check takes some milliseconds of a core: only as many at once as there are cores.
//! Whoever guesses waits after each failure, and after some of them is not listened to for a while.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mailstack_policy::{Client, DomainName};
use mailstack_runtime::{Auth, AuthMechanism};
use mailstack_smtp::reply::{Enhanced, Reply};
use mailstack_smtp::sasl::{DEFAULT_ITERATIONS, Exchange, Mechanism, Mechanisms, Progress, Verifier};
use mailstack_smtp::server::Answer;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;

use super::listen::counted_as;
use super::session::Driver;
use crate::event::Event;

/// The wait before a failure is answered.
const PENALTY: Duration = Duration::from_secs(2);
/// Failures of one client before it is not listened to.
const MAX_FAILURES: u32 = 10;
/// For how long failures are remembered.
const MEMORY: Duration = Duration::from_secs(10 * 60);
/// Clients that are remembered.
const MAX_CLIENTS: usize = 10_000;

/// As Sendmail says it: not whether the user or the password is wrong.
const FAILED: Reply = Reply::fixed(535, Enhanced(5, 7, 0), "authentication failed");
const TEMPORARY: Reply = Reply::fixed(454, Enhanced(4, 3, 0), "Temporary authentication failure");
const GUESSER: Reply =
    Reply::fixed(421, Enhanced(4, 7, 0), "Too many failed authentications; try again in ten minutes");

/// Who may authenticate.
pub(super) struct Authority {
    mechanisms: Mechanisms,
    realm: Option<DomainName>,
    users: BTreeMap<String, Verifier>,
    /// For the answers to users who are none.
    secret: [u8; 32],
    nobody: Verifier,
    random: SystemRandom,
    checks: Semaphore,
    failures: Mutex<HashMap<IpAddr, (u32, Instant)>>,
}

impl Authority {
    pub(super) fn new(auth: &Auth, users: BTreeMap<String, Verifier>) -> Self {
        let random = SystemRandom::new();
        let mut secret = [0; 32];
        // Without randomness no exchange begins; see `begin`.
        let _ = random.fill(&mut secret);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            mechanisms: auth.mechanisms.iter().map(|mechanism| known(*mechanism)).collect(),
            realm: auth.realm.clone(),
            users,
            nobody: Verifier::derive("", &secret[..16], DEFAULT_ITERATIONS),
            secret,
            random,
            checks: Semaphore::new(cores),
            failures: Mutex::default(),
        }
    }

    pub(super) fn mechanisms(&self) -> Mechanisms {
        self.mechanisms
    }

    /// None: there is no randomness.
    fn begin(&self, mechanism: Mechanism) -> Option<Exchange> {
        let mut nonce = [0; 18];
        self.random.fill(&mut nonce).ok()?;
        let nonce = nonce.iter().map(|octet| format!("{octet:02x}")).collect();
        Some(Exchange::new(mechanism, nonce, self.secret))
    }

    /// What is kept of a user's password. `alice@REALM` is `alice`.
    fn find(&self, name: &str) -> Option<Verifier> {
        let bare = name.rsplit_once('@').filter(|(_, domain)| {
            self.realm.as_ref().is_some_and(|realm| domain.eq_ignore_ascii_case(realm.as_str()))
        });
        self.users.get(name).or_else(|| self.users.get(bare?.0)).cloned()
    }

    /// Whether this is the user's password. Takes as long where there is no such user.
    async fn is_password(&self, user: &str, password: String) -> bool {
        let found = self.find(user);
        let is_known = found.is_some();
        let kept = found.unwrap_or_else(|| self.nobody.clone());
        let Ok(_slot) = self.checks.acquire().await else { return false };
        let checked = tokio::task::spawn_blocking(move || kept.is_of(&password)).await;
        checked.unwrap_or(false) && is_known
    }

    fn is_guesser(&self, client: IpAddr) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&client).is_some_and(|(count, last)| *count >= MAX_FAILURES && last.elapsed() < MEMORY)
    }

    fn count_failure(&self, client: IpAddr) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MAX_CLIENTS {
            failures.retain(|_, (_, last)| last.elapsed() < MEMORY);
            // So many at once are no guesser but an attack from everywhere, which the waits alone must slow down.
            if failures.len() >= MAX_CLIENTS {
                failures.clear();
            }
        }
        let (count, last) = failures.entry(client).or_insert((0, Instant::now()));
        *count = if last.elapsed() < MEMORY { count.saturating_add(1) } else { 1 };
        *last = Instant::now();
    }

    fn forget_failures(&self, client: IpAddr) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&client);
    }
}

fn known(mechanism: AuthMechanism) -> Mechanism {
    match mechanism {
        AuthMechanism::Plain => Mechanism::Plain,
        AuthMechanism::Login => Mechanism::Login,
        AuthMechanism::ScramSha256 => Mechanism::ScramSha256,
    }
}

impl Driver {
    /// AUTH.
    pub(super) async fn authenticate(&mut self, mechanism: Mechanism, initial: Option<Vec<u8>>) {
        let Some(authority) = self.shared.authority.clone() else {
            return self.session.answer(TEMPORARY);
        };
        if self.client_address().is_some_and(|client| authority.is_guesser(client)) {
            return self.session.answer(GUESSER);
        }
        let Some(exchange) = authority.begin(mechanism) else {
            return self.session.answer(TEMPORARY);
        };
        let first = exchange.first_challenge().to_vec();
        self.exchange = Some(exchange);
        match initial {
            Some(response) => self.respond(&response).await,
            None => self.session.answer(Answer::Challenge(first)),
        }
    }

    /// The response to a challenge.
    pub(super) async fn respond(&mut self, response: &[u8]) {
        let (Some(authority), Some(mut exchange)) = (self.shared.authority.clone(), self.exchange.take())
        else {
            return self.session.answer(TEMPORARY);
        };
        match exchange.step(response, &|user| authority.find(user)) {
            Progress::Challenge(challenge) => {
                self.exchange = Some(exchange);
                self.session.answer(Answer::Challenge(challenge));
            }
            Progress::Check { user, password } => match authority.is_password(&user, password).await {
                true => self.admit(&authority, user),
                false => self.turn_down(&authority, Some(user)).await,
            },
            Progress::Success { user } => self.admit(&authority, user),
            Progress::Failure { user } => self.turn_down(&authority, user).await,
            Progress::Malformed => self.turn_down(&authority, None).await,
        }
    }

    fn admit(&mut self, authority: &Arc<Authority>, user: String) {
        if let Client::Network { addr } = self.arrival.client {
            authority.forget_failures(counted_as(addr));
            self.arrival.client = Client::Authenticated { addr };
        }
        let peer = self.arrival.peer.clone();
        self.shared.events.emit(Event::Authenticated { peer, user: user.clone() });
        self.arrival.user = Some(user);
        self.session.answer(Answer::Accept);
    }

    async fn turn_down(&mut self, authority: &Arc<Authority>, user: Option<String>) {
        if let Some(client) = self.client_address() {
            authority.count_failure(client);
        }
        tokio::time::sleep(PENALTY).await;
        let command = format!("AUTH, user={}", user.as_deref().unwrap_or("?"));
        let reply = self.refused(command, FAILED);
        self.session.answer(reply);
    }

    fn client_address(&self) -> Option<IpAddr> {
        match self.arrival.client {
            Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } => {
                Some(counted_as(addr))
            }
            Client::Local { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guesser_is_known_by_his_address_and_forgotten_when_he_knows() {
        let auth = Auth {
            mechanisms: [AuthMechanism::Plain].into(),
            realm: Some("corp.example".parse().unwrap()),
            users: "/users".into(),
        };
        let verifier = Verifier::derive("pencil", b"salt", std::num::NonZeroU32::new(4096).unwrap());
        let authority = Authority::new(&auth, BTreeMap::from([("alice".to_owned(), verifier)]));
        for (name, known) in
            [("alice", true), ("alice@CORP.example", true), ("alice@far.example", false), ("Alice", false)]
        {
            assert_eq!(authority.find(name).is_some(), known, "{name}");
        }
        let client = "192.0.2.1".parse().unwrap();
        (0..MAX_FAILURES).for_each(|_| {
            assert!(!authority.is_guesser(client));
            authority.count_failure(client);
        });
        assert!(authority.is_guesser(client) && !authority.is_guesser("192.0.2.2".parse().unwrap()));
        authority.forget_failures(client);
        assert!(!authority.is_guesser(client));
        for n in 0..=MAX_CLIENTS as u32 {
            authority.count_failure(IpAddr::V4(n.into()));
        }
        assert!(authority.failures.lock().unwrap().len() <= MAX_CLIENTS);
    }
}
