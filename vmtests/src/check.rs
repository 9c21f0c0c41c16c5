//! Expectations: what must be so, looked at until it is or its time is over.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use mailstack_schema::topology::{Delivered, Expect, Listens, Outcome, Queued};
use mailstack_schema::value;

use crate::backend::{Backend, BackendError, Program};
use crate::mailbox::{Message, read_mbox};

/// How long an expectation may take that says nothing.
const DEFAULT_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);
/// How long a program that only looks may take.
const LOOK: Duration = Duration::from_secs(30);

/// Returns None once the expectation holds, or what was seen instead when its time was over. `token` marks the
/// messages of the step.
pub fn await_expectation(
    backend: &dyn Backend,
    expect: &Expect,
    token: &str,
) -> Result<Option<String>, BackendError> {
    let within = expect.within.as_deref().and_then(|text| value::duration(text).ok());
    let until = Instant::now() + within.unwrap_or(DEFAULT_WITHIN);
    loop {
        let wrong = look(backend, &expect.outcome, token)?;
        if wrong.is_none() || Instant::now() >= until {
            return Ok(wrong);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Looks once: None where the outcome is as it must be, else what was seen.
pub fn look(backend: &dyn Backend, outcome: &Outcome, token: &str) -> Result<Option<String>, BackendError> {
    match outcome {
        Outcome::Delivered(expected) => delivered(backend, expected, token),
        Outcome::Bounced(expected) => bounced(backend, &expected.host, &expected.mailbox, token),
        Outcome::Queued(expected) => queued(backend, expected),
        Outcome::Listens(expected) => listens(backend, expected),
    }
}

fn delivered(
    backend: &dyn Backend,
    expected: &Delivered,
    token: &str,
) -> Result<Option<String>, BackendError> {
    let messages = mailbox(backend, &expected.host, &expected.mailbox)?;
    let found: Vec<_> = messages.iter().filter(|message| is_itself(message, token)).collect();
    let count = expected.count.unwrap_or(1);
    if found.len() as u64 != u64::from(count) {
        let place = format!("{}:{}", expected.host, expected.mailbox);
        return Ok(Some(format!(
            "expected {count} of it in {place}, found {} ({} messages)",
            found.len(),
            messages.len()
        )));
    }
    Ok(found.into_iter().find_map(|message| differs(message, expected)))
}

/// Whether a message is the step's own, not a notice that quotes it.
fn is_itself(message: &Message, token: &str) -> bool {
    message.header(TOKEN_FIELD).any(|value| value == token)
}

/// The header field that marks a step's messages.
pub const TOKEN_FIELD: &str = "X-Topology-Step";

fn differs(message: &Message, expected: &Delivered) -> Option<String> {
    if let Some(sender) = &expected.envelope_from
        && *sender != message.envelope_from
    {
        return Some(format!("envelope sender: expected <{sender}>, found <{}>", message.envelope_from));
    }
    expected.headers.iter().find_map(|(name, value)| {
        let found: Vec<_> = message.header(name).map(squeeze).collect();
        let same = found.iter().any(|other| other.eq_ignore_ascii_case(&squeeze(value)));
        (!same).then(|| format!("{name}: expected {value:?}, found {found:?}"))
    })
}

fn squeeze(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn bounced(
    backend: &dyn Backend,
    host: &str,
    user: &str,
    token: &str,
) -> Result<Option<String>, BackendError> {
    let messages = mailbox(backend, host, user)?;
    let is_notice = |message: &&Message| {
        let report = message.header("Content-Type").any(|kind| kind.starts_with("multipart/report"));
        message.envelope_from.is_empty() && report && message.body.contains(token)
    };
    let count = messages.iter().filter(is_notice).count();
    Ok((count != 1).then(|| {
        format!("expected one notice in {host}:{user}, found {count} ({} messages)", messages.len())
    }))
}

fn mailbox(backend: &dyn Backend, host: &str, user: &str) -> Result<Vec<Message>, BackendError> {
    let bytes = backend.get(host, &format!("/var/mail/{user}"))?.unwrap_or_default();
    Ok(read_mbox(&String::from_utf8_lossy(&bytes)))
}

fn queued(backend: &dyn Backend, expected: &Queued) -> Result<Option<String>, BackendError> {
    let Waiting { idle, active } = queue(backend, &expected.host)?;
    let as_expected = idle == expected.count as usize && active == 0;
    let seen = || format!("{idle} and {active} that are being tried");
    Ok((!as_expected).then(|| {
        format!("expected {} to wait in the queue of {}, found {}", expected.count, expected.host, seen())
    }))
}

/// The messages in a queue: those that wait, and those of which a recipient is being tried at this moment.
struct Waiting {
    idle: usize,
    active: usize,
}

fn queue(backend: &dyn Backend, host: &str) -> Result<Waiting, BackendError> {
    let listing = output(backend, host, &["mailstack", "queue", "list", "--json"])?;
    let entries: Vec<QueueEntry> = serde_json::from_slice(&listing)
        .map_err(|error| BackendError::io(format!("{host}: mailstack queue list --json"))(error.into()))?;
    let active =
        entries.iter().filter(|entry| entry.recipients.iter().any(|recipient| recipient.active)).count();
    Ok(Waiting { idle: entries.len() - active, active })
}

/// What counts here of a message as `mailstack queue list --json` prints it.
#[derive(serde::Deserialize)]
struct QueueEntry {
    recipients: Vec<QueueRecipient>,
}

#[derive(serde::Deserialize)]
struct QueueRecipient {
    active: bool,
}

fn listens(backend: &dyn Backend, expected: &Listens) -> Result<Option<String>, BackendError> {
    let mut found = BTreeSet::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = backend.read(&expected.host, table)?;
        found.extend(listeners(&String::from_utf8_lossy(&text)));
    }
    let wanted: BTreeSet<SocketAddr> = expected.tcp.iter().filter_map(|text| text.parse().ok()).collect();
    let wrong = found != wanted || wanted.len() != expected.tcp.len();
    Ok(wrong.then(|| format!("expected {} to listen on {:?}, found {found:?}", expected.host, expected.tcp)))
}

/// The listening sockets in a table as the kernel prints it.
fn listeners(table: &str) -> impl Iterator<Item = SocketAddr> {
    table.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let local = words.next()?;
        // 0A is LISTEN.
        (words.nth(1)? == "0A").then(|| socket_address(local)).flatten()
    })
}

/// Reads `0100007F:0019`: the address in words of host byte order, the port as a number.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words = address.as_bytes().chunks(8).map(|word| {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        Some(word.to_ne_bytes())
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let ip: IpAddr = match bytes.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn output(backend: &dyn Backend, host: &str, words: &[&str]) -> Result<Vec<u8>, BackendError> {
    let command = words.iter().map(|&word| word.to_owned()).collect();
    let program = Program { user: "root".to_owned(), command, input: Vec::new() };
    let output = backend.run(host, std::slice::from_ref(&program), LOOK)?.remove(0);
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(BackendError::failed(host, &program, &output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_the_kernels_tables() {
        let v4 = "  sl  local_address rem_address   st\n\
                  0: 0100007F:0019 00000000:0000 0A 00000000:00000000\n\
                  1: 0100007F:1F90 0100007F:A001 01 00000000:00000000\n";
        assert_eq!(listeners(v4).map(|a| a.to_string()).collect::<Vec<_>>(), ["127.0.0.1:25"]);
        let v6 = "head\n 0: 00000000000000000000000001000000:0019 0:0 0A 0\n";
        assert_eq!(listeners(v6).map(|a| a.to_string()).collect::<Vec<_>>(), ["[::1]:25"]);
    }

    #[test]
    fn values_are_equal_but_for_folding_and_case() {
        let message = Message {
            envelope_from: "a@b".to_owned(),
            headers: vec![("From".to_owned(), "root@Corp.Example  (Cron Daemon)".to_owned())],
            body: String::new(),
        };
        let mut expected = Delivered { envelope_from: Some("a@b".to_owned()), ..Delivered::default() };
        expected.headers.insert("from".to_owned(), "root@corp.example (Cron Daemon)".to_owned());
        assert_eq!(differs(&message, &expected), None);
        expected.headers.insert("to".to_owned(), "x".to_owned());
        assert_eq!(differs(&message, &expected).as_deref(), Some("to: expected \"x\", found []"));
        expected.envelope_from = Some(String::new());
        assert_eq!(
            differs(&message, &expected).as_deref(),
            Some("envelope sender: expected <>, found <a@b>")
        );
    }
}
