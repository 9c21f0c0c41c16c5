//! From a model to the contents of a generation: what is generated, and what the host's tools derive from it.

use mailstack_runtime::{CONFIG_PATH, Role, Sendmail};

use crate::generate::{self, FileEntry, Files};
use crate::generation::{Contents, Entry, Kind, LeftOut, Stored};
use crate::m4::{self, CfLibrary, M4Error};
use crate::model::Model;
use crate::sendmail::maps::{self, MapError};

/// Why a generation cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The `.cf` files.
    #[error(transparent)]
    M4(#[from] M4Error),
    /// The maps.
    #[error(transparent)]
    Maps(#[from] MapError),
}

/// Makes the contents of a generation. What was derived for the same files with the same tools is taken from `live`,
/// the generation that is live. Errors: those of the tools. Where they are missing that is noted in the contents, but
/// for the `.cf` files of the host's Sendmail, which nothing can do without.
pub fn contents(model: &Model, source: &[u8], live: Option<&Stored>) -> Result<Contents, BuildError> {
    let files = generate::files(model);
    let mut contents = Contents {
        role: role_name(model.role()).to_owned(),
        hostname: model.hostname.as_ref().map(|name| name.as_str().to_owned()),
        source: source.to_vec(),
        declaration: (model.canonical() + "\n").into_bytes(),
        files: files.iter().map(|(path, file)| (path.clone(), entry(path, file))).collect(),
        ..Contents::default()
    };
    let sendmail = model.runtime_config().sendmail;
    match (CfLibrary::open(&model.cf_dir()), &sendmail) {
        (Ok(library), _) => {
            let tools = Tools { library: &library, sendmail: sendmail.as_ref() };
            derive(&mut contents, &files, &tools, live)?;
        }
        (Err(error), None) => leave_out(&mut contents, &files, error)?,
        (Err(error), Some(_)) => return Err(error.into()),
    }
    Ok(contents)
}

/// The role as it is written in host.toml.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Nullclient => "nullclient",
        Role::Msp => "msp",
        Role::Loopback => "loopback",
        Role::Gateway => "gateway",
    }
}

fn entry(path: &str, file: &FileEntry) -> Entry {
    let kind = match file.kind {
        generate::Kind::Source => Kind::Mc,
        generate::Kind::Table => Kind::Table,
        generate::Kind::Unit => Kind::Unit,
        generate::Kind::Config if path == CONFIG_PATH => Kind::Mta,
        generate::Kind::Config => Kind::Other,
    };
    Entry { bytes: file.bytes.clone(), mode: file.mode, kind }
}

/// What derives files on this host.
struct Tools<'a> {
    library: &'a CfLibrary,
    /// Where Sendmail runs the role.
    sendmail: Option<&'a Sendmail>,
}

impl Tools<'_> {
    fn of_cf(&self) -> String {
        format!("sendmail-cf {}", self.library.version())
    }

    /// None: no maps are made here.
    fn of_maps(&self) -> Result<Option<String>, MapError> {
        let version = self.sendmail.map(maps::version).transpose();
        match version {
            Err(error) if error.is_absence() => Ok(None),
            version => Ok(version?.map(|version| format!("sendmail {version}"))),
        }
    }
}

fn derive(
    contents: &mut Contents,
    files: &Files,
    tools: &Tools<'_>,
    live: Option<&Stored>,
) -> Result<(), BuildError> {
    let (with, with_maps) = (tools.of_cf(), tools.of_maps()?);
    let known = |found: &str| found == with || Some(found) == with_maps.as_deref();
    if let Some(stored) = live.filter(|stored| is_same(stored, contents, known)) {
        for record in &stored.manifest.derived {
            let bytes = stored.file(&record.path).unwrap_or_default();
            let mode = u32::from_str_radix(&record.mode, 8).unwrap_or(0o644);
            contents.derived.insert(record.path.clone(), (bytes, mode, record.with.clone()));
        }
        return Ok(());
    }
    let derived = match m4::derive(files, tools.library) {
        Ok(derived) => derived,
        Err(error) if tools.sendmail.is_none() => return Ok(leave_out(contents, files, error)?),
        Err(error) => return Err(error.into()),
    };
    if let Some(sendmail) = tools.sendmail {
        derive_maps(contents, files, &derived, sendmail, with_maps)?;
    }
    add(contents, derived, &with);
    Ok(())
}

fn add(contents: &mut Contents, derived: Files, with: &str) {
    let derived = derived.into_iter().map(|(path, file)| (path, (file.bytes, file.mode, with.to_owned())));
    contents.derived.extend(derived);
}

/// The maps that the `.cf` files name; where the host has no Sendmail they are left out, aloud.
fn derive_maps(
    contents: &mut Contents,
    files: &Files,
    derived: &Files,
    sendmail: &Sendmail,
    with: Option<String>,
) -> Result<(), BuildError> {
    let mut sources = files.clone();
    sources.extend(derived.clone());
    let Some(with) = with else {
        let reason = format!("no {} on this host", sendmail.makemap.display());
        let places = maps::places(&sources).into_iter();
        contents.left_out.extend(places.map(|path| LeftOut { path, reason: reason.clone() }));
        return Ok(());
    };
    add(contents, maps::derive(&sources, sendmail)?, &with);
    Ok(())
}

/// Whether a generation holds what would be derived now, with these tools.
fn is_same(stored: &Stored, contents: &Contents, known: impl Fn(&str) -> bool) -> bool {
    stored.manifest.left_out.is_empty()
        && stored.manifest.derived.iter().all(|record| known(&record.with))
        && contents.clone().seal().digest() == stored.digest()
        && stored.drift().is_ok_and(|drift| drift.is_empty())
}

fn leave_out(contents: &mut Contents, files: &Files, error: M4Error) -> Result<(), M4Error> {
    if !error.is_absence() {
        return Err(error);
    }
    let sources = files.iter().filter(|(_, file)| file.kind == generate::Kind::Source);
    let left_out = sources.map(|(path, _)| LeftOut {
        path: path.strip_suffix(".mc").unwrap_or(path).to_owned() + ".cf",
        reason: error.to_string(),
    });
    contents.left_out.extend(left_out);
    Ok(())
}
