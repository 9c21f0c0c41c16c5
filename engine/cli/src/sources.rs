//! The texts of a declaration: host.toml, and the files that it imports; places in them.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use mailstack_schema::layers;
use serde::Serialize;

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Octets that are no text are replaced.
    pub text: String,
    /// Where it begins in all texts together.
    start: usize,
}

/// All texts of a declaration, the importing one first.
#[derive(Clone, Debug)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// Files with their octets; never none.
    pub fn of<'b>(files: impl IntoIterator<Item = (PathBuf, &'b [u8])>) -> Self {
        let files: Vec<_> = files.into_iter().collect();
        let starts = layers::starts(files.iter().map(|(_, bytes)| *bytes));
        let source = |((path, bytes), start): ((PathBuf, &[u8]), usize)| Source {
            path,
            text: String::from_utf8_lossy(bytes).into_owned(),
            start,
        };
        Self(files.into_iter().zip(starts).map(source).collect())
    }

    /// The text that a span is in, and where there.
    #[expect(clippy::indexing_slicing, reason = "never empty: made of host.toml at least")]
    pub fn local(&self, span: &Range<usize>) -> (&Source, Range<usize>) {
        let index = self.0.iter().rposition(|source| source.start <= span.start).unwrap_or(0);
        let source = &self.0[index];
        (source, span.start - source.start..span.end.max(span.start) - source.start)
    }

    /// Whether a span is in a text that another one imports.
    pub fn is_imported(&self, span: &Range<usize>) -> bool {
        self.local(span).0.start > 0
    }

    /// The place of a span.
    pub fn place(&self, span: &Range<usize>) -> Place {
        let (source, local) = self.local(span);
        let before = &source.text[..boundary(&source.text, local.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            file: source.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// What stands at a span.
    pub fn written(&self, span: &Range<usize>) -> &str {
        let (source, local) = self.local(span);
        let start = boundary(&source.text, local.start);
        &source.text[start..boundary(&source.text, local.end).max(start)]
    }
}

/// The beginning of the character that the octet is of, or the text's end.
pub fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
