//! Packets between the MTA and the delivery helper: JSON over a Unix SOCK_SEQPACKET pair.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::delivery::local::Facts;

/// Octets of the largest packet.
const MAX_PACKET: usize = 16 * 1024;

/// What the MTA sends. `serial` counts the requests of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// Deliver what the descriptor that comes along yields, once [`Request::Complete`] says that it was all.
    Deliver {
        /// Of this delivery.
        serial: u64,
        /// Where to.
        to: Place,
        /// What the mailbox records.
        facts: Facts,
    },
    /// The message was written to its end. Without it, nothing of it may be delivered.
    Complete {
        /// Of which delivery.
        serial: u64,
    },
    /// The message was not written to its end, and will not be.
    GiveUp {
        /// Of which delivery.
        serial: u64,
    },
}

/// Where a message is delivered to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Place {
    /// The mailbox of a user; the helper finds out who that is.
    Mailbox(String),
    /// A program of the helper's own list.
    Program {
        /// Its name there.
        name: String,
        /// What it is told.
        arguments: Vec<String>,
    },
    /// A file below the helper's own directory.
    File(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Mailbox(user) => write!(f, "the mailbox of {user}"),
            Place::Program { name, .. } => write!(f, "the program {name}"),
            Place::File(path) => f.write_str(path),
        }
    }
}

/// What the helper answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) struct Answer {
    /// Of which delivery.
    pub(super) serial: u64,
    /// How it ended.
    pub(super) result: Result<String, Failure>,
}

/// Why nothing was delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Failure {
    /// RFC 3463 status; its class says whether it is worth another try.
    pub status: String,
    /// In words, beginning in lower case.
    pub text: String,
}

/// A connected pair, neither end inherited by a program that is run.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (kind, flags) = (SocketType::SEQPACKET, SocketFlags::CLOEXEC);
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None)?)
}

/// Sends one packet, and a descriptor along with it.
pub(super) fn send(
    socket: impl AsFd,
    packet: &impl Serialize,
    descriptor: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let octets = serde_json::to_vec(packet)?;
    if octets.len() > MAX_PACKET {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|descriptor| [descriptor]);
    if let Some(descriptors) = &descriptors {
        control.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    rustix::net::sendmsg(socket, &[IoSlice::new(&octets)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives one packet and the descriptor that came along. None: the other end is closed.
pub(super) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Option<OwnedFd>)>> {
    let mut octets = vec![0; MAX_PACKET];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut octets)], &mut control, flags)?;
    let descriptor = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match received.bytes {
        0 => Ok(None),
        count => Ok(Some((serde_json::from_slice(&octets[..count])?, descriptor))),
    }
}
