//! The two commands of README.md: `cargo quickstart` and `cargo verify`.
//!
//! Owns what a fresh machine needs: which Debian packages, and why. Depends on no crate, so that it starts at once.

mod packages;
mod quickstart;
mod step;
mod verify;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo quickstart [DIR]   build mailstack and run it below DIR
       cargo verify            run every test, installing what they need";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let done = match (command.as_deref(), rest.as_slice()) {
        (Some("quickstart"), []) => quickstart::run(None),
        (Some("quickstart"), [dir]) if !dir.starts_with('-') => quickstart::run(Some(dir)),
        (Some("verify"), []) => verify::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}
