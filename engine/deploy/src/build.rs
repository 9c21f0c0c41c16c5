//! From a model to the contents of a generation: what is generated, and what the host's tools derive from it.

use std::path::Path;

use mailstack_runtime::{CONFIG_PATH, Role};

use crate::generate::{self, FileEntry, Files};
use crate::generation::{Contents, Entry, Kind, LeftOut, Stored};
use crate::m4::{self, CfLibrary, DEBIAN_LIBRARY, M4Error};
use crate::model::Model;

/// Makes the contents of a generation. What was derived for the same files with the same library is taken from
/// `live`, the generation that is live. Errors: m4's, but for its absence, which is noted in the contents.
pub fn contents(model: &Model, source: &[u8], live: Option<&Stored>) -> Result<Contents, M4Error> {
    let files = generate::files(model);
    let mut contents = Contents {
        role: role_name(model.role()).to_owned(),
        hostname: model.hostname.as_ref().map(|name| name.as_str().to_owned()),
        source: source.to_vec(),
        declaration: (model.canonical() + "\n").into_bytes(),
        files: files.iter().map(|(path, file)| (path.clone(), entry(path, file))).collect(),
        ..Contents::default()
    };
    match CfLibrary::open(Path::new(DEBIAN_LIBRARY)) {
        Ok(library) => derive(&mut contents, &files, &library, live)?,
        Err(error) => leave_out(&mut contents, &files, error)?,
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

fn derive(
    contents: &mut Contents,
    files: &Files,
    library: &CfLibrary,
    live: Option<&Stored>,
) -> Result<(), M4Error> {
    let with = format!("sendmail-cf {}", library.version());
    if let Some(stored) = live.filter(|stored| is_same(stored, contents, &with)) {
        for record in &stored.manifest.derived {
            let bytes = stored.file(&record.path).unwrap_or_default();
            let mode = u32::from_str_radix(&record.mode, 8).unwrap_or(0o644);
            contents.derived.insert(record.path.clone(), (bytes, mode, with.clone()));
        }
        return Ok(());
    }
    match m4::derive(files, library) {
        Ok(derived) => {
            let derived =
                derived.into_iter().map(|(path, file)| (path, (file.bytes, file.mode, with.clone())));
            contents.derived.extend(derived);
            Ok(())
        }
        Err(error) => leave_out(contents, files, error),
    }
}

/// Whether a generation holds what would be derived now.
fn is_same(stored: &Stored, contents: &Contents, with: &str) -> bool {
    stored.manifest.left_out.is_empty()
        && stored.manifest.derived.iter().all(|record| record.with == with)
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
