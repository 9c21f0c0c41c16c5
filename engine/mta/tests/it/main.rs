//! The MTA against real sockets, files and processes: one binary, one module per area.

mod delivery;
mod server;
