//! An SMTP client that says what it is told, line by line, also what no client would say.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use mailstack_smtp::reply::{Parser, Reply};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// How long the server may take for one answer, and for a connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(4);
const PATIENCE_SECONDS: i64 = 4;

/// Opens a connection from this address.
pub(super) fn connect_from(source: IpAddr, target: SocketAddr) -> io::Result<TcpStream> {
    let family = if target.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::seconds(PATIENCE_SECONDS);
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(target))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A session, and what was said in it since it was last asked.
pub(super) struct Dialogue<S> {
    stream: S,
    parser: Parser,
    input: Vec<u8>,
    said: Vec<String>,
}

impl<S: Read + Write> Dialogue<S> {
    /// Reads the greeting and says EHLO. The second error: the answer of a server that does not take the session.
    pub(super) fn open(stream: S, name: &str) -> io::Result<Result<Self, Reply>> {
        let mut dialogue = Self { stream, parser: Parser::default(), input: Vec::new(), said: Vec::new() };
        let mut reply = dialogue.read_reply()?;
        if reply.is_positive() {
            reply = dialogue.say(&format!("EHLO {name}"))?;
        }
        dialogue.said.clear();
        Ok(if reply.is_positive() { Ok(dialogue) } else { Err(reply) })
    }

    /// Says a line and returns the answer.
    pub(super) fn say(&mut self, line: &str) -> io::Result<Reply> {
        self.said.push(format!("C: {line}"));
        self.stream.write_all(format!("{line}\r\n").as_bytes())?;
        self.read_reply()
    }

    /// Says the message after DATA was answered with 354, and returns the answer. No line may begin with a dot.
    pub(super) fn send(&mut self, message: &str) -> io::Result<Reply> {
        self.stream.write_all(message.as_bytes())?;
        self.say(".")
    }

    /// What was said by both sides since the last time.
    pub(super) fn take_said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    fn read_reply(&mut self) -> io::Result<Reply> {
        let mut chunk = [0; 1024];
        loop {
            let (taken, reply) = self.parser.parse(&self.input).map_err(io::Error::other)?;
            self.input.drain(..taken);
            if let Some(reply) = reply {
                self.said.push(format!("S: {reply}"));
                return Ok(reply);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}
