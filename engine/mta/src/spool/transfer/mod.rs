//! The queue as files that anybody can read, its check, and its way back in.
//!
//! Owns: the format below, and the order in which an import is made durable. Works on a spool that nobody serves.
//! Must not know a schedule.
//!
//! # An export, version 1
//!
//! A directory of its own (mode 0700). For each message two files, named by its queue id:
//!
//! - `ID.eml`: the message, RFC 5322: header and body with CRLF, as it would be sent.
//! - `ID.json`: its envelope, the object [`EnvelopeFile`]: `version` 1, `source` (the spool that it comes from) and
//!   `id`, both of letters, digits, `.`, `_` and `-`: together they name the message for ever; `size` in octets and
//!   `crc32` (IEEE, eight hexadecimal digits) of `ID.eml`; `arrived`, RFC 3339; `sender`, empty for the null sender;
//!   `eight_bit`; `ret` (`FULL`, `HDRS`), `envid`; `origin`; `held`; `recipients`, each with `address`,
//!   `expanded_from`, `orcpt`, `notify` (as in RFC 3461), `state` (`fresh`, `waiting`, `done`) and, of one that
//!   waits, `attempts`, `next`, `status`, `diagnostic`.
//!
//! `export.json`, `{"version": 1, "source": "…", "messages": N}`, is written once all others are durable: without it
//! the export is not whole, and is refused.
//!
//! # An import
//!
//! 1. All files are checked; one that is wrong refuses the whole.
//! 2. The messages go into the spool *held*, durable; those that an interrupted import put there are found by source
//!    and id, and are left as they are.
//! 3. `imported.json` is written beside them, durable: from here on nothing of this export is taken in again.
//! 4. The messages are released.
//!
//! Wherever it is interrupted, the next run goes on from there, also if the MTA ran meanwhile: nothing is delivered
//! before step 4, and nothing is taken in after step 3.

mod envelope;
mod error;
mod export;
mod files;
mod import;
mod verify;

pub use envelope::{EnvelopeFile, OriginFile, RecipientFile, State};
pub use error::{Fault, TransferError};
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use verify::{Verified, verify};

#[cfg(test)]
mod tests;
