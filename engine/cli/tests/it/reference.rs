//! What `mailstack reference` prints: fresh where it is committed, and good for those who read it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use std::io::Write;

use crate::host::binary;

/// Set it to write the committed reference anew.
const UPDATE: &str = "MAILSTACK_UPDATE_REFERENCE";

fn printed(part: &str) -> String {
    let output =
        Command::new(binary()).args(["reference", part]).env_remove("MAILSTACK_ROOT").output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{part}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_committed_reference_is_fresh() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("REFERENCE.md");
    let text = printed("commands");
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, &text).unwrap();
    }
    let fresh = fs::read_to_string(&file).unwrap() == text;
    assert!(
        fresh,
        "engine/cli/REFERENCE.md is stale: set {UPDATE}=1, test again, and look at the difference"
    );
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/REFERENCE.md");
    let keys = fs::read_to_string(schema).unwrap();
    assert!(keys.contains(&printed("host")) && keys.contains(&printed("topology")));
}

/// Runs a program on a text; returns what it printed on standard output and error.
fn through(program: &str, arguments: &[&str], text: &str) -> Option<(String, String)> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        eprintln!("SKIPPED: no {program} here");
        return None;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some((text(output.stdout), text(output.stderr)))
}

#[test]
fn manual_pages_are_such() {
    for (page, told) in [
        ("mailstack.1", "mailstack queue flush"),
        ("host.toml.5", "masquerade.exposed_users"),
        ("topology.toml.5", "step[].expect[].within"),
    ] {
        let source = printed(page);
        let arguments = ["-man", "-wall", "-Tutf8", "-P-cbou"];
        let Some((text, warnings)) = through("groff", &arguments, &source) else { return };
        assert_eq!(warnings, "", "{page}");
        assert!(text.contains(told) && text.contains("SEE ALSO"), "{page}");
    }
}

#[test]
fn completions_complete() {
    for shell in ["fish", "zsh"] {
        assert!(printed(shell).contains("rollback"), "{shell}");
    }
    let try_it = "source /dev/stdin; COMP_WORDS=(mailstack schema ''); COMP_CWORD=2; \
                  _mailstack mailstack '' schema; echo ${COMPREPLY[*]}";
    let Some((offered, errors)) = through("bash", &["--norc", "-c", try_it], &printed("bash")) else {
        return;
    };
    assert_eq!(errors, "");
    for word in ["host", "topology", "nullclient", "--root"] {
        assert!(offered.split_whitespace().any(|offer| offer == word), "{word}: {offered}");
    }
}

/// As `mailstack schema | head` does.
#[test]
fn who_stops_reading_is_told_nothing() {
    for words in [["schema", "host"], ["reference", "host.toml.5"], ["init", "gateway"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailstack"));
        let mut child = command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.is_empty(), "{words:?}: {} {said}", ended.status);
    }
}
