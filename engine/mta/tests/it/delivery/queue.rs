//! The whole way from the queue to an outcome.
