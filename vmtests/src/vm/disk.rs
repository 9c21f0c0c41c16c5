//! A guest's disk: an ext4 file system in a file, what is recorded of its writes, and what a power cut leaves on it.
//!
//! Images are looked at with e2fsprogs, without mounting: `e2fsck` replays the journal as the kernel would.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::writes::{self, Cut};

/// The size of a guest's disk; empty parts take no space.
const SIZE: &str = "64M";
/// Images of a power cut that are looked at.
const CUTS: usize = 24;
/// `e2fsck` corrected what it found.
const CORRECTED: i32 = 1;

/// One disk.
#[derive(Clone, Debug)]
pub struct Disk {
    /// The image that the guest writes to.
    image: PathBuf,
    /// The image as it was when the guest was switched on.
    before: PathBuf,
    /// What the guest wrote since.
    log: PathBuf,
}

impl Disk {
    /// Makes an empty one in this directory.
    pub fn make(dir: &Path) -> io::Result<Self> {
        let disk = Self { image: dir.join("disk"), before: dir.join("before"), log: dir.join("writes") };
        // Without the initialisation in the background, which would fill the record.
        let made =
            tool("mke2fs", &["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,lazy_journal_init=1"])
                .arg(&disk.image)
                .arg(SIZE)
                .output()?;
        ended("mke2fs", &made, 0)?;
        Ok(disk)
    }

    /// Keeps the image as it is now, and begins a new record; both are QEMU's from here on.
    pub fn record(&mut self) -> io::Result<(PathBuf, PathBuf)> {
        writes::copy_sparse(&self.image, &self.before)?;
        // QEMU writes the log's first sector where there is room for it.
        fs::File::create(&self.log)?.set_len(0)?;
        Ok((self.image.clone(), self.log.clone()))
    }

    /// A file of a guest that is down; the disk is mounted at /var.
    pub fn get(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = path.strip_prefix("/var") else { return Ok(None) };
        let copy = self.image.with_file_name("look");
        settled(&self.image, &copy)?;
        let found = tool("debugfs", &["-R", &format!("cat \"{path}\"")]).arg(&copy).output()?;
        fs::remove_file(&copy)?;
        let missing = String::from_utf8_lossy(&found.stderr).contains("File not found");
        Ok((!missing).then_some(found.stdout))
    }

    /// Writes all that is on the disk into a directory.
    pub fn tree(&self, place: &Path) -> io::Result<()> {
        let copy = self.image.with_file_name("look");
        settled(&self.image, &copy)?;
        dump(&copy, "/", place)?;
        fs::remove_file(&copy)
    }

    /// Makes the images that a power cut may leave, reads the queue of each, and keeps the worst as the guest's disk:
    /// what was flushed, and nothing that was written later. Returns what is wrong with any of them.
    pub fn cut(&mut self, dir: &Path, mailstack: &Path, seed: u64) -> io::Result<Vec<String>> {
        let entries = writes::read(&self.log)?;
        let cuts = writes::cuts(&entries, CUTS, seed);
        if cuts.is_empty() {
            return Err(io::Error::other(format!("{}: nothing was flushed", self.log.display())));
        }
        let mut wrong = Vec::new();
        for (at, cut) in cuts.iter().enumerate() {
            let place = dir.join(at.to_string());
            fs::create_dir_all(&place)?;
            let image = place.join("disk");
            self.image_of(cut, &entries, &image)?;
            if let Some(fault) = verified(&image, &place, mailstack)? {
                wrong.push(format!("power cut {at} (flushed {}, seed {seed}): {fault}", cut.flushed));
            } else {
                fs::remove_dir_all(&place)?;
            }
        }
        let flushed = entries.iter().rposition(|entry| entry.flush).map_or(0, |at| at + 1);
        let worst = Cut { flushed, sent: entries.len(), reached: Vec::new() };
        let image = self.image.clone();
        self.image_of(&worst, &entries, &image)?;
        Ok(wrong)
    }

    fn image_of(&self, cut: &Cut, entries: &[writes::Entry], image: &Path) -> io::Result<()> {
        writes::copy_sparse(&self.before, image)?;
        let durable = entries.iter().take(cut.flushed);
        let reached = cut.reached.iter().filter_map(|&at| entries.get(at));
        writes::replay(&self.log, image, durable.chain(reached))
    }
}

/// What is wrong with a queue on an image.
fn verified(image: &Path, place: &Path, mailstack: &Path) -> io::Result<Option<String>> {
    let (copy, tree) = (place.join("settled"), place.join("var"));
    settled(image, &copy)?;
    dump(&copy, "/", &tree)?;
    fs::remove_file(&copy)?;
    if tree.join("lib/mailstack/current").symlink_metadata().is_err() {
        // The power went before anything was applied: there was no MTA that could have taken mail.
        return Ok(None);
    }
    let said = Command::new(mailstack).args(["queue", "verify", "--root"]).arg(place).output()?;
    let text = String::from_utf8_lossy(&[&said.stdout[..], &said.stderr[..]].concat()).trim().to_owned();
    Ok((!said.status.success()).then_some(text))
}

/// Copies an image, and replays its journal there.
fn settled(image: &Path, copy: &Path) -> io::Result<()> {
    writes::copy_sparse(image, copy)?;
    let checked = tool("e2fsck", &["-fy"]).arg(copy).output()?;
    ended("e2fsck", &checked, CORRECTED)
}

fn dump(image: &Path, from: &str, place: &Path) -> io::Result<()> {
    if place.exists() {
        fs::remove_dir_all(place)?;
    }
    fs::create_dir_all(place)?;
    let request = format!("rdump \"{from}\" \"{}\"", place.display());
    let dumped = tool("debugfs", &["-R", &request]).arg(image).output()?;
    ended("debugfs", &dumped, 0)
}

/// A program of e2fsprogs, which an ordinary user's PATH does not have.
fn tool(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(Path::new("/sbin").join(name));
    command.args(arguments).env("LC_ALL", "C");
    command
}

fn ended(name: &str, output: &Output, most: i32) -> io::Result<()> {
    if output.status.code().is_some_and(|code| code <= most) {
        return Ok(());
    }
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    Err(io::Error::other(format!("{name}: {}: {}", output.status, String::from_utf8_lossy(&said).trim())))
}
