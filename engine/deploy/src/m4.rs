//! Deriving the `.cf` files: the host's m4 over Sendmail's cf library.
//!
//! Owns: how m4 is called, and what counts as its success. May use: processes and a scratch directory. Must not
//! know what the sources say.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::generate::{FileEntry, Files, Kind};

/// Where Debian keeps the library.
pub const DEBIAN_LIBRARY: &str = "/usr/share/sendmail/cf";

/// Sendmail's cf library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CfLibrary {
    directory: PathBuf,
    version: String,
}

impl CfLibrary {
    /// The library in this directory. Errors: [`M4Error::NoLibrary`] where there is none.
    pub fn open(directory: &Path) -> Result<Self, M4Error> {
        let missing = |source| M4Error::NoLibrary { directory: directory.to_owned(), source };
        std::fs::metadata(directory.join("m4/cf.m4")).map_err(missing)?;
        let version = std::fs::read_to_string(directory.join("m4/version.m4")).map_err(missing)?;
        Ok(Self { directory: directory.to_owned(), version: version_of(&version) })
    }

    /// The version as the library states it (`8.17.1.9`), for the manifest; empty where it states none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Why there are no `.cf` files.
#[derive(Debug, thiserror::Error)]
pub enum M4Error {
    /// This host has no cf library: `.cf` files are left out.
    #[error("no cf library in {}", .directory.display())]
    NoLibrary {
        /// Where it was looked for.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This host has no m4: `.cf` files are left out.
    #[error("no m4 on this host")]
    NoM4 {
        /// What the system said.
        source: io::Error,
    },
    /// m4 could not be run, or its input not be handed over.
    #[error("could not {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// m4 complained, or failed: the source is wrong, a bug here.
    #[error("m4 over {path}: {stderr}")]
    Complaint {
        /// The source.
        path: String,
        /// All that m4 said, without its benign warnings.
        stderr: String,
    },
    /// m4 said nothing and wrote nothing that is a configuration.
    #[error("m4 over {path} made no configuration")]
    Nothing {
        /// The source.
        path: String,
    },
}

impl M4Error {
    /// Whether the host lacks what is needed, so that `.cf` files are left out, aloud; else it is a failure.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoLibrary { .. } | Self::NoM4 { .. })
    }
}

/// The `.cf` file for each `.mc` file, by the path that Sendmail reads it at.
pub fn derive(files: &Files, library: &CfLibrary) -> Result<Files, M4Error> {
    let sources = files.iter().filter(|(_, entry)| entry.kind == Kind::Source);
    sources.map(|(path, entry)| derive_one(path, &entry.bytes, library)).collect()
}

fn derive_one(path: &str, source: &[u8], library: &CfLibrary) -> Result<(String, FileEntry), M4Error> {
    let output = run(source, library)?;
    let stderr = complaints(&String::from_utf8_lossy(&output.stderr));
    if !stderr.is_empty() || !output.status.success() {
        let stderr = if stderr.is_empty() { output.status.to_string() } else { stderr };
        return Err(M4Error::Complaint { path: path.to_owned(), stderr });
    }
    // An .mc file that did not reach the library gives next to nothing, without a word.
    if !output.stdout.windows(4).any(|line| line == b"\nDZ8") {
        return Err(M4Error::Nothing { path: path.to_owned() });
    }
    let target = path.strip_suffix(".mc").unwrap_or(path).to_owned() + ".cf";
    Ok((target, FileEntry { bytes: output.stdout, mode: 0o644, kind: Kind::Config }))
}

/// Runs m4 with nothing of the caller's surroundings: neither environment nor directory.
fn run(source: &[u8], library: &CfLibrary) -> Result<Output, M4Error> {
    let failed = |operation| move |source| M4Error::Io { operation, source };
    let scratch = tempfile::tempdir().map_err(failed("make a scratch directory"))?;
    std::fs::write(scratch.path().join("source.mc"), source).map_err(failed("write m4's input"))?;
    let mut define = std::ffi::OsString::from("-D_CF_DIR_=");
    define.push(library.directory());
    define.push("/");
    let output = Command::new("m4")
        .arg(define)
        .arg("source.mc")
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .current_dir(scratch.path())
        .stdin(Stdio::null())
        .output();
    output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => M4Error::NoM4 { source },
        _ => M4Error::Io { operation: "run m4", source },
    })
}

/// What m4 said beyond the three warnings that mean nothing.
fn complaints(stderr: &str) -> String {
    let benign = |line: &&str| {
        line.contains("missing -T<TMPF> in argument of FEATURE(`access_db'")
            || line.contains("is deprecated")
            || line.contains("file ended without a final newline")
    };
    let rest: Vec<&str> = stderr.lines().filter(|line| !line.trim().is_empty() && !benign(line)).collect();
    rest.join("\n")
}

/// `8.17.1.9` of the line that sets `$Z`.
fn version_of(text: &str) -> String {
    let value = text.lines().rev().find_map(|line| line.strip_prefix("DZ"));
    value.and_then(|value| value.split('`').next()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_warnings_are_benign() {
        let said =
            "*** WARNING: missing -T<TMPF> in argument of FEATURE(`access_db', hash)\n\n*** ERROR: x\n";
        assert_eq!(complaints(said), "*** ERROR: x");
    }
}
