//! Opens a spool: what is torn is cut, what was found is made durable, a new head is begun.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Recovery;
use super::disk::Disk;
use super::error::SpoolError;
use super::log::{Log, Options};
use super::record::file_name;
use super::scan::{Scan, scan};

/// Bits of an id that count within one run.
const RUN_BITS: u32 = 36;

use crate::metrics::Histogram;

/// Seconds that a sync takes.
const SYNCS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Log {
    /// Opens what is on the disk. Errors: the disk cannot be read or written, or a newer version wrote it.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Log, Recovery), SpoolError> {
        let scan = scan(&*disk)?;
        settle(&*disk, &scan)?;
        let recovery = scan.recovery;
        let mut log = Log {
            disk,
            options,
            spool: scan.spool.unwrap_or_else(fresh_name),
            index: Arc::new(Mutex::new(scan.index)),
            next_id: Arc::new(AtomicU64::new(scan.next_id)),
            next_segment: scan.next_segment,
            last: scan.last,
            voided: false,
            tidied: 0,
            pressed: false,
            syncs: Arc::new(Histogram::new(SYNCS)),
            unsynced_since: None,
            commits: 0,
            head: None,
        };
        log.open_head()?;
        log.begin_ids();
        log.reclaim()?;
        Ok((log, recovery))
    }

    /// Ids of one run begin with the number of its first segment, which is durable and never used again: so an id
    /// that was given and never recorded is not given again either.
    fn begin_ids(&mut self) {
        if let Some(head) = &self.head {
            self.next_id.fetch_max(u64::from(head.number) << RUN_BITS, Ordering::SeqCst);
        }
    }

    /// Whether [`Log::tidy`] has nothing to do but to delete what has become free.
    pub fn is_tidy(&self) -> bool {
        !self.pressed && self.head.as_ref().is_some_and(|head| head.number == self.tidied)
    }

    /// Gives space back where there is some, after the answers of a batch are out. What fails is tried again
    /// after a later batch; commits meet the same disk and tell of it.
    pub fn tidy(&mut self) {
        if self.pressed {
            self.pressed = self.relieve().is_err() || !self.has_room();
        }
        let Some(head) = self.head.as_ref().map(|head| head.number) else { return };
        if head != self.tidied {
            self.tidied = head;
            let _ = self.compact();
        }
        let _ = self.reclaim();
    }
}

/// After a killed process the last segment may be in memory alone: what is read from it must be durable before
/// anything is done about it. Of a segment before it the header of the next one says how much counts, durably.
fn settle(disk: &dyn Disk, scan: &Scan) -> Result<(), SpoolError> {
    for (number, len) in &scan.cuts {
        let file = file_of(scan, *number)?;
        let fault = |error| SpoolError::io("cut", &file_name(*number), error);
        file.truncate(*len).map_err(fault)?;
    }
    if scan.last.0 != 0 {
        let file = file_of(scan, scan.last.0)?;
        file.sync().map_err(|error| SpoolError::io("sync", &file_name(scan.last.0), error))?;
    }
    for name in &scan.leftovers {
        disk.unlink(name).map_err(|error| SpoolError::io("remove", name, error))?;
    }
    disk.sync_directory().map_err(|error| SpoolError::io("sync the directory of", "segments", error))
}

fn file_of(scan: &Scan, number: u32) -> Result<Arc<dyn super::disk::DiskFile>, SpoolError> {
    let segment = scan.index.segments.get(&number);
    segment.map(|segment| segment.file.clone()).ok_or(SpoolError::Closed)
}

/// Names a new spool: differs from that of any other, guards no secret.
fn fresh_name() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    (half() << 64) | half()
}
