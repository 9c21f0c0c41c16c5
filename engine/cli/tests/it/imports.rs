//! What is imported: part of what a generation resolves to, and its text beside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

const HOST: &str =
    "schema = 1\nimports = [\"layers/site.toml\"]\nrole = \"msp\"\nhostname = \"a.corp.example\"\n";
const SITE: &str =
    "# the site's\nmail_host = \"mailhost.corp.example\"\nmasquerade.domain = \"corp.example\"\n";

fn mailstack(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailstack"));
    command.current_dir(directory).args(arguments).env("NO_COLOR", "1");
    command.output().unwrap()
}

fn digest(directory: &Path, file: &str, out: &str) -> String {
    let output = mailstack(directory, &["build", file, "-o", out]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn imported_text_lies_beside_the_generation_and_the_digest_is_over_what_it_means() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    fs::create_dir(dir.join("layers")).unwrap();
    fs::write(dir.join("host.toml"), HOST).unwrap();
    fs::write(dir.join("layers/site.toml"), SITE).unwrap();
    fs::write(dir.join("flat.toml"), HOST.replace("imports = [\"layers/site.toml\"]\n", SITE)).unwrap();
    let layered = digest(dir, "host.toml", "layered");
    assert_eq!(layered, digest(dir, "flat.toml", "flat"));
    assert_eq!(fs::read_to_string(dir.join("layered/host.toml")).unwrap(), HOST);
    assert_eq!(fs::read_to_string(dir.join("layered/imports/1-site.toml")).unwrap(), SITE);
    assert!(!dir.join("flat/imports").exists());

    fs::write(dir.join("layers/site.toml"), SITE.replace("mailhost", "other")).unwrap();
    assert_ne!(layered, digest(dir, "host.toml", "changed"));

    // Once it is live, a trace needs nothing but what lies there.
    let store = dir.join("root/var/lib/mailstack");
    fs::create_dir_all(store.join("generations")).unwrap();
    fs::rename(dir.join("layered"), store.join("generations").join(&layered)).unwrap();
    symlink(format!("generations/{layered}"), store.join("current")).unwrap();
    fs::remove_dir_all(dir.join("layers")).unwrap();
    let output = mailstack(dir, &["trace", "root", "--root", "root"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && told.contains("imports/1-site.toml:3  masquerade.domain"), "{told}");
    let status = mailstack(dir, &["status", "--root", "root"]);
    let told = String::from_utf8(status.stderr).unwrap();
    assert!(!told.contains("changed on disk"), "{told}");
}
