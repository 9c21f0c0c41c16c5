//! A message that comes in chunks (RFC 3030): its length says where it ends, so nothing in it can.
//!
//! What it may hold is the same all the same: it goes on over DATA, and to hosts that read a bare CR or LF as a line
//! end.

use memchr::memchr3;

use super::{Fault, Limits};

/// Judges the octets of a message over its chunks. Holds none.
#[derive(Clone, Copy, Debug)]
pub struct Chunks {
    limits: Limits,
    size: u64,
    line: u32,
    /// The last octet was a CR.
    cr: bool,
}

impl Chunks {
    /// At the begin of a message.
    pub fn new(limits: Limits) -> Self {
        Self { limits, size: 0, line: 0, cr: false }
    }

    /// Takes the next octets, all of them. Errors: why the message is refused.
    pub fn take(&mut self, octets: &[u8]) -> Result<(), Fault> {
        if self.cr && octets.first().is_some_and(|&first| first != b'\n') {
            return Err(Fault::BareCr);
        }
        let mut at = 0;
        while let Some(found) = memchr3(b'\r', b'\n', 0, &octets[at..]).map(|offset| at + offset) {
            self.grow(found - at)?;
            let follows_cr = if found > 0 { octets[found - 1] == b'\r' } else { self.cr };
            match octets[found] {
                0 => return Err(Fault::Nul),
                b'\n' if !follows_cr => return Err(Fault::BareLf),
                b'\n' => {
                    self.grow(1)?;
                    self.line = 0;
                }
                _ => {
                    self.grow(1)?;
                    if octets.get(found + 1).is_some_and(|&next| next != b'\n') {
                        return Err(Fault::BareCr);
                    }
                }
            }
            at = found + 1;
        }
        self.grow(octets.len() - at)?;
        self.cr = octets.last().map_or(self.cr, |&last| last == b'\r');
        Ok(())
    }

    /// The message is over. Returns whether its last line lacks an end. Errors: as above.
    pub fn finish(self) -> Result<bool, Fault> {
        if self.cr { Err(Fault::BareCr) } else { Ok(self.line > 0) }
    }

    fn grow(&mut self, octets: usize) -> Result<(), Fault> {
        self.size = self.size.saturating_add(octets as u64);
        self.line = self.line.saturating_add(u32::try_from(octets).unwrap_or(u32::MAX));
        match (self.size > self.limits.size, self.line > self.limits.line) {
            (true, _) => Err(Fault::TooLarge),
            (false, true) => Err(Fault::LongLine),
            (false, false) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(message: &[u8], split: usize) -> Result<bool, Fault> {
        let mut chunks = Chunks::new(Limits { size: 40, line: 12 });
        chunks.take(&message[..split])?;
        chunks.take(&message[split..])?;
        chunks.finish()
    }

    #[test]
    fn the_same_faults_as_in_data_at_every_split() {
        let table: [(&[u8], Result<bool, Fault>); 16] = [
            (b"", Ok(false)),
            (b"a\r\n", Ok(false)),
            (b"a", Ok(true)),
            (b".\r\n.\r\nx\r\n", Ok(false)),
            (b"\r\n.\r\n", Ok(false)),
            (b"a\nb\r\n", Err(Fault::BareLf)),
            (b"\n", Err(Fault::BareLf)),
            (b"a\rb\r\n", Err(Fault::BareCr)),
            (b"a\r", Err(Fault::BareCr)),
            (b"a\r\r\n", Err(Fault::BareCr)),
            (b"a\0\r\n", Err(Fault::Nul)),
            (b"\r\n.\r\r\n", Err(Fault::BareCr)),
            (b"0123456789\r\n", Ok(false)),
            (b"0123456789a\r\n", Err(Fault::LongLine)),
            (b"012345678\r\n012345678\r\n012345678\r\n01234\r\n", Ok(false)),
            (b"012345678\r\n012345678\r\n012345678\r\n012345\r\n", Err(Fault::TooLarge)),
        ];
        for (message, wanted) in table {
            for split in 0..=message.len() {
                assert_eq!(judge(message, split), wanted, "{message:?} split at {split}");
            }
        }
    }
}
