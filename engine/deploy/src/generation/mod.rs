//! Generations: everything that one declaration makes of a host, under one name, the digest of its content.
//!
//! Owns the format of a generation and the store that holds them. Must not know how files are generated, nor what
//! runs.

mod candidate;
pub mod disk;
mod export;
mod manifest;
mod store;

pub use candidate::{Candidate, Contents, Entry};
pub use export::export;
pub use manifest::{DerivedRecord, Digest, FORMAT, FileRecord, Kind, LeftOut, Manifest, NoDigest};
pub(crate) use store::seconds;
pub use store::{Activation, Drift, Store, StoreError, Stored};

/// The manifest's name within a generation.
pub const MANIFEST: &str = "manifest.json";
/// The name of the text that was applied, within a generation: kept for its reader, and outside the digest.
pub const SOURCE: &str = "host.toml";
/// The directory of the texts that the declaration imports, within a generation: as [`SOURCE`] is.
pub const IMPORTED: &str = "imports";

/// Where an imported text lies within a generation: by its number, from 0, and the name that it is imported by.
pub fn imported_place(index: usize, name: &str) -> String {
    let last = name.rsplit('/').next().unwrap_or_default();
    format!("{IMPORTED}/{}-{last}", index + 1)
}

/// The name of the canonical resolved declaration within a generation.
pub const DECLARATION: &str = "declaration.json";

#[cfg(test)]
mod tests;
