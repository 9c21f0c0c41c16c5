//! The drop directory: mail that waits because nobody serves the submission socket.
//!
//! Directory: sticky and setgid, mode 3777, owner and group mailstack. One file per message, named `drop-` and 32
//! hexadecimal digits, mode 0640, created exclusively. Its owner is who sends. Content:
//!
//! ```text
//! mailstack-drop 1\n
//! {"sender":"root","recipients":["root"],…}\n      a Request, as one line of JSON
//! the message, every line ended by CRLF
//! mailstack-end 000000000000012c\n                  the message's octets, 16 hexadecimal digits
//! ```
//!
//! The end mark is written last, and says with its count that all before it was written: without it a file is still
//! being written, or was given up. File and directory are synced before the program that drops it may say success.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use mailstack_runtime::Limits;
use mailstack_smtp::reply::Reply;
use nix::fcntl::OFlag;

use super::Request;
use super::limit::Gate;
use super::lines::Lines;

/// The first line.
const MAGIC: &str = "mailstack-drop 1\n";
/// Before the count in the end mark.
const END: &str = "mailstack-end ";
/// Octets of the end mark.
const END_LENGTH: u64 = 14 + 16 + 1;
/// Octets of the first two lines at most: room for [`super::MAX_RECIPIENTS`].
const MAX_HEAD: u64 = 4 * 1024 * 1024;
/// What a name begins with.
const PREFIX: &str = "drop-";
/// Random octets in a name.
const RANDOM: usize = 16;

/// Why a drop file cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum DropError {
    /// No end mark: it is being written, or its writer died.
    #[error("it has no end mark")]
    Unfinished,
    /// It is no drop file, or of another version.
    #[error("it is no drop file of version 1: {0}")]
    Malformed(&'static str),
    /// Its envelope cannot be read.
    #[error("its envelope cannot be read")]
    Envelope(#[source] serde_json::Error),
    /// Reading it failed.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

/// Where refused files go, within the drop directory; readable by the MTA alone.
pub const ASIDE: &str = "refused";

/// Why a message is not dropped.
#[derive(Debug)]
pub enum NotDropped {
    /// It is over a limit of the MTA, whose reply this is.
    Refused(Reply),
    /// Reading it, or writing the file, failed.
    Io(io::Error),
}

impl From<io::Error> for NotDropped {
    fn from(error: io::Error) -> Self {
        NotDropped::Io(error)
    }
}

/// How many drop files a directory holds; none where there is no directory.
pub fn count(directory: &Path) -> io::Result<u64> {
    let entries = match std::fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    // One whose name was taken when it was moved aside has more behind it.
    Ok(names.filter(|name| is_name(name.to_string_lossy().split('.').next().unwrap_or_default())).count()
        as u64)
}

/// Whether a drop file may have this name.
pub fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == 2 * RANDOM && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Writes a message into the directory and returns its name once file and directory are durable. The message becomes
/// what SMTP carries, as [`Lines`] makes it. On an error nothing stays behind.
pub fn write_drop(
    directory: &Path,
    limits: &Limits,
    request: &Request,
    message: &mut dyn Read,
) -> Result<String, NotDropped> {
    write_into(&Real { directory }, limits, request, message)
}

/// The door to the directory that drop files are written in: a model of a disk stands behind it in the tests.
trait Door {
    /// Creates a file that must not exist.
    fn create(&self, name: &str) -> io::Result<Box<dyn Output>>;
    /// Removes one.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes the entries of the directory durable.
    fn sync(&self) -> io::Result<()>;
}

/// A drop file that is being written.
trait Output: Write {
    /// Makes its octets durable.
    fn sync(&mut self) -> io::Result<()>;
}

struct Real<'a> {
    directory: &'a Path,
}

impl Door for Real<'_> {
    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        Ok(Box::new(create(&self.directory.join(name))?))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.directory.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(self.directory)?.sync_all()
    }
}

impl Output for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}

fn write_into(
    door: &dyn Door,
    limits: &Limits,
    request: &Request,
    message: &mut dyn Read,
) -> Result<String, NotDropped> {
    let name = random_name()?;
    let written = door.create(&name).map_err(NotDropped::Io);
    let written = written.and_then(|file| fill(file, limits, request, message));
    match written.and_then(|()| Ok(door.sync()?)) {
        Ok(()) => Ok(name),
        Err(e) => {
            let _ = door.remove(&name);
            Err(e)
        }
    }
}

fn create(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o640).custom_flags(flags.bits()).open(path)?;
    // Whatever the umask: the group reads it, nobody else does.
    file.set_permissions(Permissions::from_mode(0o640))?;
    Ok(file)
}

fn fill(
    file: Box<dyn Output>,
    limits: &Limits,
    request: &Request,
    message: &mut dyn Read,
) -> Result<(), NotDropped> {
    let mut out = BufWriter::with_capacity(64 * 1024, file);
    out.write_all(MAGIC.as_bytes())?;
    serde_json::to_writer(&mut out, request).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    let octets = write_lines(message, Gate::new(limits), &mut out)?;
    writeln!(out, "{END}{octets:016x}")?;
    Ok(out.into_inner().map_err(io::IntoInnerError::into_error)?.sync()?)
}

/// Returns how many octets there are now.
fn write_lines(message: &mut dyn Read, mut gate: Gate<'_>, out: &mut impl Write) -> Result<u64, NotDropped> {
    let mut lines = Lines::formed(BufReader::new(message));
    let mut line = Vec::new();
    while lines.next_into(&mut line)? {
        gate.take(&line).map_err(NotDropped::Refused)?;
        out.write_all(&line)?;
        line.clear();
    }
    gate.end().map_err(NotDropped::Refused)
}

fn random_name() -> io::Result<String> {
    let mut random = [0; RANDOM];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    let digits: String = random.iter().map(|b| format!("{b:02x}")).collect();
    Ok(format!("{PREFIX}{digits}"))
}

/// A finished drop file, open at its message.
#[derive(Debug)]
pub struct Dropped {
    /// What its sender asks for.
    pub request: Request,
    /// Octets of the message.
    pub length: u64,
    file: BufReader<File>,
    left: u64,
}

impl Dropped {
    /// Reads the frame of a drop file that is open for reading. Errors: see [`DropError`].
    pub fn open(mut file: File) -> Result<Self, DropError> {
        let size = file.metadata().map_err(DropError::Io)?.len();
        let length = read_end(&mut file, size)?;
        file.seek(SeekFrom::Start(0)).map_err(DropError::Io)?;
        let mut file = BufReader::new(file);
        let magic = read_line(&mut file)?;
        if magic != MAGIC.as_bytes() {
            return Err(DropError::Malformed("first line"));
        }
        let envelope = read_line(&mut file)?;
        let head = (magic.len() + envelope.len()) as u64;
        if head.checked_add(length).and_then(|sum| sum.checked_add(END_LENGTH)) != Some(size) {
            return Err(DropError::Malformed("length"));
        }
        let request = serde_json::from_slice(&envelope).map_err(DropError::Envelope)?;
        Ok(Self { request, length, file, left: length })
    }
}

impl Read for Dropped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

fn read_end(file: &mut File, size: u64) -> Result<u64, DropError> {
    let at = size.checked_sub(END_LENGTH).ok_or(DropError::Unfinished)?;
    let mut mark = [0; END_LENGTH as usize];
    file.seek(SeekFrom::Start(at)).map_err(DropError::Io)?;
    file.read_exact(&mut mark).map_err(DropError::Io)?;
    let mark = std::str::from_utf8(&mark).map_err(|_| DropError::Unfinished)?;
    let digits =
        mark.strip_prefix(END).and_then(|rest| rest.strip_suffix('\n')).ok_or(DropError::Unfinished)?;
    u64::from_str_radix(digits, 16).map_err(|_| DropError::Unfinished)
}

fn read_line(file: &mut BufReader<File>) -> Result<Vec<u8>, DropError> {
    let mut line = Vec::new();
    file.take(MAX_HEAD).read_until(b'\n', &mut line).map_err(DropError::Io)?;
    if line.ends_with(b"\n") { Ok(line) } else { Err(DropError::Malformed("line too long")) }
}

#[cfg(test)]
mod tests {
    use mailstack_smtp::address::ReversePath;

    use super::*;
    use crate::spool::tests::model::{Chance, ModelDisk, after_crash};
    use crate::spool::{Disk, DiskFile};

    fn request() -> Request {
        Request::new(ReversePath::Address("root".parse().unwrap()), vec!["root".parse().unwrap()])
    }

    const LIMITS: Limits = Limits {
        message_size: 1000,
        recipients: 1,
        free_space: 0,
        header_size: 100,
        hops: 2,
        connections: 1,
        connections_per_client: 1,
    };

    fn open(path: &Path) -> Result<Dropped, DropError> {
        Dropped::open(File::open(path).unwrap())
    }

    #[test]
    fn what_is_dropped_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let name =
            write_drop(dir.path(), &LIMITS, &request(), &mut b"Subject: x\n\nbody\n".as_slice()).unwrap();
        assert!(is_name(&name), "{name}");
        let path = dir.path().join(&name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        let mut dropped = open(&path).unwrap();
        assert_eq!(dropped.request, request());
        let mut message = String::new();
        dropped.read_to_string(&mut message).unwrap();
        assert_eq!(message, "Subject: x\r\n\r\nbody\r\n");
        assert_eq!(dropped.length, message.len() as u64);
    }

    #[test]
    fn no_prefix_of_a_drop_file_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let name = write_drop(dir.path(), &LIMITS, &request(), &mut b"a\n".as_slice()).unwrap();
        let whole = std::fs::read(dir.path().join(name)).unwrap();
        let path = dir.path().join("cut");
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(open(&path).is_err(), "{length}");
        }
        for wrong in [
            b"mailstack-drop 2\n{}\nmailstack-end 0000000000000000\n".as_slice(),
            &[&whole[..], &whole].concat(),
        ] {
            std::fs::write(&path, wrong).unwrap();
            assert!(open(&path).is_err());
        }
    }

    /// A directory on a disk that forgets what was not synced, and that may take one kind of sync for done.
    struct Forgetful {
        disk: ModelDisk,
        syncs_files: bool,
        syncs_directory: bool,
    }

    struct Forgotten {
        file: std::sync::Arc<dyn DiskFile>,
        at: u64,
        syncs: bool,
    }

    impl Door for Forgetful {
        fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
            let file = Disk::create(&self.disk, name)?;
            Ok(Box::new(Forgotten { file, at: 0, syncs: self.syncs_files }))
        }

        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.unlink(name)
        }

        fn sync(&self) -> io::Result<()> {
            if self.syncs_directory { self.disk.sync_directory() } else { Ok(()) }
        }
    }

    impl Write for Forgotten {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.file.append(self.at, octets)?;
            self.at += octets.len() as u64;
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output for Forgotten {
        fn sync(&mut self) -> io::Result<()> {
            if self.syncs { self.file.sync() } else { Ok(()) }
        }
    }

    /// Whether a message that was dropped is there, whole, in every state that a crash may leave.
    fn survives_crashes(syncs_files: bool, syncs_directory: bool) -> bool {
        let forgetful = Forgetful { disk: ModelDisk::default(), syncs_files, syncs_directory };
        let message = "Subject: x\r\n\r\n".to_owned() + &"words\r\n".repeat(100);
        let name = write_into(&forgetful, &LIMITS, &request(), &mut message.as_bytes()).unwrap();
        let history = forgetful.disk.history();
        let mut chance = Chance(1);
        (0..200).all(|_| {
            let mut files = after_crash(&history, history.len(), &mut chance);
            let Some(octets) = files.remove(&name) else { return false };
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&octets).unwrap();
            let mut read = String::new();
            let whole = Dropped::open(file).is_ok_and(|mut file| file.read_to_string(&mut read).is_ok());
            whole && read == message
        })
    }

    #[test]
    fn what_was_dropped_survives_a_crash_and_would_not_without_either_sync() {
        assert!(survives_crashes(true, true));
        assert!(!survives_crashes(false, true), "the file need not be synced");
        assert!(!survives_crashes(true, false), "the directory need not be synced");
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(write_drop(dir.path(), &LIMITS, &request(), &mut Broken).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_the_mta_would_refuse_is_not_dropped() {
        let dir = tempfile::tempdir().unwrap();
        for (message, code) in [
            (format!("\n{}\n", "x".repeat(900)), None),
            (
                format!("\n{}\n", "x\n".repeat(400)),
                Some("552 5.2.3 Message exceeds maximum fixed size (1000)"),
            ),
            (format!("A: {}\n\n", "x".repeat(200)), Some("552 5.6.0 Headers too large (100 max)")),
            ("Received: x\n".repeat(3), Some("554 5.4.6 Too many hops 3 (2 max)")),
        ] {
            let dropped = write_drop(dir.path(), &LIMITS, &request(), &mut message.as_bytes());
            match (dropped, code) {
                (Ok(name), None) => std::fs::remove_file(dir.path().join(name)).unwrap(),
                (Err(NotDropped::Refused(reply)), Some(code)) => assert_eq!(reply.to_string(), code),
                (dropped, _) => panic!("{message}: {dropped:?}"),
            }
            assert_eq!(count(dir.path()).unwrap(), 0);
        }
        std::fs::write(dir.path().join("drop-0123456789abcdef0123456789abcdef.00"), "").unwrap();
        assert_eq!((count(dir.path()).unwrap(), count(&dir.path().join("none")).unwrap()), (1, 0));
    }

    #[test]
    fn names() {
        for (name, is) in [
            ("drop-0123456789abcdef0123456789abcdef", true),
            ("drop-0123", false),
            ("x", false),
            ("drop-0123456789abcdef0123456789abcde/", false),
        ] {
            assert_eq!(is_name(name), is, "{name}");
        }
    }
}
