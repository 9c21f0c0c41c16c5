//! The units of every example, as this host's systemd judges them.

use std::path::{Path, PathBuf};
use std::process::Command;

use mailstack_deploy::generate;
use mailstack_deploy::model::Engine;

use crate::hosts::{Example, examples};

/// How much the README may state beyond what is measured, in tenths: another systemd weighs other things.
const SLACK: u32 = 3;
/// The same where Sendmail runs the role: its daemon is root and delivers as others, also to their programs.
const EXPOSURE_OF_SENDMAIL: &[(&str, u32)] = &[("mailstack.service", 80), ("mailstack-queue.service", 25)];

fn is_missing() -> bool {
    let missing = Command::new("systemd-analyze").arg("--version").output().is_err();
    if missing {
        eprintln!("SKIPPED: no systemd-analyze here; the units were not verified");
    }
    missing
}

/// Writes the units of an example, with a program that every host has, and returns their places.
fn units(example: &Example, dir: &Path) -> Vec<PathBuf> {
    let files = generate::files(&example.model());
    let units =
        files.iter().filter_map(|(path, entry)| Some((path.strip_prefix("etc/systemd/system/")?, entry)));
    let write = |(name, entry): (&str, &generate::FileEntry)| {
        let text = String::from_utf8(entry.bytes.clone()).unwrap().replace("/usr/bin/mailstack", "/bin/sh");
        let sendmail = example.model().runtime_config().sendmail;
        let program = sendmail.map_or("/usr/libexec/sendmail/sendmail".into(), |sendmail| {
            sendmail.program.display().to_string()
        });
        let text = text.replace(&program, "/bin/sh").replace("=smmsp", "=daemon");
        std::fs::write(dir.join(name), text).unwrap();
        dir.join(name)
    };
    units.map(write).collect()
}

#[test]
fn systemd_has_nothing_to_say_against_the_units() {
    if is_missing() {
        return;
    }
    for example in examples("hosts") {
        let dir = tempfile::tempdir().unwrap();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=no"]).args(units(&example, dir.path()));
        let output = verify.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // Units of the host may be faulty themselves.
        let of_ours: Vec<&str> = said.lines().filter(|line| line.contains("mailstack")).collect();
        assert!(of_ours.is_empty(), "{}: {of_ours:#?}", example.name);
    }
}

#[test]
fn the_exposure_of_each_service_is_what_the_readme_states() {
    if is_missing() {
        return;
    }
    let mut highest = std::collections::BTreeMap::new();
    for example in examples("hosts") {
        let dir = tempfile::tempdir().unwrap();
        let units = units(&example, dir.path());
        if example.model().engine() == Engine::Sendmail {
            for (name, bound) in EXPOSURE_OF_SENDMAIL {
                // A client has no daemon.
                units
                    .iter()
                    .filter(|unit| unit.ends_with(name))
                    .for_each(|unit| is_within(unit, *bound, &example));
            }
            continue;
        }
        let roles = match example.model().runtime_config().mailboxes.is_none() {
            true => "`nullclient`, `msp`",
            false => "`loopback`, `gateway`",
        };
        for unit in units.iter().filter(|unit| unit.extension().is_some_and(|kind| kind == "service")) {
            let name = unit.file_name().unwrap().to_str().unwrap();
            let stated =
                stated(name, roles).unwrap_or_else(|| panic!("the README says nothing of {name}, {roles}"));
            let measured = exposure(unit);
            assert!(measured <= stated, "{} {name}: {measured} tenths, {stated} are stated", example.name);
            let most = highest.entry((name.to_owned(), roles)).or_insert((stated, 0));
            most.1 = most.1.max(measured);
        }
    }
    let vague = highest.iter().filter(|(_, (stated, measured))| *stated > measured + SLACK);
    assert_eq!(vague.collect::<Vec<_>>(), Vec::new(), "(stated, measured), in tenths");
}

/// Tenths, by the table of the README.
fn stated(unit: &str, roles: &str) -> Option<u32> {
    let begin = format!("| `{unit}` | {roles} | ");
    let figure = include_str!("../../../../README.md").lines().find_map(|line| line.strip_prefix(&begin))?;
    tenths(figure.strip_suffix(" |")?)
}

fn tenths(figure: &str) -> Option<u32> {
    figure.replace('.', "").parse().ok()
}

/// Tenths of what `systemd-analyze security` prints.
fn exposure(unit: &Path) -> u32 {
    let mut security = Command::new("systemd-analyze");
    let output = security.args(["security", "--offline=true", "--no-pager"]).arg(unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figure = said.lines().last().and_then(|line| line.split_once(": ")?.1.split_once(' '));
    figure.and_then(|(figure, _)| tenths(figure)).unwrap_or_else(|| panic!("{said}"))
}

fn is_within(unit: &Path, bound: u32, example: &Example) {
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={bound}")]);
    let output = security.arg(unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figure = said.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{} {}: {figure}", example.name, unit.display());
}
