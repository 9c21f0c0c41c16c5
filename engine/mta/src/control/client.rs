//! The client of the control socket: blocking, for commands.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use mailstack_runtime::Paths;

use super::{Acted, ControlError, Damaged, Item, Operation, Reply, Request, Shown, Status};
use crate::host::{Root, unix};
use crate::message::QueueId;
use crate::queue::Selector;
use crate::secrets::Certificate;

/// How long the MTA may be silent.
const SILENCE: Duration = Duration::from_secs(30);

/// A connection to a running MTA.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects. Errors: [`ControlError::NotRunning`], [`ControlError::Io`].
    pub fn connect(root: &Root, paths: &Paths) -> Result<Self, ControlError> {
        let socket = root.path(&paths.control_socket);
        let connected = unix::connect(&socket).and_then(|stream| {
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_write_timeout(Some(SILENCE))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Self { socket, stream: BufReader::new(stream) }),
            Err(e) => match e.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                    Err(ControlError::NotRunning { socket })
                }
                _ => Err(ControlError::Io { socket, source: e }),
            },
        }
    }

    /// Asks how the MTA is.
    pub fn status(&mut self) -> Result<Status, ControlError> {
        self.send(&Request::Status)?;
        match self.receive()? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected(other)),
        }
    }

    /// Asks for the metrics, in the text of Prometheus.
    pub fn metrics(&mut self) -> Result<String, ControlError> {
        self.send(&Request::Metrics)?;
        match self.receive()? {
            Reply::Metrics { text } => Ok(text),
            other => Err(unexpected(other)),
        }
    }

    /// Has a renewed certificate shown.
    pub fn renew(&mut self, certificate: Certificate) -> Result<(), ControlError> {
        self.order(&Request::Renew(certificate))
    }

    /// Asks for what waits to be tried now.
    pub fn flush(&mut self) -> Result<(), ControlError> {
        self.order(&Request::Flush)
    }

    /// Asks for a look into the drop directory.
    pub fn scan_drop(&mut self) -> Result<(), ControlError> {
        self.order(&Request::ScanDrop)
    }

    /// Lists the queue behind `after`, at most `limit` messages; they come as they are read.
    pub fn queue_list(
        mut self,
        after: Option<QueueId>,
        limit: Option<u64>,
        select: Selector,
    ) -> Result<Entries, ControlError> {
        self.send(&Request::QueueList { after, limit, select })?;
        Ok(Entries { client: self, over: false })
    }

    /// Asks for all that is known of a message; `write` gets its header, and its body too where that is asked for.
    pub fn queue_show(
        &mut self,
        id: QueueId,
        body: bool,
        write: &mut dyn FnMut(&Shown, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), ControlError> {
        self.send(&Request::QueueShow { id, body })?;
        let shown = match self.receive()? {
            Reply::Shown(shown) => shown,
            other => return Err(unexpected(other)),
        };
        loop {
            match self.receive()? {
                Reply::Octets { text } => {
                    let octets: Vec<u8> = text.chars().filter_map(|c| u8::try_from(c).ok()).collect();
                    write(&shown, &octets).map_err(ControlError::Output)?;
                }
                Reply::Done { .. } => return Ok(()),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Has something done with what is selected, and tells of each message as it comes.
    pub fn queue_operate(
        &mut self,
        operation: &Operation,
        select: Selector,
        dry_run: bool,
        tell: &mut dyn FnMut(Acted),
    ) -> Result<(), ControlError> {
        self.send(&Request::QueueOperate { operation: operation.clone(), select, dry_run })?;
        loop {
            match self.receive()? {
                Reply::Acted(acted) => tell(acted),
                Reply::Busy => {}
                Reply::Done { .. } => return Ok(()),
                other => return Err(unexpected(other)),
            }
        }
    }

    /// Has all of the queue read. Returns the messages that are whole, their octets, and what is damaged.
    pub fn queue_verify(&mut self) -> Result<(u64, u64, Vec<Damaged>), ControlError> {
        self.send(&Request::QueueVerify)?;
        let (mut messages, mut octets, mut damaged) = (0, 0, Vec::new());
        loop {
            match self.receive()? {
                Reply::Verified { messages: more, octets: of_them } => {
                    messages += more;
                    octets += of_them;
                }
                Reply::Damaged(found) => damaged.push(found),
                Reply::Done { .. } => return Ok((messages, octets, damaged)),
                other => return Err(unexpected(other)),
            }
        }
    }

    fn order(&mut self, request: &Request) -> Result<(), ControlError> {
        self.send(request)?;
        match self.receive()? {
            Reply::Done { .. } => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        let mut line = serde_json::to_vec(request).map_err(ControlError::Answer)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).map_err(|e| self.failed(e))
    }

    fn receive(&mut self) -> Result<Reply, ControlError> {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).map_err(|e| self.failed(e))?;
        if read == 0 {
            return Err(self.failed(std::io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(ControlError::Answer)
    }

    fn failed(&self, source: std::io::Error) -> ControlError {
        ControlError::Io { socket: self.socket.clone(), source }
    }
}

fn unexpected(reply: Reply) -> ControlError {
    match reply {
        Reply::Error { text } => ControlError::Refused(text),
        _ => ControlError::Unexpected,
    }
}

/// The messages of a list, as they come.
#[derive(Debug)]
pub struct Entries {
    client: Client,
    over: bool,
}

impl Iterator for Entries {
    type Item = Result<Item, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let received = loop {
            match self.client.receive() {
                Ok(Reply::Busy) => {}
                received => break received,
            }
        };
        match received {
            Ok(Reply::Message(entry)) => return Some(Ok(Item::Message(entry))),
            Ok(Reply::Damaged(found)) => return Some(Ok(Item::Damaged(found))),
            Ok(Reply::Done { .. }) => self.over = true,
            Ok(other) => {
                self.over = true;
                return Some(Err(unexpected(other)));
            }
            Err(e) => {
                self.over = true;
                return Some(Err(e));
            }
        }
        None
    }
}
