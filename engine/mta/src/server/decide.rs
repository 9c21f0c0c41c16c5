//! The policy's decisions with their replies: MAIL and RCPT of a session, sender and recipients of a drop file.

use std::cell::Cell;
use std::time::Duration;

use mailstack_policy::access::{self, Action};
use mailstack_policy::{Client, RecipientVerdict, Refusal, ReversePath, recipient, sender};
use mailstack_runtime::Role;
use mailstack_smtp::address::{Address, Domain, DomainName};
use mailstack_smtp::command::{MailRequest, RcptRequest};
use mailstack_smtp::reply::Reply;
use nix::sys::statvfs::statvfs;

use super::message::{Arrival, Transaction};
use super::{Shared, words};

/// How long a sender's domain is looked up; it does not resolve then.
const LOOK_UP: Duration = Duration::from_secs(20);

impl Shared {
    /// Decides about MAIL. Errors: the reply that refuses it.
    pub(super) async fn mail(&self, arrival: &Arrival, request: MailRequest) -> Result<Transaction, Reply> {
        let written = request.from.to_string();
        self.has_room(request.size.unwrap_or_default())?;
        self.check_hello(arrival, &written)?;
        let action = self.check_sender(arrival, &request.from, &written).await?;
        let path = match self.sender(&arrival.client, &request.from) {
            Ok(path) => path,
            // Ruleset check_mail: an entry about a bare user lets him be taken as he is.
            Err(Refusal::SenderUnqualified) if action.is_some() => request.from.clone(),
            Err(refusal) => return Err(words::refusal(&refusal, &written)),
        };
        let mut transaction = Transaction::of_mail(path, request);
        if arrival.discarded || action == Some(&Action::Discard) {
            transaction.discard();
        }
        Ok(transaction)
    }

    /// Whether the queue's file system holds a message of this size and what must be left.
    fn has_room(&self, size: u64) -> Result<(), Reply> {
        let spool = self.root.path(&self.config.paths.spool);
        let Ok(found) = statvfs(&spool) else { return Ok(()) };
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        match free > self.config.limits.free_space.saturating_add(size) {
            true => Ok(()),
            false => {
                self.events.warn(format!("{}: {free} octets are left: no mail is taken", spool.display()));
                Err(words::NO_ROOM)
            }
        }
    }

    /// The rules of `FEATURE(block_bad_helo)`.
    fn check_hello(&self, arrival: &Arrival, written: &str) -> Result<(), Reply> {
        let Client::Network { addr } = arrival.client else { return Ok(()) };
        let listed = access::connection(&self.config.rules, addr, None);
        if !self.config.checks.helo
            || addr.is_loopback()
            || matches!(listed, Some(Action::Relay | Action::Ok))
        {
            return Ok(());
        }
        match self.is_bogus(&arrival.hello) {
            true => Err(words::bogus_hello(written, &arrival.hello)),
            false => Ok(()),
        }
    }

    fn is_bogus(&self, name: &str) -> bool {
        let own = |domain: &Domain| self.here().is_local(&self.config.rules, domain);
        let literal = if name.starts_with('[') { name.to_owned() } else { format!("[{name}]") };
        let is_own =
            [name, literal.as_str()].iter().any(|text| text.parse().is_ok_and(|domain| own(&domain)));
        let inner = name.trim_start_matches('[');
        let dotted = inner.trim_start_matches('.').trim_end_matches('.').contains('.');
        is_own || !(dotted || inner.to_ascii_lowercase().starts_with("ipv6:"))
    }

    /// The access entry about a sender, and whether his domain exists (ruleset check_mail). Errors: the reply that
    /// refuses him.
    async fn check_sender(
        &self,
        arrival: &Arrival,
        from: &ReversePath,
        written: &str,
    ) -> Result<Option<&Action>, Reply> {
        let (Some(address), false) = (from.address(), matches!(arrival.client, Client::Local { .. })) else {
            return Ok(None);
        };
        // What is refused for its form is not looked up.
        if let Err(refusal @ Refusal::SenderNotReal) = self.sender(&arrival.client, from) {
            return Err(words::refusal(&refusal, written));
        }
        match access::sender(&self.config.rules, address) {
            Some(action @ (Action::Ok | Action::Relay | Action::Discard)) => Ok(Some(action)),
            Some(action) => Err(words::denied(action, Some(written))),
            None => match address.domain_name() {
                Some(domain) => self.check_domain(domain, written).await.map(|()| None),
                None => Ok(None),
            },
        }
    }

    /// The programs of a loopback MTA do not look at a refusal, and their senders may be known to the mail host alone.
    async fn check_domain(&self, domain: &DomainName, written: &str) -> Result<(), Reply> {
        let own = self.here().is_local(&self.config.rules, &Domain::Name(domain.clone()));
        if own || self.config.role == Role::Loopback {
            return Ok(());
        }
        match tokio::time::timeout(LOOK_UP, self.dns.exists(domain)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(words::no_such_sender_domain(written)),
            Ok(Err(_)) | Err(_) => Err(words::unresolved_sender_domain(written)),
        }
    }

    /// The sender as it is queued.
    pub(super) fn sender(&self, client: &Client, written: &ReversePath) -> Result<ReversePath, Refusal> {
        sender(&self.config.rules, self.here(), client, written)
    }

    /// Decides about RCPT and adds what it expands to. Errors: the reply that refuses it.
    pub(super) async fn rcpt(
        &self,
        arrival: &Arrival,
        transaction: &mut Transaction,
        request: RcptRequest,
    ) -> Result<Reply, Reply> {
        let written = format!("<{}>", request.to);
        match self.listed_recipient(&arrival.client, &request.to) {
            Some(Action::Discard) => {
                transaction.discard();
                return Ok(words::recipient_ok(&written));
            }
            Some(action @ (Action::Reject | Action::Error { .. })) => {
                return Err(words::recipient_denied(action, &written));
            }
            Some(Action::Relay | Action::Ok) | None => {}
        }
        match self.recipient(&arrival.client, &request.to)? {
            RecipientVerdict::Refuse(Refusal::RelayingDenied) => {
                Err(self.relaying_denied(arrival, &written).await)
            }
            RecipientVerdict::Refuse(refusal) => Err(words::refusal(&refusal, &written)),
            RecipientVerdict::Deliver(expanded) => {
                transaction.add(request.to, expanded, request.orcpt.as_deref(), request.notify);
                Ok(words::recipient_ok(&written))
            }
        }
    }

    /// The access entry about a recipient. What a program hands in is not looked up: it would not see a refusal.
    fn listed_recipient(&self, client: &Client, to: &Address) -> Option<&Action> {
        match client {
            Client::Local { .. } => None,
            _ => access::recipient(&self.config.rules, self.here(), to),
        }
    }

    /// The name of a client decides how it is told that it may not relay.
    async fn relaying_denied(&self, arrival: &Arrival, written: &str) -> Reply {
        match arrival.client {
            Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } => {
                words::relaying_denied(written, &arrival.name.wait().await, addr)
            }
            Client::Local { .. } => words::refusal(&Refusal::RelayingDenied, written),
        }
    }

    /// What becomes of a recipient. Errors: the reply where the host's users cannot be read.
    pub(super) fn recipient(&self, client: &Client, to: &Address) -> Result<RecipientVerdict, Reply> {
        let failed = Cell::new(false);
        let exists = |name: &str| match self.users.by_name(name) {
            Ok(user) => user.is_some(),
            Err(_) => {
                failed.set(true);
                false
            }
        };
        let verdict = recipient(&self.config.rules, self.here(), client, to, &exists);
        if failed.get() {
            self.events.warn("the users of this host (etc/passwd) cannot be read: recipients are put off");
            return Err(words::LOCAL_ERROR);
        }
        Ok(verdict)
    }
}
