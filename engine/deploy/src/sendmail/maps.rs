//! Deriving the maps: the host's makemap and newaliases over the tables that a `.cf` names.
//!
//! Which maps there are is read from the `.cf` itself, so that none is missing that Sendmail will look for. What they
//! write is reproducible but for a random name of each database file, which is replaced by one made of its content.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use mailstack_runtime::Sendmail;
use nix::unistd::getuid;
use sha2::{Digest as _, Sha256};

use crate::generate::{FileEntry, Files, Kind};

/// Why there are no maps.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// This host has no Sendmail.
    #[error("no {} on this host", program.display())]
    NoProgram {
        /// What was looked for.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be run, or its input not be handed over.
    #[error("could not {operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The program refused the table.
    #[error("{program} over {path}: {said}")]
    Refused {
        /// `makemap` or `newaliases`.
        program: &'static str,
        /// The table.
        path: String,
        /// All that it said.
        said: String,
    },
}

impl MapError {
    /// Whether the host lacks the program, so that maps are left out, aloud; else it is a failure.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::NoProgram { .. })
    }
}

/// A map that a `.cf` names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    /// A map of `makemap`: its class, and those of its flags that say how it is written.
    Map { source: String, class: String, flags: Vec<String> },
    /// The aliases.
    Aliases { source: String },
}

impl Wanted {
    fn source(&self) -> &str {
        match self {
            Self::Map { source, .. } | Self::Aliases { source } => source,
        }
    }
}

/// The places of the maps that these `.cf` files want of these tables.
pub(crate) fn places(files: &Files) -> Vec<String> {
    wanted(files).iter().map(|wanted| format!("{}.db", wanted.source())).collect()
}

/// The version of the host's Sendmail, as it says it (`8.17.1.9`).
pub(crate) fn version(sendmail: &Sendmail) -> Result<String, MapError> {
    // With a local mailer: Sendmail complains to the syslog of a configuration without one.
    let scratch = Scratch::with(b"")?;
    let configuration = scratch.configuration()?;
    let words = ["-C", configuration.as_str(), "-d0.1", "-bt"];
    let output = run(&sendmail.program, words, scratch.0.path(), Stdio::null())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.lines().find_map(|line| line.strip_prefix("Version "));
    Ok(version.unwrap_or("of unknown version").trim().to_owned())
}

/// The maps for all tables that the `.cf` files among these name.
pub(crate) fn derive(files: &Files, sendmail: &Sendmail) -> Result<Files, MapError> {
    let map = |wanted: &Wanted| {
        let source = &files[wanted.source()].bytes;
        let bytes = match wanted {
            Wanted::Map { source: path, class, flags } => make_map(sendmail, path, class, flags, source)?,
            Wanted::Aliases { source: path } => make_aliases(sendmail, path, source)?,
        };
        let place = format!("{}.db", wanted.source());
        let bytes = named_by_content(bytes, &place);
        Ok((place, FileEntry { bytes, mode: 0o644, kind: Kind::Config }))
    };
    wanted(files).iter().map(map).collect()
}

/// The maps that the `.cf` files name, as far as their tables are among the files.
fn wanted(files: &Files) -> Vec<Wanted> {
    let configurations = files.iter().filter(|(path, _)| path.ends_with(".cf"));
    let lines = configurations.map(|(_, entry)| String::from_utf8_lossy(&entry.bytes).into_owned());
    let mut found: Vec<Wanted> = lines.flat_map(|text| wanted_by(&text)).collect();
    found.retain(|wanted| files.contains_key(wanted.source()));
    found.sort();
    found.dedup();
    found
}

fn wanted_by(cf: &str) -> Vec<Wanted> {
    let path = |text: &str| text.strip_prefix('/').map(str::to_owned);
    let wanted = |line: &str| {
        if let Some(file) = line.strip_prefix("O AliasFile=") {
            let file = file.split_once(':').map_or(file, |(_, file)| file);
            return Some(Wanted::Aliases { source: path(file.trim())? });
        }
        let words: Vec<&str> = line.strip_prefix('K')?.split_whitespace().collect();
        let (class, last) = (*words.get(1)?, *words.get(2..)?.last()?);
        if !matches!(class, "hash" | "btree") {
            return None;
        }
        // -f: the case of keys is kept; -N: a NUL ends each key.
        let flags = words.iter().filter(|word| matches!(**word, "-f" | "-N")).map(|word| (*word).to_owned());
        Some(Wanted::Map { source: path(last)?, class: class.to_owned(), flags: flags.collect() })
    };
    cf.lines().filter_map(wanted).collect()
}

fn make_map(
    sendmail: &Sendmail,
    path: &str,
    class: &str,
    flags: &[String],
    source: &[u8],
) -> Result<Vec<u8>, MapError> {
    let scratch = Scratch::with(source)?;
    let table = fs::File::open(scratch.table()).map_err(failed("open the table"))?;
    // Without a configuration: it would be asked for an owner to give the map to.
    let mut words = vec!["-C", "/dev/null"];
    words.extend(flags.iter().map(String::as_str));
    words.extend([class, TABLE]);
    let output = run(&sendmail.makemap, words, scratch.0.path(), Stdio::from(table))?;
    scratch.map("makemap", path, &output)
}

fn make_aliases(sendmail: &Sendmail, path: &str, source: &[u8]) -> Result<Vec<u8>, MapError> {
    let scratch = Scratch::with(source)?;
    let configuration = scratch.configuration()?;
    let words = ["-C", configuration.as_str(), "-bi"];
    let output = run(&sendmail.program, words, scratch.0.path(), Stdio::null())?;
    scratch.map("newaliases", path, &output)
}

/// The smallest configuration that aliases can be read with: every address is local. Whoever runs this may write the map,
/// in a directory of its own below one that is sticky.
fn aliases_cf(table: &str, directory: &str) -> String {
    let trusted = match getuid() {
        root if root.is_root() => String::new(),
        user => format!("O TrustedUser={user}\n"),
    };
    format!(
        "V10/Berkeley\nO AliasFile={table}\nO QueueDirectory={directory}\n\
         O DontBlameSendmail=TrustStickyBit\n{trusted}\
         Mlocal, P=/bin/true, F=lsDFMAw5:/|@qPSXmnz9, S=0, R=0, T=DNS/RFC822/X-Unix, A=true\n\
         Mprog, P=/bin/true, F=lsDFMoqeu9, A=true\n\
         S0\nR$+ @ $+\t$#local $@ $2 $: $1@$2\nR$+\t$#local $: $1\nS3\nS4\n"
    )
}

const TABLE: &str = "table";
const ALIASES_CF: &str = "aliases.cf";

/// A directory of this user's alone with the table in it.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn with(source: &[u8]) -> Result<Self, MapError> {
        let scratch = Self(tempfile::tempdir().map_err(failed("make a scratch directory"))?);
        fs::write(scratch.table(), source).map_err(failed("write the table"))?;
        Ok(scratch)
    }

    fn table(&self) -> PathBuf {
        self.0.path().join(TABLE)
    }

    /// The place of a configuration that reads the table as aliases.
    fn configuration(&self) -> Result<String, MapError> {
        let place = |name: &str| self.0.path().join(name).display().to_string();
        fs::write(place(ALIASES_CF), aliases_cf(&place(TABLE), &place("")))
            .map_err(failed("write a scratch configuration"))?;
        Ok(place(ALIASES_CF))
    }

    /// The map that a program made here.
    fn map(&self, program: &'static str, path: &str, output: &Output) -> Result<Vec<u8>, MapError> {
        let made = fs::read(self.0.path().join(format!("{TABLE}.db")));
        match made {
            Ok(bytes) if output.status.success() => Ok(bytes),
            _ => {
                let said = [&output.stdout[..], &output.stderr[..]].concat();
                let said =
                    String::from_utf8_lossy(&said).trim().replace(&self.table().display().to_string(), path);
                Err(MapError::Refused { program, path: path.to_owned(), said })
            }
        }
    }
}

fn failed(operation: &'static str) -> impl Fn(io::Error) -> MapError {
    move |source| MapError::Io { operation, source }
}

/// Runs a program with nothing of the caller's surroundings.
fn run<'a, W: AsRef<OsStr> + 'a>(
    program: &Path,
    words: impl IntoIterator<Item = W>,
    directory: &Path,
    input: Stdio,
) -> Result<Output, MapError> {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command.current_dir(directory).stdin(input).output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => MapError::NoProgram { program: program.to_owned(), source },
        _ => MapError::Io { operation: "run a program of Sendmail", source },
    })
}

/// Berkeley DB: the numbers that mark a page with a file's name in it (`DB_HASHMAGIC`, `DB_BTREEMAGIC`).
const MAGICS: [u32; 2] = [0x0006_1561, 0x0005_3162];
/// Where a page has that number, the size of pages, and the name (`DBMETA.magic`, `.pagesize`, `.uid`).
const MAGIC_AT: usize = 12;
const PAGE_SIZE_AT: usize = 20;
const NAME_AT: std::ops::Range<usize> = 52..72;

/// Replaces the random name of a database file, which only has to be another for each file, by a digest of its place
/// and content.
fn named_by_content(mut map: Vec<u8>, place: &str) -> Vec<u8> {
    let number = |map: &[u8], at: usize| {
        map.get(at..at + 4).and_then(|octets| octets.try_into().ok()).map(u32::from_ne_bytes)
    };
    let size = number(&map, PAGE_SIZE_AT).and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
    if !size.is_power_of_two() || size < 512 {
        return map;
    }
    let mut named: Vec<usize> = Vec::new();
    for page in (0..map.len() / size).map(|page| page * size) {
        if number(&map, page + MAGIC_AT).is_some_and(|magic| MAGICS.contains(&magic)) {
            map[page + NAME_AT.start..page + NAME_AT.end].fill(0);
            named.push(page);
        }
    }
    let digest = Sha256::new().chain_update(place).chain_update(&map).finalize();
    for page in named {
        map[page + NAME_AT.start..page + NAME_AT.end].copy_from_slice(&digest[..NAME_AT.len()]);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maps_are_those_that_the_configuration_names() {
        let cf = "O AliasFile=/etc/mail/aliases\n#Kold hash /etc/mail/old\nKmailertable hash /etc/mail/mailertable\n\
                  Kaccess hash -T<TMPF> /etc/mail/access\nKgenerics hash -f /etc/mail/genericstable\n\
                  Karith arith\nKuser text -o /etc/passwd\nFw/etc/mail/local-host-names\n";
        let map = |name: &str, flags: &[&str]| Wanted::Map {
            source: format!("etc/mail/{name}"),
            class: "hash".to_owned(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        let aliases = Wanted::Aliases { source: "etc/mail/aliases".to_owned() };
        assert_eq!(
            wanted_by(cf),
            [aliases, map("mailertable", &[]), map("access", &[]), map("genericstable", &["-f"])]
        );
    }

    #[test]
    fn a_map_is_named_by_its_content() {
        let mut page = vec![0_u8; 1024];
        page[PAGE_SIZE_AT..PAGE_SIZE_AT + 4].copy_from_slice(&512_u32.to_ne_bytes());
        page[MAGIC_AT..MAGIC_AT + 4].copy_from_slice(&MAGICS[0].to_ne_bytes());
        let mut other = page.clone();
        page[NAME_AT].fill(1);
        other[NAME_AT].fill(2);
        let (one, two) = (named_by_content(page.clone(), "x.db"), named_by_content(other, "x.db"));
        assert_eq!(one, two);
        assert_ne!(one, named_by_content(page.clone(), "y.db"));
        page[1000] = 1;
        assert_ne!(one[NAME_AT], named_by_content(page, "x.db")[NAME_AT]);
    }
}
