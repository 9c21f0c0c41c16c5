//! What this server shows.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, rustls};

use super::Stream;

/// Why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFault {
    /// No certificate in the file, or none that can be read.
    #[error("no PEM certificate is in it")]
    Certificate(#[source] Option<pem::Error>),
    /// No key in the file, or none that can be read.
    #[error("no PEM private key is in it")]
    Key(#[source] pem::Error),
    /// The key is not the certificate's, or of a kind that is not used.
    #[error("certificate and key do not fit each other")]
    Mismatch(#[source] rustls::Error),
}

/// Makes TLS of connections that clients have made. Clones share one certificate.
#[derive(Clone)]
pub struct Acceptor(TlsAcceptor);

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Acceptor")
    }
}

impl Acceptor {
    /// From the PEM texts of a certificate, with those that it is signed by, and of its key.
    pub fn new(certificate: &[u8], key: &[u8]) -> Result<Self, CertificateFault> {
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|e| CertificateFault::Certificate(Some(e)))?;
        if chain.is_empty() {
            return Err(CertificateFault::Certificate(None));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateFault::Key)?;
        let config = ServerConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(CertificateFault::Mismatch)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }

    /// Makes TLS. Whoever calls this bounds the wait.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let stream = self.0.accept(stream).await?;
        Ok(Stream::Tls(Box::new(tokio_rustls::TlsStream::Server(stream))))
    }
}
