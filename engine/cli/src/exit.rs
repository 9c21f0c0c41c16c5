//! How the command ends.

use std::process::ExitCode;

/// The exit codes, as `mailstack --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The declaration is wrong.
    Declaration = 1,
    /// The command line is wrong.
    Usage = 2,
    /// `plan --exit-code`: an apply would change something.
    Pending = 3,
    /// Activation failed; the generation before is live again.
    RolledBack = 4,
    /// Activation failed, and so did the way back.
    RollBackFailed = 5,
    /// Somebody else holds the lock.
    Locked = 6,
    /// This host cannot: a program, a permission, a disk, another MTA.
    Unable = 7,
    /// A bug in mailstack.
    Bug = 70,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// The exit codes in words, for `--help`.
pub const HELP: &str = "\
Exit codes:
   0  done
   1  the declaration is wrong
   2  the command line is wrong
   3  changes are pending (plan --exit-code)
   4  activation failed; the generation before is live again
   5  activation failed, and so did the way back
   6  locked: another mailstack command is at work (it says which)
   7  this host cannot: a program, a permission, a disk, another MTA in the way
  70  a bug in mailstack";
