//! Who waits for the clients of a gateway.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who accepts connections to the addresses of `listen`, and how much serving them stands back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// Who accepts connections; how many at once is said by `limits.connections`. Sendmail: `-bd`, or `-bs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["xinetd"]))]
    pub by: Option<ServiceBy>,
    /// How much serving mail stands back behind other programs. Sendmail: none, nice(1). Unit: steps of nice(1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 19), extend("examples" = [10]))]
    pub nice: Option<u32>,
}

/// Who accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceBy {
    /// The MTA.
    Daemon,
    /// inetd, by `/etc/inetd.d/mailstack`.
    Inetd,
    /// xinetd, by `/etc/xinetd.d/mailstack`.
    Xinetd,
    /// A socket unit of systemd.
    Socket,
}
