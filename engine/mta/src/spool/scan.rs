//! Reads a spool as it lies on the disk, without changing anything.
//!
//! Owns: what counts. All segments but the last were synced before the next existed, so their bodies are skipped;
//! the last counts up to the first record that is not whole. Must not write.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::change::Progress;
use super::disk::{Disk, DiskFile};
use super::error::SpoolError;
use super::index::{Entry, Index, Segment};
use super::record::{
    self, Accepted, Changed, Extent, FRAME, Frame, Kind, SEGMENT_HEADER, SegmentHeader, file_name, seed,
    segment_number,
};
use super::{Recovery, Unreadable, under_way};
use crate::message::QueueId;

/// A spool as found.
#[derive(Default)]
pub(super) struct Scan {
    pub index: Index,
    pub recovery: Recovery,
    /// None: nothing was ever written.
    pub spool: Option<u128>,
    pub next_id: u64,
    pub next_segment: u32,
    /// The last segment and the octets of it that count; 0: none.
    pub last: (u32, u64),
    /// Segments that were never completely created.
    pub leftovers: Vec<String>,
    /// Segments with octets that do not count, with how many do.
    pub cuts: Vec<(u32, u64)>,
}

struct Found {
    header: SegmentHeader,
    file: Arc<dyn DiskFile>,
    len: u64,
}

/// Reads everything. Errors: [`SpoolError::Io`], [`SpoolError::Version`]; damage is no error but a finding.
pub(super) fn scan(disk: &dyn Disk) -> Result<Scan, SpoolError> {
    let mut scan = Scan { next_id: 1, next_segment: 1, ..Scan::default() };
    let found = scan.headers(disk)?;
    let sealed: BTreeMap<u32, u64> =
        found.values().map(|f| (f.header.previous, f.header.previous_len)).collect();
    let last = found.keys().next_back().copied();
    for (number, found) in &found {
        scan.segment(*number, found, sealed.get(number).copied(), Some(*number) == last)?;
    }
    for found in found.values() {
        scan.note_seal(&found.header);
    }
    scan.complete();
    scan.recovery.messages = scan.index.messages.len();
    Ok(scan)
}

impl Scan {
    fn headers(&mut self, disk: &dyn Disk) -> Result<BTreeMap<u32, Found>, SpoolError> {
        let mut found = BTreeMap::new();
        let names = disk.list().map_err(|error| SpoolError::io("list", "segments", error))?;
        for name in names {
            if name == under_way::FILE {
                continue;
            }
            let Some(number) = segment_number(&name) else {
                self.unreadable(&name, 0, None, "no name of a segment");
                continue;
            };
            self.next_segment = self.next_segment.max(number + 1);
            let fault = |error| SpoolError::io("read", &name, error);
            let file = disk.open(&name).map_err(fault)?;
            let len = file.size().map_err(fault)?;
            let mut octets = vec![0; SEGMENT_HEADER.min(len) as usize];
            file.read_at(0, &mut octets).map_err(fault)?;
            match SegmentHeader::decode(&octets) {
                Some(Err(version)) => return Err(SpoolError::Version(version)),
                Some(Ok(header)) if header.number == number => {
                    found.insert(number, Found { header, file, len });
                }
                // The header is synced before anything follows it.
                None if len <= SEGMENT_HEADER => self.leftovers.push(name),
                _ => self.unreadable(&name, 0, None, "the header of the segment is damaged"),
            }
        }
        self.spool = found.values().next().map(|first| first.header.spool);
        let spool = self.spool;
        found.retain(|&number, found| {
            let ours = Some(found.header.spool) == spool;
            if !ours {
                self.unreadable(&file_name(number), 0, None, "a segment of another spool");
            }
            ours
        });
        Ok(found)
    }

    fn unreadable(&mut self, file: &str, offset: u64, id: Option<QueueId>, reason: &str) {
        let entry = Unreadable { file: file.to_owned(), offset, id, reason: reason.to_owned() };
        self.recovery.unreadable.push(entry);
    }

    fn segment(
        &mut self,
        number: u32,
        found: &Found,
        sealed: Option<u64>,
        last: bool,
    ) -> Result<(), SpoolError> {
        self.next_id = self.next_id.max(found.header.next_id);
        let end = sealed.unwrap_or(found.len).min(found.len);
        self.index.segments.insert(number, Segment::new(found.file.clone(), end));
        let seed = seed(found.header.spool, number);
        let mut at = SEGMENT_HEADER;
        let read = |error| SpoolError::io("read", &file_name(number), error);
        while at < end {
            let next = next(&*found.file, at, end, seed, last).map_err(read)?;
            let Some((frame, description)) = next else { break };
            self.record(Extent { segment: number, offset: at, len: frame.len() }, &frame, &description);
            at += frame.len();
        }
        if last {
            self.recovery.torn = without_zeros(&*found.file, at, end).map_err(read)? - at;
            self.last = (number, at);
            if let Some(segment) = self.index.segments.get_mut(&number) {
                segment.len = at;
            }
        } else if at < end || sealed.is_some_and(|sealed| sealed > found.len) {
            self.lose_rest(number, at);
        }
        let counts = if last { at } else { end };
        if counts < found.len {
            self.cuts.push((number, counts));
        }
        Ok(())
    }

    /// Records behind a damaged frame cannot be found; the segment stays for someone to look at.
    fn lose_rest(&mut self, number: u32, at: u64) {
        self.unreadable(&file_name(number), at, None, "the frame of a record is damaged");
        if let Some(segment) = self.index.segments.get_mut(&number) {
            segment.live += 1;
        }
    }

    fn record(&mut self, at: Extent, frame: &Frame, description: &Description) {
        self.next_id = self.next_id.max(frame.id.0.saturating_add(1));
        match (frame.kind, description) {
            (Kind::Chunk, _) => {}
            (Kind::Accept, _) => self.index.put(frame.id, framed(at, frame)),
            (Kind::Change, Description::Change(changed)) => self.index.change(at, frame.id, changed),
            (Kind::Moved | Kind::Notice, Description::Accept(accepted)) => {
                let mut accepted = Accepted::clone(accepted);
                let concludes = accepted.concludes.take();
                if let Some(from) = accepted.from {
                    self.index.owe_move(at.segment, from, at.len);
                }
                self.index.put(frame.id, Entry::new(at, frame.recipients, accepted));
                if let Some((about, changed)) = concludes {
                    self.index.change(at, about, &changed);
                }
            }
            _ => {
                self.unreadable(&file_name(at.segment), at.offset, Some(frame.id), "a record is damaged");
                if let Some(segment) = self.index.segments.get_mut(&at.segment) {
                    segment.live += 1;
                }
            }
        }
    }

    /// A segment that alone says how much of the one before counts must outlive it.
    fn note_seal(&mut self, header: &SegmentHeader) {
        let previous = header.previous;
        let is_cut = header.voids || self.cuts.iter().any(|&(number, _)| number == previous);
        if is_cut
            && self.index.segments.contains_key(&previous)
            && let Some(segment) = self.index.segments.get_mut(&header.number)
        {
            segment.seals = Some(previous);
        }
    }

    /// Reads the descriptions of what is queued in chunks. Of the rest the frames say enough: a million descriptions
    /// would take longer to read than mail should wait; who needs one reads it, and finds it damaged if it is.
    fn complete(&mut self) {
        let bare: Vec<(QueueId, Extent)> = self
            .index
            .messages
            .iter()
            .filter(|(_, entry)| entry.size == UNKNOWN)
            .map(|(id, entry)| (*id, entry.base))
            .collect();
        for (id, base) in bare {
            let Some(segment) = self.index.segments.get(&base.segment) else { continue };
            let read = read_accepted(&*segment.file, base.offset);
            self.complete_one(id, base, read);
        }
    }

    fn complete_one(&mut self, id: QueueId, base: Extent, read: io::Result<Option<(Frame, Accepted)>>) {
        // The others are not to wait for the disk of one.
        let (read, reason) = match read {
            Ok(read) => (read, "a message is damaged".to_owned()),
            Err(error) => (None, format!("a message cannot be read: {error}")),
        };
        let whole = read.filter(|(_, accepted)| accepted.chunks.iter().all(|chunk| self.index.holds(chunk)));
        let progress = self.index.messages.get(&id).map(|entry| entry.progress.clone());
        match whole {
            Some((frame, accepted)) => {
                let mut entry = Entry::new(base, frame.recipients, accepted);
                entry.progress = progress.unwrap_or_default();
                self.index.put(id, entry);
            }
            None => {
                self.unreadable(&file_name(base.segment), base.offset, Some(id), &reason);
                self.index.forget(id);
                if let Some(segment) = self.index.segments.get_mut(&base.segment) {
                    segment.live += 1;
                }
            }
        }
    }
}

/// The end of what was written, where zeros were written ahead of it.
fn without_zeros(file: &dyn DiskFile, begin: u64, mut end: u64) -> io::Result<u64> {
    let mut octets = vec![0; 64 * 1024];
    while end > begin {
        let from = begin.max(end.saturating_sub(octets.len() as u64));
        let part = &mut octets[..(end - from) as usize];
        file.read_at(from, part)?;
        if let Some(last) = part.iter().rposition(|octet| *octet != 0) {
            return Ok(from + last as u64 + 1);
        }
        end = from;
    }
    Ok(begin)
}

/// The size of a message that is in chunks, or empty, until its description is read.
const UNKNOWN: u64 = u64::MAX;

/// What the frame says of a message. Its description is not read before it is known to be queued.
fn framed(at: Extent, frame: &Frame) -> Entry {
    Entry {
        base: at,
        recipients: frame.recipients,
        size: if frame.body == 0 { UNKNOWN } else { u64::from(frame.body) },
        chunks: Box::default(),
        progress: Progress::default(),
    }
}

/// What a record says, as far as it is needed.
enum Description {
    Skipped,
    Change(Changed),
    Accept(Box<Accepted>),
    Damaged,
}

/// Reads the record at a place. None: no whole record is there.
fn next(
    file: &dyn DiskFile,
    at: u64,
    end: u64,
    seed: u32,
    verify: bool,
) -> io::Result<Option<(Frame, Description)>> {
    if end - at < FRAME as u64 {
        return Ok(None);
    }
    let mut octets = [0; FRAME];
    file.read_at(at, &mut octets)?;
    let Some(frame) = Frame::decode(&octets, seed).filter(|frame| frame.len() <= end - at) else {
        return Ok(None);
    };
    if verify && !record::is_whole(file, at, &frame)? {
        return Ok(None);
    }
    let description = match frame.kind {
        Kind::Chunk | Kind::Accept => Description::Skipped,
        Kind::Change => parse(file, at, &frame)?.map_or(Description::Damaged, Description::Change),
        Kind::Moved | Kind::Notice => parse(file, at, &frame)?
            .map_or(Description::Damaged, |accepted| Description::Accept(Box::new(accepted))),
    };
    Ok(Some((frame, description)))
}

fn parse<T: serde::de::DeserializeOwned>(
    file: &dyn DiskFile,
    at: u64,
    frame: &Frame,
) -> io::Result<Option<T>> {
    let octets = record::read_description(file, at, frame)?;
    Ok(octets.and_then(|octets| serde_json::from_slice(&octets).ok()))
}

/// Reads the record of a message. None: damaged.
pub(super) fn read_accepted(file: &dyn DiskFile, at: u64) -> io::Result<Option<(Frame, Accepted)>> {
    let Some(frame) = record::read_frame(file, at)? else { return Ok(None) };
    Ok(parse(file, at, &frame)?.map(|accepted| (frame, accepted)))
}

/// A record as it is scanned for what in a segment must be kept.
pub(super) enum Kept {
    /// A message, or octets of one.
    Message(QueueId),
    /// An outcome for a message whose own record is elsewhere.
    Outcome(QueueId, u32),
}

/// Lists what in a sealed segment may still matter. None: a record is damaged, so it must be left alone.
pub(super) fn contents(
    file: &dyn DiskFile,
    spool: u128,
    number: u32,
    end: u64,
) -> io::Result<Option<Vec<Kept>>> {
    let (mut at, mut kept) = (SEGMENT_HEADER, Vec::new());
    let seed = seed(spool, number);
    while at < end {
        let Some((frame, description)) = next(file, at, end, seed, false)? else { return Ok(None) };
        match description {
            Description::Damaged => return Ok(None),
            Description::Skipped => kept.push(Kept::Message(frame.id)),
            Description::Change(changed) => kept.push(Kept::Outcome(frame.id, changed.base)),
            Description::Accept(accepted) => {
                kept.push(Kept::Message(frame.id));
                kept.extend(accepted.concludes.map(|(about, changed)| Kept::Outcome(about, changed.base)));
            }
        }
        at += frame.len();
    }
    Ok(Some(kept))
}
