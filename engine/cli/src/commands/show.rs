//! `mailstack queue show`: all that is known of one message.

use std::io::{IsTerminal, Write};

use mailstack_mta::control::{Shown, View};
use mailstack_mta::host::Root;
use mailstack_mta::message::{Origin, QueueId};
use serde::Serialize;

use super::queue;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;
use crate::table::{table, time};

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    shown: Shown,
    /// The header, or the whole message, with what is no UTF-8 replaced.
    message: String,
}

/// Shows a message: its envelope, where its recipients stand, its header, and its body where that is asked for.
pub fn show(host: &HostTree, id: QueueId, body: bool, json: bool) -> Result<Exit, Failure> {
    let config = queue::live(host)?;
    if config.sendmail.is_some() {
        return Err(Failure::NotOfSendmail { what: "message" });
    }
    let view = View::of(&Root::new(&host.root), &config)?;
    let mut out = Output { begun: false, octets: Vec::new(), shown: None, json };
    view.show(id, body, &mut |shown, octets| out.take(shown, octets))?;
    out.end()
}

struct Output {
    begun: bool,
    octets: Vec<u8>,
    shown: Option<Shown>,
    json: bool,
}

impl Output {
    fn take(&mut self, shown: &Shown, octets: &[u8]) -> std::io::Result<()> {
        if self.json {
            self.shown.get_or_insert_with(|| shown.clone());
            self.octets.extend_from_slice(octets);
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        if !std::mem::replace(&mut self.begun, true) {
            writeln!(out, "{}", facts(shown))?;
        }
        // What somebody sent must not steer the terminal of who looks at it.
        match out.is_terminal() {
            true => out.write_all(harmless(octets).as_bytes()),
            false => out.write_all(octets),
        }
    }

    fn end(self) -> Result<Exit, Failure> {
        let Some(shown) = self.shown else { return Ok(Exit::Done) };
        let message = String::from_utf8_lossy(&self.octets).into_owned();
        super::print_json(&Report { shown, message })
    }
}

fn harmless(octets: &[u8]) -> String {
    let text = String::from_utf8_lossy(octets).replace("\r\n", "\n");
    let shown = |c: char| match c {
        '\n' | '\t' => c.to_string(),
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

fn facts(shown: &Shown) -> String {
    let entry = &shown.entry;
    let origin = match &shown.origin {
        Origin::Network { peer, hello } => {
            format!("[{peer}], which said it is {}", harmless(hello.as_bytes()))
        }
        Origin::Local { uid } => format!("a program of uid {uid}"),
        Origin::Bounce => "this host".to_owned(),
    };
    let mut rows = vec![
        ("id", entry.id.to_string()),
        ("from", entry.sender.to_string()),
        ("arrived", time(entry.arrived.0 / 1000)),
        ("by", origin),
        ("size", format!("{} octets", entry.size)),
    ];
    rows.extend(entry.held_because.iter().map(|why| ("held", why.clone())));
    let flags = [(shown.eight_bit, "8BITMIME"), (shown.smtputf8, "SMTPUTF8")];
    rows.extend(flags.iter().filter(|(is, _)| *is).map(|(_, name)| ("body", (*name).to_owned())));
    rows.extend(shown.ret.iter().map(|ret| ("RET", ret.as_str().to_owned())));
    rows.extend(shown.envid.iter().map(|envid| ("ENVID", envid.clone())));
    for recipient in &entry.recipients {
        let before = recipient.expanded_from.as_ref().map(|before| format!(", for {before}"));
        let text = format!("{}{}", recipient.address, before.unwrap_or_default());
        rows.push(("to", text));
        rows.push(("  goes to", recipient.destination.clone()));
        rows.push(("  state", queue::state(entry, recipient)));
        rows.extend(recipient.notify.iter().map(|notify| ("  NOTIFY", notify.to_string())));
        rows.extend(recipient.orcpt.iter().map(|orcpt| ("  ORCPT", orcpt.clone())));
    }
    table(&rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect::<Vec<_>>())
}
