//! What is checked of clients of the network, and what nobody is told.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use mailstack_policy::DomainName;
use serde::{Deserialize, Serialize};

/// What is checked of a client of the network before its mail is taken. Relay networks, clients that an access entry
/// names `OK` and loopback are exempt from all but `connection_rate` and `bad_recipients`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Checks {
    /// The address must have a name that has the address (`FEATURE(require_rdns)`).
    pub reverse_dns: bool,
    /// No client may call itself by a name of this host, or by one of a single label (`FEATURE(block_bad_helo)`).
    pub helo: bool,
    /// Seconds before the greeting; 0: none (`FEATURE(greet_pause)`).
    pub greet_pause: u32,
    /// New connections of all clients a second; 0: no limit (`ConnectionRateThrottle`).
    pub connection_rate: u32,
    /// New connections of one address a minute; 0: no limit (`FEATURE(ratecontrol)`).
    pub connection_rate_per_client: u32,
    /// Refused recipients of a session behind which each further one waits a second; 0: no limit
    /// (`BadRcptThrottle`).
    pub bad_recipients: u32,
    /// Lists of clients whose mail is refused, in the order that they are told of.
    pub dnsbl: Vec<Dnsbl>,
}

/// One list (`FEATURE(dnsbl)`, `FEATURE(enhdnsbl)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dnsbl {
    /// The domain that it is asked in.
    pub zone: DomainName,
    /// What a listed client is told, behind `550 5.7.1`; None: its address and the list.
    #[serde(default)]
    pub text: Option<String>,
    /// The answers that mean a listing; empty: any.
    #[serde(default)]
    pub answers: BTreeSet<Ipv4Addr>,
}

/// One thing that nobody is told, or that must come first (`PrivacyOptions`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// HELO before MAIL.
    Needmailhelo,
    /// HELO before EXPN.
    Needexpnhelo,
    /// HELO before VRFY.
    Needvrfyhelo,
    /// No EXPN.
    Noexpn,
    /// VRFY tells nothing.
    Novrfy,
    /// No VERB.
    Noverb,
    /// No ETRN.
    Noetrn,
    /// No DSN.
    Noreceipts,
    /// The queue of others is not shown.
    Restrictmailq,
    /// Not everybody starts a queue run.
    Restrictqrun,
    /// No body in a bounce.
    Nobodyreturn,
    /// A sender other than the user is noted.
    Authwarnings,
}

impl Privacy {
    /// What `goaway` stands for (sendmail 8.17, conf.c).
    pub const GOAWAY: [Privacy; 7] = [
        Privacy::Needmailhelo,
        Privacy::Needexpnhelo,
        Privacy::Needvrfyhelo,
        Privacy::Noexpn,
        Privacy::Novrfy,
        Privacy::Noverb,
        Privacy::Authwarnings,
    ];

    /// What a configuration has that does not say it.
    pub fn careful() -> BTreeSet<Privacy> {
        let more = [Privacy::Noetrn, Privacy::Restrictmailq, Privacy::Restrictqrun];
        Self::GOAWAY.into_iter().chain(more).collect()
    }
}
