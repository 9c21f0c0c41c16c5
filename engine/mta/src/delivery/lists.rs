//! Mailing lists: a message for one is queued anew for its members, with its owner as the sender.
//!
//! Owns: the files that a list includes, and what they must be like to be trusted. They are read as the MTA's own user.
//! The copy is durable before the list's recipient is done: after a crash in between its members get two.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use mailstack_policy::{
    Client, Expanded, Here, IncludeError, Includes, ReversePath, include_targets, list_includes,
    list_members, list_owner, sender,
};
use nix::libc;

use super::manager::{Context, Ending, now};
use super::remote::Verdict;
use super::watched::Watch;
use crate::bounce::Cause;
use crate::delivery::Body;
use crate::event::Event;
use crate::host::Root;
use crate::message::{Envelope, Recipient};
use crate::queue::{Due, Job, Queue};

/// Octets of one file.
const MAX_FILE: u64 = 1024 * 1024;
/// Files of one list, those that its files include too.
const MAX_FILES: usize = 100;
/// Members of one list.
const MAX_MEMBERS: usize = 10_000;

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error("cannot read {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} is {what}: nobody else may be able to change who is on a list", path.display())]
    Unsafe { path: PathBuf, what: &'static str },
    #[error("{}: {source}", path.display())]
    Text { path: PathBuf, source: IncludeError },
    #[error("more than {MAX_FILES} files are included")]
    Many,
}

/// Queues the message for the members of a list.
pub(super) async fn deliver(
    context: &Context,
    queue: &Queue,
    job: &Job,
    due: &Due,
    watch: &Watch,
    alias: &str,
) -> Ending {
    let (rules, root) = (context.config.rules.clone(), context.root.clone());
    let paths: Vec<String> = list_includes(&rules, alias).into_iter().map(str::to_owned).collect();
    let read = tokio::task::spawn_blocking(move || includes(&root, paths)).await;
    let includes = match read {
        Ok(Ok(includes)) => includes,
        Ok(Err(unread)) => return later("4.2.4", unread.to_string()),
        Err(error) => return later("4.3.0", error.to_string()),
    };
    let here = Here::named(&context.hostname);
    // A member whom nobody knows is taken, and comes back to the owner.
    let exists = |name: &str| !matches!(context.users.by_name(name), Ok(None));
    let members = match list_members(&context.config.rules, here, alias, &includes, &exists) {
        Ok(members) if members.len() > MAX_MEMBERS => {
            return later("4.5.3", format!("the list has more than {MAX_MEMBERS} members"));
        }
        Ok(members) if members.is_empty() => {
            return Ending::Delivered { mailbox: format!("list {alias}, without members") };
        }
        Ok(members) => members,
        Err(refusal) => return Ending::Verdict(Verdict::Failed(super::notice::refusal(&refusal))),
    };
    let count = members.len();
    let envelope = envelope(context, job, due, alias, members);
    match requeue(queue, job, due, watch, envelope).await {
        Ok(id) => {
            context.events.emit(Event::Queued { id, about: Some(job.id), nrcpts: count });
            Ending::Delivered { mailbox: format!("list {alias}, {count} members, as {id}") }
        }
        Err(error) => later("4.3.0", format!("the copy for the list could not be queued: {error}")),
    }
}

fn later(status: &str, text: String) -> Ending {
    Ending::Verdict(Verdict::Deferred { cause: Cause::here(status, text), unreachable: false })
}

/// The list's owner is the sender from here on, and no receipt goes further (RFC 3461 5.2.7.3). Without one it is an
/// alias, and all stays. A bounce stays one.
fn envelope(context: &Context, job: &Job, due: &Due, alias: &str, members: Vec<Expanded>) -> Envelope {
    let here = Here::named(&context.hostname);
    let rules = &context.config.rules;
    let owner = list_owner(rules, alias).filter(|_| job.envelope.sender != ReversePath::Null);
    let new_sender = owner.map(|owner| {
        let owner = ReversePath::Address(owner);
        sender(rules, here, &Client::Local { uid: 0 }, &owner).unwrap_or(owner)
    });
    let from = due.recipient.expanded_from.clone().unwrap_or_else(|| due.recipient.address.clone());
    let has_owner = new_sender.is_some();
    let recipient = |one: Expanded| Recipient {
        address: one.address,
        expanded_from: Some(from.clone()),
        orcpt: due.recipient.orcpt.clone().filter(|_| !has_owner),
        notify: due.recipient.notify.filter(|_| !has_owner),
        target: one.target,
    };
    Envelope {
        recipients: members.into_iter().map(recipient).collect(),
        arrived: now(),
        ret: job.envelope.ret.filter(|_| !has_owner),
        envid: job.envelope.envid.clone().filter(|_| !has_owner),
        sender: new_sender.unwrap_or_else(|| job.envelope.sender.clone()),
        origin: job.envelope.origin.clone(),
        eight_bit: job.envelope.eight_bit,
        smtputf8: job.envelope.smtputf8,
    }
}

async fn requeue(
    queue: &Queue,
    job: &Job,
    due: &Due,
    watch: &Watch,
    envelope: Envelope,
) -> io::Result<crate::message::QueueId> {
    let mut incoming = queue.begin();
    // What comes back to the list has been here.
    let mark = format!("Delivered-To: {}\r\n", due.recipient.address);
    incoming.write(mark.as_bytes()).await.map_err(io::Error::other)?;
    let mut body = watch.over(&job.body);
    while let Some(octets) = body.chunk().await? {
        incoming.write(&octets).await.map_err(io::Error::other)?;
    }
    incoming.commit(envelope).await.map_err(io::Error::other)
}

/// The addresses of these files, and of those that they include in turn.
fn includes(root: &Root, mut paths: Vec<String>) -> Result<Includes, Unread> {
    let mut found = BTreeMap::new();
    while let Some(path) = paths.pop() {
        if found.contains_key(&path) {
            continue;
        }
        if found.len() == MAX_FILES {
            return Err(Unread::Many);
        }
        let text = read(root, Path::new(&path))?;
        let targets =
            include_targets(&text).map_err(|source| Unread::Text { path: PathBuf::from(&path), source })?;
        paths.extend(targets.iter().filter_map(|target| target.include().map(str::to_owned)));
        found.insert(path, targets);
    }
    Ok(found)
}

/// The text of a file that none but its owner can write, in directories of which the same is true.
fn read(root: &Root, path: &Path) -> Result<String, Unread> {
    let refused = |what| Unread::Unsafe { path: path.to_owned(), what };
    if !path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(refused("no absolute path"));
    }
    let failed = |source| Unread::Io { path: path.to_owned(), source };
    for directory in path.ancestors().skip(1) {
        let mode = std::fs::metadata(root.path(directory)).map_err(failed)?.mode();
        if mode & 0o022 != 0 {
            return Err(refused("in a directory that others can write to"));
        }
    }
    let mut options = OpenOptions::new();
    // A link would lead around the directories above; a pipe must not block.
    options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = options.open(root.path(path)).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() || found.mode() & 0o022 != 0 {
        return Err(refused(if found.is_file() { "writable by others" } else { "not a file" }));
    }
    let mut text = String::new();
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    match text.len() as u64 > MAX_FILE {
        true => Err(refused("over a mebioctet")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_what_others_cannot_change_is_read() {
        let tree = tempfile::tempdir().unwrap();
        let at = |path: &str| tree.path().join(path);
        let mode =
            |path: &str, mode| fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir_all(at("etc/lists")).unwrap();
        fs::write(at("etc/lists/good"), "# who\nAlice <alice@corp.example>, bob\n:include:/etc/lists/more\n")
            .unwrap();
        fs::write(at("etc/lists/more"), "\\carol\n:include:/etc/lists/good\n").unwrap();
        fs::write(at("etc/lists/bad"), "bob\n|/bin/sh\n").unwrap();
        symlink(at("etc/lists/good"), at("etc/lists/link")).unwrap();
        for path in ["", "etc", "etc/lists"] {
            mode(path, 0o755);
        }
        for path in ["etc/lists/good", "etc/lists/more", "etc/lists/bad"] {
            mode(path, 0o644);
        }
        let root = Root::new(tree.path());
        let say = |path: &str| includes(&root, vec![path.to_owned()]).map_err(|error| error.to_string());
        let found = say("/etc/lists/good").unwrap();
        let all: Vec<String> = found.values().flatten().map(ToString::to_string).collect();
        let wanted =
            ["alice@corp.example", "bob", ":include:/etc/lists/more", "\\carol", ":include:/etc/lists/good"];
        assert_eq!(all, wanted);
        for (path, why) in [
            ("/etc/lists/none", "cannot read"),
            ("/etc/lists/link", "cannot read"),
            ("/etc/lists", "not a file"),
            ("/etc/../etc/lists/good", "no absolute path"),
            ("/etc/lists/bad", "line 2"),
        ] {
            let error = say(path).unwrap_err();
            assert!(error.contains(why), "{path}: {error}");
        }
        mode("etc/lists/good", 0o664);
        assert!(say("/etc/lists/good").unwrap_err().contains("writable by others"));
        mode("etc/lists/good", 0o644);
        mode("etc/lists", 0o775);
        assert!(say("/etc/lists/good").unwrap_err().contains("directory that others can write to"));
    }
}
