//! A disk with a hook before each sync, for the tests and for the measurement of shared syncs, and one that says how
//! much of it is free.
//!
//! Whoever includes this names [`Disk`] and [`DiskFile`] in the module above.

use std::io;
use std::sync::Arc;

use super::{Disk, DiskFile};

/// What is done before each sync of a file.
pub type Hook = Arc<dyn Fn() + Send + Sync>;
/// Octets that are free.
pub type Free = Arc<dyn Fn() -> io::Result<u64> + Send + Sync>;

/// A disk behind a hook.
pub struct Hooked {
    disk: Arc<dyn Disk>,
    before_sync: Hook,
    free: Option<Free>,
}

struct HookedFile {
    file: Arc<dyn DiskFile>,
    before_sync: Hook,
}

impl Hooked {
    /// Calls `before_sync` before each sync of a file.
    pub fn new(disk: Arc<dyn Disk>, before_sync: impl Fn() + Send + Sync + 'static) -> Self {
        Self { disk, before_sync: Arc::new(before_sync), free: None }
    }

    /// Says that so much is free.
    pub fn with_free(mut self, free: impl Fn() -> io::Result<u64> + Send + Sync + 'static) -> Self {
        self.free = Some(Arc::new(free));
        self
    }

    fn file(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(HookedFile { file, before_sync: self.before_sync.clone() })
    }
}

impl Disk for Hooked {
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
        self.free.as_ref().map_or_else(|| self.disk.free(), |free| free())
    }
}

impl DiskFile for HookedFile {
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
        (self.before_sync)();
        self.file.sync()
    }
}
