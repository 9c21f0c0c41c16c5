//! A host that has Sendmail: what the package would install, from a private root that a script unpacked
//! (`vmtests/roots/sendmail.sh`), and what a machine that tests run on takes from it.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::host::below;
use super::namespaces as ns;

/// The users that the package makes, with the numbers of the private root.
pub const PASSWD: &str = "smmta:x:201:201::/var/lib/sendmail:/usr/sbin/nologin\n\
    smmsp:x:202:202::/var/lib/sendmail:/usr/sbin/nologin\n";
/// Their groups.
pub const GROUP: &str = "smmta:x:201:\nsmmsp:x:202:\n";

/// What is taken from the private root as it is.
const TREES: &[&str] = &[
    "usr/libexec/sendmail",
    "etc/mail",
    "var/spool/mqueue",
    "var/spool/mqueue-client",
    "var/lib/sendmail",
    "usr/bin/dotlockfile",
];
/// Where Debian keeps libraries, before and after they were brought together.
const LIBRARIES: &[&str] = &["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];
/// The links that the package makes by update-alternatives.
const PROGRAMS: &[(&str, &str)] = &[
    ("usr/sbin/sendmail", "/usr/libexec/sendmail/sendmail"),
    ("usr/lib/sendmail", "/usr/libexec/sendmail/sendmail"),
    ("usr/bin/mailq", "/usr/libexec/sendmail/mailq"),
];
/// The log of a host that has Sendmail.
pub const LOG: &str = "/var/log/mail.log";
/// Devices of a host of its own, and where the log socket is.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];
const LOG_SOCKET: &str = "/dev/log";

/// Puts Sendmail on a host, as after its installation.
pub fn install(from: &Path, root: &Path) -> io::Result<()> {
    for tree in TREES {
        copy(&from.join(tree), &root.join(tree))?;
    }
    libraries(from, root)?;
    // So that mail.local, as the recipient, can lock a mailbox: the package does it too.
    fs::set_permissions(root.join("var/mail"), Permissions::from_mode(0o3777))?;
    PROGRAMS.iter().try_for_each(|(place, target)| symlink(target, root.join(place)))
}

/// Puts the libraries of a private root on a host that it does not have.
pub fn libraries(from: &Path, root: &Path) -> io::Result<()> {
    for directory in LIBRARIES {
        for entry in fs::read_dir(from.join(directory)).into_iter().flatten() {
            let entry = entry?;
            let place = root.join("usr/lib/x86_64-linux-gnu").join(entry.file_name());
            let found = root.join("lib/x86_64-linux-gnu").join(entry.file_name());
            if !entry.file_type()?.is_dir() && place.symlink_metadata().is_err() && !found.exists() {
                copy(&entry.path(), &place)?;
            }
        }
    }
    Ok(())
}

/// Copies with owners and modes, those bits included that make programs setgid.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let meta = fs::symlink_metadata(from)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", from.display())))?;
    to.parent().map_or(Ok(()), fs::create_dir_all)?;
    if meta.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if meta.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
    } else {
        fs::copy(from, to)?;
    }
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    fs::set_permissions(to, Permissions::from_mode(meta.mode() & 0o7777))
}

/// Devices of this host alone, so that its log socket is not the machine's.
pub fn own_devices(root: &Path) -> io::Result<()> {
    let devices = root.join("dev");
    ns::mount_type("tmpfs", &devices, Some("mode=0755"))?;
    for name in DEVICES {
        fs::write(devices.join(name), "")?;
        ns::bind(&Path::new("/dev").join(name), &devices.join(name))?;
    }
    symlink("/proc/self/fd", devices.join("fd"))?;
    fs::write(load(root), "0.00 0.00 0.00 1/1 1\n")
}

/// What stands for the load of the machine.
fn load(root: &Path) -> PathBuf {
    below(root, Path::new("/dev/loadavg"))
}

/// Sendmail refuses connections on a busy machine (`RefuseLA`), and tests share theirs: a host with Sendmail is told that
/// nothing else runs. This is the harness's, never the product's.
pub fn cover_load(root: &Path) -> io::Result<()> {
    match load(root) {
        load if load.exists() => ns::bind(&load, &root.join("proc/loadavg")),
        _ => Ok(()),
    }
}

/// Writes what is sent to the log socket of this host into a file, from a thread that ends with it. A host without
/// devices of its own has none.
pub fn keep_log() -> io::Result<()> {
    if !Path::new("/dev/loadavg").exists() {
        return Ok(());
    }
    let socket = UnixDatagram::bind(LOG_SOCKET)?;
    fs::set_permissions(LOG_SOCKET, Permissions::from_mode(0o666))?;
    let mut log = OpenOptions::new().create(true).append(true).open(LOG)?;
    std::thread::spawn(move || {
        let mut packet = [0; 8192];
        while let Ok(count) = socket.recv(&mut packet) {
            // A full disk shows elsewhere.
            let _ = log.write_all(&[&packet[..count], b"\n"].concat());
        }
    });
    Ok(())
}
