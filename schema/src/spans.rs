//! Where each key and value of a file stands, by key path.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How deep tables and lists are indexed; what lies deeper is found by its ancestor.
const MAX_DEPTH: usize = 32;

/// Where each key and value stands, in octets of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    places: BTreeMap<String, Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    key: Range<usize>,
    value: Range<usize>,
}

impl Spans {
    pub(crate) fn of(table: &Spanned<DeTable<'_>>) -> Self {
        let mut spans = Spans::default();
        spans.add_table("", table.get_ref(), 0);
        spans
    }

    /// Returns where the value at `path` stands, or that of its nearest ancestor that exists; `0..0` for none.
    pub fn find(&self, path: &str) -> Range<usize> {
        self.nearest(path).map_or(0..0, |place| place.value.clone())
    }

    /// Returns where the key at `path` stands (a list element: the element), or that of its nearest ancestor.
    pub fn key(&self, path: &str) -> Range<usize> {
        self.nearest(path).map_or(0..0, |place| place.key.clone())
    }

    /// Whether exactly this path is in the file.
    pub fn contains(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    fn nearest(&self, path: &str) -> Option<&Place> {
        let ends = segment_ends(path);
        ends.iter().rev().find_map(|end| self.places.get(&path[..*end]))
    }

    fn add_table(&mut self, path: &str, table: &DeTable<'_>, depth: usize) {
        for (key, value) in table {
            self.add(child(path, key.get_ref()), key.span(), value, depth + 1);
        }
    }

    fn add(&mut self, path: String, key: Range<usize>, value: &Spanned<DeValue<'_>>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(&path, table, depth),
            DeValue::Array(array) => {
                for (at, item) in array.iter().enumerate() {
                    self.add(element(&path, at), item.span(), item, depth + 1);
                }
            }
            _ => {}
        }
        self.places.insert(path, Place { key, value: value.span() });
    }
}

/// Returns the path of `key` in the table at `path`; a key that is no bare key is quoted.
pub fn child(path: &str, key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
    };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// Returns the path of the element at index `at` of the list at `path`.
pub fn element(path: &str, at: usize) -> String {
    format!("{path}[{at}]")
}

/// Where each leading part of a path ends, the whole path last.
fn segment_ends(path: &str) -> Vec<usize> {
    let (mut ends, mut quoted, mut escaped) = (Vec::new(), false, false);
    for (at, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => ends.push(at),
            _ => {}
        }
    }
    ends.push(path.len());
    ends
}
