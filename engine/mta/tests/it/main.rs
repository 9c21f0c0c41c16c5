//! The MTA against real sockets, files and processes: one binary, one module per area.
#![expect(clippy::unwrap_used, reason = "a test ends where its ground is missing")]

mod certificates;
mod delivery;
mod server;
