//! Gives space back: a segment in which nothing lives is deleted, one in which little lives is copied first.
//!
//! Owns: the order. What is copied is durable before its source is unlinked, and a segment with outcomes goes
//! only when the segments that they are about are gone, durably: else what was finished would come back.

use std::collections::BTreeSet;

use super::error::SpoolError;
use super::index::{Entry, Index, lock};
use super::log::Log;
use super::read;
use super::record::{Accepted, Changed, Extent, Kind, Record, file_name, read_body};
use super::scan::{self, Kept};
use crate::message::QueueId;

impl Log {
    /// Deletes what may go. Errors leave everything as it was, to be tried again.
    pub fn reclaim(&mut self) -> Result<(), SpoolError> {
        while self.unlink_free()? {}
        Ok(())
    }

    /// One round: what waits for these is unlinked only after their entries are gone durably.
    fn unlink_free(&mut self) -> Result<bool, SpoolError> {
        let free = self.free_segments();
        if !free.is_empty() {
            // What finished the messages may only be noted: it is durable before they are gone.
            self.sync()?;
        }
        for (number, unlinked) in &free {
            if !unlinked {
                let name = file_name(*number);
                self.disk.unlink(&name).map_err(|error| SpoolError::io("remove", &name, error))?;
                if let Some(segment) = lock(&self.index).segments.get_mut(number) {
                    segment.unlinked = true;
                }
            }
        }
        if free.is_empty() {
            return Ok(false);
        }
        let synced = self.disk.sync_directory();
        synced.map_err(|error| SpoolError::io("sync the directory of", "segments", error))?;
        let mut index = lock(&self.index);
        for (number, _) in free {
            index.segments.remove(&number);
        }
        index.forgive();
        Ok(true)
    }

    fn free_segments(&self) -> Vec<(u32, bool)> {
        let head = self.head.as_ref().map(|head| head.number);
        let index = lock(&self.index);
        let sealed = index.segments.iter().filter(|(number, _)| head.is_some_and(|head| **number < head));
        sealed.filter(|(n, _)| index.is_free(**n)).map(|(n, segment)| (*n, segment.unlinked)).collect()
    }

    /// Copies the segment in which least lives to the head, where there is one worth it; returns whether there
    /// was. It can be deleted then.
    pub fn compact(&mut self) -> Result<bool, SpoolError> {
        let Some((number, end)) = self.sparse_segment() else { return Ok(false) };
        let file = lock(&self.index).segments.get(&number).map(|segment| segment.file.clone());
        let Some(file) = file else { return Ok(false) };
        let contents = scan::contents(&*file, self.spool, number, end);
        let contents = contents.map_err(|error| SpoolError::io("read", &file_name(number), error))?;
        let Some(contents) = contents else {
            // Damaged: it stays for someone to look at.
            self.pin(number);
            return Ok(false);
        };
        self.copy(number, contents)
    }

    fn pin(&self, number: u32) {
        if let Some(segment) = lock(&self.index).segments.get_mut(&number) {
            segment.live = segment.live.max(segment.len);
        }
    }

    fn sparse_segment(&self) -> Option<(u32, u64)> {
        let head = self.head.as_ref()?.number;
        let index = lock(&self.index);
        let sparse = index.segments.iter().filter(|&(&number, segment)| {
            let is_later = segment.moved_from.iter().any(|from| index.segments.contains_key(from));
            let sealer = segment.seals.is_some_and(|other| index.segments.contains_key(&other));
            number < head
                && segment.pending == 0
                && !sealer
                && !is_later
                && segment.live + segment.outcomes > 0
                && segment.is_sparse()
        });
        sparse.min_by_key(|(_, segment)| segment.live + segment.outcomes).map(|(n, s)| (*n, s.len))
    }

    fn copy(&mut self, number: u32, contents: Vec<Kept>) -> Result<bool, SpoolError> {
        let (messages, outcomes) = split(contents);
        let mut moved = Vec::new();
        for id in messages {
            match self.copy_message(number, id) {
                Ok(entry) => moved.extend(entry.map(|entry| (id, entry))),
                Err(SpoolError::Damaged(..)) => {
                    self.pin(number);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        for (id, base) in outcomes {
            self.copy_outcome(number, id, base)?;
        }
        self.sync()?;
        self.hand_over(number, moved);
        Ok(true)
    }

    /// Writes a message again, with those of its chunks that lie in `number`.
    fn copy_message(&mut self, number: u32, id: QueueId) -> Result<Option<Entry>, SpoolError> {
        let Some(entry) = lock(&self.index).messages.get(&id).cloned() else { return Ok(None) };
        let here = |extent: &Extent| extent.segment == number;
        if !here(&entry.base) && !entry.chunks.iter().any(here) {
            return Ok(None);
        }
        let mut chunks = entry.chunks.to_vec();
        for chunk in chunks.iter_mut().filter(|chunk| here(chunk)) {
            let record = Record::new(Kind::Chunk, id, Vec::new(), self.body(id, chunk)?)?;
            *chunk = self.append(&record)?;
        }
        let body = if chunks.is_empty() { self.body(id, &entry.base)? } else { Vec::new() };
        let accepted = self.accepted(id, &entry.base)?;
        let accepted = Accepted {
            progress: Some(entry.progress.clone()),
            from: Some(entry.base.segment),
            imported: accepted.imported,
            ..Accepted::new(accepted.envelope, entry.size, chunks)
        };
        let record = Record::described(Kind::Moved, id, &accepted, body)?.with_recipients(entry.recipients);
        let at = self.append(&record)?;
        Ok(Some(Entry::new(at, entry.recipients, accepted)))
    }

    /// Writes the outcome for a message that would come back without: its own record is elsewhere.
    fn copy_outcome(&mut self, number: u32, id: QueueId, base: u32) -> Result<(), SpoolError> {
        let index = lock(&self.index);
        let progress = index.messages.get(&id).map(|entry| (entry.base.segment, entry.progress.clone()));
        let exists = base != number && index.segments.contains_key(&base);
        drop(index);
        let changed = match progress {
            // What is moved from here takes its progress along.
            Some((own, _)) if own == number => return Ok(()),
            Some((own, progress)) => {
                Changed { base: own, changes: Vec::new(), progress: Some(progress), concluded: false }
            }
            None if !exists => return Ok(()),
            None => Changed { base, changes: Vec::new(), progress: None, concluded: true },
        };
        let at = self.append(&Record::described(Kind::Change, id, &changed, Vec::new())?)?;
        lock(&self.index).owe(at.segment, changed.base, at.len);
        Ok(())
    }

    fn append(&mut self, record: &Record) -> Result<Extent, SpoolError> {
        let at = self.write(&[record], false)?;
        at.first().copied().ok_or(SpoolError::Closed)
    }

    /// All that was copied is durable: from here on it lives where it was copied to.
    fn hand_over(&self, number: u32, moved: Vec<(QueueId, Entry)>) {
        let mut index = lock(&self.index);
        for (id, entry) in moved {
            if let Some(from) = index.messages.get(&id).map(|entry| entry.base.segment) {
                index.owe_move(entry.base.segment, from, entry.base.len);
            }
            index.put(id, entry);
        }
        self.inherit(&mut index, number);
    }

    /// The head takes over what the copied segment had to outlive, and outlives that one too.
    fn inherit(&self, index: &mut Index, number: u32) {
        let Some(from) = index.segments.get_mut(&number) else { return };
        let mut debts = std::mem::take(&mut from.outlives);
        from.outcomes = 0;
        debts.insert(number);
        if let Some(head) = self.head.as_ref().and_then(|head| index.segments.get_mut(&head.number)) {
            head.outlives.extend(debts);
        }
    }

    fn body(&self, id: QueueId, extent: &Extent) -> Result<Vec<u8>, SpoolError> {
        let file = self.file(id, extent)?;
        read_body(&*file, extent.place())?.ok_or(SpoolError::Damaged(id, extent.place()))
    }

    fn accepted(&self, id: QueueId, extent: &Extent) -> Result<Accepted, SpoolError> {
        read::accepted(&*self.file(id, extent)?, id, extent)
    }

    fn file(
        &self,
        id: QueueId,
        extent: &Extent,
    ) -> Result<std::sync::Arc<dyn super::disk::DiskFile>, SpoolError> {
        let index = lock(&self.index);
        let segment = index.segments.get(&extent.segment);
        segment.map(|segment| segment.file.clone()).ok_or(SpoolError::Damaged(id, extent.place()))
    }
}

fn split(contents: Vec<Kept>) -> (BTreeSet<QueueId>, BTreeSet<(QueueId, u32)>) {
    let (mut messages, mut outcomes) = (BTreeSet::new(), BTreeSet::new());
    for kept in contents {
        match kept {
            Kept::Message(id) => drop(messages.insert(id)),
            Kept::Outcome(id, base) => drop(outcomes.insert((id, base))),
        }
    }
    (messages, outcomes)
}
