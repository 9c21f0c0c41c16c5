//! What happens to a message after it was accepted, and where each of its recipients stands.
//!
//! Owns: the changes that the spool records and how they add up to a state. Pure; must not know a file.

use serde::{Deserialize, Serialize};

use crate::message::{Envelope, Outcome, QueueId, Timestamp};

/// Octets of a diagnostic that are kept; the rest is cut.
pub const MAX_DIAGNOSTIC: usize = 256;

/// One thing that happened to a queued message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A recipient has its final outcome.
    Done {
        /// Its place in [`Envelope::recipients`].
        recipient: u32,
        /// What became of it.
        outcome: Outcome,
    },
    /// A recipient has to wait.
    Deferred {
        /// Its place in [`Envelope::recipients`].
        recipient: u32,
        /// Since when and until when, and why.
        wait: Wait,
    },
    /// Nothing is tried until it is released: as an import found it, or because it is not whole.
    Held,
    /// Nothing is tried until it is released: an operator said so.
    HeldBy {
        /// Who.
        uid: u32,
    },
    /// Tried again.
    Released,
}

/// Why a recipient waits, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Attempts so far.
    pub attempts: u32,
    /// Not before then.
    pub next: Timestamp,
    /// RFC 3463 status of the last attempt, `4.4.1`.
    pub status: String,
    /// What was said, by whom; at most [`MAX_DIAGNOSTIC`] octets.
    pub diagnostic: String,
}

/// Where one recipient stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Not tried yet.
    Fresh,
    /// Tried, and to be tried again.
    Deferred(Wait),
    /// It has its final outcome.
    Done,
}

/// Where a message stands. Costs nothing on the heap until the first change.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// By recipient; empty while all are fresh.
    standings: Vec<Standing>,
    /// Nothing is tried until it is released.
    pub held: bool,
    /// The user who held it; None: an import did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<u32>,
}

impl Progress {
    /// The state of a message whose recipients stand there.
    pub(super) fn from_parts(standings: Vec<Standing>, held: bool) -> Self {
        let is_fresh = standings.iter().all(|standing| *standing == Standing::Fresh);
        Self { standings: if is_fresh { Vec::new() } else { standings }, held, held_by: None }
    }

    /// Where a recipient stands.
    pub fn of(&self, recipient: usize) -> &Standing {
        self.standings.get(recipient).unwrap_or(&Standing::Fresh)
    }

    /// Whether each of `recipients` has its final outcome.
    pub fn is_concluded(&self, recipients: u32) -> bool {
        let done = self.standings.iter().filter(|&s| *s == Standing::Done).count();
        done as u64 >= u64::from(recipients)
    }

    /// Adds a change. A final outcome stays; a recipient that the message does not have is ignored.
    pub fn apply(&mut self, change: &Change, recipients: u32) {
        match change {
            Change::Done { recipient, .. } => self.set(*recipient, recipients, Standing::Done),
            Change::Deferred { recipient, wait } => {
                self.set(*recipient, recipients, Standing::Deferred(wait.clone()));
            }
            Change::Held => self.held = true,
            Change::HeldBy { uid } => (self.held, self.held_by) = (true, Some(*uid)),
            Change::Released => (self.held, self.held_by) = (false, None),
        }
    }

    fn set(&mut self, recipient: u32, recipients: u32, standing: Standing) {
        if recipient >= recipients {
            return;
        }
        if self.standings.is_empty() {
            self.standings = vec![Standing::Fresh; recipients as usize];
        }
        if let Some(place) = self.standings.get_mut(recipient as usize)
            && *place != Standing::Done
        {
            *place = standing;
        }
    }
}

/// A message that the host itself wrote about another, recorded together with the outcome that it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its envelope.
    pub envelope: Envelope,
    /// Header and body, CRLF.
    pub octets: Vec<u8>,
}

/// A queued message without its body, as the spool holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its name.
    pub id: QueueId,
    /// As accepted.
    pub envelope: Envelope,
    /// Octets of header and body.
    pub size: u64,
    /// Where its recipients stand.
    pub progress: Progress,
    /// It is held because the import that brought it is not whole.
    pub is_importing: bool,
}

/// Cuts a diagnostic to what is kept.
pub fn clip(mut text: String) -> String {
    if text.len() > MAX_DIAGNOSTIC {
        let end = (0..=MAX_DIAGNOSTIC).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(end);
    }
    text
}
