//! One value against one schema: its type, and for a text or number its bounds.

use serde_json::Value;
use toml::Spanned;
use toml::de::DeValue;

use super::{At, Walk, nearest};
use crate::fault::{FaultKind, one_of};
use crate::value;

impl Walk {
    /// Whether the value has a type that the schema allows; else a fault.
    pub(super) fn has_type(&mut self, schema: &Value, value: &Spanned<DeValue<'_>>, at: &At<'_>) -> bool {
        let types = types(schema);
        let found = type_of(value.get_ref());
        if types.is_empty() || types.contains(&found) {
            return true;
        }
        self.add(value.span(), at, FaultKind::WrongType { expected: expected(schema), found: word(found) });
        false
    }

    pub(super) fn scalar(&mut self, schema: &Value, value: &Spanned<DeValue<'_>>, at: &At<'_>) {
        let kind = match value.get_ref() {
            DeValue::String(text) => not_one_of(schema, text).or_else(|| bad_form(schema, text)),
            DeValue::Integer(_) => number(schema, value.get_ref()),
            DeValue::Boolean(flag) => other_flag(schema, *flag),
            _ => None,
        };
        if let Some(kind) = kind {
            self.add(value.span(), at, kind);
        }
    }
}

fn other_flag(schema: &Value, flag: bool) -> Option<FaultKind> {
    let only = schema.get("const")?.as_bool()?;
    let allowed = vec![only.to_string()];
    (only != flag).then(|| FaultKind::NotOneOf { found: format!("`{flag}`"), suggestion: None, allowed })
}

fn not_one_of(schema: &Value, text: &str) -> Option<FaultKind> {
    let allowed = constants(schema);
    if allowed.is_empty() || allowed.iter().any(|one| one == text) {
        return None;
    }
    let suggestion = nearest(text, &allowed);
    Some(FaultKind::NotOneOf { found: format!("`{text}`"), suggestion, allowed })
}

/// The texts that a schema allows, where it lists them.
pub(super) fn constants(schema: &Value) -> Vec<String> {
    let list = |key| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    let branches = list("oneOf").filter_map(|branch| branch.get("const"));
    let inner = list("oneOf").filter_map(|branch| branch.get("enum")).filter_map(Value::as_array).flatten();
    let all = list("enum").chain(branches).chain(inner).chain(schema.get("const"));
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn bad_form(schema: &Value, text: &str) -> Option<FaultKind> {
    let pattern = schema.get("pattern").and_then(Value::as_str)?;
    let ok = match pattern {
        value::SIZE => value::size(text).is_ok(),
        value::DURATION => value::duration(text).is_ok(),
        value::ENHANCED => is_enhanced(text),
        _ => return None,
    };
    (!ok).then(|| FaultKind::BadForm { found: text.to_owned(), expected: form(pattern) })
}

/// The form that a pattern asks for, in words.
fn form(pattern: &str) -> &'static str {
    match pattern {
        value::SIZE => "a size from 1B to 1024GiB, as 25MiB or 500KiB",
        value::DURATION => "a duration from 1s to 366d, as 30s, 5m, 1h or 5d",
        value::ENHANCED => "an enhanced status code, as 5.7.1",
        _ => "text of the form wanted",
    }
}

/// What a schema asks for, in words: its type, and of a text or number what it may say.
fn expected(schema: &Value) -> String {
    if let Some(branches) = schema.get("anyOf").and_then(Value::as_array) {
        return branches.iter().map(expected).collect::<Vec<_>>().join(" or ");
    }
    let only = schema.get("const").filter(|only| !only.is_string());
    let types = types(schema);
    match (types.as_slice(), only) {
        (_, Some(only)) => format!("`{only}`"),
        (["string"], _) if !constants(schema).is_empty() => one_of(&constants(schema)),
        (["string"], _) => match schema.get("pattern").and_then(Value::as_str) {
            Some(pattern) => format!("string ({})", form(pattern)),
            None => "string".to_owned(),
        },
        (["boolean"], _) => "true or false".to_owned(),
        (["array"], _) => match schema.get("items").map(self::types).as_deref() {
            Some([item]) => format!("array of {}s", word(item)),
            _ => "array".to_owned(),
        },
        (types, _) => types.iter().map(|name| word(name)).collect::<Vec<_>>().join(" or "),
    }
}

fn is_enhanced(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let digits = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(digits) && matches!(parts[0], "2" | "4" | "5")
}

fn number(schema: &Value, value: &DeValue<'_>) -> Option<FaultKind> {
    let found = integer(value);
    let written = || value.as_integer().map(|number| number.to_string()).unwrap_or_default();
    if let Some(supported) = schema.get("const").and_then(Value::as_u64) {
        let other = found != Some(i128::from(supported));
        return other.then(|| FaultKind::UnsupportedVersion { found: written(), supported });
    }
    let minimum = bound(schema, "minimum");
    let maximum = bound(schema, "maximum");
    let inside = found.is_some_and(|n| {
        minimum.is_none_or(|least| n >= i128::from(least)) && maximum.is_none_or(|most| n <= i128::from(most))
    });
    (!inside).then(|| FaultKind::OutOfRange { found: written(), minimum, maximum })
}

/// A bound; schemars writes some as floating point numbers.
fn bound(schema: &Value, key: &str) -> Option<u64> {
    let number = schema.get(key)?;
    number.as_u64().or_else(|| number.to_string().trim_end_matches(".0").parse().ok())
}

/// The integer, or None where it is beyond any that a key takes.
pub(super) fn integer(value: &DeValue<'_>) -> Option<i128> {
    let number = value.as_integer()?;
    i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()
}

/// The types that a schema allows, its branches' too.
fn types(schema: &Value) -> Vec<&str> {
    let own: Vec<&str> = match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !own.is_empty() {
        return own;
    }
    let branches = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    let mut all: Vec<&str> = branches.flat_map(types).collect();
    all.dedup();
    all
}

/// Whether a table may be here.
pub(super) fn takes_table(schema: &Value) -> bool {
    types(schema).contains(&"object")
}

/// The schema's name of a value's type.
pub(super) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

/// TOML's name of a type.
pub(super) fn word(name: &str) -> &'static str {
    match name {
        "object" => "table",
        "array" => "array",
        "string" => "string",
        "integer" => "integer",
        "boolean" => "boolean",
        "number" => "float",
        _ => "date",
    }
}
