//! Syncs per message, counted: concurrent sessions share them, a lone one waits for nobody.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::envelope;
use super::model::ModelDisk;
use crate::spool::{Disk, DiskFile, Options, Spool};

/// A disk whose syncs take a while, and are counted.
struct Slow {
    disk: ModelDisk,
    latency: Duration,
    syncs: Arc<AtomicUsize>,
}

struct SlowFile {
    file: Arc<dyn DiskFile>,
    latency: Duration,
    syncs: Arc<AtomicUsize>,
}

impl Slow {
    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(SlowFile { file, latency: self.latency, syncs: self.syncs.clone() })
    }
}

impl Disk for Slow {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
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
        self.disk.unlink(name)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
    fn free(&self) -> io::Result<u64> {
        self.disk.free()
    }
}

impl DiskFile for SlowFile {
    fn append(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.file.append(at, octets)
    }
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(at, buffer)
    }
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(self.latency);
        self.file.sync()
    }
}

/// Has so many sessions send so many messages each, on a disk whose syncs take so long; returns the syncs that it took.
async fn syncs(sessions: usize, each: usize, latency: Duration) -> usize {
    let syncs = Arc::new(AtomicUsize::new(0));
    let slow = Slow { disk: ModelDisk::default(), latency, syncs: syncs.clone() };
    let (spool, _) = Spool::on(Arc::new(slow), Options { reserve: 0, ..Options::default() }).unwrap();
    let before = syncs.load(Ordering::SeqCst);
    let session = |spool: Spool| async move {
        for _ in 0..each {
            let mut incoming = spool.begin();
            incoming.write(b"words\r\n").await.unwrap();
            incoming.commit(envelope(1)).await.unwrap();
        }
    };
    let running: Vec<_> = (0..sessions).map(|_| tokio::spawn(session(spool.clone()))).collect();
    for running in running {
        running.await.unwrap();
    }
    syncs.load(Ordering::SeqCst) - before
}

/// The time that a message takes is the time of its syncs. The first that comes back does not take one for itself
/// alone, which all others would wait for: that would be two for twenty messages.
#[tokio::test]
async fn twenty_sessions_share_nearly_every_sync() {
    let latency = Duration::from_millis(20);
    assert_eq!(syncs(1, 20, latency).await, 20, "a lone session has one sync for each message, at once");
    let shared = syncs(20, 20, latency).await;
    assert!(shared * 14 <= 400, "{shared} syncs for 400 messages");
}

#[tokio::test]
async fn no_message_ever_takes_more_than_one_sync() {
    for sessions in [1, 2, 3, 7] {
        let taken = syncs(sessions, 10, Duration::from_millis(5)).await;
        assert!(taken <= sessions * 10, "{taken} syncs for {} messages", sessions * 10);
    }
}
