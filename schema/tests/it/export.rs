use std::fs;
use std::path::Path;

use mailstack_schema::host::Host;
use mailstack_schema::topology::Topology;
use mailstack_schema::{Document, json_schema, schema_text};
use serde_json::Value;

/// Set it to write the committed schemas anew.
const UPDATE: &str = "MAILSTACK_UPDATE_SCHEMA";

fn committed<T: Document>() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{}.schema.json", T::NAME));
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, schema_text::<T>()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        schema_text::<T>(),
        "stale: set {UPDATE}=1 and test again"
    );
}

#[test]
fn committed_schemas_are_fresh() {
    committed::<Host>();
    committed::<Topology>();
}

/// Every property has words and an example, every object is closed; the tag is its own example.
fn lacks(path: &str, schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Array(items) => items.iter().for_each(|item| lacks(path, item, found)),
        Value::Object(map) => {
            if map.get("type").is_some_and(|t| t == "object") && !map.contains_key("additionalProperties") {
                let tagged = map.contains_key("oneOf");
                if !tagged {
                    found.push(format!("{path}: open"));
                }
            }
            if map.contains_key("$ref") || map.contains_key("definitions") {
                found.push(format!("{path}: not inlined"));
            }
            for (key, inner) in map {
                match (key.as_str(), inner) {
                    ("examples" | "const" | "enum" | "default", _) => {}
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            let path = format!("{path}.{name}");
                            let tag = property.get("const").is_some_and(Value::is_string);
                            for word in ["description", "examples"] {
                                if !tag && property.get(word).is_none() {
                                    found.push(format!("{path}: no {word}"));
                                }
                            }
                            lacks(&path, property, found);
                        }
                    }
                    _ => lacks(path, inner, found),
                }
            }
        }
        Value::String(text) if text == "null" => found.push(format!("{path}: null")),
        _ => {}
    }
}

#[test]
fn every_property_is_described_and_every_object_closed() {
    let mut found = Vec::new();
    lacks("host", json_schema::<Host>(), &mut found);
    lacks("topology", json_schema::<Topology>(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_schema_is_built_once() {
    assert!(std::ptr::eq(json_schema::<Host>(), json_schema::<Host>()));
    assert!(std::ptr::eq(json_schema::<Topology>(), json_schema::<Topology>()));
    assert_ne!(json_schema::<Host>(), json_schema::<Topology>());
}
