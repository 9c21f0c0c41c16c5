//! The default of each key of host.toml, told by the schema as the role's profile has it.
//!
//! Profiles are the one place of defaults: no doc comment repeats them.

use serde_json::{Map, Value, json};
use toml::Table;

use crate::host::Role;
use crate::profiles;

/// Adds to each property of a role, wherever roles stand in the schema, the default that its profile has: as the
/// keyword and in the description.
pub(super) fn state(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(state),
        Value::Object(schema) => match role(schema) {
            Some(role) => state_all(schema, &profiles::defaults_table(role)),
            None => schema.values_mut().for_each(state),
        },
        _ => {}
    }
}

/// The role that this branch is for.
fn role(schema: &Map<String, Value>) -> Option<Role> {
    schema.get("properties")?.get("role")?.get("const")?.as_str()?.parse().ok()
}

fn state_all(schema: &mut Map<String, Value>, profile: &Table) {
    let Some(Value::Object(properties)) = schema.get_mut("properties") else { return };
    for (key, property) in properties {
        let Value::Object(property) = property else { continue };
        match profile.get(key) {
            Some(toml::Value::Table(inner)) => state_all(property, inner),
            Some(default) if !property.contains_key("const") => state_one(property, default),
            _ => {}
        }
    }
}

fn state_one(property: &mut Map<String, Value>, default: &toml::Value) {
    if let Some(Value::String(description)) = property.get_mut("description") {
        description.push_str(&format!(" Default: {}.", words(default)));
    }
    property.insert("default".into(), json!(default));
}

/// A value as a description has it.
fn words(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => format!("`{text}`"),
        toml::Value::Array(items) if items.is_empty() => "none".to_owned(),
        toml::Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(" and "),
        other => other.to_string(),
    }
}
