//! Topologies by policy alone: those that ship, and a large one in time.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::host::binary;

fn check(file: &Path) -> Output {
    Command::new(binary()).arg("check").arg(file).env("NO_COLOR", "1").output().unwrap()
}

#[test]
fn every_topology_that_ships_for_the_static_level_is_well() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vmtests/topologies");
    let mut checked = 0;
    for file in directory.read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        let is_topology = file.extension().is_some_and(|extension| extension == "toml");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines();
        if is_topology && lines.any(|line| line.starts_with("levels = ") && line.contains("\"static\"")) {
            let output = check(&file);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", file.display());
            checked += 1;
        }
    }
    assert!(checked >= 5, "{checked}");
}

/// A fleet of `networks` gateways, each with `clients` null clients and a domain of its own.
fn fleet(networks: usize, clients: usize) -> String {
    let mut text = String::from("schema = 1\nname = \"fleet\"\n");
    let mut records = vec!["\"@ MX 10 gw0\"".to_owned()];
    for n in 0..networks {
        writeln!(text, "network.n{n}.subnet = \"10.{n}.0.0/16\"").unwrap();
        records.extend([format!("\"gw{n} A 10.{n}.0.1\""), format!("\"d{n} MX 10 gw{n}\"")]);
    }
    writeln!(text, "[[zone]]\norigin = \"corp.example\"\nrecords = [{}]", records.join(", ")).unwrap();
    for n in 0..networks {
        writeln!(
            text,
            "[host.gw{n}]\nhostname = \"gw{n}.corp.example\"\naddresses.n{n} = \"10.{n}.0.1\"\nusers = [\"alice\"]\n\
             [host.gw{n}.declaration]\nschema = 1\nrole = \"gateway\"\nlocal_domains = [\"d{n}.corp.example\"]\n\
             relay.networks = [\"10.{n}.0.0/16\"]"
        )
        .unwrap();
        for c in 0..clients {
            writeln!(
                text,
                "[host.c{n}-{c}]\nhostname = \"c{n}-{c}.corp.example\"\naddresses.n{n} = \"10.{n}.1.{}\"\n\
                 users = [\"alice\"]\n[host.c{n}-{c}.declaration]\nschema = 1\nrole = \"nullclient\"\n\
                 mail_host = \"[gw{n}.corp.example]\"\nmasquerade.domain = \"d{n}.corp.example\"",
                c + 1
            )
            .unwrap();
        }
    }
    text
}

/// Under a second as it is released; this build is slower, and the machine may be busy.
#[test]
fn a_fleet_of_a_thousand_hosts_is_checked_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("topology.toml");
    fs::write(&file, fleet(10, 99)).unwrap();
    let begin = Instant::now();
    let output = check(&file);
    let took = begin.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("well (1000 hosts)"), "{said}");
    eprintln!("1,000 hosts in {:.2} s", took.as_secs_f64());
    assert!(took < Duration::from_secs(30), "{took:?}");

    // One line wrong among a thousand hosts is found.
    let broken =
        fleet(10, 99).replacen("mail_host = \"[gw7.corp.example]\"", "mail_host = \"[gw8.corp.example]\"", 1);
    fs::write(&file, broken).unwrap();
    let said = String::from_utf8_lossy(&check(&file).stderr).into_owned();
    assert!(said.contains("mail host of c7-0: gw8 (10.8.0.1) is in no network of it"), "{said}");
    assert!(said.contains("1 finding (1000 hosts)"), "{said}");
}
