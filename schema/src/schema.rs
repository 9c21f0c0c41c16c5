//! The JSON Schema of a language: draft-07, everything inlined, closed at every depth.
//!
//! Its `$id` is a URN, stable for a version of the language: a name and no place, for nothing is fetched to judge a
//! host. An editor finds the schema by the `#:schema` line of a file, which names a file beside it
//! (`gateway.schema.json`): what `mailstack schema` prints is of the same build that will read the declaration.
//!
//! Owns the export. schemars derives it from the types; here it becomes what editors and the reader need: no `null`
//! (TOML has none), no formats of Rust's own, no unknown keys.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::host::{Host, Role};

mod defaults;

/// The version of the languages, as the key `schema` writes it.
pub const VERSION: u32 = 1;

/// A language that can be read from a file.
pub trait Document: DeserializeOwned + JsonSchema {
    /// The file's name without `.toml`: `host`.
    const NAME: &'static str;

    /// Returns where the schema is kept once it is built: a static of the type's own, which a generic function
    /// cannot have.
    fn kept() -> &'static OnceLock<Value>;
}

/// Returns the JSON Schema of a language, the same each time; built once per process, for it takes longer than a
/// file takes to read.
pub fn json_schema<T: Document>() -> &'static Value {
    T::kept().get_or_init(build::<T>)
}

fn build<T: Document>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let schema: Schema = settings.into_generator().into_root_schema_for::<T>();
    let mut value = schema.to_value();
    tidy(&mut value);
    defaults::state(&mut value);
    if let Some(root) = value.as_object_mut() {
        root.insert("$id".into(), json!(format!("urn:mailstack:schema:{}:{VERSION}", T::NAME)));
        root.insert("title".into(), json!(format!("{}.toml", T::NAME)));
    }
    value
}

/// Returns [`json_schema`] as the text of a file, indented, with a newline at its end.
pub fn schema_text<T: Document>() -> String {
    format!("{:#}\n", json_schema::<T>())
}

/// Returns the schema of one role's host.toml as the text of a file: the role's branch of [`json_schema`], alone.
/// Editors that offer what any branch of a union has (taplo) offer exactly the role's keys with it.
pub fn role_schema_text(role: Role) -> String {
    let ours = |branch: &&Value| branch["properties"]["role"]["const"] == role.as_str();
    let branches = json_schema::<Host>()["oneOf"].as_array();
    let mut schema = branches.into_iter().flatten().find(ours).cloned().unwrap_or_default();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        root.insert("$id".into(), json!(format!("urn:mailstack:schema:host:{VERSION}:{role}")));
        root.insert("title".into(), json!(format!("host.toml of role {role}")));
    }
    format!("{schema:#}\n")
}

/// Children first: what a parent takes over from a branch is tidy already.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(schema) => {
            schema.iter_mut().filter(|(key, _)| !is_data(key)).for_each(|(_, inner)| tidy(inner));
            drop_null(schema);
            hoist_branches(schema);
            if is_schema_of_object(schema) && !schema.contains_key("additionalProperties") {
                schema.insert("additionalProperties".into(), json!(false));
            }
        }
        _ => {}
    }
}

/// Keywords whose value is data and not a schema.
fn is_data(key: &str) -> bool {
    matches!(key, "examples" | "const" | "enum" | "default")
}

fn is_schema_of_object(schema: &Map<String, Value>) -> bool {
    schema.get("type") == Some(&json!("object")) && schema.get("properties").is_some_and(Value::is_object)
}

fn drop_null(schema: &mut Map<String, Value>) {
    if schema.get("format").is_some_and(Value::is_string) {
        schema.remove("format");
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    for union in ["anyOf", "oneOf"] {
        drop_null_branch(schema, union);
    }
}

fn drop_null_branch(schema: &mut Map<String, Value>, union: &str) {
    let Some(Value::Array(branches)) = schema.get_mut(union) else { return };
    let before = branches.len();
    branches.retain(|branch| branch.get("type") != Some(&json!("null")));
    if branches.len() == before {
        return;
    }
    if let [Value::Object(only)] = branches.as_slice() {
        let only = only.clone();
        schema.remove(union);
        for (key, inner) in only {
            schema.entry(key).or_insert(inner);
        }
    }
}

/// A flattened union of one-key branches becomes optional properties of which exactly one is required: a closed
/// object cannot see properties that stand in a branch.
fn hoist_branches(schema: &mut Map<String, Value>) {
    if !is_schema_of_object(schema) {
        return;
    }
    let Some(Value::Array(mut branches)) = schema.remove("oneOf") else { return };
    for branch in branches.iter_mut().filter_map(Value::as_object_mut) {
        let description = branch.get("description").cloned();
        let Some(Value::Object(properties)) = branch.remove("properties") else { continue };
        let Some(Value::Object(ours)) = schema.get_mut("properties") else { continue };
        for (key, mut property) in properties {
            if let (Some(text), Some(property)) = (&description, property.as_object_mut()) {
                property.insert("description".into(), text.clone());
            }
            ours.insert(key, property);
        }
        branch.retain(|key, _| key == "required");
    }
    schema.insert("oneOf".into(), Value::Array(branches));
}
