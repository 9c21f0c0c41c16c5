//! Gives a host back to what it had before: files byte for byte with owner and mode, links, units and scripts, and what
//! ran. Each function can be called again after it was cut short.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::init::{self, Process};
use super::known::KNOWN;
use super::record::{Before, Form, Kept, below, directory};
use super::units;
use crate::activation::ActivationError;
use crate::generation::Store;
use crate::generation::disk::{self, At, DiskError};

/// Puts back each file that was replaced, and removes what was put where nothing had been. `is_ours` tells what
/// mailstack put there. Returns places that hold something else now, which stays.
pub(crate) fn give_files_back(
    root: &Path,
    store: &Store,
    before: &Before,
    is_ours: &dyn Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, DiskError> {
    let mut others = Vec::new();
    for kept in &before.files {
        let place = below(root, &kept.path);
        if place.symlink_metadata().is_err() || is_ours(&place) {
            put_back(store, kept, &place)?;
        } else if !is_as_kept(store, kept, &place) {
            others.push(place);
        }
    }
    for place in before.missing.iter().map(|path| below(root, path)).filter(|place| is_ours(place)) {
        disk::remove(&place)?;
    }
    Ok(others)
}

fn put_back(store: &Store, kept: &Kept, place: &Path) -> Result<(), DiskError> {
    place.parent().map_or(Ok(()), disk::make_dirs)?;
    match &kept.form {
        Form::Link(target) => disk::point(place, target),
        Form::File { copy, mode, uid, gid, modified } => {
            let copy = directory(store).join(copy);
            let bytes = fs::read(&copy).at("read", &copy)?;
            let mut fresh = place.as_os_str().to_owned();
            fresh.push(".new");
            let fresh = PathBuf::from(fresh);
            disk::remove(&fresh)?;
            disk::write_new(&fresh, &bytes, 0o600)?;
            chown(&fresh, Some(*uid), Some(*gid)).at("change the owner of", &fresh)?;
            // After chown, which clears the bits above 0777.
            disk::set_mode(&fresh, *mode)?;
            let seconds = Duration::from_secs(u64::try_from(modified.0).unwrap_or_default());
            let time =
                UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(modified.1).unwrap_or_default());
            let file = File::open(&fresh).at("open", &fresh)?;
            file.set_times(FileTimes::new().set_modified(time)).at("set the time of", &fresh)?;
            file.sync_all().at("sync", &fresh)?;
            disk::rename(&fresh, place)
        }
    }
}

fn is_as_kept(store: &Store, kept: &Kept, place: &Path) -> bool {
    match &kept.form {
        Form::Link(target) => fs::read_link(place).is_ok_and(|found| found == *target),
        Form::File { copy, .. } => fs::read(place)
            .ok()
            .is_some_and(|found| fs::read(directory(store).join(copy)).is_ok_and(|kept| kept == found)),
    }
}

/// Lets start again what was kept from it, and starts what had been started. Then nothing is recorded any more. Returns
/// processes that nobody can start again.
pub(crate) fn give_back(store: &Store, before: &Before) -> Result<Vec<Process>, ActivationError> {
    before.units.iter().try_for_each(units::release)?;
    before.units.iter().filter(|unit| unit.active).try_for_each(units::start)?;
    for script in &before.scripts {
        init::enable(script)?;
    }
    for script in before.scripts.iter().filter(|script| script.running) {
        let mta = KNOWN.iter().find(|mta| mta.scripts.contains(&script.name.as_str()));
        if mta.is_some_and(|mta| init::processes(mta, &[]).is_empty()) {
            init::start(script)?;
        }
    }
    Before::remove(store)?;
    let nobody = before.processes.iter().filter(|_| before.scripts.iter().all(|script| !script.running));
    Ok(nobody.cloned().collect())
}
