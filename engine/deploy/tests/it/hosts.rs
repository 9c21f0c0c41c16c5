//! The example declarations.

use std::path::{Path, PathBuf};

use mailstack_deploy::model::Model;
use mailstack_schema::host::Host;
use mailstack_schema::{Written, read};

/// A file of `tests/hosts` or `tests/hosts-invalid`.
pub struct Example {
    /// The file's name without its ending.
    pub name: String,
    /// As written.
    pub text: String,
}

/// All examples of a directory, in the order of their names.
pub fn examples(directory: &str) -> Vec<Example> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let mut files: Vec<PathBuf> = directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let example = |file: PathBuf| Example {
        name: file.file_stem().unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(&file).unwrap(),
    };
    files.into_iter().map(example).collect()
}

impl Example {
    /// As the schema reads it.
    pub fn written(&self) -> Written<Host> {
        read(&self.text).unwrap_or_else(|faults| panic!("{}: {faults:?}", self.name))
    }

    /// What it means.
    pub fn model(&self) -> Model {
        Model::resolve(&self.written()).unwrap_or_else(|faults| panic!("{}: {faults:#?}", self.name))
    }
}
