//! A declaration from its file to the model, with all faults at once.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mailstack_deploy::generation::{SOURCE, imported_place};
use mailstack_deploy::model::{Model, ModelFault};
use mailstack_prove::expect::unmet;
use mailstack_schema::host::Host;
use mailstack_schema::spans::element;
use mailstack_schema::{Fault, Flawed, Spans, Written, layers, read_layers};

use crate::failure::Failure;
use crate::sources::{Place, Sources};

/// A declaration that is valid.
#[derive(Debug)]
pub struct Declaration {
    /// Its text, as it was read.
    pub source: Vec<u8>,
    /// The texts that it imports, by the names that it imports them by.
    pub imported: Vec<(String, Vec<u8>)>,
    /// What it says, imported files included.
    pub written: Host,
    /// What it means.
    pub model: Model,
    /// Where each key stands.
    pub spans: Spans,
    /// What the places are in.
    pub sources: Sources,
}

/// A declaration that is not.
#[derive(Debug)]
pub enum Invalid {
    /// It cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It has faults.
    Faulty(Faulty),
}

/// A text with its faults.
#[derive(Debug)]
pub struct Faulty {
    /// The texts.
    pub sources: Sources,
    /// What is wrong and where, in the order of the texts.
    pub faults: Vec<(Range<usize>, Wrong)>,
}

/// What is wrong at a place.
#[derive(Debug)]
pub enum Wrong {
    /// It says something that there is not.
    Written(Fault),
    /// It contradicts itself, or holds a value that is none.
    Meant(ModelFault),
    /// It disagrees with the rest of a topology.
    Disagrees {
        /// The key.
        key: String,
        /// What is wrong.
        message: String,
        /// What to do.
        help: String,
    },
    /// It imports what cannot be read.
    Import {
        /// The key.
        key: String,
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Declaration {
    /// Reads a file, and those that it imports.
    pub fn read(path: &Path) -> Result<Self, Invalid> {
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::read_with(path, &|_, name| directory.join(name))
    }

    /// Reads the declaration of a generation, and what it imports, from where they lie beside it.
    pub fn read_stored(directory: &Path) -> Result<Self, Invalid> {
        Self::read_with(&directory.join(SOURCE), &|index, name| directory.join(imported_place(index, name)))
    }

    /// Reads a file whose own expectations hold.
    pub fn proven(path: &Path) -> Result<Self, Failure> {
        let declaration = Self::read(path)?;
        let config = declaration.model.runtime_config();
        match unmet(&config, declaration.model.expectations()).is_empty() {
            true => Ok(declaration),
            false => Err(Failure::Unmet(Box::new(declaration))),
        }
    }

    fn read_with(path: &Path, find: &dyn Fn(usize, &str) -> PathBuf) -> Result<Self, Invalid> {
        let source =
            fs::read(path).map_err(|source| Invalid::Unreadable { path: path.to_owned(), source })?;
        let names = layers::imports(&source);
        let (mut imported, mut files, mut faults) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (name, span)) in names.into_iter().enumerate() {
            let file = find(index, &name);
            match fs::read(&file) {
                Ok(text) => imported.push((name, text)),
                Err(source) => {
                    let key = element(layers::IMPORTS, index);
                    faults.push((span, Wrong::Import { key, file: file.clone(), source }));
                    imported.push((name, Vec::new()));
                }
            }
            files.push(file);
        }
        let texts: Vec<&[u8]> = imported.iter().map(|(_, text)| text.as_slice()).collect();
        let all = std::iter::once((path.to_owned(), source.as_slice()))
            .chain(files.into_iter().zip(texts.iter().copied()));
        let sources = Sources::of(all);
        // What a missing file would say is not known: nothing else can be told.
        if !faults.is_empty() {
            return Err(Invalid::Faulty(Faulty { sources, faults }));
        }
        let faults = match read_layers::<Host>(&source, &texts) {
            Ok(written) => match Model::resolve(&written) {
                Ok(model) => {
                    let Written { value: written, spans } = written;
                    return Ok(Self { source, imported, written, model, spans, sources });
                }
                Err(faults) => meant(&written.spans, faults),
            },
            Err(flawed) => of_flawed(*flawed),
        };
        Err(Invalid::Faulty(Faulty { sources, faults: in_order(faults) }))
    }

    /// Where the value of a key stands; None: it is not written.
    pub fn place(&self, key: &str) -> Option<Place> {
        self.spans.contains(key).then(|| self.sources.place(&self.spans.key(key)))
    }

    /// The value of a key as it is written.
    pub fn value(&self, key: &str) -> &str {
        self.sources.written(&self.spans.find(key))
    }
}

/// The faults of the text, and those of the meaning that no fault of the text is the reason of.
fn of_flawed(flawed: Flawed<Host>) -> Vec<(Range<usize>, Wrong)> {
    let Flawed { faults, sound, doubt } = flawed;
    let mut wrong: Vec<_> =
        faults.into_iter().map(|fault| (fault.span.clone(), Wrong::Written(fault))).collect();
    if let Some(written) = sound {
        let mut found = Model::resolve(&written).err().unwrap_or_default();
        found.retain(|fault| {
            !doubt.covers(&fault.path) && !fault.follows_from().into_iter().any(|path| doubt.covers(path))
        });
        wrong.extend(meant(&written.spans, found));
    }
    wrong
}

fn meant(spans: &Spans, faults: Vec<ModelFault>) -> Vec<(Range<usize>, Wrong)> {
    let place = |fault: &ModelFault| match fault.is_key {
        true => spans.key(&fault.path),
        false => spans.find(&fault.path),
    };
    faults.into_iter().map(|fault| (place(&fault), Wrong::Meant(fault))).collect()
}

fn in_order(mut faults: Vec<(Range<usize>, Wrong)>) -> Vec<(Range<usize>, Wrong)> {
    faults.sort_by_key(|(span, _)| (span.start, span.end));
    faults
}
