//! One file per message, in `tmp` until it is durable and then in `new`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::mbox::copy;
use super::text::{Form, preamble};
use super::{Facts, MailboxError, at, sync_directory};

/// A Maildir.
#[derive(Clone, Debug)]
pub struct Maildir {
    /// The directory above it, which must exist: the user's home.
    pub home: PathBuf,
    /// The directory of `tmp`, `new` and `cur` below `home`; made where it is not there.
    pub path: PathBuf,
}

impl Maildir {
    /// Delivers a message under a file name that nobody ever used, and returns when it is durable.
    pub fn deliver(&self, name: &str, facts: &Facts, body: &mut dyn Read) -> Result<PathBuf, MailboxError> {
        let directory = self.home.join(&self.path);
        self.make_directories()?;
        let (temporary, file) = (directory.join("tmp").join(name), directory.join("new").join(name));
        let written = write(&temporary, facts, body).and_then(|()| {
            // A link, not a rename: it never replaces a file.
            fs::hard_link(&temporary, &file).map_err(at("link", &file))
        });
        let _ = fs::remove_file(&temporary);
        written?;
        let synced = sync_directory(&directory.join("new"));
        if synced.is_err() {
            // It is delivered once more later: not a second time.
            let _ = fs::remove_file(&file);
        }
        synced.map(|()| file)
    }

    fn make_directories(&self) -> Result<(), MailboxError> {
        let mut path = self.home.clone();
        for part in self.path.components() {
            path.push(part);
            make_directory(&path)?;
        }
        ["tmp", "new", "cur"].iter().try_for_each(|part| make_directory(&path.join(part)))
    }
}

fn make_directory(path: &Path) -> Result<(), MailboxError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at("create", path)(error)),
    }
}

fn write(path: &Path, facts: &Facts, body: &mut dyn Read) -> Result<(), MailboxError> {
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(at("create", path))?;
    copy(Form::Plain, body, &mut file, preamble(Form::Plain, facts), path)?;
    file.sync_all().map_err(at("sync", path))
}
