//! Unions: which branch of a schema a value is held against.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::scalar::{type_of, word};
use super::{At, Place, Shape, Walk, keys, meant, nearest, properties, property, required};
use crate::fault::{FaultKind, one_of};

/// A union of tables that one key tells apart.
pub(super) struct Tag<'s> {
    key: &'s str,
    /// By value of the key.
    branches: Vec<(&'s str, &'s Value)>,
}

/// Returns the tag of a union, None for what is no union by tag.
pub(super) fn tag(schema: &Value) -> Option<Tag<'_>> {
    let branches = schema.get("oneOf")?.as_array()?;
    properties(branches.first()?)?.keys().find_map(|key| tagged_by(key, branches))
}

/// The branch that a value with this tag is of; a schema that is no union, itself.
pub(crate) fn branch_of<'s>(schema: &'s Value, value: &Map<String, Value>) -> Option<&'s Value> {
    let Some(tag) = tag(schema) else { return Some(schema) };
    let named = value.get(tag.key).and_then(Value::as_str);
    tag.branches.into_iter().find(|(name, _)| Some(*name) == named).map(|(_, branch)| branch)
}

/// The union by this key, where every branch gives it another constant.
fn tagged_by<'s>(key: &'s str, branches: &'s [Value]) -> Option<Tag<'s>> {
    let value = |branch: &'s Value| properties(branch)?.get(key)?.get("const")?.as_str();
    let branches: Vec<_> =
        branches.iter().map(|branch| Some((value(branch)?, branch))).collect::<Option<_>>()?;
    let distinct: BTreeSet<&str> = branches.iter().map(|(value, _)| *value).collect();
    (distinct.len() == branches.len()).then_some(Tag { key, branches })
}

impl Tag<'_> {
    fn values(&self) -> Vec<String> {
        self.branches.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

impl Walk {
    /// The branch of an untagged union that has the value's type, or the schema itself.
    pub(super) fn branch<'s>(
        &mut self,
        shape: Shape<'s>,
        value: &Spanned<DeValue<'_>>,
        at: &At<'_>,
    ) -> Option<Shape<'s>> {
        let Some(branches) = shape.schema.get("anyOf").and_then(Value::as_array) else { return Some(shape) };
        let found = type_of(value.get_ref());
        match branches.iter().find(|branch| branch.get("type").and_then(Value::as_str) == Some(found)) {
            Some(schema) => Some(Shape { schema, ..shape }),
            None => {
                self.has_type(shape.schema, value, at);
                None
            }
        }
    }

    pub(super) fn tagged(&mut self, tag: &Tag<'_>, table: &DeTable<'_>, place: &Place<'_>) {
        let Some((key, value)) = table.get_key_value(tag.key) else {
            let kind = FaultKind::MissingTag { key: tag.key.to_owned(), allowed: tag.values() };
            self.add(place.header.clone(), place.at, kind);
            return self.common(tag, table, place);
        };
        let named = value.get_ref().as_str();
        let branch = tag.branches.iter().find(|(name, _)| Some(*name) == named);
        let Some((name, schema)) = branch else {
            self.bad_tag(tag, value, &At::Key(place.at, tag.key));
            return self.common(tag, table, place);
        };
        let others = tag.branches.iter().filter(|(other, _)| other != name).copied().collect();
        let place = Place { at: place.at, header: key.span().start..value.span().end };
        self.table(Shape { schema, tag: tag.key, others }, table, &place);
    }

    fn bad_tag(&mut self, tag: &Tag<'_>, value: &Spanned<DeValue<'_>>, at: &At<'_>) {
        let allowed = tag.values();
        let kind = match value.get_ref().as_str() {
            Some(text) => FaultKind::NotOneOf {
                found: format!("`{text}`"),
                suggestion: nearest(text, &allowed),
                allowed,
            },
            None => {
                FaultKind::WrongType { expected: one_of(&allowed), found: word(type_of(value.get_ref())) }
            }
        };
        self.add(value.span(), at, kind);
    }

    /// What all branches agree on, where no branch is known.
    fn common(&mut self, tag: &Tag<'_>, table: &DeTable<'_>, place: &Place<'_>) {
        for (key, value) in table.iter().filter(|(key, _)| key.get_ref() != tag.key) {
            if self.more {
                return;
            }
            let at = At::Key(place.at, key.get_ref());
            let mut shapes = tag.branches.iter().filter_map(|(_, branch)| property(branch, key.get_ref()));
            match shapes.next() {
                Some(first) if shapes.all(|other| same(first, other)) => {
                    self.value(Shape::alone(first), value, &at, key.span());
                }
                Some(_) => {}
                None => self.unknown_in_all(tag, key, &at),
            }
        }
        let everywhere =
            |key: &&str| tag.branches.iter().all(|(_, branch)| required(branch).any(|k| k == *key));
        let absent = |key: &&str| *key != tag.key && !table.contains_key(*key);
        let first = tag.branches.first().into_iter().flat_map(|(_, branch)| required(branch));
        for key in first.filter(everywhere).filter(absent) {
            self.add(place.header.clone(), place.at, FaultKind::MissingKey { key: key.to_owned() });
        }
    }

    fn unknown_in_all(&mut self, tag: &Tag<'_>, key: &Spanned<toml::de::DeString<'_>>, at: &At<'_>) {
        let allowed: BTreeSet<&str> = tag.branches.iter().flat_map(|(_, branch)| keys(branch)).collect();
        let allowed: Vec<String> = allowed.into_iter().map(str::to_owned).collect();
        let suggestion = meant(key.get_ref(), &allowed);
        let (key_text, tag) = (key.get_ref().to_string(), tag.key.to_owned());
        let kind = FaultKind::UnknownKey { key: key_text, suggestion, allowed, tag, roles: Vec::new() };
        self.add(key.span(), at, kind);
    }
}

/// Whether two schemas allow the same, whatever they say about it.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let counted = |key: &&String| !matches!(key.as_str(), "description" | "examples" | "default");
            a.keys().filter(counted).eq(b.keys().filter(counted))
                && a.keys().filter(counted).all(|key| same(&a[key], &b[key]))
        }
        _ => a == b,
    }
}
