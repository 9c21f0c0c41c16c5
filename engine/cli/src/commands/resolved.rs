//! `mailstack check --resolved`: each key of a declaration with its value, and where that comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use mailstack_schema::profiles;
use mailstack_schema::spans::{child, element};
use serde::Serialize;
use toml::Value;

use crate::declaration::Declaration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::words::rule::Origin;

/// One key.
#[derive(Serialize)]
struct Resolved {
    key: String,
    value: Value,
    #[serde(flatten)]
    origin: Origin,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    keys: Vec<Resolved>,
}

/// Shows the keys of files.
pub fn resolved(files: &[PathBuf], json: bool) -> Result<Exit, Failure> {
    let one = |file: &PathBuf| Ok(Report { file: file.clone(), keys: keys(file)? });
    let reports = files.iter().map(one).collect::<Result<Vec<_>, Failure>>()?;
    if json {
        return super::print_json(&reports);
    }
    let titled = |report: &Report| match files.len() {
        1 => render(&report.keys),
        _ => format!("# {}\n{}", report.file.display(), render(&report.keys)),
    };
    super::print(&reports.iter().map(titled).collect::<Vec<_>>().join("\n"))
}

fn keys(file: &Path) -> Result<Vec<Resolved>, Failure> {
    let declaration = Declaration::read(file)?;
    let mut declared = BTreeMap::new();
    let written = Value::try_from(&declaration.written).map_err(std::io::Error::other)?;
    leaves("", written, &mut declared);
    let mut all = defaults(&declaration, &declared);
    for (key, value) in declared {
        if let Some(place) = declaration.place(&key) {
            all.insert(
                key.clone(),
                Resolved { key: key.clone(), value, origin: Origin::Declared { key, place } },
            );
        }
    }
    Ok(all.into_values().collect())
}

/// What the role says where the declaration says nothing.
fn defaults(declaration: &Declaration, declared: &BTreeMap<String, Value>) -> BTreeMap<String, Resolved> {
    let role = super::role(declaration);
    let mut defaults = BTreeMap::new();
    let table = role.parse().map(profiles::defaults_table).unwrap_or_default();
    leaves("", Value::Table(table), &mut defaults);
    // Of a table that only stands for itself: without a domain nothing is masqueraded.
    let masquerades = declared.keys().any(|key| key.starts_with("masquerade."));
    defaults.retain(|key, _| !key.starts_with("masquerade.") || masquerades);
    let config = declaration.model.runtime_config();
    // Two defaults follow what is declared.
    let follow = [
        ("mailboxes.path", config.mailboxes.map(|mailboxes| mailboxes.path.display().to_string().into())),
        ("limits.connections_per_client", Some(i64::from(config.limits.connections_per_client).into())),
    ];
    for (key, value) in follow {
        if let (Some(default), Some(value)) = (defaults.get_mut(key), value) {
            *default = value;
        }
    }
    let resolved = |(key, value): (String, Value)| {
        let origin = Origin::Profile { key: key.clone(), role };
        (key.clone(), Resolved { key, value, origin })
    };
    defaults.into_iter().map(resolved).collect()
}

/// All that is no table, by its path; a list of tables by its elements.
fn leaves(path: &str, value: Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Table(table) => {
            table.into_iter().for_each(|(key, value)| leaves(&child(path, &key), value, found));
        }
        Value::Array(items) if items.first().is_some_and(Value::is_table) => {
            items.into_iter().enumerate().for_each(|(at, item)| leaves(&element(path, at), item, found));
        }
        value => drop(found.insert(path.to_owned(), value)),
    }
}

const PLACE: Style = AnsiColor::Cyan.on_default();

fn render(keys: &[Resolved]) -> String {
    let rows: Vec<_> =
        keys.iter().map(|one| (format!("{} = {}", one.key, one.value), one.origin.place())).collect();
    let width = rows.iter().map(|(row, _)| row.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(row, place)| format!("{row:<width$}  {PLACE}# {place}{PLACE:#}\n")).collect()
}
