//! What is believed of a peer's certificate.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, rustls};

use super::Stream;

/// What a certificate must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anything: there is TLS where there was none, and nobody is sure with whom.
    Anybody,
    /// Valid for the name.
    Verified,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// There are no certificates to verify by.
    #[error("there is no CA certificate to verify by (tls.ca_file)")]
    NoTrust,
    /// A name that no certificate can be valid for.
    #[error("{0} is no name that a certificate is valid for")]
    Name(String),
    /// The connection, or what the peer shows: the words are rustls's.
    #[error("TLS: {0}")]
    Failed(#[source] io::Error),
}

/// Makes TLS of connections that this host has made. Clones share their sessions.
#[derive(Clone)]
pub struct Connector {
    anybody: TlsConnector,
    /// None: nothing is verified here.
    verified: Option<TlsConnector>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("verifies", &self.verified.is_some()).finish()
    }
}

impl Default for Connector {
    fn default() -> Self {
        let verifier = Arc::new(Anybody(super::provider()));
        let anybody = builder().dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
        Self { anybody: TlsConnector::from(Arc::new(anybody)), verified: None }
    }
}

impl Connector {
    /// One that verifies by these certificates, PEM. None: there is no certificate among them that can be read.
    pub fn trusting(certificates: &[u8]) -> Option<Self> {
        let mut roots = RootCertStore::empty();
        let readable = CertificateDer::pem_slice_iter(certificates).filter_map(Result::ok);
        let (added, _) = roots.add_parsable_certificates(readable);
        let config = builder().with_root_certificates(roots).with_no_client_auth();
        (added > 0).then(|| Self { verified: Some(TlsConnector::from(Arc::new(config))), ..Self::default() })
    }

    /// Makes TLS with a peer of this name. Whoever calls this bounds the wait.
    pub async fn connect(&self, stream: TcpStream, name: &str, trust: Trust) -> Result<Stream, TlsFault> {
        let connector = match trust {
            Trust::Anybody => &self.anybody,
            Trust::Verified => self.verified.as_ref().ok_or(TlsFault::NoTrust)?,
        };
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsFault::Name(name.to_owned()))?;
        let stream = connector.connect(name, stream).await.map_err(TlsFault::Failed)?;
        Ok(Stream::Tls(Box::new(tokio_rustls::TlsStream::Client(stream))))
    }
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    #[expect(clippy::expect_used, reason = "ring has the suites of TLS 1.2 and 1.3")]
    ClientConfig::builder_with_provider(super::provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
}

/// Takes any certificate, but not one whose key the peer does not have.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
