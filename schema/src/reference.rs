//! Every key of a language, as a reader looks it up: its place, who has it, what it may be, what it means.
//!
//! Derived from the exported schema, and so from the types: a key that is there is described, and none else. Owns the
//! walk and the Markdown of `REFERENCE.md`; other forms (man pages) are made of the same [`Key`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::schema::{Document, json_schema};

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its place: `limits.hops`; `NAME` stands for a name that the file chooses, `[]` for each of a list.
    pub path: String,
    /// The branches that have it: roles; empty where all have.
    pub branches: Vec<String>,
    /// What its value may be, in words.
    pub form: String,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub description: String,
    /// Values, as TOML.
    pub examples: Vec<String>,
}

/// Returns every key of a language, by place.
pub fn keys<T: Document>() -> Vec<Key> {
    let mut found = Vec::new();
    if let Some(root) = json_schema::<T>().as_object() {
        walk(root, "", &[], &mut found);
    }
    let all: Vec<String> =
        json_schema::<T>().as_object().into_iter().flat_map(branches).map(|branch| branch.name()).collect();
    for key in found.iter_mut().filter(|key| key.branches == all) {
        key.branches.clear();
    }
    found.sort_by(|one: &Key, other| one.path.cmp(&other.path));
    found
}

/// Returns the keys of a language as a table of Markdown.
pub fn markdown<T: Document>() -> String {
    let keys = keys::<T>();
    let mut text = "| key | where | value | meaning | examples |\n|---|---|---|---|---|\n".to_owned();
    for key in keys {
        let must = if key.required { " **Required.**" } else { "" };
        let examples: Vec<String> = key.examples.iter().map(|example| format!("`{example}`")).collect();
        let branches = if key.branches.is_empty() { "all".to_owned() } else { key.branches.join(", ") };
        let _ = write!(text, "| `{}` | {branches} |", key.path);
        let cells =
            [key.form, key.description + must, examples.join(", ")].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(text, " {} |", cells.join(" | "));
    }
    text
}

/// Returns the settings of Sendmail that have a key, as a table of Markdown, from what the keys' descriptions say.
pub fn by_sendmail<T: Document>() -> String {
    let mut rows = BTreeMap::<String, BTreeSet<String>>::new();
    for key in keys::<T>() {
        let said = key.description.split_once("Sendmail: ").map_or("", |(_, said)| said);
        let sentence = said.split_once(". ").map_or(said, |(sentence, _)| sentence).trim_end_matches('.');
        for name in sentence.split(", ").filter(|name| !matches!(*name, "" | "none")) {
            rows.entry(name.to_owned()).or_default().insert(format!("`{}`", key.path));
        }
    }
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(name, _)| name.trim_matches('`').to_lowercase());
    let mut text = "| Sendmail | key |\n|---|---|\n".to_owned();
    for (name, keys) in rows {
        let keys: Vec<String> = keys.into_iter().collect();
        let _ = writeln!(text, "| {} | {} |", name.replace('|', "\\|"), keys.join(", "));
    }
    text
}

/// Adds the keys below a place.
fn walk(schema: &Map<String, Value>, at: &str, within: &[String], found: &mut Vec<Key>) {
    for branch in branches(schema) {
        // The declaration of a host within a topology: it has a table of its own.
        if branch.tag != "role" || at.is_empty() {
            walk(branch.schema, at, &[within, &[branch.name()]].concat(), found);
        }
    }
    for part in parts(schema) {
        walk(part, at, within, found);
    }
    let required = schema.get("required").and_then(Value::as_array);
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let Some(property) = property.as_object() else { continue };
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        let required = required.is_some_and(|names| names.iter().any(|required| required == name));
        add(key(&path, within, property, required), found);
        walk(property, &path, within, found);
    }
    if let Some(items) = schema.get("items").and_then(Value::as_object) {
        walk(items, &format!("{at}[]"), within, found);
    }
    if let Some(named) = schema.get("additionalProperties").and_then(Value::as_object) {
        walk(named, &format!("{at}.NAME"), within, found);
    }
}

/// Adds a key, or its branches to one that is the same.
fn add(key: Key, found: &mut Vec<Key>) {
    let same = found.iter_mut().find(|other| {
        let other = Key { branches: key.branches.clone(), ..(*other).clone() };
        other == key
    });
    match same {
        Some(other) => {
            let new = key
                .branches
                .into_iter()
                .filter(|branch| !other.branches.contains(branch))
                .collect::<Vec<_>>();
            other.branches.extend(new);
        }
        None => found.push(key),
    }
}

fn key(path: &str, within: &[String], property: &Map<String, Value>, required: bool) -> Key {
    let examples = property.get("examples").and_then(Value::as_array).into_iter().flatten();
    Key {
        path: path.to_owned(),
        branches: within.to_vec(),
        form: form(property),
        required,
        description: text(property, "description")
            .unwrap_or("Which of the forms this is.")
            .replace('\n', " "),
        examples: examples.map(toml_text).collect(),
    }
}

/// A value on one line. A text as JSON writes it is a text of TOML.
fn toml_text(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let name = |name: &String| match !name.is_empty() && name.chars().all(bare) {
                true => name.clone(),
                false => Value::String(name.clone()).to_string(),
            };
            let pairs = map.iter().map(|(key, value)| format!("{} = {}", name(key), toml_text(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn text<'a>(schema: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    schema.get(key)?.as_str()
}

/// What a value may be, in words.
fn form(schema: &Map<String, Value>) -> String {
    if let Some(constant) = schema.get("const").map(toml_text) {
        return format!("`{constant}`");
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return list(values.iter().map(|value| format!("`{}`", toml_text(value))).collect());
    }
    if branches(schema).next().is_some_and(|branch| branch.tag == "role") {
        return "the keys of host.toml".to_owned();
    }
    let mut forms: Vec<String> = parts(schema).map(form).collect();
    forms.dedup();
    if !forms.is_empty() && schema.get("type").is_none() {
        return list(forms);
    }
    let of = |key: &str| schema.get(key).and_then(Value::as_object).map_or("value".to_owned(), form);
    match text(schema, "type") {
        Some("string") => match text(schema, "pattern") {
            Some(pattern) => format!("text that fits `{pattern}`"),
            None => "text".to_owned(),
        },
        Some("integer") => match (schema.get("minimum"), schema.get("maximum")) {
            (Some(least), Some(most)) => format!("integer, {least} to {most}"),
            _ => "integer".to_owned(),
        },
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("array") => format!("list of {}", of("items")),
        Some("object") if schema.get("additionalProperties").is_some_and(Value::is_object) => {
            format!("table of names, each with {}", of("additionalProperties"))
        }
        Some("object") => "table".to_owned(),
        _ if branches(schema).next().is_some() => "table".to_owned(),
        _ => "value".to_owned(),
    }
}

fn list(forms: Vec<String>) -> String {
    match forms.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => forms.concat(),
    }
}

/// The parts of a union that no constant tells apart.
fn parts(schema: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    let unions = ["anyOf", "oneOf"].into_iter().filter_map(|union| schema.get(union)?.as_array());
    unions.flatten().filter_map(Value::as_object).filter(|part| branch(part).is_none())
}

/// One branch of a union whose branches a constant tells apart.
struct Branch<'a> {
    tag: &'a str,
    value: &'a str,
    schema: &'a Map<String, Value>,
}

impl Branch<'_> {
    fn name(&self) -> String {
        match self.tag {
            "role" => self.value.to_owned(),
            tag => format!("{tag} = \"{}\"", self.value),
        }
    }
}

fn branches(schema: &Map<String, Value>) -> impl Iterator<Item = Branch<'_>> {
    let all = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_object).filter_map(branch)
}

fn branch(schema: &Map<String, Value>) -> Option<Branch<'_>> {
    let properties = schema.get("properties")?.as_object()?;
    let constant = |property: &'_ Value| property.get("const").is_some_and(Value::is_string);
    let (tag, property) = properties.iter().find(|(_, property)| constant(property))?;
    Some(Branch { tag, value: property.get("const")?.as_str()?, schema })
}
