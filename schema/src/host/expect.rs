//! `[[expect]]`: what must become of a message, proven before anything is applied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What must become of one message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The envelope sender; empty is the null sender. Sendmail: `-f`. Without it: `root` of this host, or where
    /// `client` is another host the null sender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["root", "bob@outside.example", ""]))]
    pub from: Option<String>,
    /// The envelope recipient. Sendmail: `-bv`.
    #[schemars(extend("examples" = ["root", "alice@corp.example"]))]
    pub to: String,
    /// Who hands it in: `local` is a program of this host, else the address of the host that connects. Sendmail:
    /// `${client_addr}`. Without it: `local`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["local", "198.51.100.7"]))]
    pub client: Option<String>,
    /// What must become of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What must become of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It leaves for another host. Sendmail: `-bv`.
    Leaves(
        #[schemars(extend("examples" = [{"for": "mailhost.corp.example", "sender": "root@corp.example"}]))]
        Leaves,
    ),
    /// It is delivered to this user's mailbox: he and `root` exist, and nobody else does whom no expectation
    /// delivers to. Sendmail: `-bv`.
    Delivered(#[schemars(extend("examples" = ["alice"]))] String),
    /// It is refused. Sendmail: `check_mail`, `check_rcpt`.
    Refused(#[schemars(extend("examples" = [{"code": 550, "enhanced": "5.7.1"}]))] Refused),
}

/// How a message leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Leaves {
    /// The host that it is handed to first: `host` by name, `[host]` or `[192.0.2.1]` without MX; a port counts where
    /// it is written. Sendmail: `$h` of the mailer.
    #[serde(rename = "for")]
    #[schemars(extend("examples" = ["mailhost.corp.example", "[192.0.2.1]:587"]))]
    pub hop: String,
    /// The envelope sender that it leaves with; empty is the null sender. Sendmail: `$f`. Without it: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["root@corp.example"]))]
    pub sender: Option<String>,
    /// The envelope recipient that it leaves with. Sendmail: `$u`. Without it: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["root@corp.example"]))]
    pub recipient: Option<String>,
}

/// How a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Refused {
    /// The reply code. Sendmail: `$@` of `$#error`.
    #[schemars(range(min = 400, max = 599), extend("examples" = [550]))]
    pub code: u16,
    /// The enhanced status code. Sendmail: `$@` of `$#error`. Without it: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = crate::value::ENHANCED), extend("examples" = ["5.7.1"]))]
    pub enhanced: Option<String>,
}
