//! The host's Sendmail as the engine, as far as a directory of its own goes; the rest is proven on hosts that have it
//! (`vmtests/topologies`, with `--engine sendmail`).

use std::fs;

use crate::host::Host;

const DECLARATION: &str =
    "schema = 1\nrole = \"loopback\"\nengine = \"sendmail\"\nhostname = \"box.corp.example\"\n";

#[test]
fn sendmail_is_not_run_below_another_directory() {
    let host = Host::new();
    host.put("etc/mailstack/host.toml", DECLARATION);
    let refused = host.apply().with(7);
    assert!(refused.err.contains("Sendmail cannot run below"), "{}", refused.err);
    assert!(refused.err.contains("engine = \"builtin\""), "{}", refused.err);
    assert!(!host.path("var/lib/mailstack/generations").exists());
}

#[test]
fn a_build_has_the_configuration_and_says_which_maps_are_missing() {
    let host = Host::new();
    let file = host.put("etc/mailstack/host.toml", DECLARATION);
    let out = host.path("out");
    let built = host.mailstack(&["build", file.to_str().unwrap(), "-o", out.to_str().unwrap()]).with(0);
    assert!(out.join("etc/mail/sendmail.cf").exists() && out.join("etc/mail/submit.cf").exists());
    let switches = fs::read_to_string(out.join("etc/mail/sendmail.conf")).unwrap();
    assert!(switches.contains("DAEMON_MODE=\"none\""), "{switches}");
    // Where the machine has Sendmail, the map is there.
    let map = out.join("etc/mail/aliases.db").exists();
    assert_ne!(map, built.err.contains("etc/mail/aliases.db is left out"), "{}", built.err);
}

#[test]
fn the_built_in_mta_does_not_read_what_is_sendmails() {
    let host = Host::new();
    let file = host.put("etc/mailstack/host.toml", DECLARATION);
    let out = host.path("out");
    host.mailstack(&["build", file.to_str().unwrap(), "-o", out.to_str().unwrap()]).with(0);
    let config = out.join("etc/mailstack/mta.toml");
    let refused = host.mailstack(&["run", "--config", config.to_str().unwrap()]).with(7);
    assert!(refused.err.contains("has the host's Sendmail run the role"), "{}", refused.err);
}
