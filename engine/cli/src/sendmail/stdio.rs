//! Standard input and output: whether they are there, and `sendmail -bs`, SMTP on both, spoken by the MTA behind the
//! submission socket.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use mailstack_mta::host::{Root, handover, unix};
use mailstack_mta::sysexits::{EX_OK, EX_UNAVAILABLE};
use mailstack_runtime::Paths;
use nix::fcntl::{FcntlArg, OFlag};

/// Whether this program was started without standard input: the runtime of the language then puts /dev/null there, for
/// reading and writing, which a shell's `</dev/null` does not.
pub fn is_closed() -> bool {
    let null = std::fs::metadata("/dev/null").map(|meta| meta.rdev());
    let here = nix::sys::stat::fstat(io::stdin()).map(|stat| stat.st_rdev);
    let mode = nix::fcntl::fcntl(io::stdin(), FcntlArg::F_GETFL).map(OFlag::from_bits_truncate);
    let writable = mode.is_ok_and(|flags| flags & OFlag::O_ACCMODE == OFlag::O_RDWR);
    writable && matches!((null, here), (Ok(null), Ok(here)) if null == here)
}

/// Serves SMTP on standard input and output. A connection of the network, as inetd leaves it there, is a client of the
/// network and never a program of this host, whoever this runs as. Errors: nobody serves a program of this host.
pub fn serve(root: &Root, paths: &Paths) -> io::Result<u8> {
    if let Some(connection) = connection() {
        return Ok(hand_over(&root.path(paths.session_socket()), &connection));
    }
    let socket = root.path(&paths.submission_socket);
    let Ok(stream) = unix::connect(&socket) else {
        refuse("421 4.3.2 The MTA does not run");
        return Err(io::Error::other(format!("nobody serves {}", socket.display())));
    };
    let writer = stream.try_clone()?;
    thread::spawn(move || forward(&writer));
    io::copy(&mut &stream, &mut io::stdout().lock())?;
    Ok(EX_OK)
}

/// The connection of the network that either of them is.
fn connection() -> Option<OwnedFd> {
    let (input, output) = (io::stdin(), io::stdout());
    let descriptors = [input.as_fd(), output.as_fd()];
    descriptors.iter().find(|it| handover::is_of_network(it))?.try_clone_to_owned().ok()
}

/// The client may have hung up.
fn refuse(reply: &str) {
    let _ = write!(io::stdout(), "{reply}\r\n");
}

/// Standard error is the client too where inetd started this: nothing is said there.
fn hand_over(place: &Path, connection: &OwnedFd) -> u8 {
    match handover::hand_over(place, connection.as_fd()) {
        Ok(()) => EX_OK,
        Err(_) => {
            refuse("421 4.3.2 The MTA does not take this connection");
            EX_UNAVAILABLE
        }
    }
}

fn forward(stream: &UnixStream) {
    // Whatever ends it, the MTA is told that nothing more comes and says the rest.
    let _ = io::copy(&mut io::stdin().lock(), &mut &*stream);
    let _ = stream.shutdown(Shutdown::Write);
}
