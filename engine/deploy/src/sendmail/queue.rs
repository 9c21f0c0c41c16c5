//! What waits in Sendmail's queues, read from their `qf` files (op.txt, appendix B). Nothing is locked or changed.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use mailstack_runtime::Sendmail;
use serde::Serialize;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// The queue identifier.
    pub id: String,
    /// `daemon` or `client`.
    pub queue: &'static str,
    /// Octets of the body.
    pub size: u64,
    /// When it was handed in, in seconds since 1970.
    pub arrived: u64,
    /// The envelope sender, as Sendmail writes it.
    pub sender: String,
    /// Those it is still to be sent to.
    pub recipients: Vec<Recipient>,
    /// Why it waits, where Sendmail has noted it.
    pub status: Option<String>,
}

/// Somebody whom a message is still to be sent to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Recipient {
    /// The address, as Sendmail writes it.
    pub address: String,
    /// Whether a process of Sendmail has the message in its hands now.
    pub active: bool,
}

/// All messages of both queues, the oldest first. A message that goes meanwhile is passed over.
pub fn list(sendmail: &Sendmail) -> Vec<Message> {
    let locked = locked();
    let mut all = Vec::new();
    for (name, directory) in [("daemon", &sendmail.daemon_queue), ("client", &sendmail.client_queue)] {
        all.extend(files(directory).iter().filter_map(|file| read(name, file, &locked)));
    }
    all.sort_by(|a, b| (a.arrived, &a.id).cmp(&(b.arrived, &b.id)));
    all
}

/// The `qf` files of a queue, those in queue groups' directories too.
fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() && (name.starts_with("qf") || name.starts_with("hf")) => {
                found.push(entry.path());
            }
            _ => {}
        }
    }
    found
}

fn read(queue: &'static str, file: &Path, locked: &BTreeSet<u64>) -> Option<Message> {
    let meta = fs::metadata(file).ok()?;
    let text = String::from_utf8_lossy(&fs::read(file).ok()?).into_owned();
    let id = file.file_name()?.to_str()?.get(2..)?.to_owned();
    let size = fs::metadata(file.with_file_name(format!("df{id}"))).map_or(0, |body| body.len());
    let active = locked.contains(&meta.ino());
    parse(&text, active).map(|(arrived, sender, recipients, status)| Message {
        id,
        queue,
        size,
        arrived,
        sender,
        recipients,
        status,
    })
}

type Parsed = (u64, String, Vec<Recipient>, Option<String>);

/// None for a file that is being written and has no recipient yet.
fn parse(text: &str, active: bool) -> Option<Parsed> {
    let (mut arrived, mut sender, mut recipients, mut status) = (0, String::new(), Vec::new(), None);
    for line in text.lines() {
        let Some((code, rest)) = line.split_at_checked(1) else { continue };
        match code {
            "T" => arrived = rest.parse().unwrap_or_default(),
            "S" => sender = rest.to_owned(),
            "M" => status = Some(rest.to_owned()),
            // Flags end at the first colon: RPFD:<root@corp.example>
            "R" => {
                let address = rest.split_once(':').map_or(rest, |(_, address)| address).to_owned();
                recipients.push(Recipient { address, active });
            }
            _ => {}
        }
    }
    (!recipients.is_empty()).then_some((arrived, sender, recipients, status))
}

/// The files that any process has locked, by inode: asking the kernel takes no lock, which would make Sendmail pass a
/// message over.
fn locked() -> BTreeSet<u64> {
    let text = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = |line: &str| {
        line.split_whitespace().find(|word| word.matches(':').count() == 2)?.rsplit(':').next()?.parse().ok()
    };
    text.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_file_is_read() {
        let text = "V8\nT1795190722\nK1795190722\nN1\nP30189\nI0/254/123\n\
                    MDeferred: Connection refused by mailhost.corp.example.\nFbs\n$_root@localhost\nSroot\n\
                    Aroot@web01.corp.example\nRPFD:<bob@outside.example>\nrRFC822; carol@x\nRPFD:carol@x.example\n\
                    H?P?Return-Path: <?g>\nHSubject: Re: x\n.\n";
        let (arrived, sender, recipients, status) = parse(text, true).unwrap();
        assert_eq!((arrived, sender.as_str()), (1_795_190_722, "root"));
        let addresses: Vec<&str> = recipients.iter().map(|one| one.address.as_str()).collect();
        assert_eq!(addresses, ["<bob@outside.example>", "carol@x.example"]);
        assert!(recipients[0].active);
        assert!(status.unwrap().starts_with("Deferred"));
        assert!(parse("V8\nT1\n", false).is_none());
    }
}
