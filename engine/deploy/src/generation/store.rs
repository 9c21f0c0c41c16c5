//! The generations of a host, below `var/lib/mailstack`.
//!
//! `generations/<digest>/` is written into a staging directory, synced and renamed. `current` is the one link that
//! all which the host reads goes through. `history` has a line for each generation that went live and was found
//! good; its last line is what the host can go back to.

use std::cmp::Reverse;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::candidate::octal;
use super::disk::{self, At, DiskError};
use super::{Candidate, Digest, IMPORTED, MANIFEST, Manifest, SOURCE};
use crate::generate::LINK;

/// The store's place below the root.
pub const PLACE: &str = "var/lib/mailstack";
const STAGING: &str = ".staging-";

/// A store, or a generation in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// This host's disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A directory that a build would have to overwrite and that no build made.
    #[error("{} is not empty and not an earlier build", path.display())]
    NotABuild {
        /// The directory.
        path: PathBuf,
    },
    /// A generation whose manifest cannot be read.
    #[error("{} is not a manifest that this mailstack reads", path.display())]
    BadManifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong in it.
        source: serde_json::Error,
    },
    /// No generation has this name.
    #[error("no generation begins with {prefix}")]
    Unknown {
        /// What was asked for.
        prefix: String,
    },
    /// More than one generation has this name.
    #[error("{} generations begin with {prefix}", found.len())]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Those that it may mean.
        found: Vec<Digest>,
    },
    /// There is nothing to go back to.
    #[error("there is no earlier generation")]
    NoPrevious,
}

/// How a generation on disk differs from what was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "drift")]
pub enum Drift {
    /// A file is gone.
    Missing {
        /// The file, within the generation.
        path: String,
    },
    /// A file has other content.
    Changed {
        /// The file, within the generation.
        path: String,
    },
    /// A file has another mode.
    Mode {
        /// The file, within the generation.
        path: String,
        /// The mode that it was written with.
        written: String,
        /// The mode that it has.
        found: String,
    },
    /// A file that no generation has.
    Added {
        /// The file, within the generation.
        path: String,
    },
    /// The manifest does not give the generation's name.
    Manifest {
        /// `manifest.json`.
        path: String,
    },
}

/// A generation that is on disk.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its directory.
    pub dir: PathBuf,
    /// What it says about itself.
    pub manifest: Manifest,
    /// When it was written, in seconds since 1970.
    pub written: u64,
    /// Whether it lies outside of the host's store: NixOS keeps it, under a name and with modes of its own.
    pub is_foreign: bool,
}

impl Stored {
    /// Its name.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// The octets of a file; None if it is not there.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        disk::read(&self.dir.join(path)).ok()
    }

    /// How it differs from what was written; empty for an intact one.
    pub fn drift(&self) -> Result<Vec<Drift>, DiskError> {
        let name = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let mut found = Vec::new();
        let is_named = self.is_foreign || self.digest().as_str() == name;
        if Manifest::digest_of(&self.manifest.files) != *self.digest() || !is_named {
            found.push(Drift::Manifest { path: MANIFEST.to_owned() });
        }
        for (path, sha256, mode) in self.records() {
            found.extend(self.drift_of(path, sha256, mode)?);
        }
        let mut present = Vec::new();
        list_files(&self.dir, "", &mut present)?;
        let known =
            |path: &str| path == MANIFEST || is_source(path) || self.records().any(|(p, ..)| p == path);
        found.extend(present.into_iter().filter(|path| !known(path)).map(|path| Drift::Added { path }));
        Ok(found)
    }

    fn records(&self) -> impl Iterator<Item = (&str, &Digest, &str)> {
        let covered = self.manifest.files.iter().map(|f| (f.path.as_str(), &f.sha256, f.mode.as_str()));
        covered.chain(self.manifest.derived.iter().map(|f| (f.path.as_str(), &f.sha256, f.mode.as_str())))
    }

    fn drift_of(&self, path: &str, sha256: &Digest, mode: &str) -> Result<Option<Drift>, DiskError> {
        let place = self.dir.join(path);
        let Ok(meta) = fs::symlink_metadata(&place) else {
            return Ok(Some(Drift::Missing { path: path.to_owned() }));
        };
        let is_link = mode == octal(LINK);
        if meta.is_symlink() != is_link
            || meta.is_dir()
            || Digest::of(&disk::read(&place).at("read", &place)?) != *sha256
        {
            return Ok(Some(Drift::Changed { path: path.to_owned() }));
        }
        let found = if is_link { mode.to_owned() } else { octal(meta.permissions().mode() & 0o7777) };
        let differs = found != mode && !self.is_foreign;
        Ok(differs.then(|| Drift::Mode { path: path.to_owned(), written: mode.to_owned(), found }))
    }
}

/// Whether a file is of the texts that a generation was made from, which its digest does not cover.
fn is_source(path: &str) -> bool {
    path == SOURCE || path.strip_prefix(IMPORTED).is_some_and(|rest| rest.starts_with('/'))
}

fn list_files(dir: &Path, prefix: &str, found: &mut Vec<String>) -> Result<(), DiskError> {
    let mut entries =
        fs::read_dir(dir).and_then(|entries| entries.collect::<Result<Vec<_>, _>>()).at("list", dir)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().at("look at", &entry.path())?.is_dir() {
            list_files(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}

/// A generation that went live and was found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activation {
    /// Which.
    pub digest: Digest,
    /// When, in seconds since 1970.
    pub at: u64,
}

/// The generations of one host.
#[derive(Clone, Debug)]
pub struct Store {
    base: PathBuf,
}

impl Store {
    /// The store below this root. Nothing is read or written yet.
    pub fn below(root: &Path) -> Self {
        Self { base: root.join(PLACE) }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.base
    }

    /// The link that the host reads through.
    pub fn current_link(&self) -> PathBuf {
        self.base.join("current")
    }

    /// Where a generation lies.
    pub fn place(&self, digest: &Digest) -> PathBuf {
        self.generations().join(digest.as_str())
    }

    fn generations(&self) -> PathBuf {
        self.base.join("generations")
    }

    fn history_file(&self) -> PathBuf {
        self.base.join("history")
    }

    /// The name of the generation that is live; None if there is none.
    pub fn current(&self) -> Option<Digest> {
        let target = fs::read_link(self.current_link()).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// Reads one generation; None if it is not there.
    pub fn get(&self, digest: &Digest) -> Result<Option<Stored>, StoreError> {
        let dir = self.place(digest);
        if !dir.is_dir() {
            return Ok(None);
        }
        read(dir).map(Some)
    }

    /// The generation that is live; None if there is none.
    pub fn current_generation(&self) -> Result<Option<Stored>, StoreError> {
        if let Some(dir) = self.foreign() {
            return Ok(Some(Stored { is_foreign: true, ..read(dir)? }));
        }
        self.current().map_or(Ok(None), |digest| self.get(&digest))
    }

    /// Where the generation that is live lies, if that is outside of the store: what put it there (the NixOS module)
    /// also starts the MTA, and nothing here changes it.
    pub fn foreign(&self) -> Option<PathBuf> {
        let target = fs::read_link(self.current_link()).ok()?;
        (target.is_absolute() && !target.starts_with(&self.base)).then_some(target)
    }

    /// All generations, the newest first.
    pub fn list(&self) -> Result<Vec<Stored>, StoreError> {
        let dir = self.generations();
        if !dir.exists() {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for entry in fs::read_dir(&dir).at("list", &dir)? {
            let entry = entry.at("list", &dir)?;
            if entry.file_name().to_str().is_some_and(|name| name.parse::<Digest>().is_ok()) {
                all.push(read(entry.path())?);
            }
        }
        // Two of one second: what went live later is newer.
        let history: Vec<Digest> = self.history().into_iter().map(|activation| activation.digest).collect();
        let live = |stored: &Stored| history.iter().rposition(|digest| digest == stored.digest());
        all.sort_by_cached_key(|stored| Reverse((stored.written, live(stored), stored.digest().clone())));
        Ok(all)
    }

    /// The one generation whose name begins so.
    pub fn find(&self, prefix: &str) -> Result<Stored, StoreError> {
        let mut found: Vec<Stored> =
            self.list()?.into_iter().filter(|stored| stored.digest().as_str().starts_with(prefix)).collect();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(StoreError::Unknown { prefix: prefix.to_owned() }),
            _ => Err(StoreError::Ambiguous {
                prefix: prefix.to_owned(),
                found: found.iter().map(|stored| stored.digest().clone()).collect(),
            }),
        }
    }

    /// Puts a candidate into the store. One that is there and intact is left alone; one that has drifted, or has
    /// other derived files, is replaced in one step. Returns whether anything was written.
    pub fn put(&self, candidate: &Candidate) -> Result<bool, StoreError> {
        let place = self.place(candidate.digest());
        if place.is_dir() && is_intact(&place, candidate) {
            return Ok(false);
        }
        disk::make_dirs(&self.generations())?;
        let staging = self.generations().join(format!("{STAGING}{}", candidate.digest()));
        disk::remove(&staging)?;
        candidate.write_to(&staging)?;
        if place.exists() {
            disk::exchange(&staging, &place)?;
            disk::remove(&staging)?;
        } else {
            disk::rename(&staging, &place)?;
        }
        Ok(true)
    }

    /// Makes a generation the live one: one rename.
    pub fn switch(&self, digest: &Digest) -> Result<(), StoreError> {
        Ok(disk::point(&self.current_link(), &Path::new("generations").join(digest.as_str()))?)
    }

    /// Takes the live link away, where nothing was live before.
    pub fn switch_off(&self) -> Result<(), StoreError> {
        disk::remove(&self.current_link())?;
        Ok(disk::sync_dir(&self.base)?)
    }

    /// Removes generations but for the newest `keep`, the one that is live and the last that was found good. Returns those
    /// removed. Only under the lock; what a kill leaves behind is swept by the next run.
    pub fn collect(&self, keep: usize) -> Result<Vec<Digest>, StoreError> {
        self.sweep()?;
        let kept = [self.current(), self.last_good()];
        let old = self.list()?.into_iter().skip(keep).map(|stored| stored.digest().clone());
        let old: Vec<Digest> = old.filter(|digest| !kept.contains(&Some(digest.clone()))).collect();
        for digest in &old {
            let gone = self.generations().join(format!("{STAGING}{digest}"));
            disk::rename(&self.place(digest), &gone)?;
            disk::remove(&gone)?;
        }
        Ok(old)
    }

    /// Removes what a killed run left behind. Only under the lock.
    pub fn sweep(&self) -> Result<(), StoreError> {
        let dir = self.generations();
        if !dir.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&dir).at("list", &dir)? {
            let entry = entry.at("list", &dir)?;
            if entry.file_name().to_string_lossy().starts_with(STAGING) {
                disk::remove(&entry.path())?;
            }
        }
        Ok(disk::remove(&self.base.join("current.new"))?)
    }

    /// The generations that went live, the latest last. A line cut short by a power cut is passed over.
    pub fn history(&self) -> Vec<Activation> {
        let text = fs::read_to_string(self.history_file()).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Records that a generation went live and was found good.
    pub fn record(&self, digest: &Digest) -> Result<(), StoreError> {
        let path = self.history_file();
        let activation = Activation { digest: digest.clone(), at: seconds(SystemTime::now()) };
        #[expect(clippy::expect_used, reason = "a string and a number always serialise")]
        let line = serde_json::to_string(&activation).expect("an activation serialises");
        let mut file =
            OpenOptions::new().append(true).create(true).mode(0o644).open(&path).at("open", &path)?;
        file.write_all(format!("\n{line}\n").as_bytes()).at("write", &path)?;
        file.sync_all().at("sync", &path)?;
        Ok(disk::sync_dir(&self.base)?)
    }

    /// Forgets which generations went live: the host is given to another MTA, and none is gone back to.
    pub fn forget(&self) -> Result<(), StoreError> {
        disk::remove(&self.history_file())?;
        Ok(disk::sync_dir(&self.base)?)
    }

    /// The last generation that was found good while live.
    pub fn last_good(&self) -> Option<Digest> {
        self.history().pop().map(|activation| activation.digest)
    }

    /// The generation that was live before this one, and is still there.
    pub fn before(&self, digest: &Digest) -> Result<Stored, StoreError> {
        for activation in self.history().into_iter().rev().filter(|a| a.digest != *digest) {
            if let Some(stored) = self.get(&activation.digest)? {
                return Ok(stored);
            }
        }
        Err(StoreError::NoPrevious)
    }
}

fn read(dir: PathBuf) -> Result<Stored, StoreError> {
    let path = dir.join(MANIFEST);
    let bytes = fs::read(&path).at("read", &path)?;
    let written = fs::metadata(&path).and_then(|meta| meta.modified()).at("look at", &path)?;
    let manifest =
        serde_json::from_slice(&bytes).map_err(|source| StoreError::BadManifest { path, source })?;
    Ok(Stored { dir, manifest, written: seconds(written), is_foreign: false })
}

/// Whether what is on disk is what would be written. One that cannot be read is not.
fn is_intact(place: &Path, candidate: &Candidate) -> bool {
    let Ok(stored) = read(place.to_owned()) else { return false };
    let wanted = candidate.manifest();
    stored.manifest.derived == wanted.derived
        && stored.manifest.left_out == wanted.left_out
        && stored.drift().is_ok_and(|drift| drift.is_empty())
}

/// Seconds since 1970; 0 for a time before it.
pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
