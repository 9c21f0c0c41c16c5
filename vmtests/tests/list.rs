//! The program itself, as a shell uses it.

use std::path::Path;
use std::process::{Command, Stdio};

/// As `mailstack-vmtests list … | head` does.
#[test]
fn who_stops_reading_is_told_nothing() {
    let topology = Path::new(env!("CARGO_MANIFEST_DIR")).join("topologies/nullclient.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailstack-vmtests"));
    let mut child =
        command.arg("list").arg(topology).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success() && said.is_empty(), "{} {said}", ended.status);
}
