//! `/etc/mail` as Sendmail reads it: each file of the generation is a link through `current`, so that one rename switches
//! all of them. What else its packaging keeps there stays, but for programs that `smrsh` would run: only those of the
//! declaration are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::generation::Store;
use crate::generation::disk::{self, DiskError};

/// Where Sendmail and its packaging's scripts read.
const DIRECTORIES: [&str; 7] =
    ["etc/mail", "etc/mail/smrsh", "etc/smrsh", "etc/sysconfig", "etc/cron.d", "etc/inetd.d", "etc/xinetd.d"];
/// Where others than Sendmail read, with either engine.
const OTHERS: [&str; 3] = ["etc/cron.d/", "etc/inetd.d/", "etc/xinetd.d/"];

/// Those of a generation's files that the host reads where the built-in MTA runs the role.
pub(crate) fn of_builtin<'f>(files: &[&'f str]) -> Vec<&'f str> {
    let is_read = |path: &&&str| OTHERS.iter().any(|directory| path.starts_with(directory));
    files.iter().filter(is_read).copied().collect()
}

/// The places of a generation's files that are read there, below the root.
fn names(files: &[&str]) -> BTreeSet<String> {
    let is_read =
        |path: &&&str| path.rsplit_once('/').is_some_and(|(directory, _)| DIRECTORIES.contains(&directory));
    files.iter().filter(is_read).map(|path| (*path).to_owned()).collect()
}

fn target(store: &Store, name: &str) -> PathBuf {
    store.current_link().join(name)
}

/// Whether a place is a link through the live generation.
pub(crate) fn is_ours(store: &Store, place: &Path) -> bool {
    fs::read_link(place).is_ok_and(|target| target.starts_with(store.current_link()))
}

/// Files of others in the places of a generation's.
pub(crate) fn foreign(root: &Path, store: &Store, files: &[&str]) -> Vec<PathBuf> {
    let names = names(files);
    let directories: BTreeSet<&str> =
        names.iter().filter_map(|name| name.rsplit_once('/')).map(|(directory, _)| directory).collect();
    let restricted = directories.into_iter().filter(|directory| directory.ends_with("smrsh"));
    let programs = restricted.flat_map(|directory| fs::read_dir(root.join(directory))).flatten().flatten();
    let mut places: BTreeSet<PathBuf> = programs.map(|entry| entry.path()).collect();
    places.extend(names.iter().map(|name| root.join(name)));
    places.into_iter().filter(|place| place.symlink_metadata().is_ok() && !is_ours(store, place)).collect()
}

/// Links each file of a generation; until the switch a new link leads nowhere.
pub(crate) fn put(root: &Path, store: &Store, files: &[&str]) -> Result<(), DiskError> {
    for name in names(files) {
        let (place, target) = (root.join(&name), target(store, &name));
        place.parent().map_or(Ok(()), disk::make_dirs)?;
        if fs::read_link(&place).ok().as_ref() != Some(&target) {
            disk::point(&place, &target)?;
        }
    }
    Ok(())
}

/// Whether each file of a generation is linked.
pub(crate) fn are_put(root: &Path, store: &Store, files: &[&str]) -> bool {
    let linked =
        |name: String| fs::read_link(root.join(&name)).is_ok_and(|found| found == target(store, &name));
    names(files).into_iter().all(linked)
}

/// Removes links to files that the live generation does not have; without one, all.
pub(crate) fn sweep(root: &Path, store: &Store) -> Result<(), DiskError> {
    let entries = DIRECTORIES.into_iter().flat_map(|name| fs::read_dir(root.join(name)));
    for place in entries.flatten().flatten().map(|entry| entry.path()) {
        // The file itself may be a link to a program that is not there.
        let has_file = fs::read_link(&place).is_ok_and(|file| file.symlink_metadata().is_ok());
        if is_ours(store, &place) && !has_file {
            disk::remove(&place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn programs_and_switches_are_linked_and_what_is_not_declared_is_foreign() {
        let root = tempfile::tempdir().unwrap();
        let (root, store) = (root.path(), Store::below(root.path()));
        let files = ["etc/mail/sendmail.cf", "etc/smrsh/ticket", "etc/sysconfig/sendmail", "etc/other/x"];
        let generation = store.current_link();
        fs::create_dir_all(generation.join("etc/smrsh")).unwrap();
        symlink("/nowhere/ticket", generation.join("etc/smrsh/ticket")).unwrap();
        put(root, &store, &files).unwrap();
        assert!(are_put(root, &store, &files) && foreign(root, &store, &files).is_empty());
        fs::write(root.join("etc/smrsh/other"), "").unwrap();
        assert_eq!(foreign(root, &store, &files), [root.join("etc/smrsh/other")]);
        assert!(foreign(root, &store, &files[..1]).is_empty(), "no list of programs was declared");
        // What the generation has stays, wherever it leads.
        sweep(root, &store).unwrap();
        assert!(
            root.join("etc/smrsh/ticket").is_symlink() && !root.join("etc/mail/sendmail.cf").is_symlink()
        );
    }
}
