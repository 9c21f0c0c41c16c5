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
