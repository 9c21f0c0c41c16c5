//! Why a recipient failed or waits, as far as the sender and the log are told.

use std::fmt;
use std::net::SocketAddr;

/// The most characters of what a peer said that are kept.
const MAX_TEXT: usize = 500;

/// A status and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// RFC 3463 status, `5.1.1`.
    pub status: String,
    /// Who said what.
    pub said: Said,
}

/// Who found the fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// The next hop answered.
    Reply {
        /// Who answered.
        peer: Peer,
        /// What was asked: `RCPT TO`, `end of data`.
        command: String,
        /// The reply on one line, codes included.
        text: String,
    },
    /// This host found it: no such user, no route, no connection.
    Here {
        /// Whom it concerned, where a connection was tried.
        peer: Option<Peer>,
        /// The fault in words, beginning in lower case.
        text: String,
    },
}

/// A next hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its name, or its address once more where it has none.
    pub name: String,
    /// Where it was reached.
    pub address: SocketAddr,
}

impl fmt::Display for Peer {
    /// `mail.example[192.0.2.1]:25`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]:{}", self.name, self.address.ip(), self.address.port())
    }
}

impl Cause {
    /// A fault that this host found.
    pub fn here(status: &str, text: impl AsRef<str>) -> Self {
        Self { status: status.to_owned(), said: Said::Here { peer: None, text: one_line(text.as_ref()) } }
    }

    /// A fault of a connection.
    pub fn connection(status: &str, peer: Peer, text: impl AsRef<str>) -> Self {
        let said = Said::Here { peer: Some(peer), text: one_line(text.as_ref()) };
        Self { status: status.to_owned(), said }
    }

    /// What a peer answered.
    pub fn reply(status: &str, peer: Peer, command: &str, text: &str) -> Self {
        let said = Said::Reply { peer, command: command.to_owned(), text: one_line(text) };
        Self { status: status.to_owned(), said }
    }

    /// The same with the class of the status changed to `class`: `4.4.1` as a final failure is `5.4.1`.
    pub fn with_class(mut self, class: char) -> Self {
        self.status = format!("{class}{}", self.status.get(1..).unwrap_or(".0.0"));
        self
    }

    /// The peer, where one was reached or tried.
    pub fn peer(&self) -> Option<&Peer> {
        match &self.said {
            Said::Reply { peer, .. } => Some(peer),
            Said::Here { peer, .. } => peer.as_ref(),
        }
    }
}

impl fmt::Display for Cause {
    /// On one line and without the status, as the log and `mailq` show it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.said {
            Said::Reply { peer, command, text } => write!(f, "{peer} said: {text} (in reply to {command})"),
            Said::Here { peer: Some(peer), text } => write!(f, "{peer}: {text}"),
            Said::Here { peer: None, text } => f.write_str(text),
        }
    }
}

/// Without control characters, and of bounded length: a peer must not write lines of its own into a log or report.
fn one_line(text: &str) -> String {
    let blank = |c: char| if c.is_control() { ' ' } else { c };
    let line: String = text.trim().chars().map(blank).take(MAX_TEXT).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
