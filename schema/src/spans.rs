//! Where each key and value of a file stands, by key path.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How deep tables and lists are indexed; what lies deeper is found by its ancestor.
const MAX_DEPTH: usize = 32;

/// Where each key and value stands, in octets of the text.
///
/// A tree, as the file is: whole paths as keys of a map would cost a long key over a long list their product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    top: BTreeMap<String, Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    key: Range<usize>,
    value: Range<usize>,
    /// By key as a path spells it.
    keys: BTreeMap<String, Place>,
    items: Vec<Place>,
}

impl Spans {
    pub(crate) fn of(table: &Spanned<DeTable<'_>>) -> Self {
        Self { top: places(table.get_ref(), 1) }
    }

    /// Returns where the value at `path` stands, or that of its nearest ancestor that exists; `0..0` for none.
    pub fn find(&self, path: &str) -> Range<usize> {
        self.nearest(path).0.map_or(0..0, |place| place.value.clone())
    }

    /// Returns where the key at `path` stands (a list element: the element), or that of its nearest ancestor.
    pub fn key(&self, path: &str) -> Range<usize> {
        self.nearest(path).0.map_or(0..0, |place| place.key.clone())
    }

    /// Returns the keys of the table at `path`, as a path spells them.
    pub fn keys(&self, path: &str) -> impl Iterator<Item = &str> {
        let (place, exact) = self.nearest(path);
        place.filter(|_| exact).into_iter().flat_map(|place| place.keys.keys().map(String::as_str))
    }

    /// Whether exactly this path is in the file.
    pub fn contains(&self, path: &str) -> bool {
        self.nearest(path).1
    }

    /// The place at the path or at its nearest ancestor, and whether it is the path's own.
    fn nearest(&self, path: &str) -> (Option<&Place>, bool) {
        let mut here: Option<&Place> = None;
        for segment in segments(path) {
            let next = match (segment.strip_prefix('['), here) {
                (Some(index), Some(place)) => {
                    index.trim_end_matches(']').parse().ok().and_then(|index: usize| place.items.get(index))
                }
                (_, Some(place)) => place.keys.get(segment),
                (_, None) => self.top.get(segment),
            };
            match next {
                Some(place) => here = Some(place),
                None => return (here, false),
            }
        }
        (here, here.is_some())
    }
}

fn places(table: &DeTable<'_>, depth: usize) -> BTreeMap<String, Place> {
    let all = table.iter().filter(|_| depth <= MAX_DEPTH);
    all.map(|(key, value)| (child("", key.get_ref()), place(key.span(), value, depth))).collect()
}

fn place(key: Range<usize>, value: &Spanned<DeValue<'_>>, depth: usize) -> Place {
    let mut place = Place { key, value: value.span(), keys: BTreeMap::new(), items: Vec::new() };
    match value.get_ref() {
        DeValue::Table(table) => place.keys = places(table, depth + 1),
        DeValue::Array(items) if depth < MAX_DEPTH => {
            place.items = items.iter().map(|item| self::place(item.span(), item, depth + 1)).collect();
        }
        _ => {}
    }
    place
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

/// The keys and `[indices` of a path, in order.
fn segments(path: &str) -> Vec<&str> {
    let (mut found, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in path.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '.' | '[' if !quoted => {
                found.push(&path[start..at]);
                start = if c == '.' { at + 1 } else { at };
            }
            _ => {}
        }
    }
    found.push(&path[start..]);
    found
}
