//! The files of an export: how they are named, written, read and checked.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::envelope::{EnvelopeFile, VERSION, is_name};
use super::error::{Fault, MAX_FAULTS, TransferError};

/// Written once everything else is durable.
pub(super) const MANIFEST: &str = "export.json";
/// Written by an import once all of it is in the spool.
pub(super) const DONE: &str = "imported.json";
/// The same before it counts.
pub(super) const DONE_SOON: &str = "imported.json.new";
/// Octets of an envelope file: ten thousand recipients with their diagnostics.
const MAX_ENVELOPE: u64 = 16 * 1024 * 1024;
/// Octets read at once.
const BLOCK: usize = 128 * 1024;

/// `export.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub version: u32,
    pub source: String,
    pub messages: u64,
}

/// `imported.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {
    pub version: u32,
    /// The spool that has it now.
    pub into: String,
    pub at: String,
    pub messages: u64,
}

/// Makes a directory that is not there; one that is there must be empty.
pub(super) fn make_directory(path: &Path) -> Result<(), TransferError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made.map_err(|error| TransferError::file("make", path, error)),
    }
    let mut entries = fs::read_dir(path).map_err(|error| TransferError::file("read", path, error))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => Err(TransferError::NotEmpty { path: path.to_owned() }),
    }
}

/// Creates a file that must not be there.
pub(super) fn create(path: &Path) -> Result<File, TransferError> {
    let created = OpenOptions::new().create_new(true).write(true).mode(0o600).open(path);
    created.map_err(|error| TransferError::file("create", path, error))
}

/// Writes a value as JSON.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> Result<File, TransferError> {
    let failed = |error| TransferError::file("write", path, error);
    let mut file = create(path)?;
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| failed(error.into()))?;
    text.push(b'\n');
    file.write_all(&text).map_err(failed)?;
    Ok(file)
}

/// Makes a directory's entries durable.
pub(super) fn sync_directory(path: &Path) -> Result<(), TransferError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|error| TransferError::file("sync", path, error))
}

/// Reads a file of JSON. None: it is not there.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<Result<T, Fault>>, TransferError> {
    let failed = |error| TransferError::file("read", path, error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed)?,
    };
    let mut text = Vec::new();
    file.take(MAX_ENVELOPE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_ENVELOPE {
        return Ok(Some(Err(fault(path, format!("longer than {MAX_ENVELOPE} octets")))));
    }
    let parsed = serde_json::from_slice(&text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
        Fault { place: Some((line, column)), ..fault(path, reason) }
    });
    Ok(Some(parsed))
}

pub(super) fn fault(path: &Path, reason: impl Into<String>) -> Fault {
    let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Fault { file, place: None, reason: reason.into() }
}

/// An export that was checked: whole, and each file as it must be.
pub(super) struct Checked {
    pub source: String,
    /// The names of the messages, in their order.
    pub ids: Vec<String>,
}

/// What is wrong with an export, as far as it is told.
#[derive(Default)]
struct Faults {
    first: Vec<Fault>,
    count: usize,
}

impl Faults {
    fn add(&mut self, fault: Fault) {
        self.count += 1;
        if self.first.len() < MAX_FAULTS {
            self.first.push(fault);
        }
    }
}

/// Checks all of an export. Errors: [`TransferError::Malformed`], with every fault.
pub(super) fn check(directory: &Path) -> Result<Checked, TransferError> {
    let mut faults = Faults::default();
    let manifest = manifest(directory, &mut faults)?;
    let ids = names(directory, &mut faults)?;
    for id in &ids {
        let source = manifest.as_ref().map(|manifest| manifest.source.as_str());
        if let Err(found) = check_message(directory, id, source)? {
            faults.add(found);
        }
    }
    let count = manifest.as_ref().map_or(ids.len() as u64, |manifest| manifest.messages);
    if count != ids.len() as u64 {
        let reason = format!("it counts {count} messages, and {} are here", ids.len());
        faults.add(fault(Path::new(MANIFEST), reason));
    }
    match manifest {
        Some(manifest) if faults.count == 0 => Ok(Checked { source: manifest.source, ids }),
        _ => {
            let Faults { first, count } = faults;
            Err(TransferError::Malformed { path: directory.to_owned(), faults: first, count })
        }
    }
}

fn manifest(directory: &Path, faults: &mut Faults) -> Result<Option<Manifest>, TransferError> {
    let path = directory.join(MANIFEST);
    let found = match read_json::<Manifest>(&path)? {
        None => Err(fault(&path, "is not there: the export was not finished")),
        Some(Ok(found)) if found.version != VERSION => {
            let reason = format!("version {}: this program reads version {VERSION}", found.version);
            Err(fault(&path, reason))
        }
        Some(Ok(found)) if !is_name(&found.source) => Err(fault(&path, "source: no name")),
        Some(found) => found,
    };
    Ok(found.map_err(|found| faults.add(found)).ok())
}

/// The names of the messages; a file that belongs to none is a fault.
fn names(directory: &Path, faults: &mut Faults) -> Result<Vec<String>, TransferError> {
    let failed = |error| TransferError::file("read", directory, error);
    let (mut envelopes, mut messages) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if [MANIFEST, DONE, DONE_SOON].contains(&name.as_str()) {
            continue;
        }
        match name.rsplit_once('.') {
            Some((id, "json")) if is_name(id) => envelopes.push(id.to_owned()),
            Some((id, "eml")) if is_name(id) => messages.push(id.to_owned()),
            _ => faults.add(fault(Path::new(&name), "is no file of an export")),
        }
    }
    envelopes.sort_unstable();
    messages.sort_unstable();
    for id in &messages {
        if envelopes.binary_search(id).is_err() {
            faults.add(fault(Path::new(&format!("{id}.eml")), "has no envelope beside it"));
        }
    }
    Ok(envelopes)
}

fn check_message(
    directory: &Path,
    id: &str,
    source: Option<&str>,
) -> Result<Result<(), Fault>, TransferError> {
    let path = envelope_path(directory, id);
    let file = match read_json::<EnvelopeFile>(&path)? {
        None => return Ok(Err(fault(&path, "is gone"))),
        Some(Err(found)) => return Ok(Err(found)),
        Some(Ok(file)) => file,
    };
    if file.id != id {
        return Ok(Err(fault(&path, format!("its id is {}", file.id))));
    }
    if source.is_some_and(|source| source != file.source) {
        return Ok(Err(fault(&path, format!("its source is not that of {MANIFEST}"))));
    }
    if let Err(reason) = file.read() {
        return Ok(Err(fault(&path, reason)));
    }
    read_message(&message_path(directory, id), &file, |_| Ok(()))
}

/// The envelope file of a message.
pub(super) fn envelope_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.json"))
}

/// The message itself.
pub(super) fn message_path(directory: &Path, id: &str) -> PathBuf {
    directory.join(format!("{id}.eml"))
}

/// Reads a message in blocks, and checks that it is what its envelope says, in lines that end with CRLF.
pub(super) fn read_message(
    path: &Path,
    envelope: &EnvelopeFile,
    mut take: impl FnMut(&[u8]) -> Result<(), TransferError>,
) -> Result<Result<(), Fault>, TransferError> {
    let failed = |error| TransferError::file("read", path, error);
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(fault(path, "is not there"))),
        file => file.map_err(failed)?,
    };
    let (mut reader, mut block) = (BufReader::new(file), vec![0; BLOCK]);
    let (mut size, mut crc, mut lines) = (0_u64, crc32fast::Hasher::new(), Lines::default());
    loop {
        let read = reader.read(&mut block).map_err(failed)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        crc.update(&block[..read]);
        if let Some(reason) = lines.push(&block[..read]) {
            return Ok(Err(Fault { place: Some((lines.line, lines.column)), ..fault(path, reason) }));
        }
        take(&block[..read])?;
    }
    let crc = format!("{:08x}", crc.finalize());
    let reason = if size != envelope.size {
        format!("{size} octets, and the envelope says {}", envelope.size)
    } else if !crc.eq_ignore_ascii_case(&envelope.crc32) {
        format!("its crc32 is {crc}, and the envelope says {}", envelope.crc32)
    } else if !lines.is_at_end() {
        "the last line does not end with CRLF".to_owned()
    } else {
        return Ok(Ok(()));
    };
    Ok(Err(fault(path, reason)))
}

/// Follows lines that end with CRLF.
struct Lines {
    line: usize,
    column: usize,
    after_cr: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self { line: 1, column: 1, after_cr: false }
    }
}

impl Lines {
    /// Returns what is wrong at `line` and `column`.
    fn push(&mut self, octets: &[u8]) -> Option<&'static str> {
        for &octet in octets {
            match (octet, self.after_cr) {
                (b'\n', true) => {
                    (self.line, self.column, self.after_cr) = (self.line + 1, 1, false);
                    continue;
                }
                (b'\n', false) => return Some("a line ends with LF alone: lines end with CRLF"),
                (_, true) => return Some("a CR within a line"),
                (0, false) => return Some("a NUL"),
                (b'\r', false) => self.after_cr = true,
                _ => {}
            }
            self.column += 1;
        }
        None
    }

    fn is_at_end(&self) -> bool {
        self.column == 1
    }
}
