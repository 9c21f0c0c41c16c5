//! The listening sockets: inherited from systemd, or bound here.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use listenfd::ListenFd;
use mailstack_runtime::{Config, Paths};

use super::RunError;
use super::confine::is_client;
use crate::host::{Root, unix};

/// Sockets before the runtime exists.
#[derive(Debug, Default)]
pub(super) struct Bound {
    pub(super) network: Vec<TcpListener>,
    pub(super) submission: Option<UnixListener>,
    pub(super) control: Option<UnixListener>,
    /// Where connections are handed over that somebody else accepted.
    pub(super) sessions: Option<UnixListener>,
}

impl Bound {
    /// Takes what systemd gave (`LISTEN_FDS`, sd_listen_fds(3)). A Unix socket is told by its file name.
    ///
    /// Errors: one is of no use, or of the network, where the role never listens there.
    pub(super) fn inherit(config: &Config) -> Result<Self, RunError> {
        let paths = &config.paths;
        let mut given = ListenFd::from_env();
        let mut bound = Bound::default();
        for index in 0..given.len() {
            match given.take_unix_listener(index) {
                Ok(Some(listener)) => bound.place(listener, paths),
                Ok(None) => {}
                Err(_) => {
                    let listener = given.take_tcp_listener(index).map_err(RunError::Inherited)?;
                    bound.network.extend(listener);
                }
            }
        }
        match bound.network.first() {
            Some(listener) if is_client(config.role) => {
                Err(RunError::NeverListens { address: listener.local_addr().map_err(RunError::Inherited)? })
            }
            _ => Ok(bound),
        }
    }

    fn place(&mut self, listener: UnixListener, paths: &Paths) {
        let address = listener.local_addr().ok();
        let name = address.as_ref().and_then(|address| address.as_pathname()).and_then(Path::file_name);
        if name == paths.control_socket.file_name() {
            self.control = Some(listener);
        } else {
            self.submission = Some(listener);
        }
    }

    /// Binds the TCP addresses, unless sockets were inherited for them. Needs root for ports below 1024.
    pub(super) fn bind_network(&mut self, config: &Config) -> Result<(), RunError> {
        if self.network.is_empty() && config.served_by.is_daemon() {
            for address in &config.listeners {
                self.network.push(listen(*address)?);
            }
        }
        Ok(())
    }

    /// Binds the Unix sockets that were not inherited.
    pub(super) fn bind_unix(&mut self, root: &Root, config: &Config) -> Result<(), RunError> {
        let (paths, session) = (&config.paths, config.paths.session_socket());
        let mut places = vec![
            (&mut self.submission, &paths.submission_socket),
            (&mut self.control, &paths.control_socket),
        ];
        if !config.served_by.is_daemon() {
            places.push((&mut self.sessions, &session));
        }
        for (slot, path) in places {
            let path = root.path(path);
            if slot.is_none() {
                let bound = unix::bind(&path, 0o666);
                *slot = Some(bound.map_err(|source| RunError::Socket { path, source })?);
            }
        }
        Ok(())
    }

    /// The descriptors of the Unix sockets.
    pub(super) fn unix(&self) -> Vec<i32> {
        let sockets = [&self.submission, &self.control, &self.sessions];
        sockets.into_iter().flatten().map(AsRawFd::as_raw_fd).collect()
    }

    /// Where is listened, as the log and `status` name it.
    pub(super) fn names(&self, root: &Root, paths: &Paths) -> Vec<String> {
        let network = self.network.iter().filter_map(|listener| listener.local_addr().ok());
        let mut names: Vec<String> = network.map(|address| address.to_string()).collect();
        names.push(root.path(&paths.submission_socket).display().to_string());
        names
    }
}

/// A v6 wildcard must not take the v4 one's port from its own listener: each address is its own socket.
fn listen(address: SocketAddr) -> Result<TcpListener, RunError> {
    let failed = |source: std::io::Error| RunError::Listen { address, source };
    let socket = bind(address).map_err(|e| failed(e.into()))?;
    Ok(TcpListener::from(socket))
}

/// Clients that wait for accept; a short queue drops those of a burst.
const BACKLOG: i32 = 1024;

fn bind(address: SocketAddr) -> nix::Result<std::os::fd::OwnedFd> {
    use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        socket::setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}
