//! `cargo verify`: every test, from the cheap to the dear, installing what they need.
//!
//! What this machine cannot do (no root, no user namespaces) is left out aloud, and listed at the end; where `CI` is
//! set, nothing may be left out.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::packages::{self, FOR_CF, FOR_TESTS};
use crate::step::{self, Beside, Failure, cargo, program};

/// The phases of `vmtests/systemd/guest.sh`.
const ROLES: &str = "client receiving-mbox receiving-maildir";
/// How a test says that it was left out.
const LEFT_OUT: &str = "skipped";

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
    let roots = step::target().join("private-roots");
    let peers = ["postfix", "exim", "opensmtpd", "sendmail"];
    step::run(
        "unpack Postfix, Exim, OpenSMTPD and Sendmail into private roots",
        program("sh", &["vmtests/roots/peers.sh"]).arg(&roots).args(peers),
    )?;
    let callers = step::target().join("private-roots/callers");
    step::run(
        "unpack cron, mailx, mutt and git send-email into a private root",
        program("sh", &["vmtests/roots/callers.sh"]).arg(&callers),
    )?;
    let dovecot = step::target().join("private-roots/dovecot");
    step::run(
        "unpack Dovecot into a private root",
        program("sh", &["vmtests/roots/dovecot.sh"]).arg(&dovecot),
    )?;
    let inetd = step::target().join("private-roots/inetd");
    step::run(
        "unpack xinetd and inetd into a private root",
        program("sh", &["vmtests/roots/inetd.sh"]).arg(&inetd),
    )?;
    let taplo = step::target().join("private-roots/taplo");
    step::run("language server for TOML", program("sh", &["vmtests/roots/taplo.sh"]).arg(&taplo))?;
    let mut left_out = tests()?;
    // Containers and virtual machines have no libraries; one release for all levels.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cargo(&["build", "--release", "--target", &target]);
    build.args(["--package", "mailstack", "--package", "mailstack-vmtests"]);
    step::run("release build", build.env("RUSTFLAGS", "-C target-feature=+crt-static"))?;
    let release = step::target().join(&target).join("release");
    let takeover = takeover(&release.join("mailstack"))?;
    match step::is_root() {
        true => {
            topologies(&release)?;
            benchmark(&release)?;
        }
        false => {
            left_out.push("topologies in network namespaces, and the benchmark: they need root".to_owned())
        }
    }
    left_out.extend(takeover.wait()?);
    left_out.extend(systemd("all roles under systemd", &release.join("mailstack"), ROLES)?);
    // The package has the libraries of its Debian, as the build of the tests has.
    left_out.extend(systemd("the Debian package", &step::target().join("debug/mailstack"), "package")?);
    left_out.extend(container(&release)?);
    machines(&release)?;
    conclude(&left_out)
}

/// Runs the tests of all crates; returns what they left out.
fn tests() -> Result<Vec<String>, Failure> {
    println!("\n== tests");
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast", "--", "--show-output"]);
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("tests: cargo test: {error}"))?;
    let mut left_out = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.map_err(|error| format!("tests: {error}"))?;
        if line.to_ascii_lowercase().starts_with(LEFT_OUT) {
            left_out.push(line.clone());
        }
        println!("{line}");
    }
    let status = child.wait().map_err(|error| format!("tests: {error}"))?;
    if status.success() { Ok(left_out) } else { Err(format!("tests: failed ({status})")) }
}

/// The topologies in network namespaces, with the binaries that a user gets.
fn topologies(release: &Path) -> Result<(), Failure> {
    let dir = step::repository().join("vmtests/topologies");
    let entries = std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    for (what, engines) in ENGINES {
        let mut run = program(release.join("mailstack-vmtests"), &["run", "--level", "netns"]);
        let mut files = files.clone();
        // A mix without the hosts that it names is one engine alone, which has been run; and how long a host that
        // vanished is waited for is its client's matter alone.
        let mixed = |path: &PathBuf| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            (text.contains("[host.mailhost]") || text.contains("[host.gw]"))
                && !path.ends_with("mail-host-vanished.toml")
        };
        files.retain(|path| !engines.contains(&"--engine-of") || mixed(path));
        step::run(&format!("topologies in network namespaces, {what}"), run.args(*engines).args(&files))?;
    }
    Ok(())
}

/// That the benchmark works, not how fast anything is: every part of it once, with few messages.
fn benchmark(release: &Path) -> Result<(), Failure> {
    let words = ["bench", "--quick", "--rounds", "1", "--messages", "200", "--backlog", "200", "--json"];
    let cells =
        ["--cell", "4 KB, 20 sessions", "--cell", "sendmail -t", "--cell", "idle", "--cell", "backlog"];
    let mut bench = program(release.join("mailstack-vmtests"), &words);
    bench.args(cells).args(["--peer", "mailstack,postfix"]).stdout(Stdio::null());
    step::run("the benchmark, in short", &mut bench)
}

/// Who runs the hosts of all topologies: each engine, and mixes of both.
const ENGINES: &[(&str, &[&str])] = &[
    ("the built-in MTA", &["--engine", "builtin"]),
    ("real Sendmail", &["--engine", "sendmail"]),
    (
        "Sendmail for clients, the built-in MTA for mail hosts",
        &["--engine", "sendmail", "--engine-of", "mailhost=builtin", "--engine-of", "gw=builtin"],
    ),
    (
        "the built-in MTA for clients, Sendmail for mail hosts",
        &["--engine", "builtin", "--engine-of", "mailhost=sendmail", "--engine-of", "gw=sendmail"],
    ),
];

/// Taking over from the MTAs of Debian and giving back. It mostly waits, as the topologies do, so they share the time.
fn takeover(mailstack: &Path) -> Result<Beside, Failure> {
    let mut script = program("sh", &["vmtests/takeover/run.sh"]);
    script.arg(mailstack).arg(step::target().join("private-roots")).env("KILLS", "sendmail");
    Beside::start("hosts that have Sendmail, Postfix or Exim already", script)
}

/// What needs a systemd that boots; returns why not, where this machine cannot.
fn systemd(what: &str, mailstack: &Path, phases: &str) -> Result<Option<String>, Failure> {
    let mut script = program("sh", &["vmtests/systemd/run.sh"]);
    script.arg(mailstack).arg(step::target().join("private-roots/systemd"));
    step::run_if_possible(what, script.env("PHASES", phases))
}

/// The static binary in a container image, and topologies of containers; returns why not, where this machine has no
/// Docker engine.
fn container(release: &Path) -> Result<Option<String>, Failure> {
    if !step::works(&mut program("docker", &["info"])) {
        return Ok(Some(
            "the container image and topologies of containers: no Docker engine answers".to_owned(),
        ));
    }
    let mut run = program("sh", &["vmtests/container/run.sh"]);
    step::run("the container image", run.arg(release.join("mailstack")))?;
    level(release, "container", IN_CONTAINERS)?;
    Ok(None)
}

/// Topologies of virtual machines, one with a power cut.
fn machines(release: &Path) -> Result<(), Failure> {
    let root = step::target().join("private-roots/vm");
    step::run(
        "unpack QEMU, a kernel and BusyBox into a private root",
        program("sh", &["vmtests/roots/vm.sh"]).arg(&root),
    )?;
    level(release, "vm", IN_MACHINES)
}

fn level(release: &Path, level: &str, topologies: &[&str]) -> Result<(), Failure> {
    let mut run = program(release.join("mailstack-vmtests"), &["run", "--level", level]);
    run.args(topologies.iter().map(|name| format!("vmtests/topologies/{name}.toml")));
    step::run(&format!("topologies at the {level} level"), &mut run)
}

/// Masquerading and bounces that return, relay denial, and a mail host that is down.
const IN_CONTAINERS: &[&str] = &["nullclient", "relay-denial", "mail-host-down"];
/// What only a machine can show.
const IN_MACHINES: &[&str] = &["power-cut"];

fn conclude(left_out: &[String]) -> Result<(), Failure> {
    if left_out.is_empty() {
        println!("\nall tests passed, none was left out");
        return Ok(());
    }
    println!("\nall tests passed but those that this machine cannot run:");
    left_out.iter().for_each(|line| println!("  {line}"));
    match std::env::var_os("CI") {
        Some(_) => Err("CI is set: nothing may be left out".to_owned()),
        None => Ok(()),
    }
}
