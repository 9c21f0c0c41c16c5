//! A disk that remembers what was synced and what was not, and can tell what a crash may leave of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::spool::disk::{Disk, DiskFile};

/// What a crash tears.
const SECTOR: usize = 512;

/// One thing done to the disk, in order.
#[derive(Clone, Debug)]
pub enum Done {
    Create(String, usize),
    Unlink(String),
    Rename(String, String),
    Append(usize, u64, Vec<u8>),
    Truncate(usize, u64),
    Sync(usize),
    SyncDirectory,
    /// A sync that was skipped.
    Nothing,
}

/// What the disk refuses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The n-th append from now fails, with half of it written.
    pub fail_append: Option<u32>,
    /// The n-th sync of a file from now fails.
    pub fail_sync: Option<u32>,
    pub fail_truncate: bool,
    pub fail_read: bool,
    pub read_only: bool,
    pub free: Option<u64>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<String, usize>,
    files: Vec<Vec<u8>>,
    log: Vec<Done>,
    faults: Faults,
    /// Octets that were read.
    read: u64,
}

/// The disk.
#[derive(Clone, Default)]
pub struct ModelDisk(Arc<Mutex<State>>);

struct ModelFile(ModelDisk, usize);

/// A small generator of repeatable chance (xorshift64*).
#[derive(Clone, Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

impl ModelDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Operations so far.
    pub fn operations(&self) -> usize {
        self.state().log.len()
    }

    /// Octets that were read so far.
    pub fn octets_read(&self) -> u64 {
        self.state().read
    }

    /// The files as a process sees them.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(name, inode)| (name.clone(), state.files[*inode].clone())).collect()
    }

    /// A disk with just these files, durable.
    pub fn of(files: BTreeMap<String, Vec<u8>>) -> Self {
        let disk = Self::default();
        let mut state = disk.state();
        for (name, octets) in files {
            let inode = state.files.len();
            state.names.insert(name, inode);
            state.files.push(octets);
        }
        drop(state);
        disk
    }

    /// The files that were there before anything was done, and what was done.
    pub fn history(&self) -> Vec<Done> {
        self.state().log.clone()
    }
}

/// What a crash after the first `operations` leaves of a disk that was empty before them, as chance has it.
pub fn after_crash(history: &[Done], operations: usize, chance: &mut Chance) -> BTreeMap<String, Vec<u8>> {
    let mut directory = Directory::default();
    let mut files: BTreeMap<usize, Contents> = BTreeMap::new();
    for done in &history[..operations] {
        match done {
            Done::Append(inode, at, octets) => {
                files.entry(*inode).or_default().pending.push(Pending::Write(*at, octets.clone()));
            }
            Done::Truncate(inode, len) => files.entry(*inode).or_default().pending.push(Pending::Cut(*len)),
            Done::Sync(inode) => files.entry(*inode).or_default().settle(),
            Done::SyncDirectory => directory.settle(),
            Done::Nothing => {}
            other => directory.pending.push(other.clone()),
        }
    }
    // Nothing, everything, or any part of what was not synced.
    let mode = chance.below(4);
    directory.crash(mode, chance);
    let names = directory.durable.into_iter();
    names.map(|(name, inode)| (name, files.remove(&inode).unwrap_or_default().crash(mode, chance))).collect()
}

#[derive(Default)]
struct Directory {
    durable: BTreeMap<String, usize>,
    pending: Vec<Done>,
}

impl Directory {
    fn settle(&mut self) {
        for done in std::mem::take(&mut self.pending) {
            self.apply(done);
        }
    }

    fn apply(&mut self, done: Done) {
        match done {
            Done::Create(name, inode) => drop(self.durable.insert(name, inode)),
            Done::Unlink(name) => drop(self.durable.remove(&name)),
            Done::Rename(from, to) => {
                if let Some(inode) = self.durable.remove(&from) {
                    self.durable.insert(to, inode);
                }
            }
            _ => unreachable!("not of the directory"),
        }
    }

    fn crash(&mut self, mode: u64, chance: &mut Chance) {
        for done in std::mem::take(&mut self.pending) {
            if survives(mode, chance) {
                self.apply(done);
            }
        }
    }
}

fn survives(mode: u64, chance: &mut Chance) -> bool {
    match mode {
        0 => false,
        1 => true,
        _ => chance.below(2) == 0,
    }
}

enum Pending {
    Write(u64, Vec<u8>),
    Cut(u64),
}

#[derive(Default)]
struct Contents {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

impl Contents {
    fn settle(&mut self) {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Write(at, octets) => put(&mut self.durable, at as usize, &octets),
                Pending::Cut(len) => self.durable.truncate(len as usize),
            }
        }
    }

    fn crash(mut self, mode: u64, chance: &mut Chance) -> Vec<u8> {
        for pending in std::mem::take(&mut self.pending) {
            match pending {
                Pending::Cut(len) if survives(mode, chance) => self.durable.truncate(len as usize),
                Pending::Cut(_) => {}
                Pending::Write(at, octets) => self.tear(at as usize, &octets, mode, chance),
            }
        }
        self.durable
    }

    /// Sectors reach the disk in any order; mode 2 leaves a beginning, mode 3 any of them.
    fn tear(&mut self, at: usize, octets: &[u8], mode: u64, chance: &mut Chance) {
        let end = at + octets.len();
        let cut = if mode == 2 { at + chance.below(octets.len() as u64 + 1) as usize } else { end };
        let mut from = at;
        while from < cut {
            let to = ((from / SECTOR + 1) * SECTOR).min(cut);
            if mode == 2 || survives(mode, chance) {
                put(&mut self.durable, from, &octets[from - at..to - at]);
            }
            from = to;
        }
    }
}

fn put(file: &mut Vec<u8>, at: usize, octets: &[u8]) {
    if file.len() < at + octets.len() {
        file.resize(at + octets.len(), 0);
    }
    file[at..at + octets.len()].copy_from_slice(octets);
}

impl State {
    fn writable(&self) -> io::Result<()> {
        if self.faults.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }
}

fn strikes(countdown: &mut Option<u32>) -> bool {
    match countdown {
        Some(0) => {
            *countdown = None;
            true
        }
        Some(n) => {
            *n -= 1;
            false
        }
        None => false,
    }
}

impl Disk for ModelDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.writable()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.files.len();
        state.files.push(Vec::new());
        state.names.insert(name.to_owned(), inode);
        state.log.push(Done::Create(name.to_owned(), inode));
        Ok(Arc::new(ModelFile(self.clone(), inode)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inode = self.state().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(ModelFile(self.clone(), inode)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.writable()?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.log.push(Done::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.writable()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.log.push(Done::Unlink(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.writable()?;
        state.log.push(Done::SyncDirectory);
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.state().faults.free.unwrap_or(u64::MAX))
    }
}

impl DiskFile for ModelFile {
    fn append(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        let mut state = self.0.state();
        state.writable()?;
        let fails = strikes(&mut state.faults.fail_append);
        let written = if fails { &octets[..octets.len() / 2] } else { octets };
        put(&mut state.files[self.1], at as usize, written);
        state.log.push(Done::Append(self.1, at, written.to_vec()));
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut state = self.0.state();
        if state.faults.fail_read {
            return Err(io::Error::other("a broken disk"));
        }
        state.read += buffer.len() as u64;
        let octets = state.files[self.1].get(at as usize..at as usize + buffer.len());
        buffer.copy_from_slice(octets.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.state().files[self.1].len() as u64)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.writable()?;
        if state.faults.fail_truncate {
            return Err(io::Error::other("a broken disk"));
        }
        state.files[self.1].truncate(len as usize);
        state.log.push(Done::Truncate(self.1, len));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.state();
        state.writable()?;
        if strikes(&mut state.faults.fail_sync) {
            return Err(io::Error::other("a broken disk"));
        }
        state.log.push(Done::Sync(self.1));
        Ok(())
    }
}
