//! `mailq`: the queue in the look that administrators and log analysers know from Sendmail.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mailstack_mta::control::{ControlError, Entry, EntryRecipient, Item, View};
use mailstack_mta::host::Root;
use mailstack_mta::queue::Selector;
use mailstack_mta::spool::Standing;
use mailstack_mta::submission::drop;
use mailstack_mta::sysexits::{EX_IOERR, EX_OK, EX_UNAVAILABLE};
use mailstack_runtime::Config;

use super::{Failed, unanswered};

/// A queue of fewer messages is counted before it is shown; a longer one is shown as it comes.
const COUNTED: usize = 1000;

/// What is listed, and how.
pub struct Wanted {
    /// Which messages.
    pub select: Selector,
    /// Only those whose name has this in it (`-qI`).
    pub named: Option<String>,
    /// With where each recipient goes, and when (`-v`).
    pub verbose: bool,
}

/// Writes the queue, and what waits until an MTA runs.
pub fn print(root: &Root, config: &Config, wanted: Wanted, out: &mut dyn Write) -> Result<u8, Failed> {
    let paths = &config.paths;
    let directory = root.path(&paths.drop);
    match View::of(root, config) {
        Ok(view) => {
            let is_running = view.is_running();
            list(view, &root.path(&paths.spool).display().to_string(), wanted, out)?;
            match drop::count(&directory) {
                Ok(waiting) if waiting > 0 => write_out(out, &dropped_line(waiting))?,
                _ => {}
            }
            if !is_running {
                eprintln!("sendmail: the MTA does not run");
            }
        }
        Err(error @ ControlError::Stopped { .. }) => {
            let unreadable =
                |why| Failed(EX_UNAVAILABLE, format!("{error}; cannot read {}: {why}", directory.display()));
            write_out(out, &dropped_line(drop::count(&directory).map_err(unreadable)?))?;
            let why = std::error::Error::source(&error).map(|why| format!(": {why}")).unwrap_or_default();
            eprintln!("sendmail: {error}{why}");
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

fn list(view: View, spool: &str, wanted: Wanted, out: &mut dyn Write) -> Result<(), Failed> {
    let Wanted { select, named, verbose } = wanted;
    let entries = view.list(None, None, select).map_err(unanswered)?;
    let is_named = move |item: &Result<Item, ControlError>| match (item, &named) {
        (Ok(Item::Message(entry)), Some(part)) => entry.id.to_string().contains(part),
        _ => true,
    };
    let mut entries = entries.filter(is_named);
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
        write_out(out, &lines(&entry, &TimeZone::system(), verbose))?;
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

fn lines(entry: &Entry, zone: &TimeZone, verbose: bool) -> String {
    // As with Sendmail: `*` is being sent; `?` is held, as it marks what is quarantined.
    let is_active = entry.recipients.iter().any(|recipient| recipient.active);
    let mark = match (is_active, entry.held_because.is_some()) {
        (true, _) => '*',
        (false, true) => '?',
        (false, false) => ' ',
    };
    let time = at(entry.arrived.0, zone);
    let mut text = format!("{}{mark}{:>8} {time:<16} {}\n", entry.id, entry.size, entry.sender);
    match &entry.held_because {
        Some(why) => text.push_str(&format!("                 (Held {why})\n")),
        None if entry.held => text.push_str("                 (Held)\n"),
        None => {}
    }
    let waiting = entry.recipients.iter().filter(|recipient| recipient.standing != Standing::Done);
    waiting.for_each(|recipient| text.push_str(&recipient_lines(recipient, zone, verbose)));
    text
}

fn at(milliseconds: u64, zone: &TimeZone) -> String {
    let at = i64::try_from(milliseconds).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    at.map(|at| at.to_zoned(zone.clone()).strftime("%a %b %e %H:%M").to_string()).unwrap_or_default()
}

fn recipient_lines(recipient: &EntryRecipient, zone: &TimeZone, verbose: bool) -> String {
    let what = if recipient.held { "Held" } else { "Deferred" };
    let mut why = match &recipient.standing {
        Standing::Deferred(wait) => format!("                 ({what}: {})\n", wait.diagnostic),
        Standing::Fresh | Standing::Done => String::new(),
    };
    if verbose {
        why.push_str(&format!("                 (to {}", recipient.destination));
        if let Standing::Deferred(wait) = &recipient.standing {
            why.push_str(&format!(", {} attempts, next {}", wait.attempts, at(wait.next.0, zone)));
        }
        why.push_str(")\n");
    }
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
            expanded_from: None,
            orcpt: None,
            notify: None,
            destination: "x.example".into(),
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
            held_because: None,
            uid: None,
            recipients: vec![to("a@x.example", Standing::Deferred(wait)), to("b@x.example", Standing::Done)],
        };
        assert_eq!(
            lines(&entry, &TimeZone::UTC, false),
            "0000000000001     1234 Fri Nov 20 16:03 <>\n                 (Deferred: Connection refused)\n\
             \t\t\t\t\t <a@x.example>\n"
        );
        let held = Entry { held: true, held_because: Some("by an operator (uid 0)".into()), ..entry };
        let told = lines(&held, &TimeZone::UTC, true);
        assert!(told.starts_with("0000000000001?    1234 "), "{told}");
        assert!(told.contains("\n                 (Held by an operator (uid 0))\n"), "{told}");
        assert!(told.contains("(to x.example, 1 attempts, next Fri Nov 20 16:08)\n"), "{told}");
    }
}
