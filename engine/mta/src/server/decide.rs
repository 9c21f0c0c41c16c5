//! The policy's decisions with their replies: MAIL and RCPT of a session, sender and recipients of a drop file.

use std::cell::Cell;

use mailstack_policy::{Client, RecipientVerdict, ReversePath, recipient, sender};
use mailstack_smtp::address::Address;
use mailstack_smtp::command::{MailRequest, RcptRequest};
use mailstack_smtp::reply::Reply;

use super::message::Transaction;
use super::{Shared, words};

impl Shared {
    /// Decides about MAIL. Errors: the reply that refuses it.
    pub(super) fn mail(&self, client: &Client, request: MailRequest) -> Result<Transaction, Reply> {
        let written = request.from.to_string();
        self.sender(client, &request.from)
            .map(|path| Transaction::of_mail(path, request))
            .map_err(|refusal| words::refusal(&refusal, &written))
    }

    /// The sender as it is queued.
    pub(super) fn sender(
        &self,
        client: &Client,
        written: &ReversePath,
    ) -> Result<ReversePath, mailstack_policy::Refusal> {
        sender(&self.config.rules, self.here(), client, written)
    }

    /// Decides about RCPT and adds what it expands to. Errors: the reply that refuses it.
    pub(super) fn rcpt(
        &self,
        client: &Client,
        transaction: &mut Transaction,
        request: RcptRequest,
    ) -> Result<Reply, Reply> {
        let written = format!("<{}>", request.to);
        match self.recipient(client, &request.to)? {
            RecipientVerdict::Refuse(refusal) => Err(words::refusal(&refusal, &written)),
            RecipientVerdict::Deliver(expanded) => {
                transaction.add(request.to, expanded, request.orcpt.as_deref(), request.notify);
                Ok(words::recipient_ok(&written))
            }
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
