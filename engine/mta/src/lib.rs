//! The built-in MTA: server, queue, delivery, bounces, DNS, TLS.
//!
//! SMTP or local submission ─► session ─► policy ─► queue (durable) ─► 250; queue ─► route ─► remote or local ─►
//! an outcome per recipient. Reads a [`mailstack_runtime::Config`] and nothing else: must not know host.toml, nor
//! what a generation is.

pub mod bounce;
pub mod control;
pub mod delivery;
pub mod dns;
pub mod event;
pub mod host;
pub mod message;
pub mod metrics;
pub mod queue;
pub mod run;
pub mod secrets;
pub mod server;
pub mod spool;
pub mod submission;
pub mod sysexits;
pub mod tls;
