//! A segment of the spool: whatever lies on the disk, no message is told of whose record is not whole, and a start
//! finds what a look finds.
//!
//! The format is written and judged here from its description (the `spool` module of the MTA), not by the code of it.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use mailstack_mta::spool::{Disk, DiskFile, Look, Options, Spool, SpoolError};

use super::split_settings;
use crate::seen::note;

/// Parts of descriptions.
pub const TOKENS: &[&str] = &[
    "{\"envelope\":{\"sender\":\"\",\"recipients\":[{\"address\":\"a@b.example\",\"expanded_from\":null,\"orcpt\":null,\"notify\":null}],\"arrived\":1,\"origin\":{\"Local\":{\"uid\":0}},\"eight_bit\":false,\"ret\":null,\"envid\":null},\"size\":1}",
    "\"chunks\":[{\"segment\":1,\"offset\":64,\"len\":40}]",
    "\"progress\":{\"standings\":[],\"held\":true}",
    "\"from\":1",
    "\"concludes\":[\"0000000000001\",{\"base\":1,\"changes\":[]}]",
    "{\"base\":1,\"changes\":[{\"done\":{\"recipient\":0,\"outcome\":\"Sent\"}}]}",
    "{\"base\":1,\"changes\":[\"held\"],\"concluded\":true}",
    "18446744073709551615",
    "4294967295",
    "\"release\":true",
    "\x01",
    "\x02",
    "\x03",
    "\x04",
    "\x05",
    "\n",
    "0000000000001",
    "MSSPOOL\n",
];

const SPOOL: u128 = 7;
const NUMBER: u32 = 1;
const HEADER: usize = 64;
const FRAME: usize = 36;
const NAME: &str = "00000001.seg";

/// Checks octets. The first says what they are: `R`: a segment as it lies on the disk; else records, parted by line
/// ends, each a kind, the number of a message, octets of a body and a description; and what is broken afterwards.
pub fn check(octets: &[u8]) {
    let ([what, where_], rest) = split_settings(octets);
    let segment = if what == b'R' { rest.to_vec() } else { written(what, where_, rest) };
    let whole = whole_records(&segment);
    let disk = Memory::of(segment);
    let looked = look(&disk, &whole);
    start(&disk, looked);
}

/// The numbers and states of what a look finds; None: it cannot be read at all.
fn look(disk: &Memory, whole: &BTreeMap<u64, Vec<Vec<u8>>>) -> Option<Vec<u64>> {
    let look = match Look::on(disk) {
        Ok(look) => look,
        Err(error) => {
            note(("error", std::mem::discriminant(&error)));
            assert!(matches!(error, SpoolError::Version(_)), "no disk failed: {error}");
            return None;
        }
    };
    note(("unreadable", look.recovery.unreadable.len().min(3), look.recovery.torn > 0));
    let mut ids = Vec::new();
    for id in look.ids() {
        ids.push(id.0);
        let records = whole.get(&id.0);
        assert!(records.is_some(), "{id} has no record that is whole");
        let stored = look.message(id);
        note(("message", stored.is_ok()));
        let Ok(mut body) = look.body(id) else { continue };
        while let Ok(Some(octets)) = body.read_chunk() {
            let known = whole.values().flatten().any(|body| *body == octets);
            assert!(known, "octets of {id} that no record holds: {}", octets.escape_ascii());
        }
    }
    Some(ids)
}

/// A start cuts what does not count; it must not lose a message that a look finds, nor find another.
fn start(disk: &Memory, looked: Option<Vec<u64>>) {
    let opened = Spool::on(Arc::new(disk.clone()), Options::default());
    let Ok((spool, _)) = opened else {
        assert!(looked.is_none(), "what can be looked at cannot be started: {:?}", opened.err());
        return;
    };
    let ids: Vec<u64> = spool.ids().iter().map(|id| id.0).collect();
    note(("started", ids.len().min(4)));
    assert_eq!(Some(&ids), looked.as_ref(), "a start finds others");
    drop(spool);
    let again = Look::on(disk).map(|look| look.ids().iter().map(|id| id.0).collect::<Vec<_>>());
    assert_eq!(again.ok().as_ref(), Some(&ids), "others are there after a start");
}

/// The segment that has these records.
fn written(what: u8, where_: u8, text: &[u8]) -> Vec<u8> {
    let mut segment = header();
    for line in text.split(|b| *b == b'\n') {
        let [kind, id, body, description @ ..] = line else { continue };
        let body = vec![b'x'; usize::from(*body % 64)];
        record(&mut segment, *kind % 8, u64::from(*id % 8), description, &body);
    }
    // Broken where one octet says, by the other.
    if what & 1 == 1 {
        let at = HEADER + usize::from(where_) * (segment.len() - HEADER) / 256;
        match segment.get_mut(at) {
            Some(octet) if what & 2 == 2 => *octet ^= 1 << (what >> 2 & 7),
            _ => segment.truncate(at),
        }
    }
    segment
}

fn header() -> Vec<u8> {
    let mut octets = b"MSSPOOL\n".to_vec();
    octets.extend(1_u32.to_le_bytes());
    octets.extend(NUMBER.to_le_bytes());
    octets.extend(SPOOL.to_le_bytes());
    octets.extend(0_u64.to_le_bytes());
    octets.extend(1_u64.to_le_bytes());
    octets.extend(0_u32.to_le_bytes());
    octets.resize(HEADER - 4, 0);
    octets.extend(crc32fast::hash(&octets).to_le_bytes());
    octets
}

fn seed(spool: [u8; 16], number: [u8; 4]) -> u32 {
    crc32fast::hash(&[spool.as_slice(), &number].concat())
}

fn record(out: &mut Vec<u8>, kind: u8, id: u64, description: &[u8], body: &[u8]) {
    let length = |octets: &[u8]| u32::try_from(octets.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut frame = Vec::with_capacity(FRAME);
    // One recipient.
    frame.extend((1_u32 << 8 | u32::from(kind)).to_le_bytes());
    frame.extend(length(description));
    frame.extend(length(body));
    frame.extend(id.to_le_bytes());
    frame.extend(crc32fast::hash(description).to_le_bytes());
    frame.extend(crc32fast::hash(body).to_le_bytes());
    frame.extend(seed(SPOOL.to_le_bytes(), NUMBER.to_le_bytes()).to_le_bytes());
    frame.extend(crc32fast::hash(&frame).to_le_bytes());
    out.extend(frame);
    out.extend(description);
    out.extend(body);
}

/// The records of a segment up to the first that is not whole: bodies by message.
fn whole_records(segment: &[u8]) -> BTreeMap<u64, Vec<Vec<u8>>> {
    let mut found: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
    let number = |at: usize| segment.get(at..at + 4).and_then(|n| n.try_into().ok()).map(u32::from_le_bytes);
    let crc = |from: usize, len: usize| segment.get(from..from.checked_add(len)?).map(crc32fast::hash);
    let (Some(spool), Some(own)) = (segment.get(16..32), segment.get(12..16)) else { return found };
    let seed = seed(spool.try_into().unwrap_or_default(), own.try_into().unwrap_or_default());
    let mut at = HEADER;
    while let (Some(first), Some(description), Some(body)) = (number(at), number(at + 4), number(at + 8)) {
        let (description, body) = (description as usize, body as usize);
        let at_body = at + FRAME + description;
        let is_whole = number(at + 32) == crc(at, 32)
            && number(at + 28) == Some(seed)
            && number(at + 20) == crc(at + FRAME, description)
            && number(at + 24) == crc(at_body, body)
            && (1..=5).contains(&(first & 0xff));
        if !is_whole {
            break;
        }
        let id =
            segment.get(at + 12..at + 20).and_then(|id| id.try_into().ok()).map_or(0, u64::from_le_bytes);
        found.entry(id).or_default().push(segment[at_body..at_body + body].to_vec());
        at = at_body + body;
    }
    found
}

/// A directory in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, MemoryFile>>>);

#[derive(Clone, Default)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl Memory {
    fn of(segment: Vec<u8>) -> Self {
        let file = MemoryFile(Arc::new(Mutex::new(segment)));
        Self(Arc::new(Mutex::new([(NAME.to_owned(), file)].into())))
    }

    fn with<T>(&self, then: impl FnOnce(&mut BTreeMap<String, MemoryFile>) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl MemoryFile {
    fn with<T>(&self, then: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for Memory {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = MemoryFile::default();
        self.with(|files| files.insert(name.to_owned(), file.clone()));
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.with(|files| files.get(name).cloned()).ok_or_else(missing)?;
        Ok(Arc::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|files| files.keys().cloned().collect()))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(|files| {
            let file = files.remove(from).ok_or_else(missing)?;
            files.insert(to.to_owned(), file);
            Ok(())
        })
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.with(|files| files.remove(name)).map(drop).ok_or_else(missing)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }
}

impl DiskFile for MemoryFile {
    fn append(&self, at: u64, octets: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.with(|held| {
            held.resize(at, 0);
            held.extend_from_slice(octets);
        });
        Ok(())
    }

    fn read_at(&self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.with(|held| {
            let end = at.checked_add(buffer.len());
            let octets = end.and_then(|end| held.get(at..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(octets);
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|held| held.len() as u64))
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.with(|held| held.resize(len, 0));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}
