//! How a host was before mailstack, on disk: `before/record.json` beside the generations, and copies of files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::init::{Process, Script};
use super::units::Unit;
use crate::generation::Store;
use crate::generation::disk::{self, At, DiskError};

/// The version of the record.
const VERSION: u32 = 1;

/// How a host was before mailstack took it over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    version: u32,
    /// Whether mailstack went live; else the take-over was cut short.
    pub complete: bool,
    /// The names of the MTAs that were stopped.
    pub mtas: Vec<String>,
    /// Files that were replaced.
    pub(crate) files: Vec<Kept>,
    /// Places where nothing was.
    pub(crate) missing: Vec<PathBuf>,
    pub(crate) units: Vec<Unit>,
    pub(crate) scripts: Vec<Script>,
    pub(crate) processes: Vec<Process>,
}

/// A file or link that was replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its place, as below `/`.
    pub path: PathBuf,
    pub form: Form,
}

/// What it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Form {
    /// A link to there.
    Link(PathBuf),
    /// A file.
    File {
        /// The copy, within the record's directory.
        copy: PathBuf,
        /// Permissions, setuid and setgid bits included.
        mode: u32,
        uid: u32,
        gid: u32,
        /// Time of the last change: seconds since 1970, and nanoseconds.
        modified: (i64, i64),
    },
}

impl Before {
    /// The record of a store; None where no host was taken over.
    pub fn read(store: &Store) -> Result<Option<Self>, DiskError> {
        let path = file(store);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(source).at("read", &path),
            Ok(bytes) => {
                let record: Self =
                    serde_json::from_slice(&bytes).map_err(io::Error::from).at("read", &path)?;
                let known = record.version == VERSION;
                let other = || io::Error::other(format!("it is of version {}", record.version));
                if known { Ok(Some(record)) } else { Err(other()).at("read", &path) }
            }
        }
    }

    /// Writes the record, durably and in one step.
    pub(crate) fn write(&self, store: &Store) -> Result<(), DiskError> {
        let (path, fresh) = (file(store), directory(store).join("record.new"));
        disk::make_dirs(&directory(store))?;
        disk::remove(&fresh)?;
        let record = Self { version: VERSION, ..self.clone() };
        let text = serde_json::to_vec_pretty(&record).map_err(io::Error::from).at("write", &path)?;
        disk::write_new(&fresh, &text, 0o600)?;
        disk::rename(&fresh, &path)
    }

    /// Removes the record and all that it has.
    pub(crate) fn remove(store: &Store) -> Result<(), DiskError> {
        disk::remove(&file(store))?;
        let directory = directory(store);
        if directory.is_dir() {
            disk::sync_dir(&directory)?;
        }
        disk::remove(&directory)
    }
}

fn file(store: &Store) -> PathBuf {
    directory(store).join("record.json")
}

/// Where the record lies.
pub(crate) fn directory(store: &Store) -> PathBuf {
    store.dir().join("before")
}

/// Where a path as below `/` lies.
pub(crate) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}
