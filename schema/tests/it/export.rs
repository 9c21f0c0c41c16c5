use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use mailstack_schema::host::{Host, Role};
use mailstack_schema::topology::Topology;
use mailstack_schema::{Document, json_schema, profiles, reference, role_schema_text, schema_text};
use serde_json::Value;

/// Set it to write the committed schemas and the reference anew.
const UPDATE: &str = "MAILSTACK_UPDATE_SCHEMA";

fn committed<T: Document>() {
    fresh(&format!("{}.schema.json", T::NAME), &schema_text::<T>());
}

fn fresh(name: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, text).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == text,
        "{name} is stale: set {UPDATE}=1, test again, and look at the difference"
    );
}

#[test]
fn committed_schemas_are_fresh() {
    committed::<Host>();
    committed::<Topology>();
}

#[test]
fn the_committed_reference_is_fresh() {
    let text = format!(
        "# Keys\n\nEvery key of host.toml and of topology.toml, made from the types. `mailstack schema` prints the same \
         as JSON Schema,\n`mailstack reference host.toml.5` as a manual page. `NAME` is a name that the file chooses, \
         `[]` each of a list.\n\n\
         ## host.toml\n\n{}\n## topology.toml\n\n{}\n## From Sendmail: macro by macro\n\n\
         What has no key, and what Postfix calls these, is in [MIGRATION.md](MIGRATION.md).\n\n{}",
        reference::markdown::<Host>(),
        reference::markdown::<Topology>(),
        reference::by_sendmail::<Host>()
    );
    fresh("REFERENCE.md", &text);
}

/// Every property of the schema, but those of the hosts within a topology, has a line of its own.
#[test]
fn the_reference_leaves_no_key_out() {
    fn count(schema: &Value, nested: bool, names: &mut BTreeSet<String>) {
        if nested && schema["oneOf"][0]["properties"]["role"].is_object() {
            return;
        }
        names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        let data = ["examples", "const", "enum", "default"];
        match schema {
            Value::Object(map) => {
                let inner = map.iter().filter(|(key, _)| !data.contains(&key.as_str()));
                inner.for_each(|(_, inner)| count(inner, true, names));
            }
            Value::Array(items) => items.iter().for_each(|item| count(item, true, names)),
            _ => {}
        }
    }
    fn told<T: Document>() -> (BTreeSet<String>, BTreeSet<String>) {
        let mut names = BTreeSet::new();
        count(json_schema::<T>(), false, &mut names);
        let last = |key: reference::Key| key.path.rsplit('.').next().unwrap().to_owned();
        (names, reference::keys::<T>().into_iter().map(last).collect())
    }
    for (there, told) in [told::<Host>(), told::<Topology>()] {
        assert!(there.len() > 20);
        assert_eq!(there, told);
    }
}

/// What the tables for those who come from elsewhere call a key is one.
#[test]
fn the_tables_of_migration_name_keys_that_there_are() {
    let keys: BTreeSet<String> = reference::keys::<Host>().into_iter().map(|key| key.path).collect();
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("MIGRATION.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let mut named = 0;
    for row in rows {
        let here = row.trim_matches('|').split_once(" | ").unwrap().1;
        for word in here.split('`').skip(1).step_by(2) {
            // Keys are written in small letters, dots and underscores; the others are commands, roles and names.
            let is_key = word.chars().all(|c| c.is_ascii_lowercase() || c == '.' || c == '_')
                && !word.ends_with("json");
            if is_key && !matches!(word, "mailstack" | "newaliases") {
                assert!(keys.contains(word), "no key `{word}`: {row}");
                named += 1;
            }
        }
    }
    assert!(named > 25, "{named}");
}

/// The other way: a key says which setting of Sendmail it is, or the tables name it; and what they say has no key has
/// none.
#[test]
fn every_key_is_found_by_those_who_come_from_elsewhere() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("MIGRATION.md")).unwrap();
    let keys = reference::keys::<Host>();
    // What tells the roles apart, and what only holds other keys.
    let is_frame = |key: &reference::Key| key.path == "role" || key.form == "table";
    let lost: Vec<&str> = keys
        .iter()
        .filter(|key| !key.description.contains("Sendmail") && !text.contains(&format!("`{}`", key.path)))
        .filter(|key| !is_frame(key))
        .map(|key| key.path.as_str())
        .collect();
    assert!(lost.is_empty(), "neither Sendmail's name nor Postfix's is told: {lost:?}");

    let (sendmail, _) = text.split_once("## Postfix").unwrap();
    let rows = sendmail.lines().filter(|line| line.starts_with("| `"));
    let without: BTreeSet<&str> =
        rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2)).collect();
    let is_setting = |name: &&&str| name.starts_with("conf") || name.starts_with("FEATURE(");
    let settings: Vec<_> = without.iter().filter(is_setting).collect();
    assert!(settings.len() > 8, "{settings:?}");
    let with = keys.iter().map(|key| key.description.as_str()).collect::<String>();
    let both: Vec<_> = settings.iter().filter(|name| with.contains(&format!("`{name}`"))).collect();
    assert!(both.is_empty(), "these have a key: {both:?}");
}

#[test]
fn the_schema_of_a_role_is_its_branch_and_closed() {
    for role in Role::ALL {
        let schema: Value = serde_json::from_str(&role_schema_text(role)).unwrap();
        assert_eq!(schema["additionalProperties"], false, "{role}");
        assert_eq!(schema["$schema"], json_schema::<Host>()["$schema"]);
        let validator = jsonschema::draft7::new(&schema).unwrap();
        for other in Role::ALL {
            let starter: toml::Table = profiles::starter(other).parse().unwrap();
            let fits = validator.is_valid(&serde_json::to_value(starter).unwrap());
            assert_eq!(fits, other == role, "{other} by the schema of {role}");
        }
    }
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

/// What a description says after `Default:`, as TOML where it is a value: `a` and `b` is a list.
fn stated(description: &str) -> Option<toml::Value> {
    let text = description.split_once(" Default: ")?.1.strip_suffix('.')?;
    let quoted =
        |text: &str| text.strip_prefix('`')?.strip_suffix('`').map(|text| toml::Value::String(text.into()));
    if text == "none" {
        return Some(toml::Value::Array(Vec::new()));
    }
    if text.contains(" and ") {
        return text.split(" and ").map(quoted).collect::<Option<Vec<_>>>().map(toml::Value::Array);
    }
    quoted(text)
        .or_else(|| text.parse().ok().map(toml::Value::Boolean))
        .or_else(|| text.parse().ok().map(toml::Value::Integer))
}

/// Every key of the profile is described with its value; returns how many.
fn described(at: &str, properties: &Value, profile: &toml::Table) -> usize {
    let mut keys = 0;
    for (key, value) in profile.iter().filter(|(key, _)| !matches!(key.as_str(), "schema" | "role")) {
        let property = &properties[key];
        if let toml::Value::Table(inner) = value {
            keys += described(&format!("{at}.{key}"), &property["properties"], inner);
            continue;
        }
        let description = property["description"].as_str().unwrap();
        assert_eq!(description.matches("Default:").count(), 1, "{at}.{key}: {description}");
        // One list of one is stated without `and`.
        let told = stated(description).map(|told| match (value, told) {
            (toml::Value::Array(_), one @ toml::Value::String(_)) => toml::Value::Array(vec![one]),
            (_, told) => told,
        });
        assert_eq!(told.as_ref(), Some(value), "{at}.{key}: {description}");
        assert_eq!(property["default"], serde_json::to_value(value).unwrap(), "{at}.{key}");
        keys += 1;
    }
    keys
}

#[test]
fn descriptions_state_the_defaults_of_the_roles_profile() {
    let schemas = [
        &json_schema::<Host>()["oneOf"],
        &json_schema::<Topology>()["properties"]["host"]["additionalProperties"]["properties"]["declaration"]
            ["oneOf"],
    ];
    for branches in schemas {
        for role in Role::ALL {
            let ours = |branch: &&Value| branch["properties"]["role"]["const"] == role.as_str();
            let branch = branches.as_array().unwrap().iter().find(ours).unwrap();
            assert!(described(role.as_str(), &branch["properties"], &profiles::defaults_table(role)) > 10);
        }
    }
}

/// A default of a number, size, duration or flag that is not in the profile would be a second source.
#[test]
fn no_default_value_is_stated_that_no_profile_has() {
    fn states(at: &str, properties: &Value, profile: Option<&toml::Table>, found: &mut Vec<String>) {
        for (key, property) in properties.as_object().into_iter().flatten() {
            let value = profile.and_then(|profile| profile.get(key));
            let stated = property["description"].as_str().and_then(stated);
            let list = |value: &toml::Value| value.as_array().is_some_and(Vec::is_empty);
            if value.is_none() && stated.is_some_and(|stated| !list(&stated)) {
                found.push(format!("{at}.{key}"));
            }
            states(
                &format!("{at}.{key}"),
                &property["properties"],
                value.and_then(toml::Value::as_table),
                found,
            );
        }
    }
    let mut found = Vec::new();
    for branch in json_schema::<Host>()["oneOf"].as_array().unwrap() {
        let role: Role = branch["properties"]["role"]["const"].as_str().unwrap().parse().unwrap();
        states(role.as_str(), &branch["properties"], Some(&profiles::defaults_table(role)), &mut found);
    }
    assert_eq!(found, Vec::<String>::new());
}
