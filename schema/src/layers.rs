//! Layers: a file and those that it imports, laid over each other.
//!
//! One rule: tables merge key by key, at any depth; of everything else, lists too, the importing file's is taken, and
//! of two imported files the later one's. An imported file imports nothing.
//!
//! The texts stand one behind the other, the importing file's first, as if they were one: a span names a place in all
//! of them.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, FaultKind};

/// The key that names the imported files, in the order in which they are laid: the later covers the earlier.
pub const IMPORTS: &str = "imports";

/// How deep tables merge; what lies deeper is taken whole.
const MAX_DEPTH: usize = 32;

/// What a file imports, as far as it can be read, each with its place: files as they are written, from the place of
/// the importing one.
pub fn imports(bytes: &[u8]) -> Vec<(String, Range<usize>)> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
    let (table, _) = DeTable::parse_recoverable(text);
    let items = table.get_ref().get(IMPORTS).map(Spanned::get_ref).and_then(DeValue::as_array);
    let named = |item: &Spanned<DeValue<'_>>| Some((item.get_ref().as_str()?.to_owned(), item.span()));
    items.into_iter().flat_map(|items| items.iter()).filter_map(named).collect()
}

/// Where each of these texts begins in all of them together.
pub fn starts<'t>(texts: impl IntoIterator<Item = &'t [u8]>) -> Vec<usize> {
    let next = |start: &mut usize, text: &[u8]| {
        let this = *start;
        // A line end in between: no line is of two files.
        *start += text.len() + 1;
        Some(this)
    };
    texts.into_iter().scan(0, |start, text| next(start, text)).collect()
}

/// A text that has its place behind others.
pub(crate) fn placed(start: usize, text: &str) -> String {
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) if start > 0 => format!("   {rest}"),
        _ => text.to_owned(),
    };
    "\n".repeat(start) + &text
}

/// The imported files that import: they may not.
pub(crate) fn nested(imported: &[Spanned<DeTable<'_>>]) -> Vec<Fault> {
    let key = |table: &Spanned<DeTable<'_>>| {
        table.get_ref().get_key_value(IMPORTS).map(|(key, _)| Fault {
            span: key.span(),
            path: IMPORTS.to_owned(),
            kind: FaultKind::ImportInImport,
        })
    };
    imported.iter().filter_map(key).collect()
}

/// Lays the first table over the second one, that over the third, and so on.
pub(crate) fn merged<'t>(
    importing: Spanned<DeTable<'t>>,
    imported: impl DoubleEndedIterator<Item = Spanned<DeTable<'t>>>,
) -> Spanned<DeTable<'t>> {
    imported.rev().fold(importing, |mut over, under| {
        fill(over.get_mut(), under.into_inner(), 1);
        over
    })
}

/// Puts into a table what it lacks.
fn fill<'t>(over: &mut DeTable<'t>, under: DeTable<'t>, depth: usize) {
    for (key, value) in under {
        match (over.get_mut(key.get_ref().as_ref()), value) {
            (None, value) => drop(over.insert(key, value)),
            (Some(own), value) => match (own.get_mut(), value.into_inner()) {
                (DeValue::Table(own), DeValue::Table(other)) if depth < MAX_DEPTH => {
                    fill(own, other, depth + 1)
                }
                _ => {}
            },
        }
    }
}
