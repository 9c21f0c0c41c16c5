//! From a declaration to a generation on the host: model, generate, plan, generation, apply.

pub mod activation;
pub mod apply;
pub mod build;
pub mod generate;
pub mod generation;
pub mod lock;
pub mod m4;
pub mod model;
pub mod others;
pub mod plan;
pub mod sendmail;
pub mod status;
