//! Handing mail in, as a program of this host does: over the submission socket, else into the drop directory.
//!
//! Owns: what `sendmail` calls, the drop file's form, and which failure means which exit code of sysexits.h. May
//! block: it runs in the program that submits, never in the daemon. Must not know arguments of a command line, nor
//! header fields: the message comes ready, in the host's line ends or with CRLF.

use mailstack_smtp::address::{Address, ReversePath};
use serde::{Deserialize, Serialize};

use crate::message::{Notify, Ret};

pub mod drop;
mod lines;

/// What a submitter asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where bounces go; a bare name is completed by the MTA.
    pub sender: ReversePath,
    /// To whom; bare names are completed by the MTA. Not empty.
    pub recipients: Vec<Address>,
    /// Whether the body may have octets over 127.
    pub eight_bit: bool,
    /// `RET` of RFC 3461.
    pub ret: Option<Ret>,
    /// `ENVID` of RFC 3461, in xtext.
    pub envid: Option<String>,
    /// `NOTIFY` of RFC 3461, for every recipient.
    pub notify: Option<Notify>,
}

impl Request {
    /// A request without parameters; eight-bit bodies are allowed.
    pub fn new(sender: ReversePath, recipients: Vec<Address>) -> Self {
        Self { sender, recipients, eight_bit: true, ret: None, envid: None, notify: None }
    }
}
