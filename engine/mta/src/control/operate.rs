//! Operations on the queue as they are asked for: selected, done one by one, and told of.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::serve::{Asker, Facts, line, say, send};
use super::{Acted, MAX_IDS, Operation, Reply, Shown};
use crate::event::Event;
use crate::message::QueueId;
use crate::queue::{Listed, Ordered, Selector, What};
use crate::spool::SpoolError;

/// Messages looked at at once.
const PAGE: usize = 256;
/// Messages done something with at once: they share their syncs.
const AT_ONCE: usize = 64;
/// How often whoever asks hears that it goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Octets of a header that are shown.
const MAX_HEADER: usize = 1 << 20;
/// Octets in one line of an answer.
const PIECE: usize = 64 * 1024;

/// What is done, for whom.
#[derive(Clone)]
struct Task {
    facts: Arc<Facts>,
    operation: Operation,
    uid: u32,
    dry_run: bool,
}

/// Does what is asked with everything that is selected and was queued when it was asked for.
pub(super) async fn operate(
    facts: Arc<Facts>,
    asker: Asker,
    operation: Operation,
    select: Selector,
    dry_run: bool,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    if select.ids.len() > MAX_IDS {
        return say(write, &Reply::Error { text: format!("more than {MAX_IDS} messages at once") }).await;
    }
    let queue = facts.queue.clone();
    wait(queue.loaded(), write).await?;
    // A bounce of what is bounced here comes behind it, and is not meant.
    let Some(last) = queue.last_id() else { return finish(&select, 0, Vec::new(), write).await };
    let task = Task { facts, operation, uid: asker.uid(), dry_run };
    let (mut after, mut count, mut found) = (None, 0, Vec::new());
    loop {
        let page = match select.ids.is_empty() {
            true => queue.list(after, PAGE).await,
            false => queue.look_at(select.ids.clone()).await,
        };
        let page = match page {
            Ok(page) => page,
            Err(error) => return say(write, &Reply::Error { text: error.to_string() }).await,
        };
        let Some(reached) = page.last().map(|message| message.id) else { break };
        after = Some(reached);
        found.extend(page.iter().map(|message| message.id).filter(|_| !select.ids.is_empty()));
        let chosen = page.into_iter().filter(|message| message.id <= last && task.may_touch(asker, message));
        let chosen = chosen.filter_map(|message| {
            let recipients = select.choose(task.facts.queue.now(), &message)?;
            task.applies(&select, &message).then_some((message, recipients))
        });
        count += task.run(chosen.collect(), write).await?;
        if reached >= last || !select.ids.is_empty() {
            break;
        }
        say(write, &Reply::Busy).await?;
    }
    finish(&select, count, found, write).await
}

/// Tells of named messages that are not there.
async fn finish(
    select: &Selector,
    count: u64,
    found: Vec<QueueId>,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    for id in select.ids.iter().filter(|id| !found.contains(id)) {
        let text = "not in the queue, or cannot be read".to_owned();
        say(write, &Reply::Acted(Acted { id: *id, recipients: Vec::new(), done: false, text })).await?;
    }
    say(write, &Reply::Done { count }).await
}

/// Waits, and says so now and then.
async fn wait<T>(
    what: impl Future<Output = T>,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<T> {
    let mut what = std::pin::pin!(what);
    loop {
        match timeout_at(Instant::now() + SIGN_OF_LIFE, &mut what).await {
            Ok(done) => return Ok(done),
            Err(_) => say(write, &Reply::Busy).await?,
        }
    }
}

impl Task {
    /// Others than operators flush what is theirs.
    fn may_touch(&self, asker: Asker, message: &Listed) -> bool {
        asker.may_see(message)
    }

    /// Whether there is anything to do with a message that was not named.
    fn applies(&self, select: &Selector, message: &Listed) -> bool {
        let is_held = message.held || message.recipients.iter().any(|recipient| recipient.held);
        match self.operation {
            Operation::Release => is_held || !select.ids.is_empty(),
            _ => true,
        }
    }

    async fn run(
        &self,
        chosen: Vec<(Listed, Vec<u32>)>,
        write: &mut (impl AsyncWriteExt + Unpin),
    ) -> std::io::Result<u64> {
        let (mut under_way, mut count) = (JoinSet::new(), 0);
        let mut chosen = chosen.into_iter();
        loop {
            while under_way.len() < AT_ONCE
                && let Some((message, recipients)) = chosen.next()
            {
                let task = self.clone();
                under_way.spawn(async move { task.act(&message, &recipients).await });
            }
            let Some(acted) = wait(under_way.join_next(), write).await? else { return Ok(count) };
            if let Ok(acted) = acted {
                count += u64::from(acted.done);
                say(write, &Reply::Acted(acted)).await?;
            }
        }
    }

    async fn act(&self, message: &Listed, recipients: &[u32]) -> Acted {
        let whole = matches!(self.operation, Operation::Hold | Operation::Release);
        let meant = |index: &u32| message.recipients.get(*index as usize);
        let is_open =
            |recipient: &&crate::queue::ListedRecipient| recipient.standing != crate::spool::Standing::Done;
        // Hold and release are about the message as a whole.
        let addresses = match whole {
            true => message.recipients.iter().filter(is_open).map(|one| one.address.clone()).collect(),
            false => recipients.iter().filter_map(meant).map(|one| one.address.clone()).collect(),
        };
        let result = match self.dry_run {
            true => Ok(format!("would be {}", self.deed())),
            false => self.perform(message, recipients).await,
        };
        if result.is_ok() && !self.dry_run && self.operation != Operation::Flush {
            let nrcpts = Vec::len(&addresses);
            let (id, deed, uid) = (message.id, self.deed(), self.uid);
            self.facts.events.emit(Event::Operated { id, deed, nrcpts, uid });
        }
        let done = result.is_ok();
        let text = result.unwrap_or_else(|text| text);
        Acted { id: message.id, recipients: addresses, done, text }
    }

    fn deed(&self) -> &'static str {
        match self.operation {
            Operation::Flush => "tried",
            Operation::Hold => "held",
            Operation::Release => "released",
            Operation::Remove => "removed",
            Operation::Requeue => "requeued",
            Operation::Bounce { .. } => "bounced",
        }
    }

    async fn perform(&self, message: &Listed, recipients: &[u32]) -> Result<String, String> {
        let (queue, id) = (&self.facts.queue, message.id);
        let is_active = message.recipients.iter().any(|recipient| recipient.active);
        match &self.operation {
            Operation::Flush => match queue.flush_some(id, recipients) {
                true => Ok("due now".to_owned()),
                false => Err("held: release it".to_owned()),
            },
            Operation::Requeue => {
                self.can_go_on(message)?;
                queue.requeue(id, recipients).await.map_err(said)?;
                Ok(if message.held_because.is_some() { "routed anew, and held" } else { "due now" }
                    .to_owned())
            }
            Operation::Hold => {
                queue.hold(id, self.uid).await.map_err(said)?;
                Ok(if is_active { "held after the attempt under way" } else { "held" }.to_owned())
            }
            Operation::Release => {
                self.can_go_on(message)?;
                if message.is_importing {
                    return Err(
                        "its import is not whole: run mailstack queue import DIR again; where the export is \
                                lost, hold it and then release it"
                            .to_owned(),
                    );
                }
                queue.release(id).await.map_err(said)?;
                Ok("released".to_owned())
            }
            Operation::Remove => self.order(id, recipients, What::Remove).await,
            Operation::Bounce { reason } => {
                self.order(id, recipients, What::Bounce { reason: reason.clone() }).await
            }
        }
    }

    /// Errors: the message is damaged, and trying it changes nothing.
    fn can_go_on(&self, message: &Listed) -> Result<(), String> {
        let unreadable = self.facts.queue.unreadable();
        match unreadable.iter().find(|found| found.id == Some(message.id)) {
            Some(found) => Err(format!("it cannot go on: {}", found.reason)),
            None => Ok(()),
        }
    }

    async fn order(&self, id: QueueId, recipients: &[u32], what: What) -> Result<String, String> {
        let Ordered { done, active, kept } =
            self.facts.queue.order(id, recipients, what, self.uid).await.map_err(said)?;
        if let Some(kept) = kept {
            return Err(kept);
        }
        let deed = self.deed();
        match (done.len(), active.len()) {
            (0, 0) => Err("nothing of it is left".to_owned()),
            (_, 0) => Ok(deed.to_owned()),
            (done, active) => Err(format!(
                "{active} of its recipients {} being delivered to: not {deed}, hold it and ask again ({done} {deed})",
                if active == 1 { "is" } else { "are" }
            )),
        }
    }
}

fn said(error: SpoolError) -> String {
    match error {
        SpoolError::Unknown(_) => "not in the queue any more, or cannot be read".to_owned(),
        SpoolError::Closed => {
            "the MTA is stopping, or could not record it: look whether it is done".to_owned()
        }
        error => error.to_string(),
    }
}

/// Tells all of one message.
pub(super) async fn show(
    facts: &Facts,
    asker: Asker,
    id: QueueId,
    body: bool,
    write: &mut (impl AsyncWriteExt + Unpin),
) -> std::io::Result<()> {
    let refuse = |text: String| Reply::Error { text };
    let (listed, envelope, mut octets) = match facts.queue.show(id).await {
        Ok((listed, ..)) if !asker.may_see(&listed) => {
            // Nor is he told whether there is one.
            return say(write, &refuse(format!("{id} is not in the queue"))).await;
        }
        Ok(shown) => shown,
        Err(SpoolError::Unknown(_)) => return say(write, &refuse(format!("{id} is not in the queue"))).await,
        Err(error) => return say(write, &refuse(error.to_string())).await,
    };
    say(write, &Reply::Shown(Box::new(Shown::of(listed, &envelope)))).await?;
    if !body {
        match octets.beginning(MAX_HEADER).await {
            Ok(begin) => pieces(header(&begin), write).await?,
            Err(error) => return say(write, &refuse(error.to_string())).await,
        }
        return say(write, &Reply::Done { count: 1 }).await;
    }
    loop {
        match octets.next_chunk().await {
            Ok(Some(chunk)) => pieces(&chunk, write).await?,
            Ok(None) => return say(write, &Reply::Done { count: 1 }).await,
            Err(error) => return say(write, &refuse(error.to_string())).await,
        }
    }
}

/// The octets up to and with the empty line.
pub(super) fn header(octets: &[u8]) -> &[u8] {
    let end = octets.windows(4).position(|four| four == b"\r\n\r\n").map_or(octets.len(), |at| at + 4);
    match octets.starts_with(b"\r\n") {
        true => &octets[..2],
        false => &octets[..end.min(MAX_HEADER)],
    }
}

async fn pieces(octets: &[u8], write: &mut (impl AsyncWriteExt + Unpin)) -> std::io::Result<()> {
    for piece in octets.chunks(PIECE) {
        let text = piece.iter().map(|&octet| char::from(octet)).collect();
        send(write, &line(&Reply::Octets { text })).await?;
    }
    Ok(())
}
