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

mod scalar;
mod union;

/// Returns every fault of `table` against `schema`.
pub(crate) fn faults(schema: &Value, table: &Spanned<DeTable<'_>>) -> Vec<Fault> {
    let mut walk = Walk { faults: Vec::new() };
    let place = Place { path: String::new(), header: 0..0 };
    walk.table(Shape::alone(schema), table.get_ref(), &place);
    walk.faults
}

struct Walk {
    faults: Vec<Fault>,
}

/// What must be at a place, and what could be there under other values of the tag.
#[derive(Clone)]
struct Shape<'s> {
    schema: &'s Value,
    others: Vec<(&'s str, &'s Value)>,
}

impl<'s> Shape<'s> {
    fn alone(schema: &'s Value) -> Self {
        Self { schema, others: Vec::new() }
    }

    fn property(&self, schema: &'s Value, key: &str) -> Self {
        let others = self.others.iter();
        Self {
            schema,
            others: others.filter_map(|(tag, other)| Some((*tag, property(other, key)?))).collect(),
        }
    }
}

/// Where a table is: its path, and what to underline for what it lacks.
struct Place {
    path: String,
    header: Range<usize>,
}

impl Walk {
    fn value(&mut self, shape: Shape<'_>, value: &Spanned<DeValue<'_>>, path: &str, key: Range<usize>) {
        let Some(shape) = self.branch(shape, value, path) else { return };
        if !self.has_type(shape.schema, value, path) {
            return;
        }
        match value.get_ref() {
            DeValue::Table(table) => self.table(shape, table, &Place { path: path.to_owned(), header: key }),
            DeValue::Array(items) => {
                if items.is_empty() && shape.schema.get("minItems").and_then(Value::as_u64) > Some(0) {
                    self.add(value.span(), path, FaultKind::EmptyList);
                }
                let Some(schema) = shape.schema.get("items") else { return };
                for (at, item) in items.iter().enumerate() {
                    self.value(Shape::alone(schema), item, &element(path, at), item.span());
                }
            }
            _ => self.scalar(shape.schema, value, path),
        }
    }

    fn table(&mut self, shape: Shape<'_>, table: &DeTable<'_>, place: &Place) {
        if let Some(tag) = union::tag(shape.schema) {
            return self.tagged(&tag, table, place);
        }
        for (key, value) in table {
            let path = child(&place.path, key.get_ref());
            match property(shape.schema, key.get_ref()) {
                Some(schema) => self.value(shape.property(schema, key.get_ref()), value, &path, key.span()),
                None => self.unknown(&shape, key, &path),
            }
        }
        self.missing(shape.schema, table, place);
        self.exactly_one(shape.schema, table, place);
    }

    fn unknown(&mut self, shape: &Shape<'_>, key: &Spanned<toml::de::DeString<'_>>, path: &str) {
        let allowed: Vec<String> = keys(shape.schema).map(str::to_owned).collect();
        let others = shape.others.iter().filter(|(_, schema)| property(schema, key.get_ref()).is_some());
        let kind = FaultKind::UnknownKey {
            key: key.get_ref().to_string(),
            suggestion: nearest(key.get_ref(), &allowed),
            roles: others.map(|(tag, _)| (*tag).to_owned()).collect(),
            allowed,
        };
        self.add(key.span(), path, kind);
    }

    fn missing(&mut self, schema: &Value, table: &DeTable<'_>, place: &Place) {
        for key in required(schema).filter(|key| !table.contains_key(*key)) {
            self.add(place.header.clone(), &place.path, FaultKind::MissingKey { key: key.to_owned() });
        }
    }

    fn exactly_one(&mut self, schema: &Value, table: &DeTable<'_>, place: &Place) {
        let branches = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let keys: Vec<String> = branches.flat_map(required).map(str::to_owned).collect();
        let found: Vec<String> =
            keys.iter().filter(|key| table.contains_key(key.as_str())).cloned().collect();
        if !keys.is_empty() && found.len() != 1 {
            self.add(place.header.clone(), &place.path, FaultKind::ExactlyOne { keys, found });
        }
    }

    fn add(&mut self, span: Range<usize>, path: &str, kind: FaultKind) {
        self.faults.push(Fault { span, path: path.to_owned(), kind });
    }
}

fn properties(schema: &Value) -> Option<&Map<String, Value>> {
    schema.get("properties").and_then(Value::as_object)
}

/// The schema of a key: its property, or the schema of all keys of a map.
fn property<'s>(schema: &'s Value, key: &str) -> Option<&'s Value> {
    let named = properties(schema).and_then(|properties| properties.get(key));
    named.or_else(|| schema.get("additionalProperties").filter(|rest| rest.is_object()))
}

fn keys(schema: &Value) -> impl Iterator<Item = &str> {
    properties(schema).into_iter().flat_map(|properties| properties.keys().map(String::as_str))
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The most similar candidate, where one is similar enough to be meant.
fn nearest(word: &str, candidates: &[String]) -> Option<String> {
    let scored = candidates.iter().map(|candidate| (strsim::jaro_winkler(word, candidate), candidate));
    let best = scored.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map(|(_, candidate)| candidate.clone())
}

/// The table as JSON; call it only on what has no faults, which bounds its depth.
pub(crate) fn to_json_table(table: &DeTable<'_>) -> Value {
    let entries = table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref())));
    Value::Object(entries.collect())
}

fn to_json(value: &DeValue<'_>) -> Value {
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
