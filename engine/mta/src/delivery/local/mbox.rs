//! One file, messages behind each other (RFC 4155, mboxrd).

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;

use super::lock::{DotLock, lock_file};
use super::text::{Converter, Form, preamble};
use super::{Facts, MailboxError, at, sync_directory};

/// Octets read at once.
const PIECE: usize = 64 * 1024;
/// How often a mailbox that was replaced while we waited for its lock is opened again.
const TRIES: usize = 5;

/// A mailbox file.
#[derive(Clone, Debug)]
pub struct Mbox {
    /// The file; made with mode 0600 where there is none.
    pub path: PathBuf,
    /// Users one of whom the file must belong to.
    pub owners: Vec<u32>,
    /// The longest wait for its locks.
    pub patience: Duration,
}

impl Mbox {
    /// Appends a message, and returns when it is durable. After an error the mailbox is as it was before,
    /// but for [`MailboxError::Torn`].
    pub fn append(&self, facts: &Facts, body: &mut dyn Read) -> Result<(), MailboxError> {
        let deadline = Instant::now() + self.patience;
        let mut file = self.open_locked(deadline)?;
        let dot_lock = DotLock::take(&self.path, deadline).map_err(at("lock", &self.path))?;
        let _dot_lock = dot_lock.ok_or_else(|| MailboxError::Locked { path: self.path.clone() })?;
        let end = file.seek(SeekFrom::End(0)).map_err(at("seek in", &self.path))?;
        let written = self.write(&mut file, end, facts, body);
        written.map_err(|error| self.cut_off(&file, end, error))
    }

    /// Without this, half a message would stand in front of the next one.
    pub(super) fn cut_off(&self, file: &File, end: u64, error: MailboxError) -> MailboxError {
        match file.set_len(end).and_then(|()| file.sync_all()) {
            Ok(()) => error,
            Err(source) => MailboxError::Torn { path: self.path.clone(), end, why: Box::new(error), source },
        }
    }

    /// Opens and locks the file that bears the name now.
    fn open_locked(&self, deadline: Instant) -> Result<File, MailboxError> {
        for _ in 0..TRIES {
            let file = self.open()?;
            self.check(&file)?;
            if !lock_file(&file, deadline).map_err(at("lock", &self.path))? {
                break;
            }
            if is_still(&file, &self.path) {
                return Ok(file);
            }
        }
        Err(MailboxError::Locked { path: self.path.clone() })
    }

    fn open(&self) -> Result<File, MailboxError> {
        let mut options = OpenOptions::new();
        // A pipe or device in its place must not block us.
        options.read(true).append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        match options.open(&self.path) {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(self.refused("a link")),
            Err(error) => return Err(at("open", &self.path)(error)),
        }
        match options.create_new(true).mode(0o600).open(&self.path) {
            Ok(file) => Ok(file),
            // Somebody made it in the meantime.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                options.create_new(false).open(&self.path).map_err(at("open", &self.path))
            }
            Err(error) => Err(at("create", &self.path)(error)),
        }
    }

    fn check(&self, file: &File) -> Result<(), MailboxError> {
        let found = file.metadata().map_err(at("look at", &self.path))?;
        if !found.is_file() {
            return Err(self.refused("not a file"));
        }
        if found.nlink() > 1 {
            return Err(self.refused("a file with several names"));
        }
        if !self.owners.contains(&found.uid()) {
            return Err(self.refused("not owned by its user"));
        }
        Ok(())
    }

    fn refused(&self, what: &'static str) -> MailboxError {
        MailboxError::Refused { path: self.path.clone(), what }
    }

    fn write(
        &self,
        file: &mut File,
        end: u64,
        facts: &Facts,
        body: &mut dyn Read,
    ) -> Result<(), MailboxError> {
        let mut out = Vec::with_capacity(PIECE + PIECE / 8);
        out.extend_from_slice(gap(file, end).map_err(at("read", &self.path))?);
        out.extend_from_slice(&preamble(Form::Mbox, facts));
        copy(Form::Mbox, body, file, out, &self.path)?;
        file.sync_all().map_err(at("sync", &self.path))?;
        // Whoever made it may have died before it was durable, or waits for the lock that we have.
        match self.path.parent() {
            Some(directory) if end == 0 => match sync_directory(directory) {
                // The directory may be one that its users cannot read.
                Err(MailboxError::File { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                    nix::unistd::syncfs(&mut *file).map_err(|e| at("sync", &self.path)(e.into()))
                }
                synced => synced,
            },
            _ => Ok(()),
        }
    }
}

/// Copies the message behind what `out` already holds.
pub(super) fn copy(
    form: Form,
    body: &mut dyn Read,
    file: &mut File,
    mut out: Vec<u8>,
    path: &Path,
) -> Result<(), MailboxError> {
    let mut converter = Converter::new(form);
    let mut piece = vec![0; PIECE];
    loop {
        let count = match body.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(MailboxError::Body(error)),
        };
        converter.feed(&piece[..count], &mut out);
        if out.len() >= PIECE {
            file.write_all(&out).map_err(at("write", path))?;
            out.clear();
        }
    }
    converter.finish(&mut out);
    file.write_all(&out).map_err(at("write", path))
}

/// What a `From ` line needs in front: a blank line, which a delivery that died half way did not write. Without it
/// readers take the message for a part of the one before.
fn gap(file: &File, end: u64) -> std::io::Result<&'static [u8]> {
    let mut last = *b"\n\n";
    let known = last.len().min(usize::try_from(end).unwrap_or(usize::MAX));
    let from = last.len() - known;
    file.read_exact_at(&mut last[from..], end - known as u64)?;
    Ok(match &last {
        b"\n\n" => b"",
        [_, b'\n'] => b"\n",
        _ => b"\n\n",
    })
}

/// Whether the name still belongs to the open file.
fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.dev() == named.dev() && open.ino() == named.ino(),
        _ => false,
    }
}
