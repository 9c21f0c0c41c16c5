//! The `mailstack` command; also answers to `sendmail`, `mailq` and `newaliases`.
//!
//! Owns the command line, and the only place where errors become words ([`words`]). standard output is data,
//! standard error is talk.

mod args;
mod commands;
mod declaration;
mod exit;
mod failure;
mod host;
mod personality;
mod progress;
mod proof;
mod reference;
mod sendmail;
mod sources;
mod table;
mod topology;
mod words;

use std::io::{ErrorKind, Write};
use std::panic;
use std::process::ExitCode;

use anstream::{ColorChoice, eprintln};
use clap::Parser;

use crate::args::{Cli, Color};
use crate::exit::Exit;
use crate::failure::Failure;

fn main() -> ExitCode {
    // Whoever started this may hold signals back, as `apply --foreground` does.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    guarded(dispatch)
}

/// A panic is a bug of ours: it is told as one, and ends with a code of its own.
fn guarded(work: fn() -> ExitCode) -> ExitCode {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |place| format!(" at {place}"));
        let payload = panic.payload();
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        eprintln!("{}", words::bug(&format!("{text}{place}")));
    }));
    panic::catch_unwind(work).unwrap_or_else(|_| Exit::Bug.into())
}

fn dispatch() -> ExitCode {
    if let Some(ended) = personality::dispatch() {
        return ended;
    }
    let cli = Cli::parse();
    match cli.global.color {
        Color::Auto => {}
        Color::Always => ColorChoice::Always.write_global(),
        Color::Never => ColorChoice::Never.write_global(),
    }
    end(commands::run(cli))
}

fn end(result: Result<Exit, Failure>) -> ExitCode {
    let exit = match result {
        // Standard output may be full or closed only now.
        Ok(exit) => match std::io::stdout().flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Exit::Unable,
            _ => exit,
        },
        // Who has stopped reading, as head does, has what it wanted.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Err(failure) => {
            let (text, exit) = words::failure(&failure);
            if !text.is_empty() {
                eprintln!("{text}");
            }
            exit
        }
    };
    exit.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_the_code_of_a_bug() {
        let ended = guarded(|| panic!("on purpose"));
        assert_eq!(format!("{ended:?}"), format!("{:?}", ExitCode::from(70)));
    }
}
