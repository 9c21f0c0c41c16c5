//! `mailstack build`: a generation in a directory.

use std::path::Path;

use annotate_snippets::Level;
use anstream::eprintln;
use mailstack_deploy::apply::Note;
use mailstack_deploy::build::contents;
use mailstack_deploy::generation::export;

use crate::declaration::Declaration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::words;

/// Writes the generation of a declaration, and prints its digest.
pub fn build(file: &Path, output: &Path) -> Result<Exit, Failure> {
    let declaration = Declaration::proven(file)?;
    let mut contents = contents(&declaration.model, &declaration.source, None)?;
    contents.imported.clone_from(&declaration.imported);
    let candidate = contents.seal();
    for missing in &candidate.manifest().left_out {
        let note = Note::LeftOut { path: missing.path.clone(), reason: missing.reason.clone() };
        eprintln!("{}", words::note(&note).render(Level::WARNING));
    }
    export(&candidate, output)?;
    super::print(&format!("{}\n", candidate.digest()))
}
