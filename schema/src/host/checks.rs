//! What a gateway checks of its clients, and what an MTA says of itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is checked of a client of the network before its mail is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checks {
    /// Whether a client's address must have a name that has the address. Sendmail: `FEATURE(require_rdns)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub reverse_dns: Option<bool>,
    /// Whether a client that calls itself by a name of this host, or by none of two labels, is refused. Sendmail: `FEATURE(block_bad_helo)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [true]))]
    pub helo: Option<bool>,
    /// How long the greeting waits; who talks first is refused. Relay networks do not wait. Sendmail: `FEATURE(greet_pause)`. Unit: seconds; 0: no wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 300), extend("examples" = [5]))]
    pub greet_pause: Option<u32>,
    /// The most new connections of all clients a second; more of them wait. Sendmail: `confCONNECTION_RATE_THROTTLE`. 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000), extend("examples" = [20]))]
    pub connection_rate: Option<u32>,
    /// The most new connections of one address a minute; more are refused. Relay networks have no limit. Sendmail: `FEATURE(ratecontrol)`. 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100_000), extend("examples" = [60]))]
    pub connection_rate_per_client: Option<u32>,
    /// The refused recipients of a session behind which each further one waits a second. Sendmail: `confBAD_RCPT_THROTTLE`. 0: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000), extend("examples" = [3]))]
    pub bad_recipients: Option<u32>,
}

/// A list of addresses whose mail is refused, asked by DNS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Dnsbl {
    /// The domain that the list is asked in. Sendmail: `FEATURE(dnsbl)`.
    #[schemars(extend("examples" = ["bl.dnsbl.example"]))]
    pub zone: String,
    /// What a listed client is told, behind `550 5.7.1`. Sendmail: the second argument of `FEATURE(dnsbl)`. Default: its address and the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["Rejected: see https://bl.dnsbl.example/why"]))]
    pub text: Option<String>,
    /// The answers that mean a listing; at most five. Sendmail: `FEATURE(enhdnsbl)`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = [["127.0.0.2", "127.0.0.4"]]))]
    pub answers: Option<Vec<String>>,
}

/// What clients and users are not told, or must do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PrivacyFlag {
    /// All of them but `restrictmailq`, `restrictqrun`, `nobodyreturn`, `noetrn` and `noreceipts`.
    Goaway,
    /// HELO or EHLO before MAIL.
    Needmailhelo,
    /// HELO or EHLO before EXPN.
    Needexpnhelo,
    /// HELO or EHLO before VRFY.
    Needvrfyhelo,
    /// No EXPN, nor VERB.
    Noexpn,
    /// VRFY tells nothing.
    Novrfy,
    /// No VERB.
    Noverb,
    /// No ETRN.
    Noetrn,
    /// No DSN: neither offered nor sent on success.
    Noreceipts,
    /// Others than root and the MTA's user see of the queue what is theirs.
    Restrictmailq,
    /// Others than root and the MTA's user start no queue run.
    Restrictqrun,
    /// A bounce has the header of the message, never its body.
    Nobodyreturn,
    /// A program that names a sender other than its user is noted in the header.
    Authwarnings,
}
