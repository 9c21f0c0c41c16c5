//! A transaction and its message on the way into the queue: the same for TCP, the socket and the drop directory.
//!
//! Owns: what is recorded of sender and recipients, the header's completion, the limits of header and hops. The body
//! goes straight into the spool and is never held.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use mailstack_policy::{Client, Expanded, Here, ReversePath, Target, rewrite_header};
use mailstack_runtime::Privacy;
use mailstack_smtp::address::{Address, Domain};
use mailstack_smtp::command::MailRequest;
use mailstack_smtp::reply::Reply;

use super::header::{self, Collected, Collector, Source, Split, Survey, Trace};
use super::naming::Naming;
use super::{Shared, words};
use crate::dns::Reverse;
use crate::event::{Event, Peer};
use crate::host::clock::date;
use crate::message::{Envelope, Notify, Origin, QueueId, Recipient, Ret, Timestamp};
use crate::queue::Incoming;
use crate::spool::SpoolError;
use crate::tls::Channel;

/// How a message comes.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// Who hands it in, for the log.
    pub(super) peer: Peer,
    /// The name of its address, once that is known.
    pub(super) name: Arc<Naming>,
    /// The same for the policy.
    pub(super) client: Client,
    /// What it called itself; empty where it did not.
    pub(super) hello: String,
    /// By EHLO.
    pub(super) extended: bool,
    /// From the drop directory.
    pub(super) dropped: bool,
    /// The TLS that it came over.
    pub(super) channel: Option<Channel>,
    /// Who it has shown to be (AUTH).
    pub(super) user: Option<String>,
    /// An access entry throws all its messages away.
    pub(super) discarded: bool,
}

impl Arrival {
    /// A client that has said nothing yet.
    pub(super) fn new(peer: Peer, name: Arc<Naming>, client: Client) -> Self {
        let (hello, channel, user) = (String::new(), None, None);
        let discarded = false;
        Self { peer, name, client, hello, extended: false, dropped: false, channel, user, discarded }
    }

    /// Forgets what the client has said and shown (RFC 3207 4.2).
    pub(super) fn forget(&mut self) {
        (self.hello, self.extended, self.user) = (String::new(), false, None);
        if let Client::Authenticated { addr } = self.client {
            self.client = Client::Network { addr };
        }
    }

    /// How it is handed in (RFC 3848, RFC 6531 4.3).
    fn protocol(&self, smtputf8: bool) -> &'static str {
        match (smtputf8, self.channel.is_some(), self.user.is_some()) {
            _ if self.dropped => "drop",
            _ if !self.extended => "SMTP",
            (false, false, false) => "ESMTP",
            (false, true, false) => "ESMTPS",
            (false, false, true) => "ESMTPA",
            (false, true, true) => "ESMTPSA",
            (true, false, false) => "UTF8SMTP",
            (true, true, false) => "UTF8SMTPS",
            (true, false, true) => "UTF8SMTPA",
            (true, true, true) => "UTF8SMTPSA",
        }
    }

    /// Who hands it in, with the name if it is confirmed.
    fn peer(&self) -> Peer {
        match (&self.peer, self.name.reverse()) {
            (Peer::Network { address, .. }, Some(Reverse { name, confirmed: true })) => {
                Peer::Network { name: Some(name.to_string()), address: *address }
            }
            (peer, _) => peer.clone(),
        }
    }

    /// A client of the network as a `Received:` line names it, in Sendmail's words.
    fn client(&self, address: IpAddr) -> String {
        let literal = Domain::Literal(address);
        match self.name.reverse() {
            None => literal.to_string(),
            Some(Reverse { name, confirmed: true }) => format!("{name} {literal}"),
            Some(Reverse { name, confirmed: false }) => format!("{name} {literal} (may be forged)"),
        }
    }

    fn origin(&self) -> Origin {
        match &self.client {
            Client::Local { uid } => Origin::Local { uid: *uid },
            Client::Network { addr } | Client::Trusted { addr } | Client::Authenticated { addr } => {
                Origin::Network { peer: *addr, hello: self.hello.clone() }
            }
        }
    }
}

/// An envelope as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Transaction {
    sender: ReversePath,
    eight_bit: bool,
    /// MAIL said SMTPUTF8.
    smtputf8: bool,
    ret: Option<Ret>,
    envid: Option<String>,
    recipients: Vec<Recipient>,
    known: BTreeSet<(Address, Target)>,
    /// What each RCPT named, and what aliases made of it.
    named: Vec<(Address, Vec<Address>)>,
    /// An access entry throws the message away, whoever else it is for.
    discarded: bool,
}

impl Transaction {
    /// A transaction of this sender, as the policy has rewritten it.
    pub(super) fn new(sender: ReversePath, eight_bit: bool, ret: Option<Ret>, envid: Option<String>) -> Self {
        let (recipients, known, named) = (Vec::new(), BTreeSet::new(), Vec::new());
        Self { sender, eight_bit, smtputf8: false, ret, envid, recipients, known, named, discarded: false }
    }

    /// The transaction that MAIL opens.
    pub(super) fn of_mail(sender: ReversePath, request: MailRequest) -> Self {
        let smtputf8 = request.smtputf8;
        Self { smtputf8, ..Self::new(sender, request.eight_bit, request.ret, request.envid) }
    }

    /// Adds what a recipient was expanded to. An address that is there already is not added again.
    pub(super) fn add(
        &mut self,
        named: Address,
        expanded: Vec<Expanded>,
        orcpt: Option<&str>,
        notify: Option<Notify>,
    ) {
        let addresses = expanded.iter().map(|one| one.address.clone()).collect();
        for Expanded { address, expanded_from, target } in expanded {
            if self.known.insert((address.clone(), target.clone())) {
                let orcpt = orcpt.map(str::to_owned);
                self.recipients.push(Recipient { address, expanded_from, orcpt, notify, target });
            }
        }
        self.named.push((named, addresses));
    }

    /// The message will be taken and thrown away.
    pub(super) fn discard(&mut self) {
        self.discarded = true;
    }

    /// Whether nobody would get it.
    pub(super) fn is_empty(&self) -> bool {
        self.recipients.is_empty()
    }

    fn sole_recipient(&self) -> Option<String> {
        match self.named.as_slice() {
            [(only, _)] => Some(only.to_string()),
            _ => None,
        }
    }

    fn envelope(&self, arrival: &Arrival, international_header: bool) -> Envelope {
        Envelope {
            // RFC 6531 3.6: whoever says SMTPUTF8 and uses nothing of it can be sent on without.
            smtputf8: self.smtputf8 && international_header,
            sender: self.sender.clone(),
            recipients: self.recipients.clone(),
            arrived: now(),
            origin: arrival.origin(),
            eight_bit: self.eight_bit,
            ret: self.ret,
            envid: self.envid.clone(),
        }
    }
}

fn now() -> Timestamp {
    let millisecond = jiff::Timestamp::now().as_millisecond();
    Timestamp(u64::try_from(millisecond).unwrap_or(0))
}

/// A message that comes in. Dropped, it is given up.
pub(super) struct Message {
    shared: Arc<Shared>,
    arrival: Arrival,
    transaction: Transaction,
    incoming: Incoming,
    stage: Stage,
    message_id: Option<String>,
    international_header: bool,
}

enum Stage {
    Header(Collector),
    Body,
    /// What will be answered at its end; nothing more of it is kept.
    Refused(Reply),
}

impl Message {
    /// Begins to take the message of a transaction in.
    pub(super) fn begin(shared: Arc<Shared>, arrival: Arrival, transaction: Transaction) -> Self {
        let incoming = shared.queue.begin();
        let collector = Collector::new(shared.config.limits.header_size);
        let stage = Stage::Header(collector);
        Self { shared, arrival, transaction, incoming, stage, message_id: None, international_header: false }
    }

    /// Takes the next octets, CRLF. A refusal is kept for [`Message::finish`].
    pub(super) async fn write(&mut self, octets: &[u8]) {
        let stage = std::mem::replace(&mut self.stage, Stage::Body);
        let result = match stage {
            Stage::Refused(reply) => Err(reply),
            Stage::Body => self.spool(octets).await,
            Stage::Header(collector) => self.collect(collector, octets).await,
        };
        if let Err(reply) = result {
            self.stage = Stage::Refused(reply);
        }
    }

    async fn collect(&mut self, mut collector: Collector, octets: &[u8]) -> Result<(), Reply> {
        match collector.push(octets) {
            Collected::TooLarge => Err(words::header_too_large(self.shared.config.limits.header_size)),
            Collected::Done(split) => self.take_header(split).await,
            Collected::More => {
                self.stage = Stage::Header(collector);
                Ok(())
            }
        }
    }

    async fn take_header(&mut self, split: Split) -> Result<(), Reply> {
        let header = self.complete(&split.header)?;
        self.spool(&header).await?;
        self.spool(&split.body).await
    }

    async fn spool(&mut self, octets: &[u8]) -> Result<(), Reply> {
        self.incoming.write(octets).await.map_err(|e| self.failed(&e))
    }

    /// Queues the message. Errors: the reply that refuses it.
    pub(super) async fn finish(mut self) -> Result<QueueId, Reply> {
        match std::mem::replace(&mut self.stage, Stage::Body) {
            Stage::Refused(reply) => return Err(reply),
            Stage::Header(collector) => self.take_header(collector.finish()).await?,
            Stage::Body => {}
        }
        if self.transaction.discarded {
            return Ok(self.throw_away());
        }
        let size = self.incoming.size();
        let envelope = self.transaction.envelope(&self.arrival, self.international_header);
        let committed = self.incoming.commit(envelope).await;
        let id = committed.map_err(|e| failed(&self.shared, &e))?;
        let accepted = Accepted { id, size, message_id: self.message_id };
        accepted.tell(&self.shared, &self.arrival, self.transaction);
        Ok(id)
    }

    /// The sender is told that it was taken.
    fn throw_away(self) -> QueueId {
        let id = self.incoming.id();
        let (from, peer) = (self.transaction.sender, self.arrival.peer());
        self.shared.events.emit(Event::Discarded { id, from, peer });
        id
    }

    fn failed(&self, error: &SpoolError) -> Reply {
        failed(&self.shared, error)
    }

    /// Returns the header as it is queued. Errors: the reply that refuses it.
    fn complete(&mut self, block: &[u8]) -> Result<Vec<u8>, Reply> {
        let found = header::survey(block);
        let limit = self.shared.config.limits.hops;
        if found.hops > limit {
            return Err(words::too_many_hops(found.hops, limit));
        }
        let mut whole = header::without_return_path(block);
        if let Client::Local { uid } = self.arrival.client {
            whole.extend_from_slice(self.authentication_warning(uid).as_bytes());
            whole.extend_from_slice(self.missing(&found, uid).as_bytes());
        }
        let rewritten = rewrite_header(&self.shared.config.rules, self.shared.here(), &whole);
        self.message_id = found.message_id.or_else(|| header::survey(&rewritten).message_id);
        self.international_header = !rewritten.is_ascii();
        let mut complete = self.received().into_bytes();
        complete.extend_from_slice(&rewritten);
        Ok(complete)
    }

    /// What `authwarnings` says of a program that names a sender other than its user.
    fn authentication_warning(&self, uid: u32) -> String {
        let trusted = uid == 0 || uid == nix::unistd::geteuid().as_raw();
        let sender = self.transaction.sender.address().map(|address| address.local().to_owned());
        let user = self.shared.user_name(uid);
        match sender {
            Some(sender) if !trusted && sender != user && self.shared.is(Privacy::Authwarnings) => {
                let address = self.transaction.sender.to_string();
                let hostname = &self.shared.hostname;
                format!("X-Authentication-Warning: {hostname}: {user} set sender to {address} using -f\r\n")
            }
            _ => String::new(),
        }
    }

    /// The fields that a submission must have (RFC 6409 8) and this one lacks.
    fn missing(&self, found: &Survey, uid: u32) -> String {
        let mut fields = String::new();
        if !found.date {
            fields.push_str(&format!("Date: {}\r\n", date()));
        }
        if found.message_id.is_none() {
            let time = jiff::Zoned::now().strftime("%Y%m%d%H%M%S").to_string();
            let (id, hostname) = (self.incoming.id(), &self.shared.hostname);
            fields.push_str(&format!("Message-ID: <{time}.{id}@{hostname}>\r\n"));
        }
        if !found.from {
            fields.push_str(&self.sender_field(uid));
        }
        fields
    }

    fn sender_field(&self, uid: u32) -> String {
        let user = self.shared.users.by_uid(uid).ok().flatten();
        let address = match self.transaction.sender.address() {
            Some(address) => address.to_string(),
            None => "MAILER-DAEMON".to_owned(),
        };
        let is_own = user.as_ref().is_some_and(|user| address.split('@').next() == Some(&user.name));
        match user.map(|user| user.full_name) {
            Some(name) if is_own && is_phrase(&name) => format!("From: {name} <{address}>\r\n"),
            _ => format!("From: {address}\r\n"),
        }
    }

    fn received(&self) -> String {
        let user = match self.arrival.client {
            Client::Local { uid } => self.shared.user_name(uid),
            Client::Network { .. } | Client::Trusted { .. } | Client::Authenticated { .. } => String::new(),
        };
        let protocol = self.arrival.protocol(self.transaction.smtputf8);
        let (source, protocol) = match &self.arrival.peer {
            Peer::Local { .. } => (Source::Local { user: &user }, None),
            Peer::Network { address, .. } => {
                let client = self.arrival.client(*address);
                (Source::Network { hello: &self.arrival.hello, client }, Some(protocol))
            }
        };
        header::received(&Trace {
            source,
            hostname: self.shared.hostname.as_str(),
            protocol,
            channel: self.arrival.channel.as_ref(),
            id: &self.incoming.id().to_string(),
            recipient: self.transaction.sole_recipient(),
            date: &date(),
        })
    }
}

fn failed(shared: &Shared, error: &SpoolError) -> Reply {
    shared.events.warn(format!("spool: {}", chain(error)));
    if error.is_full() { words::NO_ROOM } else { words::LOCAL_ERROR }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(Some(error), |error| error.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Words that need no quoting (RFC 5322 3.2.3).
fn is_phrase(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || " -_'".contains(c);
    !name.trim().is_empty() && name.chars().all(is_word)
}

/// Whether a name was at most given a domain, and no alias came into it.
fn is_completion(from: &Address, to: &[Address]) -> bool {
    match to {
        [only] => only == from || (from.domain().is_none() && only.local() == from.local()),
        _ => false,
    }
}

struct Accepted {
    id: QueueId,
    size: u64,
    message_id: Option<String>,
}

impl Accepted {
    fn tell(self, shared: &Shared, arrival: &Arrival, transaction: Transaction) {
        let id = self.id;
        shared.events.emit(Event::Received {
            id,
            from: transaction.sender,
            size: self.size,
            nrcpts: transaction.recipients.len(),
            message_id: self.message_id,
            proto: arrival.protocol(transaction.smtputf8),
            peer: arrival.peer(),
        });
        for (from, to) in transaction.named {
            if !is_completion(&from, &to) {
                shared.events.emit(Event::Expanded { id, from, to });
            }
        }
    }
}

impl Shared {
    /// This host as the policy wants to know it.
    pub(super) fn here(&self) -> Here<'_> {
        Here::new(&self.hostname, &self.addresses)
    }

    /// Whether a privacy flag is set.
    pub(super) fn is(&self, flag: Privacy) -> bool {
        self.config.privacy.contains(&flag)
    }

    /// A user's name, or the uid in digits.
    pub(super) fn user_name(&self, uid: u32) -> String {
        match self.users.by_uid(uid) {
            Ok(Some(user)) => user.name,
            _ => uid.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::naming::Named;

    #[test]
    fn what_a_received_line_says_of_a_client() {
        let arrival = |address: &str, name: Option<(&str, bool)>| {
            let address = address.parse().unwrap();
            let known = Naming::default();
            if let Some((name, confirmed)) = name {
                known.end(Named::As(Reverse { name: name.parse().unwrap(), confirmed }));
            }
            let peer = Peer::Network { name: None, address };
            let client = Client::Network { addr: address };
            let arrival = Arrival::new(peer, Arc::new(known), client);
            (arrival.client(address), arrival.peer().to_string())
        };
        for (address, name, received, logged) in [
            ("192.0.2.1", None, "[192.0.2.1]", "[192.0.2.1]"),
            ("192.0.2.1", Some(("a.example", true)), "a.example [192.0.2.1]", "a.example [192.0.2.1]"),
            ("192.0.2.1", Some(("a.example", false)), "a.example [192.0.2.1] (may be forged)", "[192.0.2.1]"),
            ("2001:db8::1", None, "[IPv6:2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(arrival(address, name), (received.to_owned(), logged.to_owned()));
        }
    }
}
