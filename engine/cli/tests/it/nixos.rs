//! A host whose generation another tool keeps, as the NixOS module does: it is used, and never changed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::host::{Ended, Host, binary, free_port};

/// A host with a generation that lies elsewhere, read-only to whoever is not root.
fn kept() -> Host {
    let host = Host::new();
    let file = host.declare(&format!("127.0.0.1:{}", free_port()));
    let elsewhere = host.path("nix/store/0123-mailstack-generation");
    fs::create_dir_all(elsewhere.parent().unwrap()).unwrap();
    host.mailstack(&["build", file.to_str().unwrap(), "-o", elsewhere.to_str().unwrap()]).with(0);
    // As the store has it, whatever the mode was.
    let mode = Command::new("chmod").args(["-R", "a-w"]).arg(&elsewhere).status().unwrap();
    assert!(mode.success());
    fs::create_dir_all(host.path("var/lib/mailstack")).unwrap();
    symlink(&elsewhere, host.path("var/lib/mailstack/current")).unwrap();
    host
}

#[test]
fn what_another_tool_keeps_is_not_changed_here() {
    let host = kept();
    let link = host.path("var/lib/mailstack/current");
    let before = fs::read_link(&link).unwrap();
    let file = host.path("etc/mailstack/host.toml");
    let file = file.to_str().unwrap();
    for command in [&["apply", file][..], &["plan", file], &["rollback"], &["stop"]] {
        let refused = host.mailstack(command).with(7);
        assert!(refused.err.contains("0123-mailstack-generation"), "{}", refused.err);
        assert!(refused.err.contains("nixos-rebuild switch"), "{}", refused.err);
    }
    assert_eq!(fs::read_link(&link).unwrap(), before);
    assert!(!host.path("var/lib/mailstack/generations").exists());
}

#[test]
fn what_another_tool_keeps_is_found_good_and_used() {
    let host = kept();
    let status = host.mailstack(&["status"]).with(7);
    assert!(status.out.contains("loopback"), "{}", status.out);
    // It does not run; neither the modes nor the name nor the programs' places are held against it.
    for wrong in ["changed on disk", "is not mailstack's", "cut short"] {
        assert!(!status.err.contains(wrong), "{}", status.err);
    }
    let drop = host.path("var/spool/mailstack-drop");
    fs::create_dir_all(&drop).unwrap();
    let mut command = Command::new(binary());
    command.args(["sendmail", "root"]).env("MAILSTACK_ROOT", host.root());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sendmail = command.spawn().unwrap();
    sendmail.stdin.take().unwrap().write_all(b"Subject: x\n\nx\n").unwrap();
    Ended::from(sendmail.wait_with_output().unwrap()).with(0);
    assert_eq!(fs::read_dir(&drop).unwrap().count(), 1);
}
