//! What QEMU's blklogwrites driver recorded: every write and flush of a guest, in order, and the images that a power cut
//! between them leaves. The form is that of the kernel's dm-log-writes (Documentation/admin-guide/device-mapper).

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// `jsfgwsh` as the kernel writes it: the first eight octets of a log.
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// The size of a sector, as the machine is told.
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// One recorded operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where on the disk, octets.
    pub at: u64,
    /// How many octets.
    pub length: u64,
    /// Where in the log its data stand, octets.
    pub data: u64,
    /// Whether all before it is durable once it is done.
    pub flush: bool,
    /// Whether it throws away instead of writing.
    pub discard: bool,
}

/// Reads a log up to its end, or up to what was not written whole: QEMU was killed.
pub fn read(log: &Path) -> io::Result<Vec<Entry>> {
    let file = File::open(log)?;
    let length = file.metadata()?.len();
    let mut header = [0; 8];
    file.read_exact_at(&mut header, 0)?;
    let magic = u64::from_le_bytes(header);
    if magic != MAGIC {
        return Err(io::Error::other(format!("{}: not a log of writes ({magic:#x})", log.display())));
    }
    let mut entries = Vec::new();
    let mut at = SECTOR;
    while at + SECTOR <= length {
        let mut words = [0; 32];
        file.read_exact_at(&mut words, at)?;
        let word = |index: usize| {
            let mut octets = [0; 8];
            octets.copy_from_slice(&words[index * 8..index * 8 + 8]);
            u64::from_le_bytes(octets)
        };
        let (sector, count, flags) = (word(0), word(1), word(2));
        let discard = flags & DISCARD != 0;
        let size = if discard { 0 } else { count * SECTOR };
        if (count == 0 && flags & FLUSH == 0) || at + SECTOR + size > length {
            break;
        }
        let flush = flags & FLUSH != 0;
        entries.push(Entry {
            at: sector * SECTOR,
            length: count * SECTOR,
            data: at + SECTOR,
            flush,
            discard,
        });
        at += SECTOR + size;
    }
    Ok(entries)
}

/// Writes into an image what these entries say.
pub fn replay<'e>(log: &Path, image: &Path, entries: impl IntoIterator<Item = &'e Entry>) -> io::Result<()> {
    let log = File::open(log)?;
    let image = File::options().write(true).open(image)?;
    for entry in entries.into_iter().filter(|entry| entry.length > 0) {
        let mut data = vec![0; usize::try_from(entry.length).map_err(io::Error::other)?];
        if !entry.discard {
            log.read_exact_at(&mut data, entry.data)?;
        }
        image.write_all_at(&data, entry.at)?;
    }
    Ok(())
}

/// A moment at which the power goes: what was flushed, and which of the writes behind the flush reached the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Entries before this one are durable.
    pub flushed: usize,
    /// Entries before this one were sent to the disk.
    pub sent: usize,
    /// Those between the two that reached it.
    pub reached: Vec<usize>,
}

/// Moments at and between flushes, spread evenly over the log: at each flush alone, with all that was sent before the
/// next one, and with a part of that, drawn by `seed`.
pub fn cuts(entries: &[Entry], wanted: usize, seed: u64) -> Vec<Cut> {
    let mut flushes: Vec<usize> =
        entries.iter().enumerate().filter(|(_, entry)| entry.flush).map(|(at, _)| at + 1).collect();
    flushes.dedup();
    let step = (flushes.len() * 3).div_ceil(wanted.max(1)).max(1);
    let mut random = seed | 1;
    let mut found = Vec::new();
    for (index, &flushed) in flushes.iter().enumerate() {
        let sent = flushes.get(index + 1).map_or(entries.len(), |next| next - 1);
        let between: Vec<usize> = (flushed..sent.max(flushed)).collect();
        let mut some = between.clone();
        some.retain(|_| {
            // xorshift64: nothing here must be hard to guess.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random & 1 == 1
        });
        let cut = |reached: Vec<usize>| Cut { flushed, sent, reached };
        found.extend([cut(Vec::new()), cut(some), cut(between)]);
    }
    let last = found.len().saturating_sub(1);
    let keep = |(at, cut): (usize, Cut)| (at % step == 0 || at == last).then_some(cut);
    let mut kept: Vec<Cut> = found.into_iter().enumerate().filter_map(keep).collect();
    kept.dedup();
    kept
}

/// Copies a file without storing its empty parts.
pub fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let target = File::create(to)?;
    target.set_len(source.metadata()?.len())?;
    let (mut buffer, mut at) = (vec![0; 64 * 1024], 0);
    loop {
        let count = source.read(&mut buffer)?;
        let Some(part) = buffer.get(..count).filter(|part| !part.is_empty()) else { return Ok(()) };
        if part.iter().any(|octet| *octet != 0) {
            target.write_all_at(part, at)?;
        }
        at += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(data: u64, flush: bool) -> Entry {
        Entry { at: 0, length: if flush { 0 } else { SECTOR }, data, flush, discard: false }
    }

    #[test]
    fn a_log_is_read_up_to_what_was_not_written_whole_and_replayed() {
        let dir = tempfile::tempdir().expect("directory");
        let (log, image) = (dir.path().join("log"), dir.path().join("image"));
        let sector = |words: &[u64]| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.resize(512, 0);
            bytes
        };
        let super_block = sector(&[MAGIC, 1, 3, 512]);
        let parts = [super_block, sector(&[2, 1, 0, 0]), vec![7; 512], sector(&[0, 0, FLUSH, 0])];
        let mut bytes = parts.concat();
        bytes.extend(sector(&[4, 2, 0, 0]));
        bytes.extend([9; 512]);
        std::fs::write(&log, bytes).expect("log");
        let entries = read(&log).expect("a log");
        assert_eq!(entries.len(), 2, "the write that was cut off is not there: {entries:?}");
        assert!(entries[1].flush);
        File::create(&image).and_then(|file| file.set_len(4096)).expect("image");
        replay(&log, &image, &entries).expect("replay");
        let image = std::fs::read(image).expect("image");
        assert_eq!((image[1023], image[1024], image[1535], image[1536]), (0, 7, 7, 0));
    }

    #[test]
    fn cuts_lie_at_flushes_and_between_them() {
        let entries: Vec<Entry> = [(1, false), (2, true), (3, false), (4, false), (5, true)]
            .map(|(at, flush)| entry(at, flush))
            .into();
        let found = cuts(&entries, 100, 7);
        assert_eq!(found[0], Cut { flushed: 2, sent: 4, reached: Vec::new() });
        assert!(found.iter().any(|cut| cut.flushed == 2 && cut.reached == [2, 3]), "{found:?}");
        assert!(found.iter().any(|cut| cut.flushed == 5));
        assert!(cuts(&entries, 2, 7).len() <= 3);
        assert_eq!(cuts(&entries, 100, 7), found, "the same seed, other cuts");
    }
}
