//! The languages as data: valid and invalid files, the exported schemas, the profiles.

mod export;
mod files;
mod robust;
