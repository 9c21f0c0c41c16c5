//! A declaration from its file to the model, with all faults at once.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mailstack_deploy::model::{Model, ModelFault};
use mailstack_schema::host::Host;
use mailstack_schema::{Fault, read_bytes};

/// A declaration that is valid.
pub struct Declaration {
    /// Its text, as it was read.
    pub source: Vec<u8>,
    /// What it means.
    pub model: Model,
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
    /// It says something that there is not.
    Written(Faulty<Fault>),
    /// It contradicts itself, or holds a value that is none; each fault with its place in the text.
    Meant(Faulty<(Range<usize>, ModelFault)>),
}

/// A text with its faults.
#[derive(Debug)]
pub struct Faulty<T> {
    /// The file.
    pub path: PathBuf,
    /// The text; octets that are no text are replaced.
    pub text: String,
    /// What is wrong, in the order of the text.
    pub faults: Vec<T>,
}

impl Declaration {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Invalid> {
        let source =
            fs::read(path).map_err(|source| Invalid::Unreadable { path: path.to_owned(), source })?;
        let text = || String::from_utf8_lossy(&source).into_owned();
        let written = read_bytes::<Host>(&source)
            .map_err(|faults| Invalid::Written(Faulty { path: path.to_owned(), text: text(), faults }))?;
        match Model::resolve(&written) {
            Ok(model) => Ok(Self { source, model }),
            Err(faults) => {
                let place = |fault: ModelFault| (written.spans.find(&fault.path), fault);
                let mut faults: Vec<_> = faults.into_iter().map(place).collect();
                faults.sort_by_key(|(span, _)| (span.start, span.end));
                Err(Invalid::Meant(Faulty { path: path.to_owned(), text: text(), faults }))
            }
        }
    }
}
