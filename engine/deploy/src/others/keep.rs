//! Takes a host over: notes how it is and copies what will be replaced, and only then stops what runs. Each function can
//! be called again after it was cut short.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::find::Presence;
use super::init;
use super::known::KNOWN;
use super::record::{Before, Form, Kept, directory};
use super::units;
use crate::activation::ActivationError;
use crate::generation::Store;
use crate::generation::disk::{self, At, DiskError};

/// Notes how the host is, durably. What an earlier run noted stays: it may have stopped it since. `files` are of others
/// and will be replaced; at the places `missing` something will be put.
pub(crate) fn keep(
    root: &Path,
    store: &Store,
    found: &[Presence],
    files: &[PathBuf],
    missing: &[PathBuf],
) -> Result<Before, DiskError> {
    let mut before = match Before::read(store)? {
        Some(before) => before,
        None => {
            // Copies without a record are of a run that was cut short before it changed anything.
            disk::remove(&directory(store))?;
            Before::default()
        }
    };
    before.complete = false;
    for presence in found {
        let name = presence.mta.to_owned();
        add(&mut before.mtas, &[name], |one, other| one == other);
        add(&mut before.units, &presence.units, |one, other| one.name == other.name);
        add(&mut before.scripts, &presence.scripts, |one, other| one.name == other.name);
        add(&mut before.processes, &presence.processes, |one, other| one.command == other.command);
    }
    for path in files {
        keep_file(root, store, &mut before, path)?;
    }
    for path in missing {
        let place = as_below(root, path);
        if !before.missing.contains(&place) && !before.files.iter().any(|kept| kept.path == place) {
            before.missing.push(place);
        }
    }
    before.write(store)?;
    Ok(before)
}

fn add<T: Clone>(all: &mut Vec<T>, new: &[T], is_same: impl Fn(&T, &T) -> bool) {
    for one in new {
        if !all.iter().any(|other| is_same(one, other)) {
            all.push(one.clone());
        }
    }
}

/// What is of others now is what will be given back, also where an earlier copy is there: a package was upgraded.
fn keep_file(root: &Path, store: &Store, before: &mut Before, path: &Path) -> Result<(), DiskError> {
    let place = as_below(root, path);
    let meta = fs::symlink_metadata(path).at("look at", path)?;
    let form = if meta.is_symlink() {
        Form::Link(fs::read_link(path).at("read", path)?)
    } else {
        let number = (0_usize..).find(|number| !copy(store, *number).exists()).unwrap_or_default();
        let bytes = fs::read(path).at("read", path)?;
        disk::make_dirs(&directory(store).join("files"))?;
        disk::write_new(&copy(store, number), &bytes, 0o600)?;
        disk::sync_dir(&directory(store).join("files"))?;
        Form::File {
            copy: Path::new("files").join(number.to_string()),
            mode: meta.permissions().mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            modified: (meta.mtime(), meta.mtime_nsec()),
        }
    };
    before.files.retain(|kept| kept.path != place);
    before.missing.retain(|missing| *missing != place);
    before.files.push(Kept { path: place, form });
    Ok(())
}

fn copy(store: &Store, number: usize) -> PathBuf {
    directory(store).join("files").join(number.to_string())
}

fn as_below(root: &Path, path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path))
}

/// Keeps all that is recorded from starting, and ends it. `ours` are processes of mailstack.
pub(crate) fn stop(before: &Before, ours: &[u32]) -> Result<(), ActivationError> {
    before.units.iter().try_for_each(units::stop)?;
    for script in &before.scripts {
        init::disable(script)?;
    }
    if before.scripts.is_empty() && before.processes.is_empty() {
        return Ok(());
    }
    let taken = KNOWN.iter().filter(|mta| before.mtas.iter().any(|name| name == mta.name));
    taken.into_iter().try_for_each(|mta| init::stop(mta, ours))
}
