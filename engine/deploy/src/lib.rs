//! From a declaration to a generation on the host: model, generate, plan, generation, apply.
