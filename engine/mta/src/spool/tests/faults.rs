//! Every operation on the disk fails in every way that matters: what is said, what is left, and how it goes on.

use std::io;
use std::sync::{Arc, Mutex};

use super::envelope;
use super::hooked::Hooked;
use super::model::ModelDisk;
use crate::message::{Outcome, QueueId};
use crate::spool::{Change, Disk, DiskFile, Options, Spool, SpoolError};

const OPTIONS: Options = Options { segment_size: 16 * 1024, reserve: 0, memory: 0, ahead: 4096 };
/// Octets of a message: three fill a segment.
const SIZE: usize = 5000;

/// One thing that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Append,
    Read,
    Truncate,
    Sync,
    Unlink,
    SyncDirectory,
    Free,
}

const OPERATIONS: [Operation; 8] = [
    Operation::Create,
    Operation::Append,
    Operation::Read,
    Operation::Truncate,
    Operation::Sync,
    Operation::Unlink,
    Operation::SyncDirectory,
    Operation::Free,
];

const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EIO: i32 = 5;

/// What fails from now on, and the files that a sync failed of.
#[derive(Default)]
struct Trouble {
    fails: Option<(Operation, i32)>,
    failed: usize,
    broken: Vec<usize>,
    synced_again: usize,
    files: usize,
}

type Shared = Arc<Mutex<Trouble>>;

struct Faulty {
    disk: ModelDisk,
    trouble: Shared,
}

struct FaultyFile {
    file: Arc<dyn DiskFile>,
    trouble: Shared,
    number: usize,
}

fn meet(trouble: &Shared, operation: Operation) -> io::Result<()> {
    let mut trouble = trouble.lock().unwrap();
    match trouble.fails {
        Some((fails, errno)) if fails == operation => {
            trouble.failed += 1;
            Err(io::Error::from_raw_os_error(errno))
        }
        _ => Ok(()),
    }
}

impl Faulty {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let mut trouble = self.trouble.lock().unwrap();
        trouble.files += 1;
        Arc::new(FaultyFile { file, trouble: self.trouble.clone(), number: trouble.files })
    }
}

impl Disk for Faulty {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        meet(&self.trouble, Operation::Create)?;
        Ok(self.file(self.disk.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(self.disk.open(name)?))
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn unlink(&self, name: &str) -> io::Result<()> {
        meet(&self.trouble, Operation::Unlink)?;
        self.disk.unlink(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        meet(&self.trouble, Operation::SyncDirectory)?;
        self.disk.sync_directory()
    }
    fn free(&self) -> io::Result<u64> {
        meet(&self.trouble, Operation::Free)?;
        self.disk.free()
    }
}

impl DiskFile for FaultyFile {
    fn append(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        if let Err(error) = meet(&self.trouble, Operation::Append) {
            // As a full disk does: a part is written.
            self.file.append(at, &octets[..octets.len() / 3])?;
            return Err(error);
        }
        self.file.append(at, octets)
    }
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        meet(&self.trouble, Operation::Read)?;
        self.file.read_at(at, buffer)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        meet(&self.trouble, Operation::Truncate)?;
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        let failed = meet(&self.trouble, Operation::Sync);
        let mut trouble = self.trouble.lock().unwrap();
        if trouble.broken.contains(&self.number) {
            trouble.synced_again += 1;
        }
        if failed.is_err() {
            trouble.broken.push(self.number);
        }
        drop(trouble);
        failed?;
        self.file.sync()
    }
}

struct World {
    disk: ModelDisk,
    trouble: Shared,
    spool: Spool,
    /// Accepted, and not done.
    queued: Vec<QueueId>,
}

impl World {
    fn new() -> Self {
        let (disk, trouble) = (ModelDisk::default(), Shared::default());
        let faulty = Faulty { disk: disk.clone(), trouble: trouble.clone() };
        let (spool, _) = Spool::on(Arc::new(faulty), OPTIONS).unwrap();
        Self { disk, trouble, spool, queued: Vec::new() }
    }

    fn set(&self, fails: Option<(Operation, i32)>) {
        self.trouble.lock().unwrap().fails = fails;
    }

    async fn send(&mut self) -> Result<(), SpoolError> {
        let mut incoming = self.spool.begin();
        incoming.write(&[b'x'; SIZE]).await?;
        self.queued.push(incoming.commit(envelope(1)).await?);
        Ok(())
    }

    async fn conclude(&mut self, at: usize) -> Result<(), SpoolError> {
        let outcome = Outcome::Delivered { mailbox: "u".into() };
        let change = Change::Done { recipient: 0, outcome };
        self.spool.record(self.queued[at], vec![change]).await?;
        self.queued.remove(at);
        Ok(())
    }

    /// Work that comes by every operation: segments are filled, emptied and removed.
    async fn work(&mut self) -> Vec<SpoolError> {
        let mut errors = Vec::new();
        for round in 0..12 {
            errors.extend(self.send().await.err());
            if round % 3 > 0 && self.queued.len() > 2 {
                errors.extend(self.conclude(0).await.err());
            }
        }
        errors
    }

    /// What another process finds is what was acknowledged, whole.
    async fn check(&self, what: &str) {
        let disk = Arc::new(ModelDisk::of(self.disk.files()));
        let (found, recovery) = Spool::on(disk, OPTIONS).unwrap();
        assert_eq!((found.ids(), recovery.unreadable), (self.queued.clone(), Vec::new()), "{what}");
        for id in found.ids() {
            assert_eq!(found.check(id), Some(Ok(SIZE as u64)), "{what}: {id}");
        }
    }
}

#[tokio::test]
async fn every_operation_fails_in_every_way_and_nothing_is_lost_or_half_there() {
    for operation in OPERATIONS {
        for errno in [ENOSPC, EROFS, EIO] {
            let what = format!("{operation:?} fails with {errno}");
            let mut world = World::new();
            assert!(world.work().await.is_empty());
            world.set(Some((operation, errno)));
            let errors = world.work().await;
            // 452 where space is what is missing, else 451.
            assert!(errors.iter().all(|error| error.is_full() == (errno == ENOSPC)), "{what}: {errors:?}");
            let is_met = world.trouble.lock().unwrap().failed > 0;
            assert!(is_met || operation == Operation::Truncate, "{what}: it is never asked for");
            let is_needed = !matches!(operation, Operation::Truncate | Operation::Unlink);
            assert_eq!(
                !errors.is_empty(),
                is_needed && operation != Operation::Read || !errors.is_empty(),
                "{what}"
            );
            world.check(&what).await;
            // By itself, without a restart.
            world.set(None);
            assert!(world.work().await.is_empty(), "{what}: it does not recover");
            world.check(&what).await;
            assert_eq!(world.trouble.lock().unwrap().synced_again, 0, "{what}: synced again after a failure");
        }
    }
}

#[tokio::test]
async fn a_sync_that_fails_once_refuses_what_it_was_for_and_is_not_repeated() {
    let mut world = World::new();
    world.send().await.unwrap();
    world.set(Some((Operation::Sync, EIO)));
    assert!(world.send().await.is_err());
    world.set(None);
    world.send().await.unwrap();
    world.check("after a failed sync").await;
    let trouble = world.trouble.lock().unwrap();
    assert_eq!((trouble.failed, trouble.synced_again), (1, 0));
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_is_there_when_the_disk_is_well_again() {
    let mut world = World::new();
    world.send().await.unwrap();
    let id = world.queued[0];
    world.set(Some((Operation::Read, EIO)));
    assert!(matches!(world.spool.message(id), Err(SpoolError::Io { .. })));
    let mut body = world.spool.body(id).unwrap();
    assert!(matches!(body.next_chunk().await, Err(SpoolError::Io { .. })));
    assert!(world.spool.check(id).unwrap().is_err());
    world.set(None);
    assert_eq!(world.spool.check(id), Some(Ok(SIZE as u64)));
}

/// All that lies on it may be in the one segment that is written to.
#[tokio::test]
async fn a_disk_smaller_than_a_segment_fills_up_and_is_emptied_again() {
    let disk = ModelDisk::default();
    let options = Options { segment_size: 1 << 20, reserve: 50_000, memory: 0, ahead: 4096 };
    let (size, lies_there) = (200_000_u64, disk.clone());
    let small = Hooked::new(Arc::new(disk.clone()), || {}).with_free(move || {
        let used: usize = lies_there.files().values().map(Vec::len).sum();
        Ok(size.saturating_sub(used as u64))
    });
    let (spool, _) = Spool::on(Arc::new(small), options).unwrap();
    let mut world = World { disk, trouble: Shared::default(), spool, queued: Vec::new() };
    for round in 0..4 {
        let mut refused = None;
        while refused.is_none() {
            refused = world.send().await.err();
        }
        assert!(refused.unwrap().is_full());
        assert!(world.queued.len() > 20, "round {round}: {} fit", world.queued.len());
        while world.queued.len() > 2 {
            world.conclude(1).await.unwrap();
        }
        // It says so once more where the committer is not done with tidying up.
        let mut tries = 0;
        while world.send().await.is_err() {
            tries += 1;
            assert!(tries < 3, "round {round}: the room does not come back");
        }
    }
    world.check("small").await;
}
