//! A declaration from its file to the model, with all faults at once.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use mailstack_deploy::model::{Model, ModelFault};
use mailstack_schema::host::Host;
use mailstack_schema::{Fault, Flawed, Spans, read_flawed};

/// A declaration that is valid.
pub struct Declaration {
    /// Its text, as it was read.
    pub source: Vec<u8>,
    /// What it means.
    pub model: Model,
    /// Where each key stands.
    pub spans: Spans,
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
    /// The file.
    pub path: PathBuf,
    /// The text; octets that are no text are replaced.
    pub text: String,
    /// What is wrong and where, in the order of the text.
    pub faults: Vec<(Range<usize>, Wrong)>,
}

/// What is wrong at a place.
#[derive(Debug)]
pub enum Wrong {
    /// It says something that there is not.
    Written(Fault),
    /// It contradicts itself, or holds a value that is none.
    Meant(ModelFault),
}

impl Declaration {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Invalid> {
        let source =
            fs::read(path).map_err(|source| Invalid::Unreadable { path: path.to_owned(), source })?;
        let faults = match read_flawed::<Host>(&source) {
            Ok(written) => match Model::resolve(&written) {
                Ok(model) => return Ok(Self { source, model, spans: written.spans }),
                Err(faults) => meant(&written.spans, faults),
            },
            Err(flawed) => of_flawed(*flawed),
        };
        let text = String::from_utf8_lossy(&source).into_owned();
        Err(Invalid::Faulty(Faulty { path: path.to_owned(), text, faults: in_order(faults) }))
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
