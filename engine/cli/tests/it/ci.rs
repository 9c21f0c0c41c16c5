//! What pipelines do: this repository's and a fleet's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::host::{Ended, binary};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs the script of a fleet's pipeline on these declarations.
fn fleet(hosts: &[(&str, &str)]) -> (Ended, TempDir) {
    let dir = TempDir::with_prefix("mailstack-test-").unwrap();
    for place in ["bin", "hosts"] {
        fs::create_dir(dir.path().join(place)).unwrap();
    }
    symlink(binary(), dir.path().join("bin/mailstack")).unwrap();
    for (name, text) in hosts {
        fs::write(dir.path().join("hosts").join(name), text).unwrap();
    }
    let mut sh = Command::new("sh");
    sh.arg(repository().join("engine/deploy/ci/fleet.sh")).args(["bin", "report"]).current_dir(dir.path());
    sh.env("DECLARATIONS", "hosts/*.toml").env_remove("TOPOLOGIES").env_remove("MAILSTACK_ROOT");
    (Ended::from(sh.output().unwrap()), dir)
}

const GOOD: &str = "schema = 1\nrole = \"nullclient\"\nmail_host = \"mailhost.corp.example\"\n\
                    masquerade.domain = \"corp.example\"\n";

#[test]
fn a_fleet_that_is_good_passes_with_what_each_host_would_have() {
    let (ended, dir) = fleet(&[("web01.toml", GOOD), ("web02.toml", GOOD)]);
    ended.with(0);
    let report = |name: &str| fs::read_to_string(dir.path().join("report").join(name)).unwrap();
    let digests = report("digests.txt");
    let digests: Vec<_> = digests.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(digests.len(), 2, "{digests:?}");
    assert_eq!((digests[0].0, digests[0].1), (digests[1].0, "hosts/web01.toml"), "the same is the same");
    assert!(report("generations/hosts_web01/etc/mailstack/mta.toml").contains("corp.example"));
    assert!(serde_json::from_str::<serde_json::Value>(&report("check.json")).is_ok());
}

#[test]
fn a_fleet_with_one_wrong_host_fails_and_says_which() {
    let bad = GOOD.replace("mail_host", "mail_hots");
    let (ended, dir) = fleet(&[("web01.toml", GOOD), ("web02.toml", &bad)]);
    let ended = ended.with(1);
    assert!(ended.out.contains("hosts/web02.toml:3:1"), "{}", ended.out);
    assert!(ended.out.contains("did you mean `mail_host`?"), "{}", ended.out);
    let told = fs::read_to_string(dir.path().join("report/check.txt")).unwrap();
    assert!(told.contains("mail_hots"), "{told}");
    let (none, _) = fleet(&[]);
    assert!(none.with(1).err.contains("no file is named like"));
}

/// Workflows are YAML, their steps are shell, and what they name is there.
#[test]
fn workflows_can_be_read() {
    let read = "import sys, json, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    for name in ["verify", "fleet"] {
        let file = repository().join(format!(".github/workflows/{name}.yml"));
        let read = Command::new("/usr/bin/python3").args(["-c", read]).arg(&file).output().unwrap();
        if String::from_utf8_lossy(&read.stderr).contains("No module named 'yaml'") {
            eprintln!("SKIPPED: no python3-yaml here");
            return;
        }
        let workflow: serde_json::Value = serde_json::from_str(&Ended::from(read).with(0).out).unwrap();
        let jobs = workflow["jobs"].as_object().unwrap();
        let steps = jobs.values().flat_map(|job| job["steps"].as_array().unwrap());
        let mut scripts = 0;
        for script in steps.filter_map(|step| step["run"].as_str()) {
            Ended::from(Command::new("sh").args(["-n", "-c", script]).output().unwrap()).with(0);
            scripts += 1;
            let scripts = script.split_whitespace().filter(|word| word.ends_with(".sh"));
            for named in scripts.filter(|word| word.contains("engine/")) {
                let path = named.trim_start_matches("../mailstack/");
                assert!(repository().join(path).is_file(), "{name}: {named}");
            }
        }
        assert!(scripts > 1, "{name}");
    }
}
