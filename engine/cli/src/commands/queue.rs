//! `mailstack queue`: what waits, and another try.

use std::io::Write;
use std::process::Stdio;

use anstream::{eprint, eprintln, stdout};
use mailstack_deploy::sendmail::queue as sendmail_queue;
use mailstack_mta::control::{Client, Entry, EntryRecipient, Item, Operation, View};
use mailstack_mta::host::Root;
use mailstack_mta::message::QueueId;
use mailstack_mta::spool::Standing;
use mailstack_mta::submission::drop;
use mailstack_runtime::{Config, Sendmail};

use super::operate;
use crate::args::{Operate, Select};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::table::{table, time};

/// Lists the queue: what is selected behind `after`, at most `limit` messages.
pub fn list(
    host: &HostTree,
    after: Option<QueueId>,
    limit: Option<u64>,
    select: &Select,
    json: bool,
) -> Result<Exit, Failure> {
    let config = live(host)?;
    if let Some(sendmail) = &config.sendmail {
        if !is_everything(select) {
            return Err(Failure::NotOfSendmail { what: "a selection" });
        }
        return of_sendmail(sendmail, after, limit, json);
    }
    let selector = operate::selector(select)?;
    let is_everything = selector.is_everything();
    let view = View::of(&Root::new(&host.root), &config).inspect_err(|_| {
        // What was handed in since waits there.
        if !json && let Ok(waiting) = waiting(host) {
            let waiting = waiting.map_or_else(
                || "the drop directory cannot be read\n".to_owned(),
                crate::sendmail::dropped_line,
            );
            let _ = super::print(&waiting);
        }
    })?;
    if !view.is_running() {
        eprintln!("the MTA does not run: this is its queue as it lies on the disk");
    }
    let entries = view.list(after, limit, selector)?;
    if json {
        // A queue may be long: one message at a time, in one array.
        let mut out = stdout();
        let mut first = true;
        write!(out, "[")?;
        for entry in entries {
            let text = serde_json::to_string(&entry?).map_err(std::io::Error::from)?;
            write!(out, "{}\n  {text}", if first { "" } else { "," })?;
            first = false;
        }
        writeln!(out, "{}]", if first { "" } else { "\n" })?;
        return Ok(Exit::Done);
    }
    let mut lines = Vec::new();
    let mut is_damaged = false;
    for item in entries {
        match item? {
            Item::Message(entry) => rows(&entry, &mut lines),
            Item::Damaged(found) => {
                is_damaged = true;
                eprintln!("damaged: {found}");
            }
        }
    }
    if let Some(waiting) = waiting(host)?.filter(|waiting| *waiting > 0) {
        eprint!("{}", crate::sendmail::dropped_line(waiting));
    }
    if lines.is_empty() {
        let nothing = nothing(after, is_damaged);
        eprintln!("{}", if is_everything { &nothing } else { "nothing in the queue is selected" });
        return Ok(Exit::Done);
    }
    lines.insert(0, ["ID", "SIZE", "ARRIVED", "FROM", "TO", "STATE"].map(str::to_owned).to_vec());
    super::print(&table(&lines))
}

/// What is said where there is nothing to list.
fn nothing(after: Option<QueueId>, is_damaged: bool) -> String {
    match (after, is_damaged) {
        (Some(after), _) => format!("nothing is behind {after}"),
        (None, true) => "nothing else is in the queue".to_owned(),
        (None, false) => "the queue is empty".to_owned(),
    }
}

/// The queues of the host's Sendmail: whoever may not read them sees nothing, and is told so.
fn of_sendmail(
    sendmail: &Sendmail,
    after: Option<QueueId>,
    limit: Option<u64>,
    json: bool,
) -> Result<Exit, Failure> {
    for queue in [&sendmail.daemon_queue, &sendmail.client_queue] {
        std::fs::read_dir(queue).map_err(|source| Failure::Queue { path: queue.clone(), source })?;
    }
    let mut messages = sendmail_queue::list(sendmail);
    messages.truncate(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    if after.is_some() {
        // An identifier of the built-in MTA: no message of Sendmail has it.
        messages.clear();
    }
    if json {
        return super::print_json(&messages);
    }
    if messages.is_empty() {
        eprintln!("{}", nothing(after, false));
        return Ok(Exit::Done);
    }
    let mut lines = vec![["ID", "SIZE", "ARRIVED", "FROM", "TO", "STATE"].map(str::to_owned).to_vec()];
    for message in &messages {
        for (at, recipient) in message.recipients.iter().enumerate() {
            let of_message = match at {
                0 => [
                    message.id.clone(),
                    message.size.to_string(),
                    time(message.arrived),
                    message.sender.clone(),
                ],
                _ => [const { String::new() }; 4],
            };
            let state = match (recipient.active, &message.status) {
                (true, _) => "being tried".to_owned(),
                (false, Some(status)) => status.clone(),
                (false, None) => "waits".to_owned(),
            };
            lines.push([&of_message[..], &[recipient.address.clone(), state]].concat());
        }
    }
    super::print(&table(&lines))
}

/// A message that was tried a moment ago is tried too: without both ages it waits as long again as it is old. With -v,
/// and not without, so is a host that was not reached then (op.txt, HostStatusDirectory).
const NOW: [&str; 6] = ["-O", "MinQueueAge=0", "-O", "MaxQueueAge=0", "-v", "-qf"];

/// Runs both queues of the host's Sendmail, to the end.
fn flush_sendmail(sendmail: &Sendmail) -> Result<Exit, Failure> {
    for mode in ["-Ac", "-Am"] {
        if mode == "-Am" && !std::path::Path::new("/etc/mail/sendmail.cf").exists() {
            continue;
        }
        let mut command = std::process::Command::new(&sendmail.program);
        let ended = command.arg(mode).args(NOW).stdout(Stdio::null()).status();
        let ended = ended.map_err(|source| Failure::Part { source })?;
        if !ended.success() {
            let source = std::io::Error::other(format!("sendmail {mode} -qf: {ended}"));
            return Err(Failure::Part { source });
        }
    }
    Ok(Exit::Done)
}

/// Has all that waits tried now, or what is selected.
pub fn flush(host: &HostTree, select: &Select, options: Operate) -> Result<Exit, Failure> {
    let is_bare = is_everything(select) && !options.dry_run && !options.json;
    if is_bare && let Some(sendmail) = live(host)?.sendmail {
        return flush_sendmail(&sendmail);
    }
    if !is_bare {
        return operate::operate(host, &Operation::Flush, select, options);
    }
    connect(host)?.flush()?;
    Ok(Exit::Done)
}

/// Whether nothing is selected, or everything.
fn is_everything(select: &Select) -> bool {
    let Select { ids, sender, recipient, destination, older_than, younger_than, all: _ } = select;
    let patterns = [sender, recipient, destination];
    ids.is_empty()
        && patterns.iter().all(|pattern| pattern.is_none())
        && older_than.is_none()
        && younger_than.is_none()
}

/// The configuration of the live generation.
pub(super) fn live(host: &HostTree) -> Result<Config, Failure> {
    host.live()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })
}

/// How many messages wait in the drop directory; None where it cannot be read.
fn waiting(host: &HostTree) -> Result<Option<u64>, Failure> {
    let paths = host.live_paths()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    Ok(drop::count(&Root::new(&host.root).path(&paths.drop)).ok())
}

/// A connection to the running MTA of a host.
pub(super) fn connect(host: &HostTree) -> Result<Client, Failure> {
    let paths = host.live_paths()?.ok_or_else(|| Failure::Nothing { root: host.root.clone() })?;
    Ok(Client::connect(&Root::new(&host.root), &paths)?)
}

/// One row per recipient; what is the same for all stands in the first.
fn rows(entry: &Entry, lines: &mut Vec<Vec<String>>) {
    for (at, recipient) in entry.recipients.iter().enumerate() {
        let of_message = match at {
            0 => [
                entry.id.to_string(),
                entry.size.to_string(),
                time(entry.arrived.0 / 1000),
                entry.sender.to_string(),
            ],
            _ => [const { String::new() }; 4],
        };
        let mut row = of_message.to_vec();
        row.push(recipient.address.to_string());
        row.push(state(entry, recipient));
        lines.push(row);
    }
}

pub(super) fn state(entry: &Entry, recipient: &EntryRecipient) -> String {
    match (&recipient.standing, &entry.held_because) {
        (Standing::Done, _) => standing(&recipient.standing),
        (_, Some(why)) if recipient.held => format!("held {why}"),
        (Standing::Deferred(wait), None) if recipient.held => format!("held: {}", wait.diagnostic),
        _ if recipient.held => "held".to_owned(),
        _ if recipient.active => "being tried".to_owned(),
        (other, _) => standing(other),
    }
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Fresh => "not tried yet".to_owned(),
        Standing::Done => "done".to_owned(),
        Standing::Deferred(wait) => {
            format!("next try {}: {}", time(wait.next.0 / 1000), wait.diagnostic)
        }
    }
}
