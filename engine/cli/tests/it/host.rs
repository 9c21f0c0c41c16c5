//! A host below a directory of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// The command, at a place that every user can reach: in a checkout below a closed home, a copy that stays in the
/// directory for temporary files. `MAILSTACK_UNDER_TEST` names another one, a release build say.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let named = std::env::var_os("MAILSTACK_UNDER_TEST").map(PathBuf::from);
        let built = named.unwrap_or_else(|| env!("CARGO_BIN_EXE_mailstack").into());
        let is_open = |at: &Path| fs::metadata(at).is_ok_and(|found| found.permissions().mode() & 0o001 != 0);
        if built.ancestors().all(is_open) {
            return built;
        }
        let copy = std::env::temp_dir().join(format!("mailstack-under-test-{}", process::id()));
        fs::copy(&built, &copy).unwrap();
        copy
    })
}

/// A host; its MTA is ended when it goes.
pub struct Host {
    dir: TempDir,
}

/// A port that nobody has.
///
/// None twice, and none that the kernel gives to a connection (`ip_local_port_range`): a host of a test comes back to
/// its ports after others have been at work.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = process::id().wrapping_mul(64).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + u16::try_from(place % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Host {
    /// A host with the MTA's user, and nothing else.
    pub fn new() -> Self {
        let dir = TempDir::with_prefix("mailstack-test-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let host = Self { dir };
        host.put(
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nmailstack:x:64999:64999::/:/usr/sbin/nologin\n",
        );
        host.put("etc/group", "root:x:0:\nmailstack:x:64999:\n");
        host
    }

    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub fn put(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Declares a loopback MTA that listens there.
    pub fn declare(&self, listen: &str) -> PathBuf {
        let text = format!(
            "schema = 1\nrole = \"loopback\"\nhostname = \"box.corp.example\"\nlisten = [\"{listen}\"]\n"
        );
        self.put("etc/mailstack/host.toml", &text)
    }

    /// Runs the command on this host.
    pub fn mailstack(&self, arguments: &[&str]) -> Ended {
        let mut command = Command::new(binary());
        command.args(arguments).env("MAILSTACK_ROOT", self.root()).env("NO_COLOR", "1");
        Ended::from(command.output().unwrap())
    }

    /// Applies its declaration.
    pub fn apply(&self) -> Ended {
        let file = self.path("etc/mailstack/host.toml");
        self.mailstack(&["apply", file.to_str().unwrap()])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.mailstack(&["stop"]);
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ended {
    /// That it ended with this code; returns what it printed.
    #[track_caller]
    pub fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        self
    }
}
