//! The programs that mailstack also is: by the name that it is called by, or by the first argument.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
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
    Some(sendmail::main(personality, &words, &root()))
}

/// The directory that stands for `/`. A program that root runs may have another user's environment (cron's, say): it
/// hands root's mail to nobody's tree but root's.
fn root() -> PathBuf {
    let host = PathBuf::from("/");
    let Some(named) = std::env::var_os("MAILSTACK_ROOT").map(PathBuf::from) else { return host };
    if nix::unistd::geteuid().is_root() && !is_roots(&named) {
        eprintln!("sendmail: MAILSTACK_ROOT is ignored: others than root can write to {}", named.display());
        return host;
    }
    named
}

/// Whether nobody but root can put something in the place of the directory, or of what it is in.
fn is_roots(directory: &Path) -> bool {
    let Ok(real) = directory.canonicalize() else { return false };
    let is_safe = |place: &Path| {
        std::fs::metadata(place).is_ok_and(|meta| {
            let shared = meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0;
            meta.uid() == 0 && !shared
        })
    };
    let itself = std::fs::metadata(&real).is_ok_and(|meta| meta.mode() & 0o022 == 0);
    itself && real.ancestors().all(is_safe)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    #[test]
    fn a_tree_is_roots_only_where_nobody_else_can_change_it() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let tree = tempfile::tempdir().unwrap();
        let below = tree.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let mode = |mode| std::fs::set_permissions(tree.path(), PermissionsExt::from_mode(mode)).unwrap();
        assert!(is_roots(&below) && is_roots(Path::new("/")));
        mode(0o777);
        assert!(!is_roots(&below));
        mode(0o755);
        assert!(is_roots(&below));
        chown(tree.path(), Some(1000), None).unwrap();
        assert!(!is_roots(&below) && !is_roots(&tree.path().join("none")));
        assert!(!is_roots(Path::new("/tmp")));
    }
}
