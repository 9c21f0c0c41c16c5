//! Reading a file: the text in; the value with its spans, or every fault at once, out.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use crate::fault::{Fault, FaultKind, clipped};
use crate::layers;
use crate::schema::{Document, json_schema};
use crate::sound::{self, Doubt};
use crate::spans::Spans;
use crate::walk::{self, MAX_FAULTS};

/// The most octets of a file: one MiB.
pub const MAX_SIZE: usize = 1 << 20;

/// What a file says, and where it says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written<T> {
    /// What it says.
    pub value: T,
    /// Where each key stands.
    pub spans: Spans,
}

/// A file with faults, and what is sound in it.
#[derive(Clone, Debug)]
pub struct Flawed<T> {
    /// Every fault, in the order of the text.
    pub faults: Vec<Fault>,
    /// What it says beside them; None where that cannot be known. Hold what follows from it against `doubt`.
    pub sound: Option<Written<T>>,
    /// The keys that nothing follows from.
    pub doubt: Doubt,
}

/// Reads a file of the language `T`.
///
/// # Errors
/// Every fault of the text, in the order of the text, a hundred at most and then [`FaultKind::TooMany`]. Where it is
/// not TOML, only that: what follows a broken line cannot be judged.
pub fn read<T: Document>(text: &str) -> Result<Written<T>, Vec<Fault>> {
    read_flawed(text.as_bytes()).map_err(|flawed| flawed.faults)
}

/// Reads a file of the language `T` from octets.
///
/// # Errors
/// As [`read`]; where the text is not UTF-8, the place of the first octet that is not.
pub fn read_bytes<T: Document>(bytes: &[u8]) -> Result<Written<T>, Vec<Fault>> {
    read_flawed(bytes).map_err(|flawed| flawed.faults)
}

/// Reads a file of the language `T` from octets, and keeps what is sound of one with faults.
///
/// # Errors
/// As [`read_bytes`].
pub fn read_flawed<T: Document>(bytes: &[u8]) -> Result<Written<T>, Box<Flawed<T>>> {
    read_layers(bytes, &[])
}

/// The same, of a file that is laid over those that it imports; places are in all of them together, see
/// [`crate::layers`].
///
/// # Errors
/// As [`read_bytes`].
pub fn read_layers<T: Document>(bytes: &[u8], imported: &[&[u8]]) -> Result<Written<T>, Box<Flawed<T>>> {
    let all = || std::iter::once(bytes).chain(imported.iter().copied());
    let size = all().map(<[u8]>::len).sum();
    if size > MAX_SIZE {
        return Err(hopeless(whole(0..0, FaultKind::TooLarge { size, limit: MAX_SIZE })));
    }
    let mut texts = Vec::new();
    for (start, bytes) in layers::starts(all()).into_iter().zip(all()) {
        match std::str::from_utf8(bytes) {
            Ok(text) => texts.push(layers::placed(start, text)),
            Err(error) => {
                let bad = start + error.valid_up_to();
                let end = error.error_len().map_or(start + bytes.len(), |len| bad + len);
                return Err(hopeless(whole(bad..end, FaultKind::NotUtf8)));
            }
        }
    }
    parsed(&texts)
}

/// Each text has its place in all of them together; the first is laid over the others.
fn parsed<T: Document>(texts: &[String]) -> Result<Written<T>, Box<Flawed<T>>> {
    let (mut tables, mut faults, mut is_whole) = (Vec::new(), Vec::new(), true);
    for text in texts {
        let (table, errors) = DeTable::parse_recoverable(text);
        faults.extend(errors.iter().take(MAX_FAULTS + 1).map(|error| syntax(text, error)));
        is_whole &= errors.iter().all(is_duplicate);
        tables.push(table);
    }
    let text = texts.first().map_or("", String::as_str);
    faults.extend(layers::nested(tables.get(1..).unwrap_or_default()));
    let mut tables = tables.into_iter();
    let importing = tables.next().unwrap_or_else(|| Spanned::new(0..0, DeTable::new()));
    let first_key = first_key(text, &importing);
    let table = layers::merged(importing, tables);
    if is_whole {
        faults.extend(walk::faults(json_schema::<T>(), &table, first_key));
    }
    if !faults.is_empty() {
        let known = is_whole && faults.len() <= MAX_FAULTS;
        let sound = if known { sound(&table, &faults) } else { None };
        dismantle(table);
        faults.sort_by_key(|fault| (fault.span.start, fault.span.end));
        faults.dedup();
        let (doubt, faults) = (Doubt::of(&faults), bounded(text, faults));
        return Err(Box::new(Flawed { faults, sound, doubt }));
    }
    let spans = Spans::of(&table);
    value(&table).map(|value| Written { value, spans })
}

/// What can be known of a table with faults.
fn sound<T: Document>(table: &Spanned<DeTable<'_>>, faults: &[Fault]) -> Option<Written<T>> {
    let json = sound::json(json_schema::<T>(), table.get_ref(), faults)?;
    Some(Written { value: serde_json::from_value(json).ok()?, spans: Spans::of(table) })
}

fn hopeless<T>(fault: Fault) -> Box<Flawed<T>> {
    Box::new(Flawed { faults: vec![fault], sound: None, doubt: Doubt::default() })
}

fn value<T: Document>(table: &Spanned<DeTable<'_>>) -> Result<T, Box<Flawed<T>>> {
    serde_json::from_value(walk::to_json_table(table.get_ref()))
        .map_err(|error| hopeless(whole(0..0, FaultKind::Unreadable { message: error.to_string() })))
}

/// Where the first key stands, or where one would follow the comments: a key that the file lacks belongs there.
fn first_key(text: &str, table: &Spanned<DeTable<'_>>) -> usize {
    let keys = table.get_ref().keys().map(|key| key.span().start);
    keys.min().unwrap_or_else(|| text.trim_end().len())
}

/// The first faults, and a last one where there are more.
fn bounded(text: &str, mut faults: Vec<Fault>) -> Vec<Fault> {
    if faults.len() > MAX_FAULTS {
        faults.truncate(MAX_FAULTS);
        faults.push(whole(text.len()..text.len(), FaultKind::TooMany { limit: MAX_FAULTS }));
    }
    faults
}

/// Drops a tree without recursion: dotted keys in inline tables nest deeper than a stack holds.
fn dismantle(table: Spanned<DeTable<'_>>) {
    let mut rest: Vec<_> = table.into_inner().into_iter().map(|(_, value)| value.into_inner()).collect();
    while let Some(value) = rest.pop() {
        match value {
            DeValue::Table(table) => rest.extend(table.into_iter().map(|(_, value)| value.into_inner())),
            DeValue::Array(items) => rest.extend(items.into_iter().map(Spanned::into_inner)),
            _ => {}
        }
    }
}

fn whole(span: Range<usize>, kind: FaultKind) -> Fault {
    Fault { span, path: String::new(), kind }
}

fn syntax(text: &str, error: &Error) -> Fault {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = match text.get(span.clone()) {
        Some(key) if is_duplicate(error) => format!("the key `{}` is written twice", clipped(key)),
        _ => reason(text, &span, error.message()),
    };
    whole(span, FaultKind::Syntax { message })
}

/// Why it is not TOML; the parser's own words where nothing better is known.
fn reason(text: &str, span: &Range<usize>, message: &str) -> String {
    let start = span.start;
    let line_start = text.get(..start).unwrap_or_default().rfind('\n').map_or(0, |at| at + 1);
    let line = text[line_start..].lines().next().unwrap_or_default();
    if line.contains('\0') {
        return "a NUL character: the file is not text".to_owned();
    }
    let value = line.split_once('=').map_or("", |(_, value)| value.trim_start());
    let meant = word(value);
    let in_value = start >= line_start + (line.len() - value.len());
    let bare = meant.starts_with(|c: char| c.is_alphanumeric() || "/.:_-\\|".contains(c));
    if in_value && bare && DeValue::parse(meant).is_err() {
        return format!("string values must be quoted: `\"{}\"`", clipped(meant));
    }
    message.to_owned()
}

/// The text that was meant where quotes are missing: what comes first in a value, up to what ends it.
fn word(value: &str) -> &str {
    let bare = value.trim_start_matches('[').trim_start();
    let end = bare.find([',', ']', '#', '}', '"', '\'']).unwrap_or(bare.len());
    bare[..end].trim_end()
}

fn is_duplicate(error: &Error) -> bool {
    error.message().contains("duplicate key")
}
