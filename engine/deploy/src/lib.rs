//! From a declaration to a generation on the host: model, generate, plan, generation, apply.

pub mod generation;
pub mod lock;
pub mod plan;
