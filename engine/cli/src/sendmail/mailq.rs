//! `mailq`: the queue in the look that administrators and log analysers know from Sendmail.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mailstack_mta::control::{Client, ControlError, Entry, EntryRecipient, Item};
use mailstack_mta::host::Root;
use mailstack_mta::spool::Standing;
use mailstack_mta::submission::drop;
use mailstack_mta::sysexits::{EX_IOERR, EX_OK, EX_UNAVAILABLE};
use mailstack_runtime::Paths;

use super::{Failed, unanswered};

/// A queue of fewer messages is counted before it is shown; a longer one is shown as it comes.
const COUNTED: usize = 1000;

/// Writes the queue of the running MTA, and what waits until one runs.
pub fn print(root: &Root, paths: &Paths, out: &mut dyn Write) -> Result<u8, Failed> {
    let directory = root.path(&paths.drop);
    match Client::connect(root, paths) {
        Ok(client) => {
            list(client, &root.path(&paths.spool).display().to_string(), out)?;
            match drop::count(&directory) {
                Ok(waiting) if waiting > 0 => write_out(out, &dropped_line(waiting))?,
                _ => {}
            }
        }
        Err(error @ ControlError::NotRunning { .. }) => {
            let unreadable =
                |why| Failed(EX_UNAVAILABLE, format!("{error}; cannot read {}: {why}", directory.display()));
            write_out(out, &dropped_line(drop::count(&directory).map_err(unreadable)?))?;
            eprintln!("sendmail: {error}: its queue cannot be listed");
        }
        Err(error) => return Err(unanswered(error)),
    }
    Ok(EX_OK)
}

/// The line that says how many messages lie in the drop directory.
pub fn dropped_line(count: u64) -> String {
    match count {
        1 => "1 message waits in the drop directory\n".to_owned(),
        count => format!("{count} messages wait in the drop directory\n"),
    }
}

fn list(client: Client, spool: &str, out: &mut dyn Write) -> Result<(), Failed> {
    let mut entries = client.queue_list(None, None).map_err(unanswered)?;
    let first = entries.by_ref().take(COUNTED).collect::<Result<Vec<_>, _>>().map_err(unanswered)?;
    let is_message = |item: &&Item| matches!(item, Item::Message(_));
    let known = (first.len() < COUNTED).then(|| first.iter().filter(is_message).count());
    let mut count = 0_u64;
    for item in first.into_iter().map(Ok).chain(entries) {
        let entry = match item.map_err(unanswered)? {
            Item::Message(entry) => entry,
            Item::Damaged(found) => {
                write_out(out, &format!("damaged: {found}\n"))?;
                continue;
            }
        };
        if count == 0 {
            write_out(out, &heading(spool, known))?;
        }
        count += 1;
        write_out(out, &lines(&entry, &TimeZone::system()))?;
    }
    let end = if count == 0 { format!("{spool} is empty\n") } else { String::new() };
    write_out(out, &format!("{end}\t\tTotal requests: {count}\n"))
}

fn write_out(out: &mut dyn Write, text: &str) -> Result<(), Failed> {
    out.write_all(text.as_bytes()).map_err(|error| Failed(EX_IOERR, format!("standard output: {error}")))
}

fn heading(spool: &str, count: Option<usize>) -> String {
    let count = match count {
        Some(1) => " (1 request)".to_owned(),
        Some(count) => format!(" ({count} requests)"),
        None => String::new(),
    };
    format!(
        "\t\t{spool}{count}\n----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n"
    )
}

fn lines(entry: &Entry, zone: &TimeZone) -> String {
    let arrived = i64::try_from(entry.arrived.0).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    let time = arrived.map(|at| at.to_zoned(zone.clone()).strftime("%a %b %e %H:%M").to_string());
    // As with Sendmail: `*` is being sent.
    let mark = if entry.recipients.iter().any(|recipient| recipient.active) { '*' } else { ' ' };
    let mut text =
        format!("{}{mark}{:>8} {:<16} {}\n", entry.id, entry.size, time.unwrap_or_default(), entry.sender);
    if entry.held {
        text.push_str("                 (Held)\n");
    }
    let waiting = entry.recipients.iter().filter(|recipient| recipient.standing != Standing::Done);
    waiting.for_each(|recipient| text.push_str(&recipient_lines(recipient)));
    text
}

fn recipient_lines(recipient: &EntryRecipient) -> String {
    let what = if recipient.held { "Held" } else { "Deferred" };
    let why = match &recipient.standing {
        Standing::Deferred(wait) => format!("                 ({what}: {})\n", wait.diagnostic),
        Standing::Fresh | Standing::Done => String::new(),
    };
    format!("{why}\t\t\t\t\t <{}>\n", recipient.address)
}

#[cfg(test)]
mod tests {
    use mailstack_mta::message::{QueueId, Timestamp as Arrived};
    use mailstack_mta::spool::Wait;
    use mailstack_policy::ReversePath;

    use super::*;

    #[test]
    fn the_heading_counts_as_sendmail_does() {
        for (count, first) in
            [(Some(1), "\t\t/s (1 request)"), (Some(2), "\t\t/s (2 requests)"), (None, "\t\t/s")]
        {
            assert_eq!(heading("/s", count).lines().next(), Some(first));
        }
    }

    #[test]
    fn a_message_that_waits() {
        let to = |address: &str, standing| EntryRecipient {
            address: address.parse().unwrap(),
            standing,
            active: false,
            held: false,
        };
        let wait = Wait {
            attempts: 1,
            next: Arrived(1_795_190_902_000),
            status: "4.4.1".into(),
            diagnostic: "Connection refused".into(),
        };
        let entry = Entry {
            id: QueueId(1),
            sender: ReversePath::Null,
            size: 1234,
            arrived: Arrived(1_795_190_602_000),
            held: false,
            recipients: vec![to("a@x.example", Standing::Deferred(wait)), to("b@x.example", Standing::Done)],
        };
        assert_eq!(
            lines(&entry, &TimeZone::UTC),
            "0000000000001     1234 Fri Nov 20 16:03 <>\n                 (Deferred: Connection refused)\n\
             \t\t\t\t\t <a@x.example>\n"
        );
    }
}
