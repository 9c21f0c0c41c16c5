//! `/etc/mail` as Sendmail reads it: each file of the generation is a link through `current`, so that one rename switches
//! all of them. What else its packaging keeps there stays, but for programs that `smrsh` would run: only those of the
//! declaration are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::generation::Store;
use crate::generation::disk::{self, DiskError};

/// Where Sendmail reads.
const DIRECTORY: &str = "etc/mail";
/// Where `smrsh` looks for programs: compiled into it.
const PROGRAMS: &str = "etc/mail/smrsh";

/// The places of a generation's files that Sendmail reads, below the root.
fn names(files: &[&str]) -> BTreeSet<String> {
    let name = |path: &&str| path.strip_prefix("etc/mail/").map(str::to_owned);
    files.iter().filter_map(name).collect()
}

fn target(store: &Store, name: &str) -> PathBuf {
    store.current_link().join(DIRECTORY).join(name)
}

fn is_ours(store: &Store, place: &Path) -> bool {
    fs::read_link(place).is_ok_and(|target| target.starts_with(store.current_link()))
}

/// Files of others in the places of a generation's.
pub(crate) fn foreign(root: &Path, store: &Store, files: &[&str]) -> Vec<PathBuf> {
    let names = names(files);
    let restricted = names.iter().any(|name| name.starts_with("smrsh/"));
    let programs = fs::read_dir(root.join(PROGRAMS)).into_iter().flatten().flatten();
    let programs = programs.map(|entry| entry.path()).filter(|_| restricted);
    let mut places: BTreeSet<PathBuf> =
        names.into_iter().map(|name| root.join(DIRECTORY).join(name)).collect();
    places.extend(programs);
    places.into_iter().filter(|place| place.symlink_metadata().is_ok() && !is_ours(store, place)).collect()
}

/// Links each file of a generation; until the switch a new link leads nowhere.
pub(crate) fn put(root: &Path, store: &Store, files: &[&str]) -> Result<(), DiskError> {
    disk::make_dirs(&root.join(DIRECTORY))?;
    for name in names(files) {
        let (place, target) = (root.join(DIRECTORY).join(&name), target(store, &name));
        place.parent().map_or(Ok(()), disk::make_dirs)?;
        if fs::read_link(&place).ok().as_ref() != Some(&target) {
            disk::point(&place, &target)?;
        }
    }
    Ok(())
}

/// Whether each file of a generation is linked.
pub(crate) fn are_put(root: &Path, store: &Store, files: &[&str]) -> bool {
    let linked = |name: String| {
        fs::read_link(root.join(DIRECTORY).join(&name)).is_ok_and(|found| found == target(store, &name))
    };
    names(files).into_iter().all(linked)
}

/// Removes links to files that the live generation does not have; without one, all.
pub(crate) fn sweep(root: &Path, store: &Store) -> Result<(), DiskError> {
    let entries = [DIRECTORY, PROGRAMS].into_iter().flat_map(|name| fs::read_dir(root.join(name)));
    for place in entries.flatten().flatten().map(|entry| entry.path()) {
        // The file itself may be a link to a program that is not there.
        let has_file = fs::read_link(&place).is_ok_and(|file| file.symlink_metadata().is_ok());
        if is_ours(store, &place) && !has_file {
            disk::remove(&place)?;
        }
    }
    Ok(())
}
