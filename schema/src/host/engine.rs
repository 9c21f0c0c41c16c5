//! Who runs the role.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The program that a role runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// mailstack's own MTA.
    Builtin,
    /// The host's Sendmail, 8.12 or later.
    Sendmail,
}

/// Who owns the queue and the mailboxes of the host's Sendmail, and whom it runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Permissions {
    /// As its packaging has it: root once connected, too.
    Distribution,
    /// As `mail` once connected, with a queue of `mail`; mailboxes are of their users and of the group `mail`.
    NoRoot,
}
