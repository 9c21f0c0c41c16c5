//! The files of a generation, as a pure function of the model.
//!
//! Owns: the text of `.mc` files, tables, units and fragments. May use: the model. Must not know the host, a
//! clock, a user or a directory of the machine that it runs on.

mod listeners;
mod mc;
mod sendmail;
mod tables;
mod units;

use std::collections::BTreeMap;

use mailstack_runtime::Config;

use crate::model::Model;

/// What a file of a generation is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What m4 derives a `.cf` from.
    Source,
    /// What makemap or newaliases derives a map from, or Sendmail reads as it is.
    Table,
    /// A configuration that is read as it is.
    Config,
    /// What systemd reads.
    Unit,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Its contents.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
    /// What it is for.
    pub kind: Kind,
}

/// Files by their path below `/`, without a leading slash.
pub type Files = BTreeMap<String, FileEntry>;

/// All files that a model means, but for what is derived from them.
pub fn files(model: &Model) -> Files {
    let mut files = Files::new();
    mc::add(model, &mut files);
    tables::add(model, &mut files);
    let config = model.runtime_config();
    match &config.sendmail {
        Some(sendmail) => sendmail::add(model, sendmail, &mut files),
        None => units::add(model, &mut files),
    }
    listeners::add(model, &mut files);
    add(&mut files, mailstack_runtime::CONFIG_PATH, Kind::Config, mta_toml(&config));
    files
}

/// Everything generated may be read by all: nothing in it is secret.
fn add(files: &mut Files, path: &str, kind: Kind, text: String) {
    files.insert(path.to_owned(), FileEntry { bytes: text.into_bytes(), mode: 0o644, kind });
}

/// The mode of a link; its octets are where it leads.
pub const LINK: u32 = 0o120_777;

/// A link, where a program that the host reads by it looks for one.
fn add_link(files: &mut Files, path: &str, target: &std::path::Path) {
    let bytes = target.to_string_lossy().into_owned().into_bytes();
    files.insert(path.to_owned(), FileEntry { bytes, mode: LINK, kind: Kind::Config });
}

/// The configuration of the built-in MTA; with Sendmail, what it is proven by.
fn mta_toml(config: &Config) -> String {
    #[expect(clippy::expect_used, reason = "maps with text keys, numbers below 2^63: TOML can say all of it")]
    let body = toml::to_string(config).expect("the configuration is TOML");
    format!(
        "# The built-in MTA's configuration, generated from host.toml. `mailstack apply` replaces it.\n\n{body}"
    )
}
