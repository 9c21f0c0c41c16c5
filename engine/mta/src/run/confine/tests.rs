//! Each forbidden thing is tried, by the kernel where a call can be made safely, and of every call what the compiled
//! filters answer.

mod answers;
mod files;

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use nix::libc;
use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, listen, socket};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

use super::{Part, filter};

type Attempt = (&'static str, fn(&Path) -> io::Result<()>);

/// In a thread of its own, which is the only one confined.
fn confined<T: Send>(confine: impl FnOnce() + Send, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            confine();
            act()
        });
        thread.join().unwrap()
    })
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A process that is not there.
const ABSENT: i32 = i32::MAX;

/// What no part may do.
fn never() -> Vec<Attempt> {
    vec![
        ("listen on IPv4", |_| listens(AddressFamily::Inet)),
        ("listen on IPv6", |_| listens(AddressFamily::Inet6)),
        ("listen on a Unix socket", |dir| UnixListener::bind(dir.join("new.sock")).map(drop)),
        ("execve", |_| {
            Ok(nix::unistd::execve::<&std::ffi::CStr, &std::ffi::CStr>(c"/absent", &[], &[]).map(drop)?)
        }),
        ("run a program", |_| Command::new("/bin/true").spawn()?.wait().map(drop)),
        ("run a program by fork", |_| {
            let uid = Uid::effective().as_raw();
            std::os::unix::process::CommandExt::uid(&mut Command::new("/bin/true"), uid)
                .spawn()?
                .wait()
                .map(drop)
        }),
        ("AF_PACKET", |_| opens(AddressFamily::Packet, SockType::Datagram)),
        ("AF_NETLINK", |_| opens(AddressFamily::Netlink, SockType::Raw)),
        ("AF_VSOCK", |_| opens(AddressFamily::Vsock, SockType::Stream)),
        ("AF_ALG", |_| opens(AddressFamily::Alg, SockType::SeqPacket)),
        ("a raw socket", |_| opens(AddressFamily::Inet, SockType::Raw)),
        ("unshare", |_| Ok(nix::sched::unshare(CloneFlags::CLONE_NEWUTS)?)),
        ("setns", |_| Ok(nix::sched::setns(File::open("/proc/self/ns/uts")?, CloneFlags::CLONE_NEWUTS)?)),
        ("ptrace", |_| Ok(nix::sys::ptrace::attach(Pid::from_raw(ABSENT))?)),
        ("process_vm_readv", |_| {
            Ok(nix::sys::uio::process_vm_readv(Pid::from_raw(ABSENT), &mut [], &[]).map(drop)?)
        }),
        ("pidfd_open", |_| {
            Ok(rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
                .map(drop)?)
        }),
        ("kill", |_| Ok(nix::sys::signal::kill(Pid::this(), None)?)),
        ("mount", |dir| {
            let flags = nix::mount::MsFlags::MS_BIND;
            Ok(nix::mount::mount(Some(dir), &dir.join("absent"), None::<&str>, flags, None::<&str>)?)
        }),
        ("umount2", |dir| Ok(nix::mount::umount2(&dir.join("absent"), nix::mount::MntFlags::empty())?)),
        ("pivot_root", |dir| Ok(nix::unistd::pivot_root(&dir.join("absent"), &dir.join("absent"))?)),
        ("chroot", |dir| Ok(nix::unistd::chroot(&dir.join("absent"))?)),
        ("personality", |_| Ok(nix::sys::personality::get().map(drop)?)),
        ("memfd_create", |_| Ok(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::CLOEXEC).map(drop)?)),
        ("make a device", |dir| {
            let (kind, mode) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::S_IRUSR);
            Ok(nix::sys::stat::mknod(&dir.join("null"), kind, mode, nix::sys::stat::makedev(1, 3))?)
        }),
        ("symlink", |dir| std::os::unix::fs::symlink("/etc/passwd", dir.join("symlink"))),
        ("chown by name", |dir| std::os::unix::fs::chown(dir.join("file"), Some(1), None)),
        ("truncate by name", |dir| Ok(nix::unistd::truncate(&dir.join("file"), 0)?)),
        ("set an attribute", |dir| {
            let flags = rustix::fs::XattrFlags::empty();
            Ok(rustix::fs::setxattr(dir.join("file"), "user.x", b"x", flags)?)
        }),
        ("gain capabilities", |_| {
            let sets = rustix::thread::capabilities(None)?;
            Ok(rustix::thread::set_capabilities(None, sets)?)
        }),
        ("change the priority", |_| Ok(rustix::process::setpriority_process(None, 5)?)),
        ("choose processors", |_| {
            let all = nix::sched::sched_getaffinity(Pid::from_raw(0))?;
            Ok(nix::sched::sched_setaffinity(Pid::from_raw(0), &all)?)
        }),
    ]
}

/// What the delivery helper does, and the MTA does not.
fn of_the_helper() -> Vec<Attempt> {
    vec![
        ("link", |dir| fs::hard_link(dir.join("file"), dir.join("link"))),
        ("chmod", |dir| fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))),
        ("chmod of an open file", |dir| {
            File::open(dir.join("file"))?.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))
        }),
        ("chown of an open file", |dir| {
            std::os::unix::fs::fchown(File::open(dir.join("file"))?, Some(Uid::current().as_raw()), None)
        }),
    ]
}

fn listens(family: AddressFamily) -> io::Result<()> {
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    Ok(listen(&socket, Backlog::new(1)?)?)
}

fn opens(family: AddressFamily, kind: SockType) -> io::Result<()> {
    Ok(socket(family, kind, SockFlag::SOCK_CLOEXEC, None).map(drop)?)
}

fn parts() -> [Part; 3] {
    [Part::Client { accepts: vec![0] }, Part::Receiver, Part::Mailboxes]
}

fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "kept").unwrap();
    dir
}

#[test]
fn each_forbidden_thing_is_refused_and_nobody_is_killed() {
    for part in parts() {
        let others = if part == Part::Mailboxes { Vec::new() } else { of_the_helper() };
        for (name, attempt) in never().into_iter().chain(others) {
            let dir = tree();
            if is_root() {
                // As root everything forbidden here goes, or fails for what it names.
                let free = confined(|| {}, || attempt(dir.path())).map_err(|error| error.raw_os_error());
                assert_ne!(
                    free,
                    Err(Some(libc::EPERM)),
                    "{name} is refused without a filter: this shows nothing"
                );
            }
            let dir = tree();
            let tried = confined(|| filter(&part).unwrap(), || attempt(dir.path()));
            let refused = tried.expect_err(name).raw_os_error();
            assert_eq!(refused, Some(libc::EPERM), "{name}: {part:?}");
        }
    }
}

#[test]
fn the_helper_has_the_rights_over_files_and_no_network() {
    for (name, attempt) in of_the_helper() {
        let dir = tree();
        confined(|| filter(&Part::Mailboxes).unwrap(), || attempt(dir.path())).expect(name);
    }
    let unix = || UnixStream::pair().map(drop);
    let tcp = || opens(AddressFamily::Inet, SockType::Stream);
    let tried: [fn() -> io::Result<()>; 2] = [unix, tcp];
    for attempt in tried {
        let refused = confined(|| filter(&Part::Mailboxes).unwrap(), attempt);
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
    let threads = confined(
        || filter(&Part::Mailboxes).unwrap(),
        || std::thread::Builder::new().spawn(|| {}).map(drop).map_err(|error| error.raw_os_error()),
    );
    assert_eq!(threads, Err(Some(libc::EPERM)));
}

#[test]
fn a_client_accepts_at_its_own_sockets_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("submit");
    let own = UnixListener::bind(&path).unwrap();
    let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = inherited.local_addr().unwrap();
    let _waiting = TcpStream::connect(at).unwrap();
    let client = || filter(&Part::Client { accepts: vec![own.as_raw_fd()] }).unwrap();
    confined(client, || {
        assert_eq!(inherited.accept().unwrap_err().raw_os_error(), Some(libc::EPERM));
        let mut there = UnixStream::connect(&path).unwrap();
        let (mut here, _) = own.accept().unwrap();
        there.write_all(b"x").unwrap();
        here.read_exact(&mut [0]).unwrap();
        // Nor does a listener come in as a descriptor.
        let (mut space, mut octet) = ([std::mem::MaybeUninit::uninit(); 64], [0]);
        let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
        let (octets, flags) = ([io::IoSliceMut::new(&mut octet)], rustix::net::RecvFlags::empty());
        let received = rustix::net::recvmsg(here.as_fd(), &mut { octets }, &mut control, flags);
        assert_eq!(received.unwrap_err(), rustix::io::Errno::PERM);
    });
    confined(|| filter(&Part::Receiver).unwrap(), || inherited.accept().map(drop)).unwrap();
}

#[test]
fn what_an_mta_does_goes_on() {
    for part in [Part::Client { accepts: vec![0] }, Part::Receiver] {
        let dir = tree();
        let peer = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = peer.local_addr().unwrap();
        confined(
            || filter(&part).unwrap(),
            || {
                let (one, two) = (dir.path().join("one"), dir.path().join("two"));
                File::create(&one).unwrap().write_all(b"x").unwrap();
                File::open(&one).unwrap().sync_all().unwrap();
                fs::create_dir(&two).unwrap();
                fs::rename(&one, two.join("one")).unwrap();
                assert_eq!(fs::read_dir(&two).unwrap().count(), 1);
                fs::remove_dir_all(&two).unwrap();
                TcpStream::connect(at).unwrap().write_all(b"x").unwrap();
                let (mine, theirs) =
                    (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("[::]:0").unwrap());
                mine.send_to(b"x", mine.local_addr().unwrap()).unwrap();
                mine.recv_from(&mut [0]).unwrap();
                drop(theirs);
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let slept = tokio::time::sleep(std::time::Duration::from_millis(1));
                    let connected = tokio::net::TcpStream::connect(at);
                    let (_, connected) = tokio::join!(slept, connected);
                    connected.unwrap();
                    let large = tokio::task::spawn_blocking(|| vec![1u8; 64 << 20].len()).await;
                    assert_eq!(large.unwrap(), 64 << 20);
                });
            },
        );
    }
}
