//! `cargo verify`: every test, from the cheap to the dear, installing what they need.

use crate::packages::{self, FOR_CF, FOR_TESTS};
use crate::step::{self, Failure, cargo, program};

/// Runs all; the first failure ends it.
pub fn run() -> Result<(), Failure> {
    if !packages::install(&[FOR_CF, FOR_TESTS])? {
        return Err("the tests need these packages; nothing was tested".to_owned());
    }
    step::run("format", &mut cargo(&["fmt", "--all", "--check"]))?;
    step::run("clippy", &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    step::run(
        "documentation",
        cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    let sendmail = step::target().join("private-roots/sendmail");
    step::run(
        "unpack Sendmail into a private root",
        program("sh", &["vmtests/roots/sendmail.sh"]).arg(&sendmail),
    )?;
    step::run("tests", &mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
    let release = ["build", "--release", "--package", "mailstack", "--package", "mailstack-vmtests"];
    step::run("release build", &mut cargo(&release))?;
    topologies()
}

/// The topologies in network namespaces, with the binaries that a user gets.
fn topologies() -> Result<(), Failure> {
    let mut run = program(step::target().join("release/mailstack-vmtests"), &["run", "--level", "netns"]);
    let dir = step::repository().join("vmtests/topologies");
    let entries = std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    step::run("topologies in network namespaces", run.args(files))
}
