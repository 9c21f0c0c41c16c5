//! Takes an export into a spool that nobody serves.
//!
//! Owns: the order of the steps (see the module above): wherever it is cut, no message is lost and none is there
//! twice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::super::change::Change;
use super::super::disk::{Disk, RealDisk};
use super::super::error::SpoolError;
use super::super::handle::{CHUNK, SMALL};
use super::super::index::{Claim, lock};
use super::super::log::{Log, Op, Options};
use super::super::read;
use super::super::record::{Accepted, ImportedFrom, Kind, Record};
use super::envelope::{EnvelopeFile, VERSION, written};
use super::error::TransferError;
use super::files::{self, Checked, DONE, DONE_SOON, Done};
use crate::message::{QueueId, Timestamp};

/// Octets of bodies in one commit, about.
const BATCH: usize = 4 * 1024 * 1024;
/// Messages in one commit.
const BATCH_MESSAGES: usize = 256;

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Messages of the export that were taken in now.
    pub messages: u64,
    /// Messages that an interrupted import had taken in before.
    pub before: u64,
    /// The export was imported whole before; nothing was taken in again.
    pub already: bool,
    /// The messages that may be delivered from now on.
    pub released: u64,
}

/// Takes all of the export in `from` into the queue in `spool`, durably, or nothing of it. An interrupted import is
/// gone on with. Errors: [`TransferError`]; nothing of it is delivered then.
pub fn import(spool: &Path, from: &Path) -> Result<Imported, TransferError> {
    let checked = files::check(from)?;
    let name = spool.display().to_string();
    let disk = RealDisk::open(spool)
        .map_err(|error| TransferError::spool(spool, SpoolError::io("open", &name, error)))?;
    import_on(Arc::new(disk), spool, from, &checked)
}

pub(super) fn import_on(
    disk: Arc<dyn Disk>,
    spool: &Path,
    from: &Path,
    checked: &Checked,
) -> Result<Imported, TransferError> {
    let (log, _) = Log::open(disk, Options::default()).map_err(|error| TransferError::spool(spool, error))?;
    let import = Import { log, spool, from, checked };
    import.run()
}

struct Import<'a> {
    log: Log,
    spool: &'a Path,
    from: &'a Path,
    checked: &'a Checked,
}

type Answer = oneshot::Receiver<Result<(), SpoolError>>;

/// Messages that are handed in together.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    answers: Vec<Answer>,
    octets: usize,
}

impl Import<'_> {
    fn run(mut self) -> Result<Imported, TransferError> {
        let into = format!("{:032x}", self.log.spool);
        let mut imported = Imported::default();
        match files::read_json::<Done>(&self.from.join(DONE))? {
            Some(Ok(done)) if done.into == into => imported.already = true,
            Some(_) => return Err(TransferError::Elsewhere { path: self.from.to_owned() }),
            None => {
                let announced = self.announce(into)?;
                let present = self.present()?;
                imported.before = present.len() as u64;
                imported.messages = self.take_in(&present.into_keys().collect())?;
                self.conclude(announced)?;
            }
        }
        imported.released = self.release()?;
        Ok(imported)
    }

    /// What says that it is done, not yet under its name: who cannot write it is told before anything is taken in.
    fn announce(&self, into: String) -> Result<std::fs::File, TransferError> {
        let path = self.from.join(DONE_SOON);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(TransferError::file("remove", &path, error));
            }
            _ => {}
        }
        let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0);
        let messages = self.checked.ids.len() as u64;
        files::write_json(&path, &Done { version: VERSION, into, at: written(Timestamp(now)), messages })
    }

    fn conclude(&self, announced: std::fs::File) -> Result<(), TransferError> {
        let (soon, done) = (self.from.join(DONE_SOON), self.from.join(DONE));
        let renamed = announced.sync_all().and_then(|()| std::fs::rename(&soon, &done));
        renamed.map_err(|error| TransferError::file("write", &done, error))?;
        files::sync_directory(self.from)
    }

    /// The messages of this export that are in the spool, held: an import that was interrupted put them there.
    /// True: they were not held before that, and no operator holds them since.
    fn present(&self) -> Result<BTreeMap<String, (QueueId, bool)>, TransferError> {
        let ids: BTreeSet<&str> = self.checked.ids.iter().map(String::as_str).collect();
        let held: Vec<(QueueId, bool)> = {
            let index = lock(&self.log.index);
            let held = index.messages.iter().filter(|(_, entry)| entry.progress.held);
            // What an operator holds since is not the import's to release.
            held.map(|(id, entry)| (*id, entry.progress.held_by.is_none())).collect()
        };
        let mut present = BTreeMap::new();
        for (id, is_ours) in held {
            let located = read::located(&lock(&self.log.index), id);
            let accepted = located.and_then(|(entry, file)| read::accepted(&*file, id, &entry.base));
            let Some(from) = accepted.map_err(|error| self.failed(error))?.imported else { continue };
            if from.source == self.checked.source && ids.contains(from.id.as_str()) {
                present.insert(from.id, (id, from.release && is_ours));
            }
        }
        Ok(present)
    }

    fn take_in(&mut self, present: &BTreeSet<String>) -> Result<u64, TransferError> {
        let (mut batch, mut taken) = (Batch::default(), 0);
        for id in self.checked.ids.iter().filter(|id| !present.contains(*id)) {
            self.add(id, &mut batch)?;
            taken += 1;
            if batch.octets >= BATCH || batch.ops.len() >= BATCH_MESSAGES {
                self.commit(std::mem::take(&mut batch))?;
            }
        }
        self.commit(batch)?;
        Ok(taken)
    }

    fn commit(&mut self, batch: Batch) -> Result<(), TransferError> {
        if !batch.ops.is_empty() {
            self.log.commit(batch.ops);
        }
        for answer in batch.answers {
            answered(answer).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, batch: &mut Batch) -> Result<(), TransferError> {
        let file = self.envelope(name)?;
        let (envelope, mut progress) = file.read().map_err(|reason| self.changed(name, reason))?;
        progress.held = true;
        let id = QueueId(self.log.next_id.fetch_add(1, Ordering::SeqCst));
        let (body, claims) = self.body(name, &file, id)?;
        let recipients = envelope.recipients.len() as u32;
        let accepted = Accepted {
            envelope,
            size: file.size,
            chunks: claims.iter().map(|claim| claim.extent).collect(),
            progress: Some(progress),
            from: None,
            concludes: None,
            imported: Some(ImportedFrom { source: file.source, id: file.id, release: !file.held }),
        };
        batch.octets += body.len();
        let record =
            Record::described(Kind::Moved, id, &accepted, body).map_err(|error| self.failed(error))?;
        let record = record.with_recipients(recipients);
        let (reply, answer) = oneshot::channel();
        batch.ops.push(Op::Accept { record, accepted: Box::new(accepted), claims, reply });
        batch.answers.push(answer);
        Ok(())
    }

    fn envelope(&self, name: &str) -> Result<EnvelopeFile, TransferError> {
        let path = files::envelope_path(self.from, name);
        match files::read_json::<EnvelopeFile>(&path)? {
            Some(Ok(file)) if file.source == self.checked.source && file.id == name => Ok(file),
            _ => Err(self.changed(name, "it was changed during the import".to_owned())),
        }
    }

    /// The octets of a small message, or the records that hold those of a large one.
    fn body(
        &mut self,
        name: &str,
        file: &EnvelopeFile,
        id: QueueId,
    ) -> Result<(Vec<u8>, Vec<Claim>), TransferError> {
        let (path, from) = (files::message_path(self.from, name), self.from.to_owned());
        let (mut pending, mut claims) = (Vec::new(), Vec::new());
        let (log, spool) = (&mut self.log, self.spool);
        let mut chunk = |octets: Vec<u8>, claims: &mut Vec<Claim>| {
            let (reply, answer) = oneshot::channel();
            log.commit(vec![Op::Chunk { id, octets, reply }]);
            claims.push(answered(answer).map_err(|error| TransferError::spool(spool, error))?);
            Ok(())
        };
        let read = files::read_message(&path, file, |octets| {
            pending.extend_from_slice(octets);
            while pending.len() > CHUNK {
                let rest = pending.split_off(CHUNK);
                chunk(std::mem::replace(&mut pending, rest), &mut claims)?;
            }
            Ok(())
        })?;
        if let Err(fault) = read {
            return Err(TransferError::Malformed { path: from, faults: vec![fault], count: 1 });
        }
        if (pending.len() > SMALL || !claims.is_empty()) && !pending.is_empty() {
            chunk(std::mem::take(&mut pending), &mut claims)?;
        }
        Ok((pending, claims))
    }

    /// What was not held where it comes from may be delivered from now on.
    fn release(&mut self) -> Result<u64, TransferError> {
        let mut batch = Batch::default();
        for (id, release) in self.present()?.into_values() {
            if release {
                let (reply, answer) = oneshot::channel();
                batch.ops.push(Op::Change { id, changes: vec![Change::Released], durable: true, reply });
                batch.answers.push(answer);
            }
        }
        let released = batch.ops.len() as u64;
        self.commit(batch)?;
        Ok(released)
    }

    fn failed(&self, error: SpoolError) -> TransferError {
        TransferError::spool(self.spool, error)
    }

    fn changed(&self, name: &str, reason: String) -> TransferError {
        let fault = files::fault(&files::envelope_path(self.from, name), reason);
        TransferError::Malformed { path: self.from.to_owned(), faults: vec![fault], count: 1 }
    }
}

/// The answer that the log has given.
fn answered<T>(mut answer: oneshot::Receiver<Result<T, SpoolError>>) -> Result<T, SpoolError> {
    answer.try_recv().unwrap_or(Err(SpoolError::Closed))
}
