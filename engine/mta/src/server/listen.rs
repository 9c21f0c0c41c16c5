//! The accept loops.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mailstack_policy::Client;
use mailstack_runtime::ListenerKind;
use mailstack_smtp::reply::Reply;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;

use super::gate::Count;
use super::message::Arrival;
use super::naming::{Named, Naming};
use super::rates::Throttle;
use super::session::Driver;
use super::{Shared, words};
use crate::dns::Dns;
use crate::event::{Event, Peer};
use crate::tls::Stream;

/// The wait before accepting again when the host is out of descriptors or memory.
const EXHAUSTED: Duration = Duration::from_millis(200);
/// How long a client's name is looked up.
const LOOK_UP: Duration = Duration::from_secs(5);
/// How long a client that is turned away may take to read why.
const TURN_AWAY: Duration = Duration::from_secs(5);

/// Accepts clients of the network until the server stops.
pub(super) async fn network(shared: Arc<Shared>, listener: TcpListener) {
    let at = listener.local_addr().ok();
    let kind = at.map_or(ListenerKind::Smtp, |address| shared.config.listener_kind(&address));
    let mut stop = shared.stop.subscribe();
    let mut throttle = Throttle::new(shared.config.checks.connection_rate);
    while let Some(accepted) = next(&mut stop, listener.accept()).await {
        match accepted {
            Ok((stream, address)) => admit_network(&shared, stream, address.ip(), kind, None),
            Err(e) => exhausted(&shared, &e).await,
        }
        if next(&mut stop, throttle.pass()).await.is_none() {
            return;
        }
    }
}

/// Accepts programs of this host until the server stops.
pub(super) async fn submission(shared: Arc<Shared>, listener: UnixListener) {
    let mut stop = shared.stop.subscribe();
    while let Some(accepted) = next(&mut stop, listener.accept()).await {
        match accepted {
            Ok((stream, _)) => admit_local(&shared, stream),
            Err(e) => exhausted(&shared, &e).await,
        }
    }
}

/// The next client, or None when the server stops.
pub(super) async fn next<T>(stop: &mut watch::Receiver<bool>, accept: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => None,
        accepted = accept => Some(accepted),
    }
}

pub(super) async fn exhausted(shared: &Shared, error: &io::Error) {
    // A client that hung up meanwhile is no trouble of this host.
    if error.kind() != io::ErrorKind::ConnectionAborted {
        shared.events.warn(format!("cannot accept a connection: {error}"));
        tokio::time::sleep(EXHAUSTED).await;
    }
}

/// Serves a client of the network, whoever accepted its connection. `held` is let go of when the session ends.
pub(super) fn admit_network(
    shared: &Arc<Shared>,
    stream: TcpStream,
    address: IpAddr,
    kind: ListenerKind,
    held: Option<UnixStream>,
) {
    let address = address.to_canonical();
    let peer = Peer::Network { name: None, address };
    // Replies go out whole: a segment must not wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let Some(slot) = shared.network.admit(counted_as(address)) else {
        return turn_away(shared, stream, peer);
    };
    let count = Count { now: slot.of_client(), minute: shared.rates.count(counted_as(address)) };
    let client = Client::Network { addr: address };
    let name = Arc::new(Naming::default());
    let arrival = Arrival::new(peer, Arc::clone(&name), client);
    let driver = Driver::new(Arc::clone(shared), Stream::Tcp(stream), arrival, kind, count);
    let look_up = tokio::spawn(look_up(shared.dns.clone(), address, name));
    tokio::spawn(async move {
        driver.run().await;
        look_up.abort();
        drop((slot, held));
    });
}

/// Asks for a client's name. A session waits for that only where a decision hangs on it: a message that comes sooner
/// does without.
async fn look_up(dns: Dns, address: IpAddr, name: Arc<Naming>) {
    let found = tokio::time::timeout(LOOK_UP, dns.name_of(address)).await;
    name.end(found.map_or(Named::Unknown, Named::from));
}

/// One client is one IPv4 address, or one IPv6 network of 64 bits: any host of it may take any address there.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

fn admit_local(shared: &Arc<Shared>, stream: UnixStream) {
    // Without credentials nobody sent it.
    let Ok(credentials) = stream.peer_cred() else { return };
    let uid = credentials.uid();
    let peer = Peer::Local { uid };
    let Some(slot) = shared.local.admit(uid) else {
        return turn_away(shared, stream, peer);
    };
    let client = Client::Local { uid };
    let arrival = Arrival::new(peer, Arc::default(), client);
    let driver =
        Driver::new(Arc::clone(shared), Stream::Unix(stream), arrival, ListenerKind::Smtp, Count::default());
    tokio::spawn(async move {
        driver.run().await;
        drop(slot);
    });
}

fn turn_away(shared: &Shared, stream: impl AsyncWriteExt + Unpin + Send + 'static, peer: Peer) {
    let reply = words::too_many_connections(shared.hostname.as_str());
    shared.events.emit(Event::SessionRefused { peer, reply: reply.to_string() });
    tokio::spawn(tokio::time::timeout(TURN_AWAY, say(stream, reply)));
}

async fn say(mut stream: impl AsyncWriteExt + Unpin, reply: Reply) {
    let mut line = Vec::new();
    reply.write_to(&mut line);
    let _ = stream.write_all(&line).await;
    let _ = stream.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let counted = |text: &str| counted_as(text.parse().unwrap()).to_string();
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:3:3:4:5:6"), "2001:db8:1:3::");
        assert_eq!(counted("192.0.2.77"), "192.0.2.77");
    }
}
