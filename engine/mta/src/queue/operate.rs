//! What an operator does with single messages: durable first, scheduled after.
//!
//! Owns: the order of both. What ends recipients goes out as a [`Job`], as what has expired does, so that it is
//! recorded, told and logged in the one way that every outcome is.

use std::time::Duration;

use tokio::sync::oneshot;

use super::job::{Job, Order, What};
use super::{Listed, Queue};
use crate::message::{Envelope, QueueId};
use crate::spool::{Body, Change, SpoolError};

/// How often is looked whether all from before the start is scheduled.
const LOADING: Duration = Duration::from_millis(20);

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// Recipients that have their outcome by it.
    pub done: Vec<u32>,
    /// Recipients that are being tried at this moment: they are left to it.
    pub active: Vec<u32>,
    /// Why others have none.
    pub kept: Option<String>,
}

impl Queue {
    /// Waits until everything from before the start is scheduled: only then is it known what is being tried.
    pub async fn loaded(&self) {
        while self.shared.state().loading {
            tokio::time::sleep(LOADING).await;
        }
    }

    /// The last message that is queued at this moment.
    pub fn last_id(&self) -> Option<QueueId> {
        self.shared.spool.last_id()
    }

    /// These messages, as far as they are queued and can be read.
    pub async fn look_at(&self, ids: Vec<QueueId>) -> Result<Vec<Listed>, SpoolError> {
        let shared = self.shared.clone();
        let read = move || {
            let messages = ids.into_iter().filter_map(|id| shared.spool.message(id).ok());
            messages.map(|stored| super::list(&shared, stored)).collect()
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| SpoolError::Closed)
    }

    /// A message with its envelope and its octets. Errors: [`SpoolError::Unknown`], and the disk's.
    pub async fn show(&self, id: QueueId) -> Result<(Listed, Envelope, Body), SpoolError> {
        let shared = self.shared.clone();
        let read = move || {
            let (stored, body) = (shared.spool.message(id)?, shared.spool.body(id)?);
            let envelope = stored.envelope.clone();
            Ok((super::list(&shared, stored), envelope, body))
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| SpoolError::Closed)?
    }

    /// Tries nothing of a message any more until it is released, durably. What is being tried comes to its end.
    /// Errors: [`SpoolError::Unknown`], and the disk's; it is not held then.
    pub async fn hold(&self, id: QueueId, uid: u32) -> Result<(), SpoolError> {
        self.shared.spool.record(id, vec![Change::HeldBy { uid }]).await?;
        self.shared.state().schedule.hold(id);
        Ok(())
    }

    /// Lets a message go on, and those of its recipients that were kept until somebody put something right.
    /// Errors: as [`Queue::hold`]; it stays held then.
    pub async fn release(&self, id: QueueId) -> Result<(), SpoolError> {
        self.shared.spool.record(id, vec![Change::Released]).await?;
        let now = self.shared.now();
        self.shared.state().schedule.release(now, id);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Makes recipients of a message due now. False: it is held, or not there.
    pub fn flush_some(&self, id: QueueId, which: &[u32]) -> bool {
        let now = self.shared.now();
        let flushed = self.shared.state().schedule.flush_some(now, id, which);
        self.shared.wake.notify_one();
        flushed
    }

    /// Sends recipients of a message to where the rules say by now, at once.
    /// Errors: [`SpoolError::Unknown`], and the disk's.
    pub async fn requeue(&self, id: QueueId, which: &[u32]) -> Result<(), SpoolError> {
        let (shared, which) = (self.shared.clone(), which.to_vec());
        let routes = move || {
            let envelope = shared.spool.message(id)?.envelope;
            let recipients = (0..).zip(&envelope.recipients).filter(|(index, _)| which.contains(index));
            Ok(recipients.map(|(index, recipient)| (index, shared.route(recipient))).collect())
        };
        let routes = tokio::task::spawn_blocking(routes).await.map_err(|_| SpoolError::Closed)??;
        let now = self.shared.now();
        self.shared.state().schedule.requeue(now, id, routes);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Ends recipients of a message that are not being tried, held or not. Returns once that is durable.
    /// Errors: [`SpoolError::Unknown`]: it is not queued, or cannot be read; [`SpoolError::Closed`].
    pub async fn order(
        &self,
        id: QueueId,
        which: &[u32],
        what: What,
        uid: u32,
    ) -> Result<Ordered, SpoolError> {
        let claim = self.shared.state().schedule.claim(id, which).ok_or(SpoolError::Unknown(id))?;
        let mut ordered = Ordered { done: Vec::new(), active: claim.active, kept: None };
        let Some(pick) = claim.pick else { return Ok(ordered) };
        let recipients = pick.recipients.clone();
        let (answer, answered) = oneshot::channel();
        let job: Job =
            self.shared.job(pick, Some(Order { what, uid, answer })).await.ok_or(SpoolError::Unknown(id))?;
        self.shared.orders.send(job).await.map_err(|_| SpoolError::Closed)?;
        match answered.await {
            Ok(Ok(())) => ordered.done = recipients,
            Ok(Err(kept)) => ordered.kept = Some(kept),
            // The job was given up: its recipients are tried again later.
            Err(_) => return Err(SpoolError::Closed),
        }
        Ok(ordered)
    }
}
