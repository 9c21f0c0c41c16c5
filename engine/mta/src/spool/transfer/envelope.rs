//! An envelope as an export has it.
//!
//! Owns: the fields of `ID.json`, and what they stand for here. Not the spool's own description: that one may change
//! with the spool's version, this one is for others too. Pure.

use std::net::IpAddr;

use mailstack_policy::Target;
use mailstack_smtp::address::{Address, ReversePath};
use serde::{Deserialize, Serialize};

use super::super::change::{Progress, Standing, Stored, Wait, clip};
use crate::message::{Envelope, Notify, Origin, Recipient, Ret, Timestamp};
use crate::submission::is_envid;

/// The version of the format.
pub(super) const VERSION: u32 = 1;
/// Recipients of one message.
const MAX_RECIPIENTS: usize = 10_000;
/// Octets of a source or an id.
const MAX_NAME: usize = 64;
/// Octets of `orcpt` (RFC 3461 4.2).
const MAX_ORCPT: usize = 500;

/// `ID.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeFile {
    /// 1.
    pub version: u32,
    /// The spool that it comes from.
    pub source: String,
    /// Its name there.
    pub id: String,
    /// Octets of `ID.eml`.
    pub size: u64,
    /// Their CRC-32 (IEEE), eight hexadecimal digits.
    pub crc32: String,
    /// When it was accepted, RFC 3339.
    pub arrived: String,
    /// Where a bounce goes; empty: nowhere.
    pub sender: ReversePath,
    /// Whether its body may have octets over 127 (`BODY=8BITMIME`).
    #[serde(default)]
    pub eight_bit: bool,
    /// Whether the header is beyond ASCII by SMTPUTF8 (RFC 6531).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smtputf8: bool,
    /// `RET` of RFC 3461.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<String>,
    /// `ENVID` of RFC 3461, xtext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub envid: Option<String>,
    /// How it came.
    pub origin: OriginFile,
    /// Nothing is tried until it is released.
    #[serde(default)]
    pub held: bool,
    /// In the order of RCPT; not empty, and not all of them done.
    pub recipients: Vec<RecipientFile>,
}

/// How a message came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OriginFile {
    /// Over TCP.
    Network {
        /// The client's address.
        peer: IpAddr,
        /// What it called itself.
        hello: String,
    },
    /// From a program of that host.
    Local {
        /// The user who sent it.
        uid: u32,
    },
    /// It was written by the MTA itself: it is never bounced twice.
    Bounce {},
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipientFile {
    /// Where the message goes.
    pub address: Address,
    /// What the sender wrote, where an alias turned it into `address`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expanded_from: Option<Address>,
    /// `ORCPT` of RFC 3461.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcpt: Option<String>,
    /// `NOTIFY` of RFC 3461: `NEVER`, or some of `SUCCESS,FAILURE,DELAY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<String>,
    /// What is done with it, where its address does not say it: `{"refused": …}` is to come back.
    #[serde(default, skip_serializing_if = "Target::is_address")]
    pub target: Target,
    /// Where it stands.
    #[serde(default)]
    pub state: State,
    /// Attempts so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The next attempt, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// RFC 3463 status of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// What was said, by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnostic: Option<String>,
}

/// Where a recipient stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not tried yet.
    #[default]
    Fresh,
    /// Tried, to be tried again.
    Waiting,
    /// It has its final outcome: nothing is sent to it.
    Done,
}

impl EnvelopeFile {
    /// The envelope of a queued message whose octets have this checksum.
    pub(super) fn of(stored: Stored, source: &str, crc32: u32) -> Self {
        let Stored { id, envelope, size, progress, is_importing } = stored;
        let recipient = |(index, one)| RecipientFile::of(one, progress.of(index));
        Self {
            version: VERSION,
            source: source.to_owned(),
            id: id.to_string(),
            size,
            crc32: format!("{crc32:08x}"),
            arrived: written(envelope.arrived),
            sender: envelope.sender,
            eight_bit: envelope.eight_bit,
            smtputf8: envelope.smtputf8,
            ret: envelope.ret.map(|ret| ret.as_str().to_owned()),
            envid: envelope.envid,
            origin: match envelope.origin {
                Origin::Network { peer, hello } => OriginFile::Network { peer, hello },
                Origin::Local { uid } => OriginFile::Local { uid },
                Origin::Bounce => OriginFile::Bounce {},
            },
            // What an import holds is held by nobody.
            held: progress.held && !is_importing,
            recipients: envelope.recipients.into_iter().enumerate().map(recipient).collect(),
        }
    }

    /// What it stands for. Errors: what is wrong with it.
    pub(super) fn read(&self) -> Result<(Envelope, Progress), String> {
        if self.version != VERSION {
            return Err(format!("version {}: this program reads version {VERSION}", self.version));
        }
        for (name, value) in [("source", &self.source), ("id", &self.id)] {
            if !is_name(value) {
                return Err(format!("{name}: 1 to {MAX_NAME} of letters, digits, `.`, `_` and `-`"));
            }
        }
        if self.envid.as_ref().is_some_and(|envid| !is_envid(envid)) {
            return Err("envid: no value of ENVID".to_owned());
        }
        let envelope = Envelope {
            sender: self.sender.clone(),
            recipients: self.recipients.iter().map(RecipientFile::recipient).collect::<Result<_, _>>()?,
            arrived: stamp("arrived", &self.arrived)?,
            origin: match &self.origin {
                OriginFile::Network { peer, hello } => Origin::Network { peer: *peer, hello: hello.clone() },
                OriginFile::Local { uid } => Origin::Local { uid: *uid },
                OriginFile::Bounce {} => Origin::Bounce,
            },
            eight_bit: self.eight_bit,
            smtputf8: self.smtputf8,
            ret: self.ret.as_deref().map(ret).transpose()?,
            envid: self.envid.clone(),
        };
        let standings = self.recipients.iter().map(RecipientFile::standing).collect::<Result<Vec<_>, _>>()?;
        match standings.iter().filter(|standing| **standing != Standing::Done).count() {
            0 => Err("recipients: none is left to deliver to".to_owned()),
            _ if standings.len() > MAX_RECIPIENTS => Err(format!("recipients: more than {MAX_RECIPIENTS}")),
            _ => Ok((envelope, Progress::from_parts(standings, self.held))),
        }
    }
}

impl RecipientFile {
    fn of(recipient: Recipient, standing: &Standing) -> Self {
        let wait = match standing {
            Standing::Deferred(wait) => Some(wait),
            Standing::Fresh | Standing::Done => None,
        };
        Self {
            address: recipient.address,
            expanded_from: recipient.expanded_from,
            orcpt: recipient.orcpt,
            notify: recipient.notify.map(|notify| notify.to_string()),
            target: recipient.target,
            state: match standing {
                Standing::Fresh => State::Fresh,
                Standing::Deferred(_) => State::Waiting,
                Standing::Done => State::Done,
            },
            attempts: wait.map(|wait| wait.attempts),
            next: wait.map(|wait| written(wait.next)),
            status: wait.map(|wait| wait.status.clone()),
            diagnostic: wait.map(|wait| wait.diagnostic.clone()),
        }
    }

    fn recipient(&self) -> Result<Recipient, String> {
        let orcpt = self.orcpt.clone();
        if orcpt.as_ref().is_some_and(|orcpt| orcpt.len() > MAX_ORCPT || !is_printable(orcpt)) {
            return Err(format!("orcpt of {}: no value of ORCPT", self.address));
        }
        let notify = self.notify.as_deref().map(notify).transpose()?;
        let (address, expanded_from) = (self.address.clone(), self.expanded_from.clone());
        Ok(Recipient { address, expanded_from, orcpt, notify, target: self.target.clone() })
    }

    fn standing(&self) -> Result<Standing, String> {
        let missing = |what: &str| format!("{what} of {}: one that waits needs it", self.address);
        match self.state {
            State::Fresh => Ok(Standing::Fresh),
            State::Done => Ok(Standing::Done),
            State::Waiting => Ok(Standing::Deferred(Wait {
                attempts: self.attempts.ok_or_else(|| missing("attempts"))?,
                next: stamp("next", self.next.as_deref().ok_or_else(|| missing("next"))?)?,
                status: clip(self.status.clone().ok_or_else(|| missing("status"))?),
                diagnostic: clip(self.diagnostic.clone().ok_or_else(|| missing("diagnostic"))?),
            })),
        }
    }
}

/// Whether a text can be a source or an id.
pub(super) fn is_name(text: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_part) && !text.starts_with('.')
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn ret(text: &str) -> Result<Ret, String> {
    let known = [Ret::Full, Ret::Headers].into_iter().find(|ret| ret.as_str() == text);
    known.ok_or_else(|| format!("ret: `{text}` is neither FULL nor HDRS"))
}

fn notify(text: &str) -> Result<Notify, String> {
    let mut notify = Notify::default();
    for word in text.split(',').filter(|_| text != "NEVER") {
        let flag = match word {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return Err(format!("notify: `{text}` is neither NEVER nor some of SUCCESS,FAILURE,DELAY")),
        };
        *flag = true;
    }
    Ok(notify)
}

/// RFC 3339, UTC.
pub(super) fn written(at: Timestamp) -> String {
    let stamp = i64::try_from(at.0).ok().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    stamp.unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn stamp(name: &str, text: &str) -> Result<Timestamp, String> {
    let stamp: jiff::Timestamp = text
        .parse()
        .map_err(|_| format!("{name}: `{text}` is no time as in RFC 3339, 2026-01-31T12:00:00Z"))?;
    u64::try_from(stamp.as_millisecond())
        .map(Timestamp)
        .map_err(|_| format!("{name}: `{text}` is before 1970"))
}
