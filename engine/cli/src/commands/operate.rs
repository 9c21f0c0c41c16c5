//! `mailstack queue flush | hold | release | remove | requeue | bounce`: what is done with messages.

use std::io::BufRead;

use anstream::eprintln;
use mailstack_mta::control::{Acted, MAX_IDS, Operation};
use mailstack_mta::message::QueueId;
use mailstack_mta::queue::Selector;

use super::queue;
use crate::args::{Named, Operate, Select};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::table::table;

/// Does something with what is selected, and says what came of each message. Ends with 7 where something was not done,
/// with 2 where a message that was named is not there.
pub fn operate(
    host: &HostTree,
    operation: &Operation,
    select: &Select,
    options: Operate,
) -> Result<Exit, Failure> {
    if queue::live(host)?.sendmail.is_some() {
        return Err(Failure::NotOfSendmail { what: "operation" });
    }
    let selector = selector(select)?;
    let mut client = queue::connect(host)?;
    let mut acted = Vec::new();
    // From standard input there may come more names than fit into a request.
    let names = std::mem::take(&mut selector.clone().ids);
    let parts: Vec<Vec<QueueId>> = match names.is_empty() {
        true => vec![Vec::new()],
        false => names.chunks(MAX_IDS).map(<[_]>::to_vec).collect(),
    };
    for ids in parts {
        let part = Selector { ids, ..selector.clone() };
        client.queue_operate(operation, part, options.dry_run, &mut |one| acted.push(one))?;
    }
    acted.sort_by_key(|one| one.id);
    match options.json {
        true => super::print_json(&acted)?,
        false => show(&acted)?,
    };
    Ok(exit(&acted))
}

fn exit(acted: &[Acted]) -> Exit {
    let failed = |one: &&Acted| !one.done;
    match acted.iter().find(failed) {
        None => Exit::Done,
        Some(_) if acted.iter().filter(failed).all(|one| one.recipients.is_empty()) => Exit::Usage,
        Some(_) => Exit::Unable,
    }
}

fn show(acted: &[Acted]) -> Result<Exit, Failure> {
    if acted.is_empty() {
        eprintln!("nothing in the queue is selected");
        return Ok(Exit::Done);
    }
    let mut rows = vec![["ID", "TO", "RESULT"].map(str::to_owned).to_vec()];
    for one in acted {
        let to = match &one.recipients[..] {
            [] => "-".to_owned(),
            [only] => only.to_string(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        rows.push(vec![one.id.to_string(), to, one.text.clone()]);
    }
    super::print(&table(&rows))
}

/// What is selected. Errors: what stands on standard input is no queue id.
pub(super) fn selector(select: &Select) -> Result<Selector, Failure> {
    let mut ids = Vec::new();
    for named in &select.ids {
        match named {
            Named::Id(id) => ids.push(*id),
            Named::Input => read(&mut std::io::stdin().lock(), &mut ids)?,
        }
    }
    if ids.is_empty() && !select.ids.is_empty() {
        return Err(Failure::Named { text: "standard input names no message".to_owned() });
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(Selector {
        ids,
        sender: select.sender.clone(),
        recipient: select.recipient.clone(),
        destination: select.destination.clone(),
        older_than: select.older_than.map(|age| age.0),
        younger_than: select.younger_than.map(|age| age.0),
    })
}

/// One name a line; what stands behind it, as in a list, is passed over.
fn read(input: &mut dyn BufRead, ids: &mut Vec<QueueId>) -> Result<(), Failure> {
    for line in input.lines() {
        let line = line.map_err(Failure::Input)?;
        let Some(word) = line.split_whitespace().next() else { continue };
        let id = word.parse().map_err(|error| Failure::Named { text: format!("{word:?}: {error}") })?;
        ids.push(id);
    }
    Ok(())
}
