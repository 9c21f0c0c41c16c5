//! The initial file tree of a guest: static programs and kernel modules in a cpio archive ("newc", as the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst has it).

use std::fs;
use std::io::{self, Write};
use std::path::Path;

/// Directories of a guest, below which the rest is made.
const DIRECTORIES: &[&str] = &[
    "bin", "dev", "etc", "home", "modules", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "usr/bin",
    "usr/lib", "usr/sbin", "var",
];
/// What the guest calls by the names of a Unix.
const APPLETS: &[&str] = &["sh", "ip", "cat", "hostname", "tc"];

/// Writes the archive: this program as the first process, the binary under test, BusyBox, and the modules of a directory.
pub fn write(to: &Path, program: &Path, mailstack: &Path, busybox: &Path, modules: &Path) -> io::Result<()> {
    let mut archive = Archive { out: io::BufWriter::new(fs::File::create(to)?), inode: 0 };
    for directory in DIRECTORIES {
        archive.entry(directory, 0o040_755, (0, 0), b"")?;
    }
    archive.entry("dev/console", 0o020_600, (5, 1), b"")?;
    archive.entry("dev/null", 0o020_666, (1, 3), b"")?;
    archive.entry("init", 0o100_755, (0, 0), &read(program)?)?;
    archive.entry("usr/bin/mailstack", 0o100_755, (0, 0), &read(mailstack)?)?;
    archive.entry("bin/busybox", 0o100_755, (0, 0), &read(busybox)?)?;
    for applet in APPLETS {
        archive.entry(&format!("bin/{applet}"), 0o120_777, (0, 0), b"/bin/busybox")?;
    }
    for module in fs::read_dir(modules)? {
        let module = module?;
        let name = format!("modules/{}", module.file_name().to_string_lossy());
        archive.entry(&name, 0o100_644, (0, 0), &read(&module.path())?)?;
    }
    archive.entry("TRAILER!!!", 0, (0, 0), b"")?;
    archive.out.flush()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let size = u32::try_from(data.len()).map_err(|_| io::Error::other(format!("{name}: too large")))?;
        let named = u32::try_from(name.len() + 1).map_err(|_| io::Error::other("a name is too long"))?;
        let fields = [self.inode, mode, 0, 0, 1, 1, size, 0, 0, device.0, device.1, named, 0];
        let mut header = String::from("070701");
        fields.iter().for_each(|field| header.push_str(&format!("{field:08x}")));
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        // The name ends with a zero; header and name, and data, are filled up to four octets.
        self.out.write_all(&[0; 4][..1 + padding(header.len() + name.len() + 1)])?;
        self.out.write_all(data)?;
        self.out.write_all(&[0; 4][..padding(data.len())])
    }
}

fn padding(length: usize) -> usize {
    length.wrapping_neg() % 4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_to_four_octets() {
        let mut archive = Archive { out: Vec::new(), inode: 0 };
        archive.entry("etc", 0o040_755, (0, 0), b"").expect("memory");
        archive.entry("init", 0o100_755, (0, 0), b"12345").expect("memory");
        let second = 110 + 4 + padding(110 + 4);
        assert_eq!(&archive.out[..6], b"070701");
        assert_eq!(&archive.out[second..second + 6], b"070701");
        assert_eq!(archive.out.len() % 4, 0);
    }
}
