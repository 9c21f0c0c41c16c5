//! Connections of the network that inetd or a socket unit of systemd accepted: `sendmail -bs` hands them over.
//!
//! They are served as those that are accepted here, by the same rules and counts. Who hands over decides nothing but
//! that there is a client; whoever else could make the kernel name any address, so only root and this user may.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;

use super::Shared;
use super::listen::{admit_network, exhausted, next};
use super::rates::Throttle;
use crate::host::handover::{self, TAKEN};

/// How long a connection may be announced and not be there.
const COMES: Duration = Duration::from_secs(5);

/// Takes connections over until the server stops.
pub(super) async fn sessions(shared: Arc<Shared>, listener: UnixListener) {
    let mut stop = shared.stop.subscribe();
    let mut throttle = Throttle::new(shared.config.checks.connection_rate);
    while let Some(accepted) = next(&mut stop, listener.accept()).await {
        match accepted {
            Ok((stream, _)) if is_trusted(&shared, &stream) => {
                tokio::spawn(take(Arc::clone(&shared), stream));
            }
            Ok(_) => continue,
            Err(e) => exhausted(&shared, &e).await,
        }
        if next(&mut stop, throttle.pass()).await.is_none() {
            return;
        }
    }
}

fn is_trusted(shared: &Shared, stream: &UnixStream) -> bool {
    let uid = stream.peer_cred().map(|credentials| credentials.uid());
    if uid.as_ref().is_ok_and(|uid| handover::is_trusted(*uid)) {
        return true;
    }
    let uid = uid.map_or_else(|_| "nobody".to_owned(), |uid| format!("uid {uid}"));
    shared.events.warn(format!(
        "{uid} may hand over no connection: in inetd's configuration the user is to be mailstack"
    ));
    false
}

async fn take(shared: Arc<Shared>, mut stream: UnixStream) {
    let comes = stream.async_io(Interest::READABLE, || handover::receive(&stream));
    let Ok(Ok(handed)) = timeout(COMES, comes).await else {
        shared.events.warn("what was handed over is no connection of TCP".to_owned());
        return;
    };
    let Some(kind) = shared.config.kind_of_connection(&handed.at) else {
        let at = handed.at;
        shared.events.warn(format!("a connection to {at} is not served: `listen` has no such address"));
        return;
    };
    let Ok(connection) = TcpStream::from_std(handed.stream) else { return };
    if stream.write_all(&[TAKEN]).await.is_ok() {
        admit_network(&shared, connection, handed.client.ip(), kind, Some(stream));
    }
}
