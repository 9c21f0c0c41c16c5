//! The languages as data: valid and invalid files, the exported schemas, the profiles.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod adverse;
mod export;
mod files;
mod flawed;
mod robust;
mod verdict;
