//! What host.toml and topology.toml say, as types: JSON Schema, faults with spans.
//!
//! Owns the languages as written and the reading of text into them, with every fault at once and where it stands.
//! May use toml and serde. Must not know files, the model (which rules join two keys) or the words of help.

pub mod fault;
pub mod host;
pub mod layers;
pub mod profiles;
pub mod read;
pub mod reference;
pub mod schema;
pub mod sound;
pub mod spans;
pub mod topology;
pub mod value;
mod walk;

pub use fault::{Fault, FaultKind};
pub use read::{Flawed, MAX_SIZE, Written, read, read_bytes, read_flawed, read_layers};
pub use schema::{Document, VERSION, json_schema, role_schema_text, schema_text};
pub use spans::Spans;
