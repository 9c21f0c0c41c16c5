//! What the MTA counts, for Prometheus.
//!
//! Owns: the names, types and meanings of all metrics, the counters that events feed, and the text (exposition format
//! 0.0.4). A label never has a value that others choose: what they say is cut to the few that there are.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};

use crate::event::{Event, Peer, Step};

mod histogram;

pub use histogram::Histogram;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at each start.
    Counter,
    /// A value of the moment.
    Gauge,
    /// How often a value was within each bound, with its sum.
    Histogram,
}

impl Kind {
    /// As the text has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Its name; what it is measured in is its end (`_seconds`, `_bytes`, else a number).
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels, with their values.
    pub labels: &'static str,
    /// What it says.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static str, help: &'static str) -> Described {
    Described { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static str, help: &'static str) -> Described {
    Described { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Described {
    Described { name, kind: Kind::Histogram, labels: "", help }
}

/// All metrics.
pub const ALL: &[Described] = &[
    gauge("mailstack_build_info", "version", "Always 1; the label has the version"),
    gauge("mailstack_start_time_seconds", "", "When the MTA was ready, since 1970"),
    gauge("mailstack_queue_messages", "", "Messages in the queue"),
    gauge(
        "mailstack_queue_recipients",
        "state: waiting, active, held",
        "Recipients in the queue: that wait for an attempt, that are being tried, that are held",
    ),
    gauge("mailstack_queue_oldest_seconds", "", "Age of the oldest message in the queue; 0: it is empty"),
    gauge("mailstack_queue_damaged", "", "What lies in the queue and cannot go on"),
    gauge("mailstack_drop_files", "state: waiting, refused", "Files in the drop directory"),
    gauge("mailstack_spool_free_bytes", "", "Room on the file system of the queue"),
    gauge("mailstack_sessions", "", "SMTP sessions at this moment, of the network and of programs"),
    gauge("mailstack_certificate_expiry_seconds", "", "When the host's own certificate expires, since 1970"),
    counter("mailstack_connections_total", "client: network, local", "Connections of clients"),
    counter(
        "mailstack_connections_refused_total",
        "code: 421, 554, …",
        "Clients turned away before their session",
    ),
    counter(
        "mailstack_messages_accepted_total",
        "client: network, local, drop",
        "Messages accepted, durable",
    ),
    counter("mailstack_accepted_bytes_total", "", "Octets of the messages accepted"),
    counter("mailstack_messages_discarded_total", "", "Messages taken and thrown away by an access entry"),
    counter(
        "mailstack_commands_refused_total",
        "command: MAIL, RCPT, …, other; status: 5.7.1, …",
        "Commands that were refused, by the enhanced status code of the reply, else its code",
    ),
    counter("mailstack_drop_refused_total", "", "Drop files that were refused"),
    counter(
        "mailstack_recipients_delivered_total",
        "to: local, relay",
        "Recipients that a mailbox or a next hop has",
    ),
    counter(
        "mailstack_recipients_deferred_total",
        "status: 4.0 to 4.7",
        "Attempts at recipients that failed for now, by class and subject of the status code",
    ),
    counter(
        "mailstack_recipients_bounced_total",
        "status: 5.0 to 5.7",
        "Recipients that failed for good, by class and subject of the status code",
    ),
    counter("mailstack_recipients_removed_total", "", "Recipients that an operator took out"),
    counter("mailstack_notices_total", "", "Bounces and other reports that were queued"),
    counter("mailstack_repeats_total", "", "Recipients that may get a second copy, since the MTA was killed"),
    counter("mailstack_tls_total", "side: server, client; version: TLSv1.2, TLSv1.3", "TLS sessions made"),
    counter("mailstack_authenticated_total", "", "Clients that have shown who they are"),
    counter("mailstack_warnings_total", "", "Warnings in the log"),
    histogram("mailstack_delivery_delay_seconds", "From acceptance to delivery, of each recipient delivered"),
    histogram("mailstack_spool_sync_seconds", "How long each sync of the queue took"),
];

/// Seconds from acceptance to delivery.
const DELAYS: &[f64] = &[0.1, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0, 432_000.0];
/// Commands that have a label of their own.
const COMMANDS: [&str; 9] = ["HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "AUTH", "STARTTLS", "VRFY"];

/// The counters, which events feed.
#[derive(Debug)]
pub struct Metrics {
    /// By metric and labels.
    counted: Mutex<BTreeMap<(&'static str, String), u64>>,
    delays: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { counted: Mutex::default(), delays: Histogram::new(DELAYS) }
    }
}

impl Metrics {
    /// Counts what happened.
    pub fn count(&self, event: &Event) {
        match event {
            Event::SessionOpened { peer } => {
                self.add("mailstack_connections_total", label("client", client(peer)), 1);
            }
            Event::SessionRefused { reply, .. } => {
                self.add("mailstack_connections_refused_total", label("code", code(reply)), 1);
            }
            Event::Received { size, proto, peer, .. } => {
                let client = if *proto == "drop" { "drop" } else { client(peer) };
                self.add("mailstack_messages_accepted_total", label("client", client), 1);
                self.add("mailstack_accepted_bytes_total", String::new(), *size);
            }
            Event::Discarded { .. } => self.one("mailstack_messages_discarded_total"),
            Event::Refused { command, reply, .. } => {
                let verb = command.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
                let verb = COMMANDS.into_iter().find(|known| *known == verb).unwrap_or("other");
                let labels = format!("{},{}", label("command", verb), label("status", status(reply)));
                self.add("mailstack_commands_refused_total", labels, 1);
            }
            Event::DropRefused { .. } => self.one("mailstack_drop_refused_total"),
            Event::Queued { .. } => self.one("mailstack_notices_total"),
            Event::UnderWay { .. } => self.one("mailstack_repeats_total"),
            Event::Authenticated { .. } => self.one("mailstack_authenticated_total"),
            Event::Warning { .. } => self.one("mailstack_warnings_total"),
            Event::Secured { server, channel, .. } => {
                let side = if *server { "server" } else { "client" };
                let labels = format!("{},{}", label("side", side), label("version", channel.version));
                self.add("mailstack_tls_total", labels, 1);
            }
            _ => self.count_step(event),
        }
    }

    fn count_step(&self, event: &Event) {
        let by_status = |step: &Step| label("status", subject(&step.dsn));
        match event {
            Event::Delivered(step) => {
                let to = if step.relay.as_deref() == Some("local") { "local" } else { "relay" };
                self.add("mailstack_recipients_delivered_total", label("to", to), 1);
                self.delays.observe(step.delay.as_secs_f64());
            }
            Event::Deferred(step) => self.add("mailstack_recipients_deferred_total", by_status(step), 1),
            Event::Bounced(step) => self.add("mailstack_recipients_bounced_total", by_status(step), 1),
            Event::Removed(_) => self.one("mailstack_recipients_removed_total"),
            _ => {}
        }
    }

    fn one(&self, name: &'static str) {
        self.add(name, String::new(), 1);
    }

    fn add(&self, name: &'static str, labels: String, count: u64) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        *counted.entry((name, labels)).or_default() += count;
    }

    /// All metrics as text; `now` has the values of the moment, by name and labels.
    pub fn text(&self, now: &[(&'static str, String, f64)], syncs: &Histogram) -> String {
        let counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut text = String::new();
        for Described { name, kind, labels, help } in ALL {
            let _ = writeln!(text, "# HELP {name} {help}.\n# TYPE {name} {}", kind.as_str());
            match (kind, *name) {
                (Kind::Histogram, "mailstack_delivery_delay_seconds") => self.delays.write(name, &mut text),
                (Kind::Histogram, _) => syncs.write(name, &mut text),
                (Kind::Gauge, _) => {
                    let values = now.iter().filter(|(of, ..)| of == name);
                    values.for_each(|(_, labels, value)| line(&mut text, name, labels, value));
                }
                (Kind::Counter, _) => {
                    let values: Vec<_> = counted.iter().filter(|((of, _), _)| of == name).collect();
                    values.iter().for_each(|((_, labels), value)| line(&mut text, name, labels, value));
                    // What never happened is 0, not unknown; of which label is not known.
                    if values.is_empty() && labels.is_empty() {
                        line(&mut text, name, "", &0);
                    }
                }
            }
        }
        text
    }
}

fn line(text: &mut String, name: &str, labels: &str, value: &impl std::fmt::Display) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(text, "{name}{labels} {value}");
}

/// A label with its value; what would end the value is left out.
pub fn label(name: &str, value: &str) -> String {
    let value: String = value.chars().filter(|c| !c.is_control() && !['"', '\\'].contains(c)).collect();
    format!("{name}=\"{value}\"")
}

fn client(peer: &Peer) -> &'static str {
    match peer {
        Peer::Network { .. } => "network",
        Peer::Local { .. } => "local",
    }
}

/// The code of a reply of this server.
fn code(reply: &str) -> &str {
    let code = reply.get(..3).unwrap_or_default();
    if code.bytes().all(|b| b.is_ascii_digit()) { code } else { "" }
}

/// The enhanced status code of a reply of this server, else its code.
fn status(reply: &str) -> &str {
    let second = reply.split_whitespace().nth(1).unwrap_or_default();
    let is_status = second.split('.').count() == 3 && second.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_status { second } else { code(reply) }
}

/// Class and subject of a status code (RFC 3463 3), which others may have written: 5.1 of 5.1.1.
fn subject(dsn: &str) -> &str {
    match dsn.as_bytes() {
        [b'2' | b'4' | b'5', b'.', b'0'..=b'7', b'.', ..] => &dsn[..3],
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
