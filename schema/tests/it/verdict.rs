use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use mailstack_schema::host::Host;
use mailstack_schema::topology::Topology;
use mailstack_schema::{Document, json_schema, read};
use serde_json::{Value as Json, json};
use toml::Value;
use toml::de::{DeTable, DeValue};

use crate::files::{files, name};

/// Files that `read` refuses and the schema cannot: the rule that it has no word for.
const BEYOND_SCHEMA: [(&str, &str); 4] = [
    ("beyond_schema_date", "JSON has no dates: an editor shows one as the text that is wanted"),
    ("beyond_schema_duration", "a pattern bounds the digits of a duration, not its value with the unit"),
    ("beyond_schema_float", "JSON Schema calls 25.0 an integer"),
    ("beyond_schema_size", "a pattern bounds the digits of a size, not its value with the unit"),
];

fn validator<T: Document>() -> Validator {
    jsonschema::draft7::new(json_schema::<T>()).unwrap()
}

/// What an editor makes of a file; None for what is not TOML.
fn as_json(text: &str) -> Option<Json> {
    DeTable::parse(text).ok().map(|table| table_as_json(table.get_ref()))
}

fn table_as_json(table: &DeTable<'_>) -> Json {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), value_as_json(value.get_ref()))).collect()
}

fn value_as_json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::Table(table) => table_as_json(table),
        DeValue::Array(items) => items.iter().map(|item| value_as_json(item.get_ref())).collect(),
        DeValue::String(text) => json!(text),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Float(number) => serde_json::from_str(number.as_str()).unwrap(),
        DeValue::Integer(number) => serde_json::from_str(number.as_str()).unwrap(),
    }
}

/// Whether `read` and the schema take the text; None for what is not TOML.
fn verdicts<T: Document>(validator: &Validator, text: &str) -> Option<(bool, bool)> {
    as_json(text).map(|json| (read::<T>(text).is_ok(), validator.is_valid(&json)))
}

fn verdicts_of(file: &Path) -> Option<(bool, bool)> {
    let text = fs::read_to_string(file).ok()?;
    if name(file).starts_with("topology") {
        verdicts::<Topology>(&validator::<Topology>(), &text)
    } else {
        verdicts::<Host>(&validator::<Host>(), &text)
    }
}

#[test]
fn valid_files_are_valid_by_schema() {
    for file in files("valid") {
        assert_eq!(verdicts_of(&file), Some((true, true)), "{}", file.display());
    }
}

#[test]
fn invalid_files_are_invalid_by_schema_but_for_listed_rules() {
    let mut differ = BTreeSet::new();
    let mut judged = 0;
    for file in files("invalid") {
        let Some((by_read, by_schema)) = verdicts_of(&file) else { continue };
        judged += 1;
        assert!(!by_read, "{}", file.display());
        if by_schema {
            differ.insert(name(&file).to_owned());
        }
    }
    // Both ways: what is listed and no longer differs fails too.
    let listed: BTreeSet<String> = BEYOND_SCHEMA.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(differ, listed);
    assert!(judged > listed.len());
}

/// The way to a value: keys and indices.
type Way = Vec<Result<String, usize>>;

fn ways(value: &Value, here: &Way, found: &mut Vec<Way>) {
    let mut below = |step, inner: &Value| {
        let way: Way = here.iter().cloned().chain([step]).collect();
        found.push(way.clone());
        ways(inner, &way, found);
    };
    match value {
        Value::Table(table) => table.iter().for_each(|(key, inner)| below(Ok(key.clone()), inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, inner)| below(Err(at), inner)),
        _ => {}
    }
}

/// Puts `new` at the way's end, or with None removes what is there.
fn change(value: &mut Value, way: &[Result<String, usize>], new: Option<&Value>) {
    match (way, value) {
        ([Ok(key)], Value::Table(table)) => match new {
            Some(new) => drop(table.insert(key.clone(), new.clone())),
            None => drop(table.remove(key)),
        },
        ([Err(at)], Value::Array(items)) => match new {
            Some(new) => items[*at] = new.clone(),
            None => drop(items.remove(*at)),
        },
        ([Ok(key), rest @ ..], Value::Table(table)) => change(table.get_mut(key).unwrap(), rest, new),
        ([Err(at), rest @ ..], Value::Array(items)) => change(&mut items[*at], rest, new),
        _ => {}
    }
}

fn new_values() -> Vec<Option<Value>> {
    let text = "a = ['', 'x', '0', '25MiB', '5m', 0, 300, -1, 4294967296, 1.5, true, false, [], [''], [1], [{}], \
                {}, { x = 1 }, { x = 'y' }]";
    let table: toml::Table = text.parse().unwrap();
    let values = table["a"].as_array().unwrap();
    values.iter().cloned().map(Some).chain([None]).collect()
}

/// Every key and element of a valid file, replaced by every kind of value or taken away, and a key beside it.
fn changed(text: &str) -> Vec<(String, String, String)> {
    let original = Value::Table(text.parse().unwrap());
    let mut found = Vec::new();
    ways(&original, &Vec::new(), &mut found);
    let mut texts = Vec::new();
    for way in &found {
        let mut beside = way.clone();
        *beside.last_mut().unwrap() = Ok("no_such_key".to_owned());
        let replaced = new_values().into_iter().map(|new| (way, new));
        let added = [(&beside, Some(Value::Boolean(true))), (&beside, Some(Value::String("x".into())))];
        for (way, new) in replaced.chain(added) {
            let mut value = original.clone();
            change(&mut value, way, new.as_ref());
            let new = new.map_or_else(|| "removed".to_owned(), |new| new.to_string());
            texts.push((format!("{way:?}"), new, toml::to_string(&value).unwrap()));
        }
    }
    texts
}

fn differing<T: Document>(topologies: bool) -> Vec<(String, String)> {
    let validator = validator::<T>();
    let mut differ = BTreeSet::new();
    let mut refused = 0;
    for file in files("valid").into_iter().filter(|file| name(file).starts_with("topology") == topologies) {
        for (way, new, text) in changed(&fs::read_to_string(&file).unwrap()) {
            let (by_read, by_schema) = verdicts::<T>(&validator, &text).unwrap();
            refused += usize::from(!by_read);
            if by_read != by_schema {
                differ.insert((new, way));
            }
        }
    }
    assert!(refused > 500, "{refused}");
    differ.into_iter().collect()
}

#[test]
fn changes_of_valid_files_get_the_same_verdict() {
    // One that differs belongs into a file of its own under `invalid`, and into the list above.
    assert_eq!(differing::<Host>(false), []);
    assert_eq!(differing::<Topology>(true), []);
}
