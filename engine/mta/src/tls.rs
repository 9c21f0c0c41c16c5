//! TLS (RFC 3207, RFC 8314), both sides.
//!
//! Owns: keys, certificates, and what is believed of a peer's. May use files, before the daemon gives its rights up.
//! Must not know SMTP. The cryptography is ring's: it builds into a static binary with a C compiler alone, and is no
//! slower here than aws-lc, which wants more of a toolchain.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use tokio_rustls::rustls;

mod client;
mod server;
mod stream;

pub use client::{Connector, TlsFault, Trust};
pub use server::{Acceptor, CertificateFault};
pub use stream::{Channel, Stream};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
