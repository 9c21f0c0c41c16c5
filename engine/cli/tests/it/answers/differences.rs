//! Where the built-in server answers otherwise than Sendmail, on purpose: by rule, never by address.

use std::fmt;

/// One answer of each engine.
pub(super) struct Step<'s> {
    pub(super) host: &'s str,
    pub(super) client: &'s str,
    pub(super) line: &'s str,
    pub(super) builtin: &'s str,
    pub(super) sendmail: &'s str,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { host, client, line, builtin, sendmail } = self;
        write!(f, "{host}, {client}: {line:.100}\n    built-in {builtin}\n    Sendmail {sendmail}")
    }
}

/// A difference, and why it is meant.
pub(super) struct Difference {
    pub(super) rule: &'static str,
    pub(super) applies: fn(&Step) -> bool,
}

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        rule: "a size that is no number is refused; Sendmail reads it as 0",
        applies: |step| {
            step.line.contains(" SIZE=") && step.builtin == "501 5.5.4" && step.sendmail == "250 2.1.0"
        },
    },
    Difference {
        rule: "a parameter that comes twice or is empty is refused",
        applies: |step| {
            let word = step.line.split(' ').next_back().unwrap_or_default();
            let twice = step.line.matches(word).count() == 2;
            (twice || word.ends_with('='))
                && step.builtin.starts_with("501 5.5.")
                && step.sendmail.starts_with('2')
        },
    },
    Difference {
        rule: "who has no certificate does not know STARTTLS; Sendmail has clients try again",
        applies: |step| {
            step.line == "STARTTLS" && step.builtin == "502 5.5.1" && step.sendmail == "454 4.3.3"
        },
    },
    Difference {
        rule: "a message of too many hops is refused; Sendmail takes it and returns it",
        applies: |step| {
            step.line.starts_with("{Received:") && step.builtin == "554 5.4.6" && step.sendmail == "250 2.0.0"
        },
    },
    Difference {
        rule: "a command line that is too long does not end the session",
        applies: |step| step.builtin == "500 5.5.2" && step.sendmail == "421 4.7.0",
    },
    Difference {
        rule: "who comes from the host's own address is a client like others, as proxies on it bring strangers so; Sendmail \
               relays for it",
        applies: |step| {
            step.client == "203.0.113.2"
                && step.line.starts_with("RCPT")
                && step.builtin == "550 5.7.1"
                && step.sendmail == "250 2.1.5"
        },
    },
    Difference {
        rule: "ETRN is not offered whatever privacy says: what waits is tried by itself",
        applies: |step| {
            step.line.starts_with("ETRN")
                && step.builtin == "502 5.7.0"
                && ["250 2.0.0", "458 4.7.0", "501 5.5.2", "459 4.5.4"].contains(&step.sendmail)
        },
    },
    Difference {
        rule: "many hellos end no session, many errors do; Sendmail ends it at the fourth",
        applies: |step| {
            (step.line.starts_with("EHLO") || step.line.starts_with("HELO"))
                && step.builtin == "250"
                && step.sendmail == "421 4.7.0"
        },
    },
];
