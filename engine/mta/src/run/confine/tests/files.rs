//! Landlock, where the kernel has it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::Command;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use tempfile::TempDir;

use super::super::files::{Places, restrict};
use super::confined;

/// A host with a queue, a drop directory, and what belongs to others.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["spool", "drop", "etc", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for name in ["etc/passwd", "home/diary", "drop/new"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        Self(dir)
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn places(&self, reads_all: bool) -> Places {
        let written = vec![self.at("spool"), self.at("drop")];
        Places { written, read: (!reads_all).then(|| vec![self.at("etc"), self.at("absent")]) }
    }
}

#[test]
fn files_are_written_in_the_queue_alone() {
    for reads_all in [false, true] {
        let host = Host::new();
        let ended = confined(
            || {},
            || {
                let abi = restrict(&host.places(reads_all))?;
                if abi == 0 {
                    return Err("the kernel has none".to_owned());
                }
                within_bounds(&host, abi);
                assert_eq!(File::open(host.at("home/diary")).is_ok(), reads_all);
                Ok::<_, String>(())
            },
        );
        if let Err(reason) = ended {
            eprintln!("SKIPPED: no Landlock here: {reason}");
        }
    }
}

fn within_bounds(host: &Host, abi: u32) {
    let denied = |result: io::Result<()>, name: &str| {
        let error = result.expect_err(name).raw_os_error();
        // A file that may not leave its directory is on another file system, as it were.
        assert!([Some(libc::EACCES), Some(libc::EXDEV)].contains(&error), "{name}: {error:?}");
    };
    File::create(host.at("spool/one")).unwrap().write_all(b"x").unwrap();
    fs::create_dir(host.at("drop/aside")).unwrap();
    fs::rename(host.at("drop/new"), host.at("drop/aside/new")).unwrap();
    fs::remove_file(host.at("drop/aside/new")).unwrap();
    fs::remove_dir(host.at("drop/aside")).unwrap();
    assert_eq!(fs::read(host.at("etc/passwd")).unwrap(), b"x");
    File::open(host.at("home")).unwrap().sync_all().unwrap();
    denied(fs::write(host.at("home/new"), "x"), "a new file");
    denied(fs::write(host.at("etc/passwd"), "x"), "a file of others");
    denied(fs::create_dir(host.at("home/new")), "a directory");
    denied(fs::remove_file(host.at("home/diary")), "removal");
    denied(fs::rename(host.at("home/diary"), host.at("home/other")), "a new name");
    denied(fs::rename(host.at("spool/one"), host.at("home/one")), "out of the queue");
    denied(fs::rename(host.at("home/diary"), host.at("spool/diary")), "into the queue");
    denied(std::os::unix::fs::symlink("x", host.at("spool/link")), "a link in the queue");
    denied(Command::new("/bin/true").spawn().map(drop), "running a program");
    if abi >= 4 {
        denied(TcpListener::bind("127.0.0.1:0").map(drop), "a port of TCP");
    }
    if abi >= 6 {
        let parent = nix::sys::signal::kill(Pid::parent(), None);
        assert_eq!(parent, Err(Errno::EPERM), "a signal to others");
    }
}
