//! The one door to the disk: everything that the spool does to files goes through [`Disk`].
//!
//! Owns: the trait and the real disk. A model of a disk that loses what was not synced stands behind the same
//! trait in the tests. Must not know what the files hold.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statvfs::fstatvfs;

/// The directory of the segments, below that of the spool.
const SEGMENTS: &str = "segments";
/// The locked file, beside it.
const LOCK: &str = "lock";

/// One flat directory of files.
pub trait Disk: Send + Sync {
    /// Creates a file that must not exist. Its entry is durable after [`Disk::sync_directory`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists, to read and truncate.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in the directory, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name, durable after [`Disk::sync_directory`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name; what is open stays readable. Durable after [`Disk::sync_directory`].
    fn unlink(&self, name: &str) -> io::Result<()>;
    /// Makes all creations, renames and removals so far durable.
    fn sync_directory(&self) -> io::Result<()>;
    /// Octets that may still be written.
    fn free(&self) -> io::Result<u64>;
    /// What differs between two boots of the machine, and else does not; 0: unknown.
    fn boot(&self) -> u128 {
        0
    }
}

/// One file.
pub trait DiskFile: Send + Sync {
    /// Writes all octets at an offset, which is the end of the file as its only writer knows it; nothing but zeros is
    /// behind it.
    fn append(&self, at: u64, octets: &[u8]) -> io::Result<()>;
    /// Fills the buffer from an offset. Errors: `UnexpectedEof` where the file ends before.
    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Octets in the file.
    fn size(&self) -> io::Result<u64>;
    /// Cuts the file.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Makes octets and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of this host, locked against a second opener for as long as this lives.
#[derive(Debug)]
pub struct RealDisk {
    directory: PathBuf,
    handle: File,
    /// Whose the directory is, where root works on the queue of another.
    owner: Option<(u32, u32)>,
    _lock: Option<Flock<File>>,
}

impl RealDisk {
    /// Opens `directory` for its only writer; it and what it needs is created, durably, mode 0700.
    /// Errors: `WouldBlock` where another process has it open.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let segments = directory.join(SEGMENTS);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&segments)?;
        let owner = owner(directory)?;
        give(&File::open(&segments)?, owner)?;
        for ancestor in [Some(directory), directory.parent()].into_iter().flatten() {
            // An ancestor of others may be unreadable; its entry is then none that was made here.
            if let Ok(handle) = File::open(ancestor) {
                handle.sync_all()?;
            }
        }
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        let lock = options.open(directory.join(LOCK))?;
        give(&lock, owner)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
        Ok(Self { handle: File::open(&segments)?, directory: segments, owner, _lock: Some(lock) })
    }

    /// Opens `directory` for a look: no lock keeps a writer from starting meanwhile. None: there is no spool.
    pub fn for_a_look(directory: &Path) -> io::Result<Option<Self>> {
        let segments = directory.join(SEGMENTS);
        match File::open(&segments) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            handle => Ok(Some(Self { directory: segments, handle: handle?, owner: None, _lock: None })),
        }
    }

    /// Opens `directory` to read, while no writer has it open. None: there is no spool.
    /// Errors: `WouldBlock` where a process has it open to write.
    pub fn read_only(directory: &Path) -> io::Result<Option<Self>> {
        let Some(looked) = Self::for_a_look(directory)? else { return Ok(None) };
        let lock = match File::open(directory.join(LOCK)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(Flock::lock(file?, FlockArg::LockSharedNonblock).map_err(|(_, errno)| errno)?),
        };
        Ok(Some(Self { _lock: lock, ..looked }))
    }
}

/// Whose a directory is, where root is at work and it is another's.
fn owner(directory: &Path) -> io::Result<Option<(u32, u32)>> {
    let found = fs::metadata(directory)?;
    Ok((nix::unistd::geteuid().is_root() && found.uid() != 0).then(|| (found.uid(), found.gid())))
}

/// What root makes in the spool of another is that one's: the MTA does not run as root.
fn give(file: &File, owner: Option<(u32, u32)>) -> io::Result<()> {
    match owner {
        Some((uid, gid)) => fchown(file, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.create_new(true).read(true).write(true).mode(0o600);
        let file = options.open(self.directory.join(name))?;
        give(&file, self.owner)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.directory.join(name);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            // On a disk that went read-only, or as a mere reader, it can still be read.
            Err(_) => File::open(&path)?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(&self.directory)?.map(name).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.directory.join(name))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let stat = fstatvfs(&self.handle)?;
        Ok(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    fn boot(&self) -> u128 {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        u128::from_str_radix(&id.trim().replace('-', ""), 16).unwrap_or(0)
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn append(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        self.0.write_all_at(octets, at)
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, at)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
