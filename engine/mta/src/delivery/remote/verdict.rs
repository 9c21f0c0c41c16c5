//! What a session's outcomes mean for a recipient. Pure.

use mailstack_smtp::client::{Closed, Outcome, Stage};
use mailstack_smtp::reply::Reply;

use super::connection::NoSession;
use crate::bounce::{Cause, Peer};

/// What became of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The next hop has it.
    Taken {
        /// Who.
        peer: Peer,
        /// Its reply.
        reply: String,
        /// It passes NOTIFY on (RFC 3461), and will report itself.
        reports: bool,
    },
    /// It failed for good.
    Failed(Cause),
    /// To be tried again later.
    Deferred {
        /// Why.
        cause: Cause,
        /// No session was possible with any host.
        unreachable: bool,
    },
}

/// Whether what happened decides about the recipient, or the next host may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Settled(Verdict),
    NextHost(Cause),
}

pub(super) fn judge(outcome: Outcome, peer: &Peer, reports: bool) -> Judged {
    match outcome {
        Outcome::Accepted(reply) => {
            Judged::Settled(Verdict::Taken { peer: peer.clone(), reply: reply.to_string(), reports })
        }
        Outcome::Refused { stage, reply } => {
            let cause = refusal(stage, &reply, peer);
            match reply.is_permanent() {
                true if is_too_many(stage, &reply) => Judged::NextHost(cause.with_class('4')),
                true => Judged::Settled(Verdict::Failed(cause)),
                false if stage >= Stage::Body => Judged::Settled(deferred(cause)),
                false => Judged::NextHost(cause),
            }
        }
        // It may have been taken: another host would take it once more.
        Outcome::NoAnswer { stage: Stage::EndOfData } => {
            let text = "connection lost before the reply to the end of data: it may arrive twice";
            Judged::Settled(deferred(Cause::connection("4.4.2", peer.clone(), text)))
        }
        Outcome::NoAnswer { stage } => {
            let text = format!("connection lost, no reply to {}", command(stage));
            Judged::NextHost(Cause::connection("4.4.2", peer.clone(), text))
        }
    }
}

/// RFC 5321 4.5.3.1.10: 552 to RCPT means too many recipients, to be sent to in another transaction.
fn is_too_many(stage: Stage, reply: &Reply) -> bool {
    stage == Stage::Rcpt && reply.code() == 552
}

fn deferred(cause: Cause) -> Verdict {
    Verdict::Deferred { cause, unreachable: false }
}

/// Why a host had no session for us, always a reason to ask the next; None: the host is ourselves.
pub(super) fn no_session(fault: NoSession, peer: Peer) -> Option<Cause> {
    match fault {
        NoSession::Loop => None,
        // The mail waits: what is not verified is spoken to in no other way.
        NoSession::NoTls(fault) => Some(Cause::connection("4.7.5", peer, fault.to_string())),
        NoSession::Closed(Closed::NoTls) => {
            let text = "TLS is required, and the host does not offer it";
            Some(Cause::connection("4.7.4", peer, text))
        }
        NoSession::Closed(Closed::NoAuth(why)) => Some(Cause::connection("4.7.0", peer, why.to_string())),
        NoSession::Unreachable(error) => {
            let text = match error.kind() {
                std::io::ErrorKind::TimedOut => "connection timed out".to_owned(),
                std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                _ => format!("cannot connect: {error}"),
            };
            Some(Cause::connection("4.4.1", peer, text))
        }
        NoSession::Closed(Closed::Refused { stage, reply } | Closed::Shutdown { stage, reply }) => {
            // A host that does not want to talk to us says nothing about the recipient.
            Some(refusal(stage, &reply, &peer).with_class('4'))
        }
        NoSession::Closed(Closed::Lost { stage }) => {
            let text = format!("connection lost, no reply to {}", command(stage));
            Some(Cause::connection("4.4.2", peer, text))
        }
        NoSession::Closed(Closed::Protocol(violation)) => {
            Some(Cause::connection("4.5.0", peer, violation.to_string()))
        }
        NoSession::Closed(Closed::Quit) => Some(Cause::connection("4.4.2", peer, "connection closed")),
    }
}

fn refusal(stage: Stage, reply: &Reply, peer: &Peer) -> Cause {
    Cause::reply(&status(stage, reply), peer.clone(), command(stage), &reply.to_string())
}

/// The status that the peer gave, or what its code means at this stage (as Sendmail takes it).
fn status(stage: Stage, reply: &Reply) -> String {
    let class = if reply.is_permanent() { 5 } else { 4 };
    match (reply.enhanced(), stage, reply.code()) {
        (Some(enhanced), ..) if u16::from(enhanced.0) == class => enhanced.to_string(),
        (_, Stage::Rcpt, 550 | 551 | 553) => "5.1.1".to_owned(),
        (_, Stage::Rcpt, 450 | 452) => "4.2.0".to_owned(),
        (_, Stage::Rcpt, 552) => format!("{class}.5.3"), // RFC 3463: too many recipients
        (_, _, 552) => "5.3.4".to_owned(),
        (_, Stage::Connect | Stage::Hello, _) => format!("{class}.3.0"),
        _ => format!("{class}.0.0"),
    }
}

fn command(stage: Stage) -> &'static str {
    match stage {
        Stage::Mail => "MAIL FROM",
        Stage::Rcpt => "RCPT TO",
        Stage::Hello => "EHLO",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use mailstack_smtp::reply::Enhanced;

    use super::*;

    fn peer() -> Peer {
        Peer { name: "mx.example".to_owned(), address: "192.0.2.1:25".parse().unwrap() }
    }

    #[test]
    fn outcomes_and_what_they_mean() {
        let refused = |stage, code, enhanced: Option<&str>| Outcome::Refused {
            stage,
            reply: Reply::new(code, enhanced.map(|text| text.parse::<Enhanced>().unwrap()), "words"),
        };
        let cases = [
            (Outcome::Accepted(Reply::new(250, None, "ok")), "taken"),
            (refused(Stage::Rcpt, 550, Some("5.7.1")), "failed 5.7.1"),
            (refused(Stage::Rcpt, 550, None), "failed 5.1.1"),
            (refused(Stage::Rcpt, 550, Some("4.7.1")), "failed 5.1.1"),
            (refused(Stage::Mail, 552, None), "failed 5.3.4"),
            (refused(Stage::Rcpt, 552, None), "next 4.5.3"),
            (refused(Stage::Rcpt, 552, Some("5.2.2")), "next 4.2.2"),
            (refused(Stage::EndOfData, 552, Some("5.3.4")), "failed 5.3.4"),
            (refused(Stage::Mail, 451, Some("4.3.2")), "next 4.3.2"),
            (refused(Stage::Rcpt, 450, None), "next 4.2.0"),
            (refused(Stage::EndOfData, 452, None), "deferred 4.0.0"),
            (refused(Stage::EndOfData, 554, None), "failed 5.0.0"),
            (Outcome::NoAnswer { stage: Stage::Mail }, "next 4.4.2"),
            (Outcome::NoAnswer { stage: Stage::Body }, "next 4.4.2"),
            (Outcome::NoAnswer { stage: Stage::EndOfData }, "deferred 4.4.2"),
        ];
        for (outcome, wanted) in cases {
            let text = format!("{outcome:?}");
            let judged = match judge(outcome, &peer(), false) {
                Judged::Settled(Verdict::Taken { .. }) => "taken".to_owned(),
                Judged::Settled(Verdict::Failed(cause)) => format!("failed {}", cause.status),
                Judged::Settled(Verdict::Deferred { cause, .. }) => format!("deferred {}", cause.status),
                Judged::NextHost(cause) => format!("next {}", cause.status),
            };
            assert_eq!(judged, wanted, "{text}");
        }
    }

    #[test]
    fn a_refused_session_says_nothing_about_the_recipient() {
        let reply = Reply::new(554, Some(Enhanced(5, 7, 1)), "go away");
        let closed = Closed::Refused { stage: Stage::Connect, reply };
        assert_eq!(no_session(NoSession::Closed(closed), peer()).unwrap().status, "4.7.1");
    }
}
