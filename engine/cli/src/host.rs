//! The host that a command works on: its root, its store, what starts and stops its MTA.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use mailstack_deploy::activation::{Activator, Daemon, Engines, LOG, Places, Systemd, systemd_is_running};
use mailstack_deploy::apply::{RECORDS, live_config};
use mailstack_deploy::generation::Store;
use mailstack_deploy::sendmail::process::Processes;
use mailstack_runtime::{CONFIG_PATH, Config, Paths};

use crate::failure::Failure;

/// A host.
pub struct HostTree {
    /// The directory that stands for `/`, absolute.
    pub root: PathBuf,
    /// Its generations.
    pub store: Store,
    /// Whether the MTA is a child of this process, which stays: a container has no other init.
    pub foreground: bool,
}

impl HostTree {
    /// The host below this directory, which need not exist yet.
    pub fn below(root: &Path) -> Result<Self, Failure> {
        let absolute = std::path::absolute(root);
        let root = absolute.map_err(|source| Failure::Root { path: root.to_owned(), source })?;
        if root.exists() && !root.is_dir() {
            let source = io::Error::from(io::ErrorKind::NotADirectory);
            return Err(Failure::Root { path: root, source });
        }
        Ok(Self { store: Store::below(&root), root, foreground: false })
    }

    /// The configuration of the live generation.
    pub fn live_config(&self) -> PathBuf {
        self.store.current_link().join(CONFIG_PATH)
    }

    /// The places that the live generation names; None where nothing is live.
    pub fn live_paths(&self) -> Result<Option<Paths>, Failure> {
        Ok(live_config(&self.store)?.map(|config| config.paths))
    }

    /// The configuration of the live generation, read; None where nothing is live.
    pub fn live(&self) -> Result<Option<Config>, Failure> {
        Ok(live_config(&self.store)?)
    }

    /// What starts and stops the MTA here, of whichever engine.
    pub fn activator(&self, paths: &Paths) -> Box<dyn Activator> {
        if self.root == Path::new("/") && !self.foreground && systemd_is_running() {
            return Box::new(Systemd { current: self.store.current_link() });
        }
        let below = |path: &Path| self.root.join(path.strip_prefix("/").unwrap_or(path));
        let builtin = Daemon {
            command: self.run(&[]),
            foreground: self.foreground,
            places: Places {
                pid_file: below(&paths.pid_file),
                control_socket: below(&paths.control_socket),
                log: self.root.join(LOG),
            },
        };
        let sendmail = Processes {
            command: self.run(&["--part"]),
            records: self.root.join(RECORDS),
            log: self.root.join(LOG),
        };
        Box::new(Engines { builtin, sendmail, current: self.store.current_link() })
    }

    /// `mailstack run`, as a process of its own.
    fn run(&self, more: &[&str]) -> Vec<OsString> {
        let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/mailstack"));
        let detached = if self.foreground { None } else { Some("--detached") };
        let words = ["run"].into_iter().chain(detached).chain(["--root"]).map(OsString::from);
        let words = [binary.into()].into_iter().chain(words).chain([self.root.clone().into()]);
        words.chain(more.iter().map(|word| OsString::from(*word))).collect()
    }
}
