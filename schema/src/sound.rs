//! What is sound in a file with faults: so much of the value as can still be judged.
//!
//! A key with a fault is left out; where it must be there, the empty text stands in for it, which no key takes: what
//! is said of that place then is known to be nonsense by [`Doubt`].

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, FaultKind};
use crate::spans::child;
use crate::walk::{self, union};

/// The keys that nothing can be concluded from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubt(BTreeSet<String>);

impl Doubt {
    pub(crate) fn of(faults: &[Fault]) -> Self {
        Self(faults.iter().flat_map(doubtful).collect())
    }

    /// Whether what is said of the value at this path may be nonsense: it, something above or something in it has a
    /// fault, or was left out.
    pub fn covers(&self, path: &str) -> bool {
        let below = |path: &str, above: &str| {
            path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.0.iter().any(|doubtful| below(path, doubtful) || below(doubtful, path))
    }
}

/// The key of a fault; of an unknown key, the one that was meant too; of a table, what it lacks.
fn doubtful(fault: &Fault) -> Vec<String> {
    match &fault.kind {
        FaultKind::Syntax { .. } | FaultKind::TooMany { .. } => Vec::new(),
        FaultKind::MissingKey { key } => vec![child(&fault.path, key)],
        FaultKind::BelowTable { key, .. } => vec![fault.path.clone(), child("", key)],
        FaultKind::UnknownKey { key, suggestion, .. } => {
            let table = fault.path.strip_suffix(&child("", key)).unwrap_or_default().trim_end_matches('.');
            // A synonym of another program is suggested by its path from the top.
            let meant =
                |meant: &String| if meant.contains('.') { meant.clone() } else { child(table, meant) };
            suggestion.iter().map(meant).chain([fault.path.clone()]).collect()
        }
        _ if fault.path.is_empty() => Vec::new(),
        _ => vec![fault.path.clone()],
    }
}

/// The tree as JSON, without what has faults; None where it cannot be told what is meant.
pub(crate) fn json(schema: &Value, table: &DeTable<'_>, faults: &[Fault]) -> Option<Value> {
    let mut sieve = Sieve::default();
    for fault in faults {
        match &fault.kind {
            FaultKind::Syntax { .. } | FaultKind::MissingKey { .. } => {}
            FaultKind::UnknownKey { .. } | FaultKind::UnquotedKey { .. } | FaultKind::BelowTable { .. } => {
                sieve.keys.insert(pair(fault.span.clone()));
            }
            _ => drop(sieve.values.insert(pair(fault.span.clone()))),
        }
    }
    let mut json = sieve.table(table);
    complete(union::branch_of(schema, &json)?, &mut json);
    Some(Value::Object(json))
}

/// Where the faults stand.
#[derive(Default)]
struct Sieve {
    keys: BTreeSet<(usize, usize)>,
    values: BTreeSet<(usize, usize)>,
}

impl Sieve {
    fn table(&self, table: &DeTable<'_>) -> Map<String, Value> {
        let sound = table.iter().filter(|(key, value)| {
            !self.keys.contains(&pair(key.span())) && !self.values.contains(&pair(value.span()))
        });
        sound.map(|(key, value)| (key.get_ref().to_string(), self.value(value.get_ref()))).collect()
    }

    fn value(&self, value: &DeValue<'_>) -> Value {
        match value {
            DeValue::Table(table) => Value::Object(self.table(table)),
            DeValue::Array(items) => items.iter().map(|item| self.item(item)).collect(),
            other => walk::to_json(other),
        }
    }

    /// An element keeps its place: those behind it keep their index.
    fn item(&self, item: &Spanned<DeValue<'_>>) -> Value {
        if self.values.contains(&pair(item.span())) {
            return Value::String(String::new());
        }
        self.value(item.get_ref())
    }
}

fn pair(span: Range<usize>) -> (usize, usize) {
    (span.start, span.end)
}

/// Gives a table, and those in it, what they must have.
fn complete(schema: &Value, table: &mut Map<String, Value>) {
    for key in walk::required(schema).filter(|key| !table.contains_key(*key)).collect::<Vec<_>>() {
        let only = walk::property(schema, key).and_then(|schema| schema.get("const"));
        table.insert(key.to_owned(), only.cloned().unwrap_or_else(|| Value::String(String::new())));
    }
    for (key, value) in table.iter_mut() {
        if let (Some(schema), Value::Object(inner)) = (walk::property(schema, key), value) {
            complete(schema, inner);
        }
    }
}
