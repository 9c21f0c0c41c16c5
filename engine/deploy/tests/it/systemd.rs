//! The units of every example, as this host's systemd judges them.

use std::path::{Path, PathBuf};
use std::process::Command;

use mailstack_deploy::generate;

use crate::hosts::{Example, examples};

/// The highest exposure that each service may have: tenths of what `systemd-analyze security` prints.
const EXPOSURE: &[(&str, bool, u32)] = &[
    ("mailstack.service", true, 20),
    ("mailstack.service", false, 30),
    ("mailstack-queue.service", true, 10),
];

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
        let is_client = units.iter().any(|unit| unit.ends_with("mailstack-queue.timer"));
        for (name, _, bound) in EXPOSURE.iter().filter(|(_, of_client, _)| *of_client == is_client) {
            let unit = units.iter().find(|unit| unit.ends_with(name)).unwrap();
            let mut security = Command::new("systemd-analyze");
            security.args(["security", "--offline=true", "--no-pager", &format!("--threshold={bound}")]);
            let output = security.arg(unit).output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let figure = said.lines().last().unwrap_or_default();
            assert!(output.status.success(), "{} {name}: {figure}", example.name);
        }
    }
}
