//! A connection of the network that another program accepted, handed over to the MTA as a descriptor.
//!
//! Who that is, inetd or a socket unit of systemd, started `sendmail -bs` on it. The MTA asks the kernel who the client
//! is: nothing that the other side says counts.

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};

use super::unix;

/// What the MTA answers once it has the connection.
pub(crate) const TAKEN: u8 = b'+';

/// Whether a descriptor is a socket of IPv4 or IPv6.
pub fn is_of_network(descriptor: impl AsFd) -> bool {
    let address = rustix::net::getsockname(descriptor);
    address.is_ok_and(|it| [AddressFamily::INET, AddressFamily::INET6].contains(&it.address_family()))
}

/// Hands the connection over, and waits for its end. Errors: nobody takes it at `place`; the client was told nothing.
pub fn hand_over(place: &Path, connection: BorrowedFd<'_>) -> io::Result<()> {
    let mut mta = unix::connect(place)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [connection];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(&mta, &[IoSlice::new(&[TAKEN])], &mut control, SendFlags::NOSIGNAL)?;
    let mut answer = [0];
    match mta.read(&mut answer)? {
        0 => Err(io::ErrorKind::ConnectionRefused.into()),
        // Until the session ends: who counts processes counts sessions.
        _ => io::copy(&mut mta, &mut io::sink()).map(drop),
    }
}

/// A connection that was handed over.
pub(crate) struct Handed {
    pub(crate) stream: TcpStream,
    pub(crate) client: SocketAddr,
    /// The address of this host that it came to.
    pub(crate) at: SocketAddr,
}

/// Receives one. Errors: `WouldBlock`, or what came is no connection of TCP.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Handed> {
    let mut octet = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut octet)], &mut control, flags)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    connection(descriptor.ok_or(io::ErrorKind::InvalidData)?)
}

fn connection(descriptor: OwnedFd) -> io::Result<Handed> {
    let kind = rustix::net::sockopt::socket_type(&descriptor)?;
    if kind != rustix::net::SocketType::STREAM || !is_of_network(&descriptor) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let stream = TcpStream::from(descriptor);
    stream.set_nonblocking(true)?;
    Ok(Handed { client: stream.peer_addr()?, at: stream.local_addr()?, stream })
}

/// Whether who is at the other end may hand over: to anybody else the kernel may name any client, from a namespace of
/// their own.
pub(crate) fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn the_kernel_says_who_the_client_is() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("session");
        let served = unix::bind(&place, 0o600).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, from) = listener.accept().unwrap();
        assert!(is_of_network(&accepted));
        let stub = thread::spawn(move || hand_over(&place, accepted.as_fd()));
        let (mut mta, _) = served.accept().unwrap();
        let handed = receive(&mta).unwrap();
        assert_eq!((handed.client, handed.at), (from, client.peer_addr().unwrap()));
        io::Write::write_all(&mut mta, &[TAKEN]).unwrap();
        drop(mta);
        stub.join().unwrap().unwrap();
    }

    #[test]
    fn nothing_but_a_connection_of_the_network_is_taken() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert!(!is_of_network(&ours));
        assert!(connection(theirs.into()).is_err());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(connection(listener.into()).is_err());
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(connection(datagrams.into()).is_err());
        let directory = tempfile::tempdir().unwrap();
        let refused = hand_over(&directory.path().join("nobody"), ours.as_fd());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
