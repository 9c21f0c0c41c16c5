//! The reader of the drop directory.
//!
//! Whoever can write there is not trusted: a file is taken only if its name is a drop file's, it is a regular file of
//! one link that was opened without following a link, and it is finished. Its owner is who sends. What can never be
//! taken is moved aside, and said. A file is removed only after its message is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mailstack_policy::{Client, Expanded, RecipientVerdict, Refusal, ReversePath};
use mailstack_smtp::address::{Address, Domain};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use super::Shared;
use super::message::{Arrival, Message, Transaction};
use crate::event::{Event, Peer};
use crate::message::QueueId;
use crate::submission::drop::{ASIDE, DropError, Dropped, is_name};
use crate::submission::{MAX_RECIPIENTS, Request, is_envid};

/// The wait between two looks.
const INTERVAL: Duration = Duration::from_secs(60);
/// Files of one user taken in one look; more wait for the next.
const FILES_PER_USER: u32 = 200;
/// Octets of one user taken in one look, as a multiple of the largest message.
const SIZES_PER_USER: u64 = 8;
/// Files taken in one look.
const FILES: u32 = 2000;
/// Names held at once: a directory of any size is read in parts, so that nobody's files hide another's.
const NAMES: usize = 4096;
/// Files of one user that may wait for their end mark, far more than are ever written at once; those beyond are moved
/// aside.
const UNFINISHED_PER_USER: u32 = 10_000;
/// Names remembered as those of what cannot even be moved aside.
const MAX_STUCK: usize = 1000;
/// Files kept aside; beyond, what is no drop file is removed, so that nobody hides the rest among it.
const MAX_ASIDE: usize = 1000;
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
    /// It is no drop file.
    Junk(String),
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
    unfinished: BTreeMap<u32, u32>,
    /// Over a quota: a further look takes them.
    left: bool,
    taken: u32,
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

    /// Whether one more file of this user may wait for its end mark.
    fn admit_unfinished(&mut self, uid: u32) -> bool {
        let waiting = self.unfinished.entry(uid).or_default();
        *waiting += 1;
        *waiting <= UNFINISHED_PER_USER
    }

    /// Whether to look again at once: where nothing could be taken, as on a full disk, that would be for nothing.
    fn again(&self) -> bool {
        self.left && self.taken > 0
    }
}

impl Reader {
    fn new(shared: Arc<Shared>) -> Self {
        let directory = shared.root.path(&shared.config.paths.drop);
        Self { shared, directory, stuck: BTreeSet::new() }
    }

    /// Takes what is there. Returns whether a quota left some for the next look.
    async fn look(&mut self) -> bool {
        let mut quota = Quota::default();
        match self.look_through(&mut quota).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                self.shared.events.warn(format!("cannot read {}: {e}", self.directory.display()));
                false
            }
            _ => quota.again(),
        }
    }

    async fn look_through(&mut self, quota: &mut Quota) -> io::Result<()> {
        let mut entries = fs::read_dir(&self.directory)?;
        self.own_aside();
        loop {
            let names = names(&mut entries)?;
            if names.is_empty() {
                return Ok(());
            }
            for name in names {
                self.visit(&name, quota).await;
            }
            // Others have something to do too, however many files there are.
            tokio::task::yield_now().await;
        }
    }

    /// Makes the place for what is refused. Whatever another user put there has to leave it, or that user could
    /// have what others wrote.
    fn own_aside(&self) {
        let aside = self.directory.join(ASIDE);
        let Ok(meta) = fs::symlink_metadata(&aside) else {
            let _ = fs::DirBuilder::new().mode(0o700).create(&aside);
            return;
        };
        if !meta.is_dir() || meta.uid() != geteuid().as_raw() {
            let moved = fs::rename(&aside, free_name(&self.directory, "not-mine"));
            if moved.and_then(|()| fs::DirBuilder::new().mode(0o700).create(&aside)).is_err() {
                self.shared.events.warn(format!("{} is not mine: remove it", aside.display()));
            }
        }
    }

    async fn visit(&mut self, name: &str, quota: &mut Quota) {
        if self.stuck.contains(name) {
            return;
        }
        match self.open(name, quota) {
            Ok((file, uid)) => {
                if quota.admit(uid, file.length, self.shared.config.limits.message_size) {
                    quota.taken += u32::from(self.take(name, file, uid).await);
                } else {
                    quota.left = true;
                }
            }
            Err(Refused::Later) => {}
            Err(Refused::Junk(why)) if self.is_aside_full() => self.remove(name, &why),
            Err(Refused::Junk(why) | Refused::Aside(why)) => self.set_aside(name, &why),
        }
    }

    fn open(&self, name: &str, quota: &mut Quota) -> Result<(Dropped, u32), Refused> {
        if !is_name(name) {
            return Err(Refused::Junk("its name is not that of a drop file".to_owned()));
        }
        let (file, uid, modified) = open_safely(&self.directory.join(name))?;
        let dropped = Dropped::open(file).map_err(|e| match e {
            DropError::Unfinished if !is_older(modified, GIVEN_UP) && quota.admit_unfinished(uid) => {
                Refused::Later
            }
            e => Refused::Junk(e.to_string()),
        })?;
        self.check(&dropped).map_err(Refused::Aside)?;
        Ok((dropped, uid))
    }

    /// Errors: why a drop file is refused, from its frame alone.
    fn check(&self, dropped: &Dropped) -> Result<(), String> {
        let limits = &self.shared.config.limits;
        if dropped.length > limits.message_size {
            return Err(format!("its message is over the maximum size ({})", limits.message_size));
        }
        if dropped.request.recipients.len() > MAX_RECIPIENTS as usize {
            return Err("it has too many recipients".to_owned());
        }
        if dropped.request.envid.as_ref().is_some_and(|envid| !is_envid(envid)) {
            return Err("its ENVID is none".to_owned());
        }
        Ok(())
    }

    /// Returns whether the file is out of the way.
    async fn take(&mut self, name: &str, dropped: Dropped, uid: u32) -> bool {
        match queue(&self.shared, dropped, uid).await {
            Ok(id) => {
                if let Err(e) = fs::remove_file(self.directory.join(name)) {
                    // Never forgotten: it would be sent again and again.
                    self.stuck.insert(name.to_owned());
                    self.shared.events.warn(format!("{name} is queued as {id} and cannot be removed: {e}"));
                }
                let event = Event::DropTaken { id, file: name.to_owned(), uid };
                self.shared.events.emit(event);
                true
            }
            Err(Refused::Aside(why) | Refused::Junk(why)) => {
                self.set_aside(name, &why);
                true
            }
            Err(Refused::Later) => false,
        }
    }

    fn is_aside_full(&self) -> bool {
        fs::read_dir(self.directory.join(ASIDE))
            .is_ok_and(|entries| entries.take(MAX_ASIDE).count() == MAX_ASIDE)
    }

    fn set_aside(&mut self, name: &str, why: &str) {
        let aside = self.directory.join(ASIDE);
        let target = free_name(&aside, name);
        let moved = fs::rename(self.directory.join(name), &target);
        self.put_away(name, why, moved, &format!("moved to {}", target.display()));
    }

    fn remove(&mut self, name: &str, why: &str) {
        let removed = fs::remove_file(self.directory.join(name));
        self.put_away(name, why, removed, "removed, for too many are kept already");
    }

    fn put_away(&mut self, name: &str, why: &str, done: io::Result<()>, what: &str) {
        let reason = match done {
            Ok(()) => format!("{why}; {what}"),
            Err(e) => {
                if self.stuck.len() < MAX_STUCK {
                    self.stuck.insert(name.to_owned());
                }
                format!("{why}; it cannot be moved out of the way: {e}")
            }
        };
        self.shared.events.emit(Event::DropRefused { file: name.to_owned(), reason });
    }
}

/// The next names of the directory, sorted: what was dropped is taken in an order that can be repeated. Directories
/// are passed over: one of another user's can be neither moved nor removed.
fn names(entries: &mut fs::ReadDir) -> io::Result<Vec<String>> {
    let is_file = |entry: &io::Result<fs::DirEntry>| {
        !entry.as_ref().is_ok_and(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
    };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let mut names = entries.filter(is_file).map(name).take(NAMES).collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Opens a regular file of one link. Neither a link is followed, nor is a pipe waited for.
fn open_safely(path: &Path) -> Result<(File, u32, SystemTime), Refused> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path);
    let file = opened.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Refused::Later,
        _ => Refused::Junk(format!("it cannot be opened: {e}")),
    })?;
    let meta = file.metadata().map_err(|e| Refused::Junk(format!("it cannot be examined: {e}")))?;
    if !meta.is_file() {
        return Err(Refused::Junk("it is no regular file".to_owned()));
    }
    if meta.nlink() != 1 {
        return Err(Refused::Junk("it has more than one link".to_owned()));
    }
    let modified = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    Ok((file, meta.uid(), modified))
}

fn is_older(modified: SystemTime, age: Duration) -> bool {
    modified.elapsed().is_ok_and(|elapsed| elapsed > age)
}

/// A name that replaces nothing. A name that is taken costs one try: whoever drops chooses the names.
fn free_name(directory: &Path, name: &str) -> PathBuf {
    let plain = directory.join(name);
    match fs::symlink_metadata(&plain) {
        Err(_) => plain,
        Ok(_) => directory.join(format!("{name}.{:016x}", random())),
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}

async fn queue(shared: &Arc<Shared>, mut dropped: Dropped, uid: u32) -> Result<QueueId, Refused> {
    let transaction = transaction(shared, &dropped.request, uid)?;
    let client = Client::Local { uid };
    let peer = Peer::Local { uid };
    let arrival = Arrival { dropped: true, ..Arrival::new(peer, Arc::default(), client) };
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
    address.into()
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
    fn files_that_are_never_finished_have_a_limit() {
        let mut quota = Quota::default();
        assert!((0..UNFINISHED_PER_USER).all(|_| quota.admit_unfinished(1000)));
        assert!(!quota.admit_unfinished(1000) && quota.admit_unfinished(1001));
    }

    #[test]
    fn a_look_that_could_take_nothing_is_not_repeated_at_once() {
        assert!(!Quota { left: true, ..Quota::default() }.again());
        assert!(Quota { left: true, taken: 1, ..Quota::default() }.again());
    }

    #[test]
    fn nothing_moved_aside_replaces_another() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        let other = free_name(dir.path(), "a");
        assert!(other != dir.path().join("a") && fs::symlink_metadata(&other).is_err());
        assert_eq!(free_name(dir.path(), "b"), dir.path().join("b"));
    }
}
