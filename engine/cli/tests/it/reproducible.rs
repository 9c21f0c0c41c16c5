//! The same declaration, built in two surroundings, is the same generation to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::host::{Ended, binary};

const ROLES: [&str; 4] = ["nullclient", "msp", "loopback", "gateway"];
/// A user who owns nothing.
const USER: u32 = 64998;

/// What a build must not see of where it runs.
struct Surroundings {
    umask: &'static str,
    user: Option<u32>,
    environment: &'static [(&'static str, &'static str)],
}

/// A file: its octets and its mode.
type Tree = BTreeMap<PathBuf, (Vec<u8>, u32)>;

/// Builds a role's starter there; returns the digest and all files.
fn build(role: &str, surroundings: &Surroundings) -> (String, Tree) {
    let dir = TempDir::with_prefix("mailstack-test-").unwrap();
    let declaration = dir.path().join(format!("{role}.host.toml"));
    let starter = Command::new(binary()).args(["init", role]).output().unwrap();
    fs::write(&declaration, starter.stdout).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "umask \"$1\" && exec \"$0\" build \"$2\" -o out"]).arg(binary());
    command.arg(surroundings.umask).arg(&declaration).current_dir(dir.path());
    command.envs(surroundings.environment.iter().copied());
    if let Some(user) = surroundings.user.filter(|_| nix::unistd::geteuid().is_root()) {
        chown(dir.path(), Some(user), Some(user)).unwrap();
        fs::set_permissions(&declaration, fs::Permissions::from_mode(0o644)).unwrap();
        command.uid(user).gid(user);
    }
    let ended = Ended::from(command.output().unwrap()).with(0);
    let mut tree = Tree::new();
    read(&dir.path().join("out"), Path::new(""), &mut tree);
    (ended.out, tree)
}

fn read(base: &Path, below: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(base.join(below)).unwrap() {
        let entry = entry.unwrap();
        let (path, kind) = (below.join(entry.file_name()), entry.file_type().unwrap());
        match kind.is_dir() {
            true => read(base, &path, tree),
            false => {
                let mode = entry.metadata().unwrap().permissions().mode();
                tree.insert(path.clone(), (fs::read(base.join(&path)).unwrap(), mode));
            }
        }
    }
}

#[test]
fn a_generation_is_the_same_wherever_it_is_built() {
    let here = Surroundings {
        umask: "022",
        user: None,
        environment: &[("HOME", "/root"), ("USER", "root"), ("TZ", "UTC"), ("LANG", "C")],
    };
    let there = Surroundings {
        umask: "077",
        user: Some(USER),
        environment: &[
            ("HOME", "/nonexistent"),
            ("USER", "somebody"),
            ("LOGNAME", "somebody"),
            ("TZ", "Pacific/Kiritimati"),
            ("LANG", "tr_TR.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("M4PATH", "/tmp"),
            ("POSIXLY_CORRECT", "1"),
        ],
    };
    for role in ROLES {
        let (one, other) = (build(role, &here), build(role, &there));
        assert_eq!(one.0, other.0, "{role}: digest");
        let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&one.1), names(&other.1), "{role}");
        for (path, file) in &one.1 {
            assert!(other.1.get(path) == Some(file), "{role}: {} differs", path.display());
        }
        if !one.1.keys().any(|path| path.extension().is_some_and(|extension| extension == "cf")) {
            eprintln!("SKIPPED: {role}: no .cf was built here: m4 or sendmail-cf is missing");
        }
    }
}

#[test]
fn another_declaration_has_another_digest() {
    let plain = Surroundings { umask: "022", user: None, environment: &[] };
    let digests: Vec<String> = ROLES.iter().map(|role| build(role, &plain).0).collect();
    let mut different = digests.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), digests.len(), "{digests:?}");
}
