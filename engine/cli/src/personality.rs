//! The programs that mailstack also is: by the name that it is called by, or by the first argument.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use mailstack_mta::delivery::helper;

use crate::proof;
use crate::sendmail::{self, Personality};

/// Becomes one of the other programs; None where it is called as itself.
pub fn dispatch() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    let called = Path::new(&called).file_name().unwrap_or_default().to_os_string();
    let rest: Vec<OsString> = arguments.collect();
    if let Some(ended) = answer(&called, &rest) {
        return Some(ended);
    }
    let (first, rest) = rest.split_first()?;
    answer(first, rest)
}

fn answer(name: &OsString, arguments: &[OsString]) -> Option<ExitCode> {
    let name = name.to_str()?;
    if name == helper::COMMAND {
        return Some(helper::main_helper(arguments.iter().cloned()));
    }
    if name == proof::COMMAND {
        return Some(proof::main_child(arguments));
    }
    let personality = Personality::named(name)?;
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let root = std::env::var_os("MAILSTACK_ROOT").unwrap_or_else(|| "/".into());
    Some(sendmail::main(personality, &words, Path::new(&root)))
}
