//! The spanned TOML tree, held against a JSON Schema: every fault at once.
//!
//! Understands what the exported schemas use: type, properties, required, additionalProperties, items, minItems,
//! const, enum, minimum, maximum, pattern, anyOf (by type) and oneOf (by tag, of constants, of required keys).
//! Descends no deeper than the schema, which is finite.

use std::ops::Range;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, FaultKind};
use crate::spans::{child, element};

/// The most faults that are told: whoever sees a hundred repairs those first, and one word repeated through a large
/// file costs no more than its reading.
pub(crate) const MAX_FAULTS: usize = 100;

mod scalar;
pub(crate) mod union;

/// Returns every fault of `table` against `schema`; what the file lacks as a whole stands at `start`.
pub(crate) fn faults(schema: &Value, table: &Spanned<DeTable<'_>>, start: usize) -> Vec<Fault> {
    let mut walk = Walk { faults: Vec::new(), more: false, top: Vec::new() };
    let place = Place { at: &At::Root, header: start..start };
    walk.table(Shape::alone(schema), table.get_ref(), &place);
    walk.faults
}

struct Walk {
    faults: Vec<Fault>,
    /// Whether there were more faults than are told: the walk ends.
    more: bool,
    /// The keys of the top level, empty until the role is known.
    top: Vec<String>,
}

/// Where the walk is. Written out only for a fault: a long key over a long list would else cost their product.
enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Item(&'a At<'a>, usize),
}

impl At<'_> {
    fn path(&self) -> String {
        match self {
            At::Root => String::new(),
            At::Key(above, key) => child(&above.path(), key),
            At::Item(above, index) => element(&above.path(), *index),
        }
    }
}

/// What must be at a place, and what could be there under other values of the tag.
#[derive(Clone)]
struct Shape<'s> {
    schema: &'s Value,
    /// The key that tells the others apart, empty where there are none.
    tag: &'s str,
    others: Vec<(&'s str, &'s Value)>,
}

impl<'s> Shape<'s> {
    fn alone(schema: &'s Value) -> Self {
        Self { schema, tag: "", others: Vec::new() }
    }

    fn property(&self, schema: &'s Value, key: &str) -> Self {
        let others = self.others.iter();
        Self {
            schema,
            tag: self.tag,
            others: others.filter_map(|(tag, other)| Some((*tag, property(other, key)?))).collect(),
        }
    }
}

/// Where a table is: its path, and what to underline for what it lacks.
struct Place<'a> {
    at: &'a At<'a>,
    header: Range<usize>,
}

impl Walk {
    fn value(&mut self, shape: Shape<'_>, value: &Spanned<DeValue<'_>>, at: &At<'_>, key: Range<usize>) {
        let Some(shape) = self.branch(shape, value, at) else { return };
        if !self.has_type(shape.schema, value, at) {
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(shape, table, &Place { at, header: key }),
            DeValue::Array(items) => {
                if items.is_empty() && shape.schema.get("minItems").and_then(Value::as_u64) > Some(0) {
                    self.add(value.span(), at, FaultKind::EmptyList);
                }
                let Some(schema) = shape.schema.get("items") else { return };
                for (index, item) in items.iter().enumerate() {
                    if self.more {
                        return;
                    }
                    self.value(Shape::alone(schema), item, &At::Item(at, index), item.span());
                }
            }
            _ => self.scalar(shape.schema, value, at),
        }
    }

    fn table(&mut self, shape: Shape<'_>, table: &DeTable<'_>, place: &Place<'_>) {
        if let Some(tag) = union::tag(shape.schema) {
            return self.tagged(&tag, table, place);
        }
        if matches!(place.at, At::Root) {
            self.top = keys(shape.schema).map(str::to_owned).collect();
        }
        for (key, value) in table {
            if self.more {
                return;
            }
            let at = At::Key(place.at, key.get_ref());
            match property(shape.schema, key.get_ref()) {
                Some(schema) => match unquoted(shape.schema, key.get_ref(), value.get_ref()) {
                    Some(kind) => self.add(key.span(), &at, kind),
                    None => self.value(shape.property(schema, key.get_ref()), value, &at, key.span()),
                },
                None => self.unknown(&shape, key, &at),
            }
        }
        self.missing(shape.schema, table, place);
        self.exactly_one(shape.schema, table, place);
    }

    fn unknown(&mut self, shape: &Shape<'_>, key: &Spanned<toml::de::DeString<'_>>, at: &At<'_>) {
        let allowed: Vec<String> = keys(shape.schema).map(str::to_owned).collect();
        if let At::Key(table @ At::Key(..), name) = at
            && self.top.iter().any(|top| top == name)
        {
            let kind = FaultKind::BelowTable { key: (*name).to_owned(), table: table.path() };
            return self.add(key.span(), at, kind);
        }
        let others = shape.others.iter().filter(|(_, schema)| property(schema, key.get_ref()).is_some());
        let kind = FaultKind::UnknownKey {
            key: key.get_ref().to_string(),
            suggestion: meant(key.get_ref(), &allowed),
            tag: shape.tag.to_owned(),
            roles: others.map(|(tag, _)| (*tag).to_owned()).collect(),
            allowed,
        };
        self.add(key.span(), at, kind);
    }

    fn missing(&mut self, schema: &Value, table: &DeTable<'_>, place: &Place<'_>) {
        for key in required(schema).filter(|key| !table.contains_key(*key)) {
            self.add(place.header.clone(), place.at, FaultKind::MissingKey { key: key.to_owned() });
        }
    }

    fn exactly_one(&mut self, schema: &Value, table: &DeTable<'_>, place: &Place<'_>) {
        let branches = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let keys: Vec<String> = branches.flat_map(required).map(str::to_owned).collect();
        let found: Vec<String> =
            keys.iter().filter(|key| table.contains_key(key.as_str())).cloned().collect();
        if !keys.is_empty() && found.len() != 1 {
            self.add(place.header.clone(), place.at, FaultKind::ExactlyOne { keys, found });
        }
    }

    fn add(&mut self, span: Range<usize>, at: &At<'_>, kind: FaultKind) {
        if self.faults.len() > MAX_FAULTS {
            self.more = true;
        } else {
            self.faults.push(Fault { span, path: at.path(), kind });
        }
    }
}

/// The key that was meant where one with a dot lacks its quotes, and so became a table in a map of names.
fn unquoted(schema: &Value, first: &str, value: &DeValue<'_>) -> Option<FaultKind> {
    let rest = schema.get("additionalProperties").filter(|rest| rest.is_object())?;
    if properties(schema).is_some_and(|named| named.contains_key(first)) || scalar::takes_table(rest) {
        return None;
    }
    let (mut key, mut value) = (first.to_owned(), value);
    while let DeValue::Table(table) = value {
        let (next, inner) = table.iter().next().filter(|_| key.len() <= LONGEST_NAME)?;
        key = format!("{key}.{}", next.get_ref());
        value = inner.get_ref();
    }
    (key != first).then_some(FaultKind::UnquotedKey { key })
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The schema of a key: its property, or the schema of all keys of a map.
pub(crate) fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let named = properties(schema).and_then(|properties| properties.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|rest| rest.is_object()))
}

fn keys(schema: &Value) -> impl Iterator<Item = &str> {
    properties(schema).into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

pub(crate) fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// A longer key is no domain whose quotes were forgotten (RFC 1035 2.3.4).
const LONGEST_NAME: usize = 255;

/// What Sendmail and Postfix call a key, in lower case, and its path here.
const SYNONYMS: [(&str, &str); 13] = [
    ("smart_host", "mail_host"),
    ("smarthost", "mail_host"),
    ("relayhost", "mail_host"),
    ("mailhub", "mail_host"),
    ("mynetworks", "relay.networks"),
    ("relay_domains", "relay.domains"),
    ("mydestination", "local_domains"),
    ("local_host_names", "local_domains"),
    ("myhostname", "hostname"),
    ("inet_interfaces", "listen"),
    ("masquerade_as", "masquerade.domain"),
    ("masquerade_domains", "masquerade.domain"),
    ("message_size_limit", "limits.message_size"),
];

/// The key that was meant: by its name in another program, or the most similar.
fn meant(key: &str, allowed: &[String]) -> Option<String> {
    let other = key.to_ascii_lowercase().replace('-', "_");
    let known = SYNONYMS.iter().find(|(synonym, _)| *synonym == other).map(|(_, path)| *path);
    let here = |path: &&str| allowed.iter().any(|key| Some(key.as_str()) == path.split('.').next());
    known.filter(here).map(str::to_owned).or_else(|| nearest(key, allowed))
}

/// A longer word is no key misspelt.
const LONGEST_MEANT: usize = 64;

/// The most similar candidate, where one is similar enough to be meant.
fn nearest(word: &str, candidates: &[String]) -> Option<String> {
    if word.len() > LONGEST_MEANT {
        return None;
    }
    let scored = candidates.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, candidate)| candidate.clone())
}

/// The table as JSON; call it only on what has no faults, which bounds its depth.
pub(crate) fn to_json_table(table: &DeTable<'_>) -> Value {
    let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())));
    Value::Object(entries.collect())
}

pub(crate) fn to_json(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(_) => {
            scalar::integer(value).and_then(|n| i64::try_from(n).ok()).map_or(Value::Null, Value::from)
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => to_json_table(table),
    }
}
