//! The first process of a guest: modules, mounts, the agent, and whatever is left to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::sys::stat::Mode;

use crate::netns::namespaces as ns;

/// How often the kernel is given time for a device to appear.
const LOOKS: usize = 2000;
/// The disk, where the guest has one.
const DISK: &str = "/dev/vda";

/// Whether this program runs as a guest's first process.
pub fn is_first() -> bool {
    std::process::id() == 1 && std::env::args().next().as_deref() == Some("/init")
}

/// Brings the guest up, and never comes back: a first process that ended would stop the kernel.
pub fn first_process() -> io::Result<std::convert::Infallible> {
    ns::mount_type("proc", Path::new("/proc"), None)?;
    ns::mount_type("sysfs", Path::new("/sys"), None)?;
    // A kernel may have mounted it itself.
    ns::mount_type("devtmpfs", Path::new("/dev"), None).or_else(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => Ok(()),
        _ => Err(error),
    })?;
    load_modules()?;
    for place in ["/run", "/tmp"] {
        ns::mount_type("tmpfs", Path::new(place), Some("mode=1777"))?;
    }
    fs::set_permissions("/run", std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let port = await_port()?;
    if Path::new(DISK).exists() {
        nix::mount::mount(Some(DISK), "/var", Some("ext4"), nix::mount::MsFlags::empty(), None::<&str>)?;
    }
    for directory in ["/var/log", "/var/lib", "/var/spool"] {
        fs::create_dir_all(directory)?;
    }
    // A copy of a program that the kernel started by another name.
    std::os::unix::fs::symlink("/init", "/usr/bin/mailstack-vmtests")?;
    Command::new("/usr/bin/mailstack-vmtests").arg("agent-serve").arg(&port).spawn()?;
    crate::agent::idle()
}

fn load_modules() -> io::Result<()> {
    let mut modules: Vec<PathBuf> =
        fs::read_dir("/modules")?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?;
    modules.sort();
    for module in modules {
        let file = open(&module, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
        finit_module(&file, c"", ModuleInitFlags::empty())
            .map_err(|error| io::Error::other(format!("{}: {error}", module.display())))?;
    }
    Ok(())
}

/// The port to the runner: the only one that the machine has.
fn await_port() -> io::Result<PathBuf> {
    for _ in 0..LOOKS {
        for device in fs::read_dir("/dev")? {
            let device = device?;
            if device.file_name().to_string_lossy().starts_with("vport") {
                return Ok(device.path());
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other("no port to the runner"))
}
