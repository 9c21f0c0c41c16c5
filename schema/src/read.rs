//! Reading a file: the text in; the value with its spans, or every fault at once, out.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue, Error};

use crate::fault::{Fault, FaultKind, clipped};
use crate::schema::{Document, json_schema};
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

/// Reads a file of the language `T`.
///
/// # Errors
/// Every fault of the text, in the order of the text, a hundred at most and then [`FaultKind::TooMany`]. Where it is
/// not TOML, only that: what follows a broken line cannot be judged.
pub fn read<T: Document>(text: &str) -> Result<Written<T>, Vec<Fault>> {
    if text.len() > MAX_SIZE {
        return Err(vec![whole(0..0, FaultKind::TooLarge { size: text.len(), limit: MAX_SIZE })]);
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut faults: Vec<_> = errors.iter().take(MAX_FAULTS + 1).map(|error| syntax(text, error)).collect();
    if errors.iter().all(is_duplicate) {
        faults.extend(walk::faults(json_schema::<T>(), &table, first_key(text, &table)));
    }
    if !faults.is_empty() {
        dismantle(table);
        faults.sort_by_key(|fault| (fault.span.start, fault.span.end));
        faults.dedup();
        return Err(bounded(text, faults));
    }
    let spans = Spans::of(&table);
    value(&table).map(|value| Written { value, spans })
}

/// Reads a file of the language `T` from octets.
///
/// # Errors
/// As [`read`]; where the text is not UTF-8, the place of the first octet that is not.
pub fn read_bytes<T: Document>(bytes: &[u8]) -> Result<Written<T>, Vec<Fault>> {
    if bytes.len() > MAX_SIZE {
        return Err(vec![whole(0..0, FaultKind::TooLarge { size: bytes.len(), limit: MAX_SIZE })]);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text),
        Err(error) => {
            let start = error.valid_up_to();
            let end = error.error_len().map_or(bytes.len(), |len| start + len);
            Err(vec![whole(start..end, FaultKind::NotUtf8)])
        }
    }
}

fn value<T: Document>(table: &Spanned<DeTable<'_>>) -> Result<T, Vec<Fault>> {
    serde_json::from_value(walk::to_json_table(table.get_ref()))
        .map_err(|error| vec![whole(0..0, FaultKind::Unreadable { message: error.to_string() })])
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
        _ => error.message().to_owned(),
    };
    whole(span, FaultKind::Syntax { message })
}

fn is_duplicate(error: &Error) -> bool {
    error.message().contains("duplicate key")
}
