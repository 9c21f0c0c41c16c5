//! A generation before it is on disk: what is in it, and its name.

use std::collections::BTreeMap;
use std::path::Path;

use crate::plan::{Side, Tree};

use super::disk::{self, DiskError};
use super::{
    DECLARATION, DerivedRecord, Digest, FORMAT, FileRecord, Kind, LeftOut, MANIFEST, Manifest, SOURCE,
    imported_place,
};

/// One file: its octets, its mode, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The octets.
    pub bytes: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
    /// What it is for.
    pub kind: Kind,
}

/// What goes into a generation. Paths are as below `/`, without the leading slash.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The role.
    pub role: String,
    /// The host's name, where the declaration gives one.
    pub hostname: Option<String>,
    /// The text that was read.
    pub source: Vec<u8>,
    /// The texts that it imports: their names as it writes them, in that order.
    pub imported: Vec<(String, Vec<u8>)>,
    /// The resolved declaration in its canonical form.
    pub declaration: Vec<u8>,
    /// All files that are a function of the declaration.
    pub files: BTreeMap<String, Entry>,
    /// Files that a tool of this host made: octets, mode, and the library with its version.
    pub derived: BTreeMap<String, (Vec<u8>, u32, String)>,
    /// What could not be made here.
    pub left_out: Vec<LeftOut>,
}

impl Contents {
    /// Names it.
    pub fn seal(mut self) -> Candidate {
        let declaration = Entry { bytes: self.declaration.clone(), mode: 0o644, kind: Kind::Declaration };
        self.files.insert(DECLARATION.to_owned(), declaration);
        let files: Vec<FileRecord> = self.files.iter().map(|(path, entry)| record(path, entry)).collect();
        let derived = self.derived.iter().map(|(path, (bytes, mode, with))| DerivedRecord {
            path: path.clone(),
            sha256: Digest::of(bytes),
            mode: octal(*mode),
            with: with.clone(),
        });
        let manifest = Manifest {
            format: FORMAT,
            mailstack: env!("CARGO_PKG_VERSION").to_owned(),
            digest: Manifest::digest_of(&files),
            role: self.role,
            hostname: self.hostname,
            files,
            derived: derived.collect(),
            left_out: self.left_out,
        };
        Candidate {
            manifest,
            source: self.source,
            imported: self.imported,
            files: self.files,
            derived: self.derived,
        }
    }
}

fn record(path: &str, entry: &Entry) -> FileRecord {
    FileRecord {
        path: path.to_owned(),
        sha256: Digest::of(&entry.bytes),
        mode: octal(entry.mode),
        kind: entry.kind,
    }
}

/// Permission bits as a manifest has them.
pub(super) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

/// A whole generation with its name, in memory.
#[derive(Clone, Debug)]
pub struct Candidate {
    manifest: Manifest,
    source: Vec<u8>,
    imported: Vec<(String, Vec<u8>)>,
    files: BTreeMap<String, Entry>,
    derived: BTreeMap<String, (Vec<u8>, u32, String)>,
}

impl Candidate {
    /// What it says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its name.
    pub fn digest(&self) -> &Digest {
        &self.manifest.digest
    }

    /// The octets of a file that the digest covers, or of a derived one.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        let covered = self.files.get(path).map(|entry| entry.bytes.as_slice());
        covered.or_else(|| self.derived.get(path).map(|(bytes, ..)| bytes.as_slice()))
    }

    /// Its files, as a plan compares them.
    pub fn tree(&self) -> Tree {
        let covered = self.files.iter().map(|(path, entry)| {
            let side = Side { bytes: entry.bytes.clone(), mode: octal(entry.mode), kind: Some(entry.kind) };
            (path.clone(), side)
        });
        let derived = self.derived.iter().map(|(path, (bytes, mode, _))| {
            (path.clone(), Side { bytes: bytes.clone(), mode: octal(*mode), kind: None })
        });
        covered.chain(derived).collect()
    }

    /// Writes the whole tree into a directory that does not exist yet, and syncs all of it.
    pub fn write_to(&self, dir: &Path) -> Result<(), DiskError> {
        disk::make_dirs(dir)?;
        for (path, entry) in &self.files {
            write_below(dir, path, &entry.bytes, entry.mode)?;
        }
        for (path, (bytes, mode, _)) in &self.derived {
            write_below(dir, path, bytes, *mode)?;
        }
        write_below(dir, SOURCE, &self.source, 0o644)?;
        for (index, (name, text)) in self.imported.iter().enumerate() {
            write_below(dir, &imported_place(index, name), text, 0o644)?;
        }
        write_below(dir, MANIFEST, self.manifest.to_json().as_bytes(), 0o644)?;
        disk::sync_tree(dir)
    }
}

fn write_below(dir: &Path, path: &str, bytes: &[u8], mode: u32) -> Result<(), DiskError> {
    let path = dir.join(path);
    path.parent().map_or(Ok(()), disk::make_dirs)?;
    disk::write_new(&path, bytes, mode)
}
