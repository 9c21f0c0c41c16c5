//! What is being delivered at this moment, for the case that the process is killed in the middle of it.
//!
//! A next hop may have taken a message whose outcome is not recorded yet: after a crash it gets it again. So each
//! delivery is noted before it begins, in a file of its own and without a sync, and the next start says which were
//! under way: those, and no others, may arrive twice. A killed process leaves the file as it was; a power cut leaves
//! what had reached the disk by then, which is said too.
//!
//! Owns: the file `under-way` beside the segments. 32 octets each, checksummed: first one that says which boot of the
//! machine wrote it and whether it ended in order, then one for each delivery. No promise of the spool depends on it.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::disk::{Disk, DiskFile};
use crate::message::QueueId;

/// The file's name.
pub(super) const FILE: &str = "under-way";
/// Octets of the first entry, and of each other.
const ENTRY: usize = 32;
/// The most deliveries that are noted at once.
const ENTRIES: u32 = 4096;

/// A delivery: a message, and the recipients from `first` to `last` that are not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub id: QueueId,
    pub first: u32,
    pub last: u32,
}

/// What the process before left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub marks: Vec<Mark>,
    /// It was not killed: the whole machine went down, so there may have been others.
    pub went_down: bool,
}

/// The file. Without one, nothing is noted.
pub(super) struct UnderWay {
    file: Option<Arc<dyn DiskFile>>,
    boot: u128,
    begun: OnceLock<()>,
    vacant: Mutex<Vacant>,
}

#[derive(Default)]
struct Vacant {
    free: Vec<u32>,
    used: u32,
}

/// A delivery that is noted.
#[derive(Debug)]
pub(super) struct Slot(u32);

impl UnderWay {
    /// Opens the file, and returns what it says. That stays in it until something is delivered: a process that is
    /// killed before it could tell of it leaves it to the next. Errors: it cannot be used.
    pub fn open(disk: &dyn Disk) -> io::Result<(Self, Left)> {
        let file = match disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(FILE)?,
            file => file?,
        };
        let boot = disk.boot();
        let left = read(&*file, boot)?;
        Ok((Self { file: Some(file), boot, begun: OnceLock::new(), vacant: Mutex::default() }, left))
    }

    /// One that notes nothing.
    pub fn none() -> Self {
        Self { file: None, boot: 0, begun: OnceLock::new(), vacant: Mutex::default() }
    }

    /// Notes a delivery that is about to begin. None: it cannot be, which keeps no mail waiting.
    pub fn begin(&self, mark: Mark) -> Option<Slot> {
        let file = self.file.as_ref()?;
        self.begun.get_or_init(|| {
            let _ = file.truncate(0).and_then(|()| file.append(0, &header(self.boot, false)));
        });
        let number = {
            let mut vacant = self.vacant();
            vacant.free.pop().or_else(|| {
                vacant.used += 1;
                (vacant.used <= ENTRIES).then_some(vacant.used)
            })?
        };
        file.append(u64::from(number) * ENTRY as u64, &entry(mark)).ok()?;
        Some(Slot(number))
    }

    /// The delivery is over and recorded. One whose message is gone need not be wiped out: it says nothing any more.
    pub fn end(&self, slot: Slot, is_gone: bool) {
        if let (false, Some(file)) = (is_gone, &self.file) {
            let _ = file.append(u64::from(slot.0) * ENTRY as u64, &[0; ENTRY]);
        }
        self.vacant().free.push(slot.0);
    }

    /// The process ends in order; what was broken off stays noted.
    pub fn close(&self) {
        if let Some(file) = &self.file {
            let _ = file.append(0, &header(self.boot, true));
        }
    }

    fn vacant(&self) -> MutexGuard<'_, Vacant> {
        self.vacant.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &dyn DiskFile, boot: u128) -> io::Result<Left> {
    let len = usize::try_from(file.size()?).unwrap_or(usize::MAX).min((ENTRIES as usize + 1) * ENTRY);
    let mut octets = vec![0; len];
    file.read_at(0, &mut octets)?;
    let mut entries = octets.chunks_exact(ENTRY);
    let Some(first) = entries.next() else { return Ok(Left::default()) };
    let (theirs, in_order) = match first {
        _ if !is_intact(first) => (0, false),
        _ => (u128::from_le_bytes(take(first, 0)), first[16] == 1),
    };
    let went_down = !in_order && theirs != boot;
    Ok(Left { marks: entries.filter_map(mark).collect(), went_down })
}

fn header(boot: u128, in_order: bool) -> [u8; ENTRY] {
    let mut octets = [0; ENTRY];
    octets[..16].copy_from_slice(&boot.to_le_bytes());
    octets[16] = u8::from(in_order);
    sealed(octets)
}

fn entry(mark: Mark) -> [u8; ENTRY] {
    let mut octets = [0; ENTRY];
    octets[..8].copy_from_slice(&mark.id.0.to_le_bytes());
    octets[8..12].copy_from_slice(&mark.first.to_le_bytes());
    octets[12..16].copy_from_slice(&mark.last.to_le_bytes());
    sealed(octets)
}

fn mark(octets: &[u8]) -> Option<Mark> {
    let number = |at| u32::from_le_bytes(take(octets, at));
    is_intact(octets).then(|| Mark {
        id: QueueId(u64::from_le_bytes(take(octets, 0))),
        first: number(8),
        last: number(12),
    })
}

fn sealed(mut octets: [u8; ENTRY]) -> [u8; ENTRY] {
    let crc = crc32fast::hash(&octets[..ENTRY - 4]);
    octets[ENTRY - 4..].copy_from_slice(&crc.to_le_bytes());
    octets
}

/// All zeros are no entry.
fn is_intact(octets: &[u8]) -> bool {
    let crc = u32::from_le_bytes(take(octets, ENTRY - 4));
    octets.iter().any(|octet| *octet != 0) && crc == crc32fast::hash(&octets[..ENTRY - 4])
}

fn take<const N: usize>(octets: &[u8], at: usize) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&octets[at..at + N]);
    taken
}
