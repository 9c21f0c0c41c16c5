//! The line of an event in the log, in the shape that Sendmail's and Postfix's readers know.

use std::fmt::Write;
use std::time::Duration;

use mailstack_smtp::address::Address;

use super::{Event, Log, Step};
use crate::host::clock;
use crate::tls::Channel;

/// The most characters of one value; what is longer is cut and marked.
const MAX_VALUE: usize = 512;

/// Adds the line with what the log wants in front of it; nothing where nothing is logged.
pub(super) fn render(log: Log, event: &Event, lines: &mut String) {
    let begin = lines.len();
    match log {
        Log::Off => return,
        Log::Journal => lines.push_str(&format!("<{}>", priority(event))),
        Log::Stderr => lines.push_str(&clock::log_prefix()),
    }
    match body(lines, event) {
        Ok(()) => lines.push('\n'),
        Err(_) => lines.truncate(begin),
    }
}

/// Syslog's priority (RFC 5424 6.2.1).
fn priority(event: &Event) -> u8 {
    match event {
        Event::Warning { .. } | Event::DropRefused { .. } => 4,
        Event::Refused { .. }
        | Event::SessionRefused { .. }
        | Event::Bounced(_)
        | Event::Removed(_)
        | Event::UnderWay { .. } => 5,
        _ => 6,
    }
}

fn body(line: &mut String, event: &Event) -> std::fmt::Result {
    match event {
        Event::Received { .. } | Event::Discarded { .. } | Event::Expanded { .. } | Event::Queued { .. } => {
            accepted(line, event)
        }
        Event::Delivered(step) => attempt(line, step, "Sent"),
        Event::Deferred(step) => attempt(line, step, "Deferred"),
        Event::Bounced(step) => attempt(line, step, "Failed"),
        Event::Removed(step) => attempt(line, step, "Removed"),
        Event::Operated { id, deed, nrcpts, uid } => {
            write!(line, "{id}: {deed} by an operator, nrcpts={nrcpts}, uid={uid}")
        }
        Event::UnderWay { id, to } => {
            let to = bracketed(to);
            write!(
                line,
                "{id}: to={}, stat=Unknown (killed during delivery: it may arrive twice)",
                Clean(&to)
            )
        }
        Event::Concluded { id } => write!(line, "{id}: done"),
        Event::DropTaken { id, file, uid } => write!(line, "{id}: drop={}, uid={uid}", Clean(file)),
        Event::DropRefused { file, reason } => {
            write!(line, "drop={}, refused: {}", Clean(file), Clean(reason))
        }
        Event::SessionOpened { .. }
        | Event::SessionRefused { .. }
        | Event::SessionClosed { .. }
        | Event::Secured { .. }
        | Event::Authenticated { .. }
        | Event::Refused { .. } => session(line, event),
        _ => daemon(line, event),
    }
}

fn accepted(line: &mut String, event: &Event) -> std::fmt::Result {
    match event {
        Event::Received { id, from, size, nrcpts, message_id, proto, peer } => {
            write!(line, "{id}: from={}, size={size}, nrcpts={nrcpts}", Clean(&from.to_string()))?;
            if let Some(message_id) = message_id {
                write!(line, ", msgid={}", Clean(message_id))?;
            }
            write!(line, ", proto={proto}, relay={}", Clean(&peer.to_string()))
        }
        Event::Discarded { id, from, peer } => {
            let (from, peer) = (from.to_string(), peer.to_string());
            write!(line, "{id}: discarded, from={}, relay={}", Clean(&from), Clean(&peer))
        }
        Event::Expanded { id, from, to } => {
            let to: Vec<String> = to.iter().map(bracketed).collect();
            write!(line, "{id}: alias {} => {}", Clean(&bracketed(from)), Clean(&to.join(",")))
        }
        Event::Queued { id, about: Some(about), nrcpts } => {
            write!(line, "{about}: {id}: DSN, nrcpts={nrcpts}")
        }
        Event::Queued { id, about: None, nrcpts } => write!(line, "{id}: queued, nrcpts={nrcpts}"),
        _ => Ok(()),
    }
}

fn attempt(line: &mut String, step: &Step, stat: &str) -> std::fmt::Result {
    write!(line, "{}: to={}", step.id, Clean(&bracketed(&step.to)))?;
    if let Some(original) = &step.expanded_from {
        write!(line, ", orig_to={}", Clean(&bracketed(original)))?;
    }
    write!(line, ", delay={}", clock(step.delay))?;
    if let Some(relay) = &step.relay {
        write!(line, ", relay={}", Clean(relay))?;
    }
    write!(line, ", dsn={}, stat={stat} ({})", Clean(&step.dsn), Clean(&step.text))
}

fn session(line: &mut String, event: &Event) -> std::fmt::Result {
    match event {
        Event::SessionOpened { peer } => write!(line, "connect from {}", Clean(&peer.to_string())),
        Event::SessionRefused { peer, reply } => {
            write!(line, "connect from {}, reject={}", Clean(&peer.to_string()), Clean(reply))
        }
        Event::SessionClosed { peer, messages, reason } => {
            let peer = peer.to_string();
            write!(line, "disconnect from {}, messages={messages}, {}", Clean(&peer), Clean(reason))
        }
        Event::Secured { server, peer, channel: Channel { version, cipher, verified } } => {
            let (side, verify) =
                (if *server { "server" } else { "client" }, if *verified { "OK" } else { "NO" });
            let peer = Clean(peer);
            write!(line, "STARTTLS={side}, relay={peer}, version={version}, verify={verify}, cipher={cipher}")
        }
        Event::Authenticated { peer, user } => {
            write!(line, "AUTH=server, relay={}, authid={}", Clean(&peer.to_string()), Clean(user))
        }
        Event::Refused { peer, command, reply } => {
            let peer = peer.to_string();
            write!(line, "{}, relay={}, reject={}", Clean(command), Clean(&peer), Clean(reply))
        }
        _ => Ok(()),
    }
}

fn daemon(line: &mut String, event: &Event) -> std::fmt::Result {
    match event {
        Event::ConfigLoaded { path, role, hostname } => {
            write!(line, "config={}, role={role}, hostname={}", Clean(path), Clean(hostname))
        }
        Event::Confined { seccomp, landlock } => {
            let files = match landlock {
                0 => "none".to_owned(),
                abi => format!("ABI {abi}"),
            };
            write!(line, "confined, seccomp={}, landlock={files}", if *seccomp { "yes" } else { "no" })
        }
        Event::Ready { listening } => write!(line, "ready, listening={}", Clean(&listening.join(","))),
        Event::Stopping { reason } => write!(line, "stopping: {}", Clean(reason)),
        Event::Stopped => write!(line, "stopped"),
        Event::CertificateRenewed { expires } => {
            let expires = expires.and_then(|at| jiff::Timestamp::from_second(i64::try_from(at).ok()?).ok());
            let expires = expires.map_or_else(|| "unknown".to_owned(), |at| at.to_string());
            write!(line, "certificate renewed, expires={expires}")
        }
        Event::Warning { text } => write!(line, "warning: {}", Clean(text)),
        _ => Ok(()),
    }
}

fn bracketed(address: &Address) -> String {
    format!("<{address}>")
}

/// `DD+HH:MM:SS`, days only where there are any.
fn clock(delay: Duration) -> String {
    let seconds = delay.as_secs();
    let time = format!("{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    match seconds / 86_400 {
        0 => time,
        days => format!("{days}+{time}"),
    }
}

/// A value from outside, made safe for one line: control characters escaped, cut at [`MAX_VALUE`].
struct Clean<'a>(&'a str);

impl std::fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (count, c) in self.0.chars().enumerate() {
            if count == MAX_VALUE {
                return f.write_str("...");
            }
            match c {
                '\\' => f.write_str("\\\\")?,
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use mailstack_smtp::address::ReversePath;

    use super::*;
    use crate::event::Peer;
    use crate::message::QueueId;

    fn text(event: &Event) -> String {
        let mut line = String::new();
        body(&mut line, event).unwrap();
        line
    }

    fn step() -> Step {
        Step {
            id: QueueId(7),
            to: "carol@corp.example".parse().unwrap(),
            expanded_from: Some("root".parse().unwrap()),
            delay: Duration::from_secs(93_784),
            relay: Some("mail.corp.example [192.0.2.1]".into()),
            dsn: "2.0.0".into(),
            text: "250 2.0.0 ok\r\nforged: line".into(),
        }
    }

    #[test]
    fn lines_of_the_log() {
        let peer = Peer::Network { name: Some("a.example".into()), address: IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let received = Event::Received {
            id: QueueId(7),
            from: ReversePath::Address("root@corp.example".parse().unwrap()),
            size: 465,
            nrcpts: 1,
            message_id: Some("<1@corp.example>".into()),
            proto: "ESMTP",
            peer: peer.clone(),
        };
        let refused = Event::Refused {
            peer,
            command: "RCPT TO:<a@far.example>".into(),
            reply: "550 5.7.1 <a@far.example>... Relaying denied".into(),
        };
        let channel =
            Channel { version: "TLSv1.3", cipher: "TLS_AES_256_GCM_SHA384".to_owned(), verified: true };
        let secured =
            Event::Secured { server: false, peer: "mail.corp.example[192.0.2.1]:25".into(), channel };
        let lines = [received, refused, secured, Event::Delivered(step()), Event::Deferred(step())]
            .map(|event| text(&event))
            .join("\n");
        insta::assert_snapshot!(lines);
    }

    #[test]
    fn nothing_from_outside_starts_a_line_of_its_own() {
        let line = text(&Event::Warning { text: "a\r\nb\u{1b}[31m\u{85}\\".into() });
        assert_eq!(line, "warning: a\\r\\nb\\u{1b}[31m\\u{85}\\\\");
        assert!(text(&Event::Warning { text: "x".repeat(9999) }).len() < 600);
    }
}
