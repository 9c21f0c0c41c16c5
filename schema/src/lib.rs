//! What host.toml and topology.toml say, as types: JSON Schema, faults with spans.
