//! `cargo run --release -p mailstack-fuzz -- [TARGET…] [--seconds N] [--seed N] [FILE…]`
//!
//! Fuzzes each target for so long (60 seconds; all targets where none is named), a thread each. A finding is made as
//! small as it gets, kept in the corpus and told, and the exit status is 1. A file in place of a target, below the
//! directory of one, is tried alone.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mailstack_fuzz::run::{Bound, Finding, Report, fault, run};
use mailstack_fuzz::{TARGETS, Target, corpus};

const USAGE: &str = "usage: mailstack-fuzz [TARGET…] [--seconds N] [--seed N] [FILE…]";

struct Arguments {
    targets: Vec<Target>,
    files: Vec<String>,
    seconds: u64,
    seed: u64,
}

fn main() -> ExitCode {
    let arguments = match read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let is_well = match arguments.files.is_empty() {
        true => fuzz(&arguments),
        false => arguments.files.iter().filter(|file| !replay(file)).count() == 0,
    };
    ExitCode::from(u8::from(!is_well))
}

fn read(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut arguments = Arguments { targets: Vec::new(), files: Vec::new(), seconds: 60, seed: now };
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|n| n.parse().ok()).ok_or_else(|| format!("{word} needs a number"));
        match word.as_str() {
            "--seconds" => arguments.seconds = number()?,
            "--seed" => arguments.seed = number()?,
            _ => match Target::named(&word) {
                Some(target) => arguments.targets.push(target),
                None if Path::new(&word).is_file() => arguments.files.push(word),
                None => return Err(format!("{word}: neither a target ({}) nor a file", names())),
            },
        }
    }
    if arguments.targets.is_empty() {
        arguments.targets = TARGETS.to_vec();
    }
    Ok(arguments)
}

fn names() -> String {
    TARGETS.iter().map(|target| target.name).collect::<Vec<_>>().join(", ")
}

/// Fuzzes all targets that were named; whether nothing was found.
fn fuzz(arguments: &Arguments) -> bool {
    println!("seed {}: the same seed makes the same inputs", arguments.seed);
    std::thread::scope(|scope| {
        let runs: Vec<_> = arguments
            .targets
            .iter()
            .map(|target| scope.spawn(move || fuzz_one(*target, arguments)))
            .collect();
        runs.into_iter().map(|run| run.join().unwrap_or(false)).filter(|well| !well).count() == 0
    })
}

fn fuzz_one(target: Target, arguments: &Arguments) -> bool {
    let inputs = match corpus::read(&corpus::directory(), target.name) {
        Ok(inputs) => inputs.into_iter().map(|(_, input)| input).collect::<Vec<_>>(),
        Err(error) => {
            eprintln!("{}: no corpus: {error}", target.name);
            return false;
        }
    };
    let bound = Bound::Time(Duration::from_secs(arguments.seconds));
    match run(target, &inputs, arguments.seed, bound) {
        Ok(Report { inputs, kept, seen }) => {
            println!("{}: {inputs} inputs, {seen} ways to behave, {kept} inputs kept", target.name);
            true
        }
        Err(finding) => {
            tell(target, &finding);
            false
        }
    }
}

fn tell(target: Target, finding: &Finding) {
    let Finding { input, message, number } = finding;
    println!("{}: input {number}: {message}\n  {}", target.name, input.escape_ascii());
    match corpus::keep(&corpus::directory(), target.name, input) {
        Ok(path) => println!("  kept as {}", path.display()),
        Err(error) => eprintln!("  cannot be kept: {error}"),
    }
}

/// Tries a file with the target that its directory is called by.
fn replay(file: &str) -> bool {
    let name = Path::new(file).parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let (Some(target), Ok(input)) = (Target::named(&name), std::fs::read(file)) else {
        eprintln!("{file}: not below the directory of a target, or it cannot be read");
        return false;
    };
    let fault = fault(target, &input);
    println!("{file}: {}", fault.as_deref().unwrap_or("holds"));
    fault.is_none()
}
