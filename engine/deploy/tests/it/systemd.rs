//! The units of every example, as this host's systemd judges them.

use std::path::{Path, PathBuf};
use std::process::Command;

use mailstack_deploy::generate;
use mailstack_deploy::model::Engine;

use crate::hosts::{Example, examples};

/// The highest exposure that each service may have: tenths of what `systemd-analyze security` prints.
const EXPOSURE: &[(&str, bool, u32)] = &[
    ("mailstack.service", true, 20),
    ("mailstack.service", false, 30),
    ("mailstack-queue.service", true, 10),
];
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
fn the_exposure_of_each_service_is_bounded() {
    if is_missing() {
        return;
    }
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
        let is_client = example.model().runtime_config().mailboxes.is_none();
        for (name, _, bound) in EXPOSURE.iter().filter(|(_, of_client, _)| *of_client == is_client) {
            // Only a timer has a unit to start.
            let Some(unit) = units.iter().find(|unit| unit.ends_with(name)) else {
                assert_eq!(*name, "mailstack-queue.service");
                continue;
            };
            is_within(unit, *bound, &example);
        }
    }
}

fn is_within(unit: &Path, bound: u32, example: &Example) {
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={bound}")]);
    let output = security.arg(unit).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let figure = said.lines().last().unwrap_or_default();
    assert!(output.status.success(), "{} {}: {figure}", example.name, unit.display());
}
