//! `mailstack build -o DIR`: a generation in a directory of the user's choice.

use std::fs;
use std::path::{Path, PathBuf};

use super::disk::{self, At};
use super::{Candidate, MANIFEST, StoreError};

/// Writes exactly the candidate into `dir`. A directory that is there must be empty or an earlier build, and is
/// replaced in one step.
pub fn export(candidate: &Candidate, dir: &Path) -> Result<(), StoreError> {
    let dir = &std::path::absolute(dir).at("find", dir)?;
    if is_foreign(dir)? {
        return Err(StoreError::NotABuild { path: dir.to_owned() });
    }
    let staging = beside(dir);
    disk::remove(&staging)?;
    candidate.write_to(&staging)?;
    if dir.exists() {
        disk::exchange(&staging, dir)?;
        disk::remove(&staging)?;
    } else {
        disk::rename(&staging, dir)?;
    }
    Ok(())
}

/// Whether something is there that no build made.
fn is_foreign(dir: &Path) -> Result<bool, StoreError> {
    if !dir.exists() {
        return Ok(dir.is_symlink());
    }
    let mut entries = fs::read_dir(dir).at("list", dir)?;
    Ok(entries.next().is_some() && !dir.join(MANIFEST).is_file())
}

fn beside(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.mailstack-{}", std::process::id()))
}
