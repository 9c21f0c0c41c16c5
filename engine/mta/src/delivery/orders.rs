//! What operators order about recipients: it takes the way of every outcome, and waits for no turn.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use super::manager::{Context, Ending};
use super::remote::Verdict;
use crate::bounce::Cause;
use crate::queue::{Dispatcher, Due, Order, Queue, What};

/// Carries orders out; they wait for no slot, since nobody is talked to for them.
pub(super) struct Orders {
    stop: oneshot::Sender<()>,
    running: Option<JoinHandle<()>>,
}

impl Orders {
    pub fn obey(context: &Arc<Context>, queue: &Queue, dispatcher: &mut Dispatcher) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let (context, queue) = (Arc::clone(context), queue.clone());
        let running = dispatcher.orders().map(|mut orders| {
            tokio::spawn(async move {
                let mut under_way = JoinSet::new();
                loop {
                    let job = tokio::select! {
                        _ = &mut stopped => break,
                        _ = under_way.join_next(), if !under_way.is_empty() => continue,
                        job = orders.recv() => job,
                    };
                    let Some(job) = job else { break };
                    let (context, queue) = (Arc::clone(&context), queue.clone());
                    under_way.spawn(async move { context.work(&queue, job).await });
                }
                while under_way.join_next().await.is_some() {}
            })
        });
        Self { stop, running }
    }

    /// Takes no more, and lets those under way come to their end.
    pub async fn end(self) {
        let _ = self.stop.send(());
        if let Some(running) = self.running {
            let _ = running.await;
        }
    }
}

/// A recipient that an operator is done with.
pub(super) fn ending(due: &Due, order: &Order) -> Ending {
    let What::Bounce { reason } = &order.what else { return Ending::Removed { uid: order.uid } };
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let last = due.last.as_ref().map(|wait| format!("; the last attempt: {}", wait.diagnostic));
    let text = format!("returned by the administrator of this host{reason}{}", last.unwrap_or_default());
    Ending::Verdict(Verdict::Failed(Cause::here("5.3.0", text)))
}

/// Tells who ordered it how it ended.
pub(super) fn answer(order: Order, endings: &[Ending]) {
    let kept = endings.iter().find_map(|ending| match ending {
        Ending::Held(cause) => Some(cause.to_string()),
        _ => None,
    });
    order.answer(kept.map_or(Ok(()), Err));
}
