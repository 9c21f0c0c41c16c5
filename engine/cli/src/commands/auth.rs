//! `mailstack auth`: lines of the file of users.

use std::io::{self, BufRead, IsTerminal};

use anstream::eprint;
use mailstack_mta::secrets::user_line;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use super::print;
use crate::exit::Exit;
use crate::failure::Failure;

/// Prints the line of a user, whose password is the first line of standard input.
pub fn hash(user: &str) -> Result<Exit, Failure> {
    let password = password().map_err(Failure::Input)?;
    let line = user_line(user, &password).map_err(Failure::User)?;
    print(&format!("{line}\n"))
}

fn password() -> io::Result<String> {
    let stdin = io::stdin();
    let quiet = if stdin.is_terminal() { Some(Quiet::new()?) } else { None };
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    drop(quiet);
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        eprint!("Password: ");
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &self.0);
        eprint!("\n");
    }
}
