//! The reader of the drop directory.
//!
//! Whoever can write there is not trusted: a file is taken only if its name is a drop file's, it is a regular file of
//! one link that was opened without following a link, and it is finished. Its owner is who sends. What can never be
//! taken is moved aside, and said. A file is removed only after its message is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mailstack_policy::{Client, Expanded, RecipientVerdict, Refusal, ReversePath};
use mailstack_smtp::address::{Address, Domain};
use nix::fcntl::OFlag;

use super::Shared;
use super::message::{Arrival, Message, Transaction};
use crate::event::{Event, Peer};
use crate::message::QueueId;
use crate::submission::Request;
use crate::submission::drop::{DropError, Dropped, is_name};

/// The wait between two looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Where refused files go, within the drop directory; readable by the MTA alone.
const ASIDE: &str = "refused";
/// Files of one user taken in one look; more wait for the next.
const FILES_PER_USER: u32 = 200;
/// Octets of one user taken in one look, as a multiple of the largest message.
const SIZES_PER_USER: u64 = 8;
/// Files taken in one look.
const FILES: u32 = 2000;
/// Names read in one look: what is beyond waits until there are fewer.
const MAX_NAMES: usize = 100_000;
/// The age at which a file without an end mark is taken to be given up.
const GIVEN_UP: Duration = Duration::from_secs(24 * 3600);
/// Octets handed to the queue at once.
const CHUNK: usize = 64 * 1024;

/// Looks into the directory at once, when asked, and from time to time, until the server stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    let mut stop = shared.stop.subscribe();
    let mut reader = Reader::new(Arc::clone(&shared));
    loop {
        let again = reader.look().await;
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = shared.scan.notified() => {}
            () = tokio::time::sleep(INTERVAL), if !again => {}
            () = tokio::task::yield_now(), if again => {}
        }
    }
}

/// Why a file stays where it is or is moved aside.
enum Refused {
    /// It can never be taken.
    Aside(String),
    /// It may be taken at a later look.
    Later,
}

struct Reader {
    shared: Arc<Shared>,
    directory: PathBuf,
    /// What could not even be moved aside: said once.
    stuck: BTreeSet<String>,
}

/// What one look has taken.
#[derive(Default)]
struct Quota {
    files: u32,
    users: BTreeMap<u32, (u32, u64)>,
}

impl Quota {
    /// Whether one more file of this user and size may be taken in this look.
    fn admit(&mut self, uid: u32, size: u64, largest: u64) -> bool {
        let (files, octets) = self.users.entry(uid).or_default();
        let after = octets.saturating_add(size);
        let over = *files >= FILES_PER_USER || after > largest.saturating_mul(SIZES_PER_USER);
        if over || self.files >= FILES {
            return false;
        }
        (*files, *octets, self.files) = (*files + 1, after, self.files + 1);
        true
    }
}

impl Reader {
    fn new(shared: Arc<Shared>) -> Self {
        let directory = shared.root.path(&shared.config.paths.drop);
        Self { shared, directory, stuck: BTreeSet::new() }
    }

    /// Takes what is there. Returns whether a quota left some for the next look.
    async fn look(&mut self) -> bool {
        let names = match names(&self.directory) {
            Ok(names) => names,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return false,
            Err(e) => {
                self.shared.events.warn(format!("cannot read {}: {e}", self.directory.display()));
                return false;
            }
        };
        self.stuck.retain(|name| names.contains(name));
        let (mut quota, mut again) = (Quota::default(), false);
        for name in names.into_iter().filter(|name| name != ASIDE) {
            again |= self.visit(&name, &mut quota).await;
        }
        again
    }

    async fn visit(&mut self, name: &str, quota: &mut Quota) -> bool {
        if self.stuck.contains(name) {
            return false;
        }
        let (file, uid) = match self.open(name) {
            Ok(opened) => opened,
            Err(Refused::Later) => return false,
            Err(Refused::Aside(why)) => {
                self.set_aside(name, &why);
                return false;
            }
        };
        if !quota.admit(uid, file.length, self.shared.config.limits.message_size) {
            return true;
        }
        self.take(name, file, uid).await;
        false
    }

    fn open(&self, name: &str) -> Result<(Dropped, u32), Refused> {
        if !is_name(name) {
            return Err(Refused::Aside("its name is not that of a drop file".to_owned()));
        }
        let (file, uid, modified) = open_safely(&self.directory.join(name))?;
        let dropped = Dropped::open(file).map_err(|e| match e {
            DropError::Unfinished if !is_older(modified, GIVEN_UP) => Refused::Later,
            e => Refused::Aside(e.to_string()),
        })?;
        let limit = self.shared.config.limits.message_size;
        if dropped.length > limit {
            return Err(Refused::Aside(format!("its message is over the maximum size ({limit})")));
        }
        if dropped.request.recipients.len() > self.shared.config.limits.recipients as usize {
            return Err(Refused::Aside("it has too many recipients".to_owned()));
        }
        Ok((dropped, uid))
    }

    async fn take(&mut self, name: &str, dropped: Dropped, uid: u32) {
        match queue(&self.shared, dropped, uid).await {
            Ok(id) => {
                let event = Event::DropTaken { id, file: name.to_owned(), uid };
                self.shared.events.emit(event);
                if let Err(e) = fs::remove_file(self.directory.join(name)) {
                    self.stuck.insert(name.to_owned());
                    self.shared.events.warn(format!("{name} is queued as {id} and cannot be removed: {e}"));
                }
            }
            Err(Refused::Aside(why)) => self.set_aside(name, &why),
            Err(Refused::Later) => {}
        }
    }

    fn set_aside(&mut self, name: &str, why: &str) {
        let aside = self.directory.join(ASIDE);
        let moved = private_directory(&aside).and_then(|()| {
            let target = free_name(&aside, name);
            fs::rename(self.directory.join(name), &target).map(|()| target)
        });
        let reason = match moved {
            Ok(target) => format!("{why}; moved to {}", target.display()),
            Err(e) => {
                self.stuck.insert(name.to_owned());
                format!("{why}; it cannot be moved to {}: {e}", aside.display())
            }
        };
        self.shared.events.emit(Event::DropRefused { file: name.to_owned(), reason });
    }
}

/// The names in the directory, sorted: what was dropped is taken in an order that can be repeated.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(directory)?.take(MAX_NAMES);
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.map(name).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Opens a regular file of one link. Neither a link is followed, nor is a pipe waited for.
fn open_safely(path: &Path) -> Result<(File, u32, SystemTime), Refused> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Refused::Later,
        _ => Refused::Aside(format!("it cannot be opened: {e}")),
    })?;
    let meta = file.metadata().map_err(|e| Refused::Aside(format!("it cannot be examined: {e}")))?;
    if !meta.is_file() {
        return Err(Refused::Aside("it is no regular file".to_owned()));
    }
    if meta.nlink() != 1 {
        return Err(Refused::Aside("it has more than one link".to_owned()));
    }
    let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok((file, meta.uid(), modified))
}

fn is_older(modified: SystemTime, age: Duration) -> bool {
    modified.elapsed().is_ok_and(|elapsed| elapsed > age)
}

fn private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(path)?.is_dir() {
            true => Ok(()),
            false => Err(e),
        },
        created => created,
    }
}

/// A name that replaces nothing.
fn free_name(directory: &Path, name: &str) -> PathBuf {
    let plain = directory.join(name);
    let numbered = (1_u32..).map(|n| directory.join(format!("{name}.{n}")));
    let mut candidates = std::iter::once(plain.clone()).chain(numbered);
    candidates.find(|path| fs::symlink_metadata(path).is_err()).unwrap_or(plain)
}

async fn queue(shared: &Arc<Shared>, mut dropped: Dropped, uid: u32) -> Result<QueueId, Refused> {
    let transaction = transaction(shared, &dropped.request, uid)?;
    let client = Client::Local { uid };
    let arrival = Arrival { peer: Peer::Local { uid }, client, hello: String::new(), protocol: "drop" };
    let mut message = Message::begin(Arc::clone(shared), arrival, transaction);
    let mut chunk = vec![0; CHUNK];
    let mut check = Check::default();
    loop {
        let read = dropped.read(&mut chunk).map_err(|e| Refused::Aside(format!("it cannot be read: {e}")))?;
        if read == 0 {
            break;
        }
        check.take(&chunk[..read])?;
        message.write(&chunk[..read]).await;
    }
    check.end()?;
    message.finish().await.map_err(|reply| match reply.is_transient() {
        true => Refused::Later,
        false => Refused::Aside(reply.to_string()),
    })
}

/// What SMTP would refuse in a message, a drop file may not bring in either.
#[derive(Default)]
struct Check {
    after_cr: bool,
    within_line: bool,
}

impl Check {
    fn take(&mut self, octets: &[u8]) -> Result<(), Refused> {
        for &octet in octets {
            if octet == 0 || self.after_cr != (octet == b'\n') {
                return Err(Refused::Aside("its message has a NUL, a bare CR or a bare LF".to_owned()));
            }
            self.after_cr = octet == b'\r';
            self.within_line = octet != b'\n';
        }
        Ok(())
    }

    fn end(&self) -> Result<(), Refused> {
        match self.within_line {
            true => Err(Refused::Aside("its message ends within a line".to_owned())),
            false => Ok(()),
        }
    }
}

/// Nobody waits for a reply: what is refused is queued as written, and delivery returns it to the sender.
fn transaction(shared: &Shared, request: &Request, uid: u32) -> Result<Transaction, Refused> {
    let client = Client::Local { uid };
    let sender = match shared.sender(&client, &request.sender) {
        Ok(sender) => sender,
        Err(_) => {
            owner(shared, &client, uid).map_err(|_| Refused::Aside("its sender is refused".to_owned()))?
        }
    };
    let mut transaction = Transaction::new(sender, request.eight_bit, request.ret, request.envid.clone());
    for to in &request.recipients {
        let expanded = match shared.recipient(&client, to) {
            Err(_) => return Err(Refused::Later),
            Ok(RecipientVerdict::Deliver(expanded)) => expanded,
            Ok(RecipientVerdict::Refuse(_)) => vec![as_written(shared, to)],
        };
        transaction.add(to.clone(), expanded, None, request.notify);
    }
    match transaction.is_empty() {
        true => Err(Refused::Aside("it has no recipient".to_owned())),
        false => Ok(transaction),
    }
}

fn owner(shared: &Shared, client: &Client, uid: u32) -> Result<ReversePath, Refusal> {
    let address = Address::new(shared.user_name(uid), None).map_err(|_| Refusal::UserUnknown)?;
    shared.sender(client, &ReversePath::Address(address))
}

fn as_written(shared: &Shared, to: &Address) -> Expanded {
    let own = || Domain::Name(shared.hostname.clone());
    let address = to.with_domain(Some(to.domain().cloned().unwrap_or_else(own)));
    Expanded { address, expanded_from: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_use_up_a_look() {
        let mut quota = Quota::default();
        let admitted = (0..FILES).filter(|_| quota.admit(1000, 1, 100)).count();
        assert_eq!(admitted, FILES_PER_USER as usize);
        assert!(quota.admit(1001, 800, 100));
        assert!(!quota.admit(1001, 1, 100), "octets count too");
        let others = (2000..9000).filter(|uid| quota.admit(*uid, 1, 100)).count();
        assert_eq!(others, (FILES - FILES_PER_USER - 1) as usize);
    }

    #[test]
    fn nothing_moved_aside_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("a.1")).unwrap();
        assert_eq!(free_name(dir.path(), "a"), dir.path().join("a.2"));
        assert_eq!(free_name(dir.path(), "b"), dir.path().join("b"));
    }
}
