//! Steps: a program run with a heading, and what to say when it fails.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// The exit status of a script that this machine cannot run, as automake has it.
const LEFT_OUT: i32 = 77;

/// A step that failed: what, and what to do.
pub type Failure = String;

/// The root of this repository.
pub fn repository() -> PathBuf {
    // As `cargo run` says it now: the checkout may have been moved since this was built.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&package).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// The directory that cargo builds into.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository().join("target"), PathBuf::from)
}

/// A program to be run in the repository.
pub fn program(name: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(repository());
    command
}

/// Cargo, in the repository.
pub fn cargo(arguments: &[&str]) -> Command {
    program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), arguments)
}

/// Runs a program under a heading; its output goes where this one's goes.
pub fn run(heading: &str, command: &mut Command) -> Result<(), Failure> {
    println!("\n== {heading}");
    let started = Instant::now();
    let status = command.status().map_err(|error| format!("{heading}: {}: {error}", shown(command)))?;
    if !status.success() {
        return Err(format!("{heading}: failed ({status}): {}", shown(command)));
    }
    println!("== {heading}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a script that ends with 77 where this machine cannot run it; returns that it was left out then.
pub fn run_if_possible(heading: &str, command: &mut Command) -> Result<Option<String>, Failure> {
    println!("\n== {heading}");
    let started = Instant::now();
    let status = command.status().map_err(|error| format!("{heading}: {}: {error}", shown(command)))?;
    println!("== {heading}: {:.1} s", started.elapsed().as_secs_f64());
    ended(heading, status, command)
}

fn ended(heading: &str, status: ExitStatus, command: &Command) -> Result<Option<String>, Failure> {
    match status.code() {
        Some(0) => Ok(None),
        Some(LEFT_OUT) => Ok(Some(format!("{heading}: the reason stands above"))),
        _ => Err(format!("{heading}: failed ({status}): {}", shown(command))),
    }
}

/// Such a script that runs beside other steps; ended with this, and its output is shown when it is waited for.
pub struct Beside {
    heading: &'static str,
    command: Command,
    child: Child,
    output: PathBuf,
    started: Instant,
}

impl Beside {
    /// Starts it. Its output goes into a file in the directory that cargo builds into.
    pub fn start(heading: &'static str, mut command: Command) -> Result<Self, Failure> {
        println!("\n== {heading}: runs beside what follows");
        let failed = |error: std::io::Error| format!("{heading}: {error}");
        let output = target().join("beside.log");
        let file = File::create(&output).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(file.try_clone().map_err(failed)?).stderr(file);
        let child = command.spawn().map_err(failed)?;
        Ok(Self { heading, command, child, output, started: Instant::now() })
    }

    /// Waits until it has ended, and shows what it said; returns that it was left out where it was.
    pub fn wait(mut self) -> Result<Option<String>, Failure> {
        let heading = self.heading;
        println!("\n== {heading}");
        let status = self.child.wait().map_err(|error| format!("{heading}: {error}"))?;
        let said = std::fs::read(&self.output).unwrap_or_default();
        print!("{}", String::from_utf8_lossy(&said));
        println!("== {heading}: {:.1} s", self.started.elapsed().as_secs_f64());
        ended(heading, status, &self.command)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // What it started ends with it: its namespaces do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a program runs and ends with 0; its output is thrown away.
pub fn works(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// The standard output of a program, without the white space around it.
pub fn output(command: &mut Command) -> Result<String, Failure> {
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{}: {error}", shown(command)))?;
    if !output.status.success() {
        return Err(format!("failed ({}): {}", output.status, shown(command)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    output(Command::new("id").arg("-u")).is_ok_and(|uid| uid == "0")
}
