//! What a Sendmail without the rights of root needs of the host: owners and modes that its administrator gives once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::furnish::below;
use super::preflight::Obstacle;

/// Writes mailboxes: setuid, since whoever starts it is not the recipient.
const PROCMAIL: &str = "/usr/bin/procmail";
const MAILBOXES: &str = "/var/mail";
/// Where its tables are: it opens none in a directory that others own.
const TABLES: &str = "/etc/mail";

/// The numbers of the user who owns all of it, and of his group.
#[derive(Clone, Copy)]
pub(super) struct Mail {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// What is otherwise than it must be; each mailbox that is there is looked at.
pub(super) fn permissions(root: &Path, queue: &Path, mail: Mail) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let mut must = |path: &Path, wanted: &str, mend: &str, is_right: &dyn Fn(&fs::Metadata) -> bool| {
        let meta = fs::symlink_metadata(below(root, path)).ok();
        if !meta.as_ref().is_some_and(is_right) {
            let words = |meta: &fs::Metadata| {
                format!("{:04o}, owner {}, group {}", meta.mode() & 0o7777, meta.uid(), meta.gid())
            };
            found.push(Obstacle::Unfit {
                path: path.to_owned(),
                wanted: wanted.to_owned(),
                found: meta.as_ref().map(words),
                mend: mend.replace("{}", &path.display().to_string()),
            });
        }
    };
    let mode = |meta: &fs::Metadata| meta.mode() & 0o7777;
    must(queue, "0700, owner mail", "chown mail: {} && chmod 00700 {}", &|meta| {
        meta.is_dir() && mode(meta) == 0o700 && meta.uid() == mail.uid
    });
    must(Path::new(TABLES), "0755, owner root or mail", "chown mail {} && chmod 0755 {}", &|meta| {
        meta.is_dir() && mode(meta) & 0o022 == 0 && [0, mail.uid].contains(&meta.uid())
    });
    must(
        Path::new(MAILBOXES),
        "1775, owner root, group mail",
        "chown root:mail {} && chmod 01775 {}",
        &|meta| meta.is_dir() && mode(meta) == 0o1775 && (meta.uid(), meta.gid()) == (0, mail.gid),
    );
    // Setgid too, or it could not make what it locks a mailbox by.
    must(Path::new(PROCMAIL), "6755, owner root, group mail", "apt install --reinstall procmail", &|meta| {
        meta.is_file() && mode(meta) == 0o6755 && (meta.uid(), meta.gid()) == (0, mail.gid)
    });
    let mut mailboxes: Vec<_> = fs::read_dir(below(root, Path::new(MAILBOXES)))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        // What locks one has no mode of its own.
        .filter(|name| !name.as_encoded_bytes().ends_with(b".lock"))
        .collect();
    mailboxes.sort();
    for name in mailboxes {
        let path = Path::new(MAILBOXES).join(name);
        must(&path, "0660, group mail", "chgrp mail '{}' && chmod 0660 '{}'", &|meta| {
            meta.is_file() && mode(meta) == 0o660 && meta.gid() == mail.gid
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown};

    use super::*;

    const MAIL: Mail = Mail { uid: 8, gid: 8 };
    const QUEUE: &str = "/var/spool/mqueue";

    fn set(path: &Path, mode: u32, uid: u32, gid: u32) {
        chown(path, Some(uid), Some(gid)).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named_each_and_nothing_else() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: files of other users need root");
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for directory in ["var/spool/mqueue", "var/mail", "usr/bin", "etc/mail"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        for file in ["usr/bin/procmail", "var/mail/alice", "var/mail/alice.lock"] {
            fs::write(at(file), "").unwrap();
        }
        let right = [
            ("var/spool/mqueue", 0o700, 8, 8),
            ("etc/mail", 0o755, 0, 0),
            ("var/mail", 0o1775, 0, 8),
            ("usr/bin/procmail", 0o6755, 0, 8),
            ("var/mail/alice", 0o660, 1001, 8),
        ];
        right.iter().for_each(|(path, mode, uid, gid)| set(&at(path), *mode, *uid, *gid));
        let found = || permissions(root.path(), Path::new(QUEUE), MAIL);
        assert_eq!(found(), []);
        let wrong = [
            ("var/spool/mqueue", 0o2750, 8, 8),
            ("var/spool/mqueue", 0o700, 201, 8),
            ("etc/mail", 0o755, 201, 202),
            ("etc/mail", 0o775, 8, 8),
            ("var/mail", 0o3777, 0, 8),
            ("var/mail", 0o1775, 0, 0),
            ("usr/bin/procmail", 0o755, 0, 8),
            ("usr/bin/procmail", 0o2755, 0, 8),
            ("var/mail/alice", 0o600, 1001, 8),
            ("var/mail/alice", 0o660, 1001, 1001),
        ];
        for (path, mode, uid, gid) in wrong {
            set(&at(path), mode, uid, gid);
            let all = found();
            let Some(Obstacle::Unfit { path: named, found: Some(words), .. }) = all.first() else {
                panic!("{path}: {all:?}");
            };
            let said = format!("{mode:04o}, owner {uid}, group {gid}");
            assert_eq!((all.len(), named.as_path(), words), (1, Path::new(&format!("/{path}")), &said));
            let (_, mode, uid, gid) = right.into_iter().find(|entry| entry.0 == path).unwrap();
            set(&at(path), mode, uid, gid);
        }
        fs::remove_file(at("usr/bin/procmail")).unwrap();
        assert!(matches!(found().as_slice(), [Obstacle::Unfit { found: None, .. }]));
    }
}
