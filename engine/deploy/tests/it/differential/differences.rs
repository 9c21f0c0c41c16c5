//! Where the built-in MTA differs from Sendmail on purpose: by rule, never by address.

use std::fmt;

use mailstack_runtime::Role;

use super::sendmail::Question;

/// One question with both answers.
pub(super) struct Case<'c> {
    pub(super) configuration: &'c str,
    pub(super) role: Role,
    pub(super) hostname: &'c str,
    pub(super) question: &'c Question,
    pub(super) policy: String,
    pub(super) sendmail: String,
}

impl fmt::Display for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { configuration, question, policy, sendmail, .. } = self;
        write!(f, "{configuration}: {question:?}\n    policy   {policy}\n    sendmail {sendmail}")
    }
}

/// A difference, and why it is meant.
pub(super) struct Difference {
    pub(super) rule: &'static str,
    pub(super) applies: fn(&Case) -> bool,
}

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        rule: "a route in a sender's or header's local part is not obeyed: the address stays as it is written",
        applies: |case| case.is_rewriting() && case.local().contains(['%', '!']) && case.keeps_local(),
    },
    Difference {
        rule: "a client knows its loopback address without looking at its interfaces",
        applies: |case| {
            case.is_client() && case.domain() == "[127.0.0.1]" && case.sendmail.ends_with("@[127.0.0.1]")
        },
    },
    Difference {
        rule: "in a header, the own name of a client that takes no mail is as good as none, as in the envelope",
        applies: |case| {
            let recipient = matches!(case.question, Question::Try { flags: "HR", .. });
            recipient && case.role == Role::Msp && case.own_name_is_hidden()
        },
    },
];

impl Case<'_> {
    fn address(&self) -> &str {
        match self.question {
            Question::Try { address, .. } | Question::Parse { address } | Question::Verify { address } => {
                address
            }
        }
    }

    fn local(&self) -> &str {
        self.address().rsplit_once('@').map_or(self.address(), |(local, _)| local)
    }

    fn domain(&self) -> &str {
        self.address().rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    fn is_rewriting(&self) -> bool {
        matches!(self.question, Question::Try { .. })
    }

    fn is_client(&self) -> bool {
        matches!(self.role, Role::Nullclient | Role::Msp)
    }

    fn keeps_local(&self) -> bool {
        self.policy.starts_with(self.local()) && !self.sendmail.starts_with(self.local())
    }

    /// Sendmail's answer is at a name of the host, and ours is the same user elsewhere.
    fn own_name_is_hidden(&self) -> bool {
        let own = |domain: &str| domain == self.hostname || domain == "localhost";
        let parts = (self.policy.rsplit_once('@'), self.sendmail.rsplit_once('@'));
        matches!(parts, (Some((one, _)), Some((other, domain))) if one == other && own(domain))
    }
}
