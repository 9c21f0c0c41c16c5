//! What this host is: its file tree, its users, its own name, its Unix sockets.
//!
//! Owns: the prefix below which every path lies, the readers of passwd, group and hosts, and Unix sockets of any
//! path length. May use files. Must not ask the name service switch (a static binary has none), nor know SMTP.

use std::path::{Component, Path, PathBuf};

pub(crate) mod clock;
pub mod handover;
mod own_name;
pub mod unix;
mod users;

pub use own_name::{OwnName, own_name};
pub use users::{Group, User, Users, group};

/// The directory that stands for `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// A tree below `prefix`; `/` for the host itself.
    pub fn new(prefix: impl Into<PathBuf>) -> Self {
        Self(prefix.into())
    }

    /// Returns where `path`, as below `/`, lies. `..` is not followed upwards.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let inner = path.as_ref().components().filter(|part| matches!(part, Component::Normal(_)));
        let mut whole = self.0.clone();
        whole.extend(inner);
        whole
    }

    /// Returns `etc/NAME` of the tree where it has one, else of the host: what only a host knows (resolv.conf,
    /// passwd, group, hosts).
    pub fn etc(&self, name: &str) -> PathBuf {
        let own = self.path("etc").join(name);
        if own.exists() { own } else { Path::new("/etc").join(name) }
    }

    /// The directory itself.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether this is the host's own tree.
    pub fn is_host(&self) -> bool {
        self.0 == Path::new("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let root = Root::new("/srv/m");
        for (path, whole) in [
            ("/var/spool", "/srv/m/var/spool"),
            ("var/spool", "/srv/m/var/spool"),
            ("/../../etc/passwd", "/srv/m/etc/passwd"),
        ] {
            assert_eq!(root.path(path), Path::new(whole));
        }
        assert_eq!(Root::new("/").path("/etc"), Path::new("/etc"));
    }

    #[test]
    fn etc_prefers_the_tree() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert_eq!(root.etc("passwd"), Path::new("/etc/passwd"));
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "").unwrap();
        assert_eq!(root.etc("passwd"), dir.path().join("etc/passwd"));
    }
}
