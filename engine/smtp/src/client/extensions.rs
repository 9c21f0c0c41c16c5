//! What a peer offers in its answer to EHLO.

use crate::reply::Reply;
use crate::sasl::{Mechanism, Mechanisms};

/// The extensions that were offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE (RFC 1870) was offered.
    pub size: bool,
    /// The octets that the peer takes; None where it names no limit.
    pub size_limit: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// CHUNKING (RFC 3030).
    pub chunking: bool,
    /// AUTH (RFC 4954): those of its mechanisms that are known here.
    pub auth: Mechanisms,
    /// LIMITS (RFC 9422): the most recipients of a transaction.
    pub max_recipients: Option<u32>,
}

impl Extensions {
    /// Reads the lines behind the first of an EHLO reply.
    pub(super) fn of(reply: &Reply) -> Self {
        let mut offered = Self::default();
        reply.lines().skip(1).for_each(|line| offered.add(line));
        offered
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
        match keyword.as_str() {
            "PIPELINING" => self.pipelining = true,
            "8BITMIME" => self.eight_bit = true,
            "DSN" => self.dsn = true,
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            "STARTTLS" => self.starttls = true,
            "SMTPUTF8" => self.smtputf8 = true,
            "CHUNKING" => self.chunking = true,
            "AUTH" => words.for_each(|name| self.add_mechanism(name)),
            // RFC 9422 3: a limit of zero makes no sense.
            "LIMITS" => {
                let limit =
                    |word: &str| word.split_once('=').filter(|(key, _)| *key == "RCPTMAX")?.1.parse().ok();
                self.max_recipients = words.find_map(limit).filter(|&most: &u32| most > 0);
            }
            "SIZE" => {
                self.size = true;
                // RFC 1870 3: zero is no limit.
                self.size_limit = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
            }
            _ => {}
        }
    }

    fn add_mechanism(&mut self, name: &str) {
        let known = |mechanism: &Mechanism| mechanism.as_str().eq_ignore_ascii_case(name);
        Mechanism::ALL.into_iter().filter(known).for_each(|mechanism| self.auth.add(mechanism));
    }
}
