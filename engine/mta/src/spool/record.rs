//! One record of the log: its frame, and what stands in it.
//!
//! Owns: the octets. May use a file to read one record from. Must not know which records are live.

use std::io;

use serde::{Deserialize, Serialize};

use super::change::{Change, Progress};
use super::disk::DiskFile;
use super::error::{Place, SpoolError};
use crate::message::{Envelope, QueueId};

/// Octets of the header of a segment.
pub(super) const SEGMENT_HEADER: u64 = 64;
/// Octets of the frame in front of a record.
pub(super) const FRAME: usize = 36;
/// The most octets of one record: frame, description and body.
pub const MAX_RECORD: u64 = 8 * 1024 * 1024;
/// The version of the format. A reader refuses any other.
pub(super) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"MSSPOOL\n";

/// What stands at the beginning of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub spool: u128,
    pub number: u32,
    /// The segment before, and the octets of it that count; number 0: there was none.
    pub previous: u32,
    pub previous_len: u64,
    /// Every queue id given before this segment is below.
    pub next_id: u64,
    /// The segment before has octets that do not count, or may have them again after a crash.
    pub voids: bool,
}

impl SegmentHeader {
    pub fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(SEGMENT_HEADER as usize);
        octets.extend_from_slice(MAGIC);
        octets.extend_from_slice(&VERSION.to_le_bytes());
        octets.extend_from_slice(&self.number.to_le_bytes());
        octets.extend_from_slice(&self.spool.to_le_bytes());
        octets.extend_from_slice(&self.previous_len.to_le_bytes());
        octets.extend_from_slice(&self.next_id.to_le_bytes());
        octets.extend_from_slice(&self.previous.to_le_bytes());
        octets.push(u8::from(self.voids));
        octets.resize(SEGMENT_HEADER as usize - 4, 0);
        octets.extend_from_slice(&crc32fast::hash(&octets).to_le_bytes());
        octets
    }

    /// None: damaged, or never completely written. The version is told where the magic is right.
    pub fn decode(octets: &[u8]) -> Option<Result<Self, u32>> {
        let body = octets.get(..SEGMENT_HEADER as usize - 4)?;
        let intact = number::<4>(octets, 60).map(u32::from_le_bytes) == Some(crc32fast::hash(body));
        if !intact || !octets.starts_with(MAGIC) {
            return None;
        }
        let version = u32::from_le_bytes(number(octets, 8)?);
        if version != VERSION {
            return Some(Err(version));
        }
        Some(Ok(Self {
            number: u32::from_le_bytes(number(octets, 12)?),
            spool: u128::from_le_bytes(number(octets, 16)?),
            previous_len: u64::from_le_bytes(number(octets, 32)?),
            next_id: u64::from_le_bytes(number(octets, 40)?),
            previous: u32::from_le_bytes(number(octets, 48)?),
            voids: octets.get(52) == Some(&1),
        }))
    }
}

fn number<const N: usize>(octets: &[u8], at: usize) -> Option<[u8; N]> {
    octets.get(at..at + N)?.try_into().ok()
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Chunk = 1,
    Accept = 2,
    Change = 3,
    Moved = 4,
    /// An accept that concludes another message in the same breath.
    Notice = 5,
}

impl Kind {
    fn of(octet: u8) -> Option<Self> {
        [Self::Chunk, Self::Accept, Self::Change, Self::Moved, Self::Notice]
            .into_iter()
            .find(|&kind| kind as u8 == octet)
    }
}

/// The frame in front of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub kind: Kind,
    /// Recipients of the message; below 2^24.
    pub recipients: u32,
    pub id: QueueId,
    pub description: u32,
    pub body: u32,
    pub description_crc: u32,
    pub body_crc: u32,
}

impl Frame {
    /// Octets of the whole record.
    pub fn len(&self) -> u64 {
        FRAME as u64 + u64::from(self.description) + u64::from(self.body)
    }

    /// `seed` binds it to its segment, so that octets of another place never pass for a record of this one.
    fn encode(&self, seed: u32) -> [u8; FRAME] {
        let mut octets = [0; FRAME];
        octets[..4].copy_from_slice(&(self.recipients << 8 | self.kind as u32).to_le_bytes());
        octets[4..8].copy_from_slice(&self.description.to_le_bytes());
        octets[8..12].copy_from_slice(&self.body.to_le_bytes());
        octets[12..20].copy_from_slice(&self.id.0.to_le_bytes());
        octets[20..24].copy_from_slice(&self.description_crc.to_le_bytes());
        octets[24..28].copy_from_slice(&self.body_crc.to_le_bytes());
        octets[28..32].copy_from_slice(&seed.to_le_bytes());
        let crc = crc32fast::hash(&octets[..32]);
        octets[32..].copy_from_slice(&crc.to_le_bytes());
        octets
    }

    pub fn decode(octets: &[u8], seed: u32) -> Option<Self> {
        let read = |at| number::<4>(octets, at).map(u32::from_le_bytes);
        if read(32)? != crc32fast::hash(octets.get(..32)?) || read(28)? != seed {
            return None;
        }
        let frame = Self {
            kind: Kind::of(*octets.first()?)?,
            recipients: read(0)? >> 8,
            id: QueueId(u64::from_le_bytes(number(octets, 12)?)),
            description: read(4)?,
            body: read(8)?,
            description_crc: read(20)?,
            body_crc: read(24)?,
        };
        (frame.len() <= MAX_RECORD).then_some(frame)
    }
}

/// What a segment's records are bound to.
pub(super) fn seed(spool: u128, segment: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&spool.to_le_bytes());
    hasher.update(&segment.to_le_bytes());
    hasher.finalize()
}

/// The description of an accepted or moved message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Accepted {
    pub envelope: Envelope,
    /// Octets of the whole body.
    pub size: u64,
    /// The records that hold the body, in order; none: it follows this description.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chunks: Vec<Extent>,
    /// Moved alone: where its recipients stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Moved alone: the segment that it was in before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// A notice alone: what becomes of the message that it is about, in the same breath.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concludes: Option<(QueueId, Changed)>,
    /// The export that it was taken from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportedFrom>,
}

impl Accepted {
    /// The description of a message that comes in; its body is in `chunks`, or follows.
    pub fn new(envelope: Envelope, size: u64, chunks: Vec<Extent>) -> Self {
        Self { envelope, size, chunks, progress: None, from: None, concludes: None, imported: None }
    }
}

/// What a message was in another spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImportedFrom {
    /// The name of that spool.
    pub source: String,
    /// Its name there.
    pub id: String,
    /// Held until its import is whole, and for nothing else.
    pub release: bool,
}

/// The description of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Changed {
    /// The segment of the message's own record: this record must outlive it.
    pub base: u32,
    pub changes: Vec<Change>,
    /// Copied from a segment that is gone, all that is known: where the recipients stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Copied from a segment that is gone: the message is concluded.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub concluded: bool,
}

/// A record that holds octets of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Extent {
    pub segment: u32,
    pub offset: u64,
    /// Octets of the record.
    pub len: u64,
}

impl Extent {
    pub fn place(&self) -> Place {
        Place { segment: self.segment, offset: self.offset }
    }
}

/// A record that is ready but for its place.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub frame: Frame,
    pub description: Vec<u8>,
    pub body: Vec<u8>,
}

impl Record {
    /// Errors: [`SpoolError::TooLarge`].
    pub fn new(kind: Kind, id: QueueId, description: Vec<u8>, body: Vec<u8>) -> Result<Self, SpoolError> {
        let len = (FRAME + description.len() + body.len()) as u64;
        let (Ok(d), Ok(b), true) =
            (u32::try_from(description.len()), u32::try_from(body.len()), len <= MAX_RECORD)
        else {
            return Err(SpoolError::TooLarge(len));
        };
        let description_crc = crc32fast::hash(&description);
        let body_crc = crc32fast::hash(&body);
        let frame = Frame { kind, recipients: 0, id, description: d, body: b, description_crc, body_crc };
        Ok(Self { frame, description, body })
    }

    /// As [`Record::new`], of a description that is written as JSON.
    pub fn described(
        kind: Kind,
        id: QueueId,
        description: &impl Serialize,
        body: Vec<u8>,
    ) -> Result<Self, SpoolError> {
        let json = serde_json::to_vec(description);
        let json = json.map_err(|error| SpoolError::io("describe", "record", io::Error::other(error)))?;
        Self::new(kind, id, json, body)
    }

    /// The same of a message with so many recipients.
    pub fn with_recipients(mut self, recipients: u32) -> Self {
        self.frame.recipients = recipients & 0x00ff_ffff;
        self
    }

    pub fn encode(&self, seed: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.frame.encode(seed));
        out.extend_from_slice(&self.description);
        out.extend_from_slice(&self.body);
    }
}

/// Reads the frame at a place that is known to hold one. None: damaged.
pub(super) fn read_frame(file: &dyn DiskFile, offset: u64) -> io::Result<Option<Frame>> {
    let mut octets = [0; FRAME];
    file.read_at(offset, &mut octets)?;
    let seed = u32::from_le_bytes([octets[28], octets[29], octets[30], octets[31]]);
    Ok(Frame::decode(&octets, seed))
}

/// Reads the description behind a frame. None: damaged.
pub(super) fn read_description(
    file: &dyn DiskFile,
    offset: u64,
    frame: &Frame,
) -> io::Result<Option<Vec<u8>>> {
    let octets = read(file, offset + FRAME as u64, frame.description)?;
    Ok((crc32fast::hash(&octets) == frame.description_crc).then_some(octets))
}

/// Reads the body in the record at a place. None: damaged.
pub(super) fn read_body(file: &dyn DiskFile, place: Place) -> Result<Option<Vec<u8>>, SpoolError> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        let Some(frame) = read_frame(file, place.offset)? else { return Ok(None) };
        let at = place.offset + FRAME as u64 + u64::from(frame.description);
        let octets = read(file, at, frame.body)?;
        Ok((crc32fast::hash(&octets) == frame.body_crc).then_some(octets))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        other => other.map_err(|error| SpoolError::io("read", &file_name(place.segment), error)),
    }
}

fn read(file: &dyn DiskFile, at: u64, len: u32) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; len as usize];
    file.read_at(at, &mut octets)?;
    Ok(octets)
}

/// The name of a segment.
pub(super) fn file_name(segment: u32) -> String {
    format!("{segment:08}.seg")
}

/// The number of the segment that has this name.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".seg")?.parse().ok()?;
    (number > 0 && file_name(number) == name).then_some(number)
}

/// Whether description and body are as they were written.
pub(super) fn is_whole(file: &dyn DiskFile, at: u64, frame: &Frame) -> io::Result<bool> {
    let description = at + FRAME as u64;
    let octets = read(file, description, frame.description)?;
    if crc32fast::hash(&octets) != frame.description_crc {
        return Ok(false);
    }
    let octets = read(file, description + u64::from(frame.description), frame.body)?;
    Ok(crc32fast::hash(&octets) == frame.body_crc)
}
