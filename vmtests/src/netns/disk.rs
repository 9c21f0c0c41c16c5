//! A host's disk: memory of its own, so that it can be full while the others have room.

use std::fs;
use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statvfs::statvfs;

use super::namespaces as ns;

/// The size of a host's disk that is not full.
const SIZE: &str = "size=2g";

/// Makes a host's disk, unless it has one: a host that went down comes up with what it wrote.
pub fn make(dir: &Path) -> io::Result<()> {
    if dir.exists() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    ns::mount_type("tmpfs", dir, Some(&format!("{SIZE},mode=0755")))
}

/// Makes the disk full as it is now, or gives it room again.
pub fn limit(dir: &Path, full: bool) -> io::Result<()> {
    let found = statvfs(dir)?;
    let used = (found.blocks() - found.blocks_free()) * found.fragment_size();
    let size = if full { format!("size={used}") } else { SIZE.to_owned() };
    mount(None::<&str>, dir, None::<&str>, MsFlags::MS_REMOUNT, Some(format!("{size},mode=0755").as_str()))?;
    Ok(())
}
