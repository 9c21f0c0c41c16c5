//! Which senders the genericstable is for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which senders are looked up in the genericstable, beside those of the host's own name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Generics {
    /// Domains whose senders are looked up. Sendmail: `GENERICS_DOMAIN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["corp.example"]]))]
    pub domains: Option<Vec<String>>,
    /// Whether `domains` covers the hosts below them too. Sendmail: `FEATURE(generics_entire_domain)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub whole_domain: Option<bool>,
}
