//! The name server of a topology: authoritative for its zones, and for everything else it knows that it is not.
//!
//! A real server on real sockets, in a namespace of its own with an address in every network. The root zone is
//! served too, empty, so that a name outside the topology does not exist rather than being refused.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hickory_server::Server;
use hickory_server::proto::rr::{LowerName, Name};
use hickory_server::proto::serialize::txt::Parser;
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneHandler, ZoneType};
use serde::{Deserialize, Serialize};

/// How long a TCP client may stay silent.
const IDLE: Duration = Duration::from_secs(5);
/// Octets buffered of answers to one TCP client.
const ANSWERS: usize = 64 * 1024;

/// Zones and where they are served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Service {
    /// The addresses, port included; UDP and TCP.
    pub addresses: Vec<SocketAddr>,
    /// The zones.
    pub zones: Vec<Zone>,
}

/// A zone: its name, and its records in the form of a zone file without SOA and NS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Zone {
    /// `corp.example`
    pub origin: String,
    /// One record per line; relative names are below the origin.
    pub records: String,
}

/// Why zones cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DnsError {
    /// The text of a zone.
    #[error("zone {origin}: {reason}")]
    Zone {
        /// Which.
        origin: String,
        /// What the parser says.
        reason: String,
    },
    /// A socket.
    #[error("name server on {address}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The runtime.
    #[error("name server")]
    Runtime(#[source] io::Error),
}

/// Serves until the process is killed; calls `ready` once every socket is bound.
pub fn serve(service: &Service, ready: impl FnOnce()) -> Result<(), DnsError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DnsError::Runtime)?;
    runtime.block_on(async {
        let mut server = Server::new(catalog(&service.zones)?);
        for &address in &service.addresses {
            let failed = |source| DnsError::Socket { address, source };
            server.register_socket(tokio::net::UdpSocket::bind(address).await.map_err(failed)?);
            let listener = tokio::net::TcpListener::bind(address).await.map_err(failed)?;
            server.register_listener(listener, IDLE, ANSWERS);
        }
        ready();
        server
            .block_until_done()
            .await
            .map_err(|error| DnsError::Runtime(io::Error::other(error.to_string())))
    })
}

fn catalog(zones: &[Zone]) -> Result<Catalog, DnsError> {
    let mut catalog = Catalog::new();
    let root = Zone { origin: ".".to_owned(), records: String::new() };
    for zone in zones.iter().chain([&root]) {
        let (name, handler) = load(zone)?;
        catalog.upsert(name, vec![handler]);
    }
    Ok(catalog)
}

fn load(zone: &Zone) -> Result<(LowerName, Arc<dyn ZoneHandler>), DnsError> {
    let failed = |reason: String| DnsError::Zone { origin: zone.origin.clone(), reason };
    let mut origin = Name::from_ascii(&zone.origin).map_err(|error| failed(error.to_string()))?;
    origin.set_fqdn(true);
    // A minute of negative caching would outlast a check that changes a zone.
    let text =
        format!("$TTL 60\n@ IN SOA ns.invalid. hostmaster.invalid. 1 3600 600 86400 1\n{}\n", zone.records);
    let parsed = Parser::new(text, None, Some(origin.clone())).parse();
    let (_, records) = parsed.map_err(|error| failed(error.to_string()))?;
    let handler = InMemoryZoneHandler::<hickory_server::net::runtime::TokioRuntimeProvider>::new(
        origin.clone(),
        records,
        ZoneType::Primary,
        AxfrPolicy::Deny,
    );
    Ok((LowerName::from(origin), Arc::new(handler.map_err(failed)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(records: &str) -> Zone {
        Zone { origin: "corp.example".to_owned(), records: records.to_owned() }
    }

    #[test]
    fn a_zone_is_read_or_refused_with_its_name() {
        assert!(load(&zone("@ MX 10 mail\nmail A 192.0.2.1\n")).is_ok());
        let error = load(&zone("@ MX mail\n")).err().expect("no preference");
        assert!(error.to_string().starts_with("zone corp.example: "), "{error}");
    }
}
