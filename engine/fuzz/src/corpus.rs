//! The inputs that are kept: a directory a target, a file an input.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the corpora of this checkout lie.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// The inputs of a target, by name. Errors: the directory or a file of it cannot be read.
pub fn read(directory: &Path, target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut inputs = Vec::new();
    for entry in fs::read_dir(directory.join(target))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        inputs.push((name, fs::read(&path)?));
    }
    inputs.sort();
    Ok(inputs)
}

/// Keeps an input that found something. Returns where. Errors: it cannot be written.
pub fn keep(directory: &Path, target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let directory = directory.join(target);
    fs::create_dir_all(&directory)?;
    let path = directory.join(format!("found-{:08x}", crc32fast::hash(input)));
    fs::write(&path, input)?;
    Ok(path)
}
