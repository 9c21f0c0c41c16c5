//! What this server shows.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

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

/// Makes TLS of connections that clients have made. Clones share one certificate, which can be renewed.
#[derive(Clone)]
pub struct Acceptor(Arc<RwLock<Shown>>);

/// What is shown.
#[derive(Clone)]
struct Shown {
    acceptor: TlsAcceptor,
    expires: Option<u64>,
}

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
        let Some(expires) = chain.first().map(|own| not_after(own)) else {
            return Err(CertificateFault::Certificate(None));
        };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(CertificateFault::Key)?;
        let config = ServerConfig::builder_with_provider(super::provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
            .map_err(CertificateFault::Mismatch)?;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self(Arc::new(RwLock::new(Shown { acceptor, expires }))))
    }

    /// Shows from here on what another shows; sessions that are under way keep theirs.
    pub fn renew(&self, other: &Acceptor) {
        let shown = other.shown();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    /// When the certificate expires, in seconds since 1970; None: that cannot be read.
    pub fn expires(&self) -> Option<u64> {
        self.shown().expires
    }

    fn shown(&self) -> Shown {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes TLS. Whoever calls this bounds the wait.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let stream = self.shown().acceptor.accept(stream).await?;
        Ok(Stream::Tls(Box::new(tokio_rustls::TlsStream::Server(stream))))
    }
}

const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// `notAfter` of a certificate (RFC 5280 4.1), in seconds since 1970.
pub fn not_after(der: &[u8]) -> Option<u64> {
    let (_, certificate, _) = element(der).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, mut rest, _) = element(certificate).filter(|(tag, ..)| *tag == SEQUENCE)?;
    if let Some((VERSION, _, behind)) = element(rest) {
        rest = behind;
    }
    // Serial number, signature, issuer; then the validity.
    for _ in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest).filter(|(tag, ..)| *tag == SEQUENCE)?;
    let (_, _, behind) = element(validity)?;
    let (tag, text, _) = element(behind)?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let text = match tag {
        // RFC 5280 4.1.2.5.1: from 50 on it is the last century.
        UTC_TIME if text.get(..2)? >= "50" => format!("19{text}"),
        UTC_TIME => format!("20{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    let stamp = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    u64::try_from(stamp.as_second()).ok()
}

/// The tag and the octets of the first element (DER, X.690), and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0_usize, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (contents, behind) = rest.split_at_checked(length)?;
    Some((tag, contents, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        for (year, seconds) in [(2027, 1_798_761_600), (2049, 2_493_072_000), (2051, 2_556_144_000)] {
            let mut params = rcgen::CertificateParams::new(vec!["gw.corp.example".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(not_after(certificate.der()), Some(seconds), "{year}");
            for cut in 0..certificate.der().len() {
                // Whatever is cut off, it is no bug.
                let _ = not_after(&certificate.der()[..cut]);
            }
        }
        assert_eq!(not_after(&[]), None);
    }
}
