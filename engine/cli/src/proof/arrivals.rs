//! What became of the messages: at the hosts that they were sent on to, and in mailboxes.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use mailstack_mta::host::Root;
use mailstack_policy::{Address, DomainName, ReversePath};
use mailstack_runtime::{MailboxFormat, Mailboxes};

/// A message that was taken somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The host, or the mailbox.
    pub(super) at: String,
    pub(super) sender: ReversePath,
    pub(super) recipients: Vec<Address>,
    pub(super) message: Vec<u8>,
}

impl Arrival {
    /// Whether the message is, or quotes, the one with this mark.
    pub(super) fn bears(&self, mark: &str) -> bool {
        self.message.windows(mark.len()).any(|window| window == mark.as_bytes())
    }

    /// The lines of its header.
    pub(super) fn header(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.message);
        text.lines().take_while(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "arrived at {} from {} for", self.at, bracketed(&self.sender))?;
        self.recipients.iter().try_for_each(|recipient| write!(f, " <{recipient}>"))
    }
}

fn bracketed(sender: &ReversePath) -> String {
    sender.address().map_or("<>".to_owned(), |address| format!("<{address}>"))
}

/// What the sinks took and refused, in its order.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    pub(super) fn push(&self, arrival: Arrival) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
    }

    /// All so far.
    pub(super) fn all(&self) -> Vec<Arrival> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What lies in the mailboxes of a tree. Sendmail writes no recipient there: it is the mailbox's user on this host.
pub(super) fn in_mailboxes(
    root: &Root,
    mailboxes: &Mailboxes,
    sendmail: Option<&DomainName>,
) -> Vec<Arrival> {
    let mut found = Vec::new();
    let delivered = |file: &Path, message: &[u8]| delivered(file, message, sendmail);
    match mailboxes.format {
        MailboxFormat::Mbox => {
            for file in files(&root.path(&mailboxes.path)) {
                let octets = fs::read(&file).unwrap_or_default();
                found.extend(messages(&octets).into_iter().filter_map(|one| delivered(&file, one)));
            }
        }
        // The candidate's are others: what a server has is not looked at.
        MailboxFormat::Lmtp => {}
        MailboxFormat::Maildir => {
            let homes = files(&root.path("home"));
            for file in homes.iter().flat_map(|home| files(&home.join(&mailboxes.path).join("new"))) {
                found.extend(delivered(&file, &fs::read(&file).unwrap_or_default()));
            }
        }
    }
    found
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect()
}

/// The messages of an mbox (RFC 4155).
fn messages(octets: &[u8]) -> Vec<&[u8]> {
    let begins =
        |at: &usize| octets[*at..].starts_with(b"From ") && (*at == 0 || octets[..*at].ends_with(b"\n"));
    let starts: Vec<usize> = (0..octets.len()).filter(begins).collect();
    let ends = starts.iter().copied().skip(1).chain([octets.len()]);
    starts.iter().copied().zip(ends).map(|(start, end)| &octets[start..end]).collect()
}

/// A message with the envelope that final delivery writes in front of it (RFC 5321 4.4).
fn delivered(mailbox: &Path, message: &[u8], sendmail: Option<&DomainName>) -> Option<Arrival> {
    let text = String::from_utf8_lossy(message);
    let field = |name: &str| {
        let value = text.lines().take(3).find_map(|line| line.strip_prefix(name))?;
        Some(value.trim().trim_start_matches('<').trim_end_matches('>').to_owned())
    };
    let sender = match field("Return-Path:")?.as_str() {
        "" => ReversePath::Null,
        // How Sendmail writes it.
        daemon if sendmail.is_some() && daemon.starts_with("MAILER-DAEMON") => ReversePath::Null,
        address => ReversePath::Address(address.parse().ok()?),
    };
    let user = mailbox.file_name()?.to_string_lossy();
    let recipient = match sendmail {
        Some(here) => format!("{user}@{here}"),
        None => field("Delivered-To:")?,
    };
    let recipients = vec![recipient.parse().ok()?];
    Some(Arrival { at: mailbox.display().to_string(), sender, recipients, message: message.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mailboxes_tell_the_envelope() {
        let text = b"From MAILER-DAEMON now\nReturn-Path: <>\nDelivered-To: root@gw.example\n\nmark-1\n\n\
                     From a@b.example now\nReturn-Path: <a@b.example>\nDelivered-To: carol@gw.example\n\n>From x\n\n";
        let found: Vec<Arrival> =
            messages(text).into_iter().filter_map(|one| delivered(Path::new("/m"), one, None)).collect();
        let lines: Vec<String> = found.iter().map(Arrival::to_string).collect();
        assert_eq!(
            lines,
            [
                "arrived at /m from <> for <root@gw.example>",
                "arrived at /m from <a@b.example> for <carol@gw.example>"
            ]
        );
        assert!(found[0].bears("mark-1") && !found[1].bears("mark-1"));
    }
}
