//! Users and groups, read from the files (passwd(5), group(5)).

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::Root;

/// One line of passwd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// Numeric id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// The full name: the first part of the comment field.
    pub full_name: String,
    /// Home directory, as below `/`.
    pub home: PathBuf,
}

/// One line of group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Numeric id.
    pub gid: u32,
}

/// The users of the host. The file is read again when it has changed.
#[derive(Debug)]
pub struct Users {
    path: PathBuf,
    cache: Mutex<Option<Cache>>,
}

#[derive(Debug)]
struct Cache {
    stamp: Stamp,
    table: Arc<Table>,
}

/// Tells one state of a file from the next.
type Stamp = (u64, u64, i64, i64);

#[derive(Debug, Default)]
struct Table {
    by_name: BTreeMap<String, User>,
    by_uid: BTreeMap<u32, String>,
}

impl Users {
    /// The users that the tree's passwd names.
    pub fn of(root: &Root) -> Self {
        Self { path: root.etc("passwd"), cache: Mutex::new(None) }
    }

    /// Returns the user of this name, or None where there is none. Errors: the file cannot be read, or is not whole.
    pub fn by_name(&self, name: &str) -> io::Result<Option<User>> {
        let table = self.table()?;
        table.settle(table.by_name.get(name).cloned())
    }

    /// Returns the first user of this id, or None where there is none. Errors: the file cannot be read, or is not
    /// whole.
    pub fn by_uid(&self, uid: u32) -> io::Result<Option<User>> {
        let table = self.table()?;
        table.settle(table.by_uid.get(&uid).and_then(|name| table.by_name.get(name)).cloned())
    }

    fn table(&self) -> io::Result<Arc<Table>> {
        let stamp = stamp(&self.path)?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        match cache.as_ref() {
            Some(known) if known.stamp == stamp => Ok(Arc::clone(&known.table)),
            _ => {
                let table = Arc::new(Table::parse(&std::fs::read(&self.path)?));
                *cache = Some(Cache { stamp, table: Arc::clone(&table) });
                Ok(table)
            }
        }
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let meta = std::fs::metadata(path)?;
    Ok((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

impl Table {
    fn parse(text: &[u8]) -> Self {
        let mut table = Table::default();
        for user in String::from_utf8_lossy(text).lines().filter_map(parse_user) {
            table.by_uid.entry(user.uid).or_insert_with(|| user.name.clone());
            table.by_name.entry(user.name.clone()).or_insert(user);
        }
        table
    }

    /// Who is not found is nobody only where the file is whole: one without root is being written at this moment.
    fn settle(&self, found: Option<User>) -> io::Result<Option<User>> {
        if found.is_none() && !self.by_uid.contains_key(&0) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it has no root: it is not whole"));
        }
        Ok(found)
    }
}

fn parse_user(line: &str) -> Option<User> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| is_name(name))?.to_owned();
    let _password = fields.next()?;
    let uid = fields.next()?.parse().ok()?;
    let gid = fields.next()?.parse().ok()?;
    let comment = fields.next()?;
    let home = PathBuf::from(fields.next()?);
    let full_name = comment.split(',').next().unwrap_or_default().replace('&', &name);
    Some(User { name, uid, gid, full_name, home })
}

/// A comment, and the `+` and `-` lines of NIS, are no users.
fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(['#', '+', '-'])
}

/// Returns the group of this name, or None where there is none. Errors: the file cannot be read.
pub fn group(root: &Root, name: &str) -> io::Result<Option<Group>> {
    let text = std::fs::read(root.etc("group"))?;
    let text = String::from_utf8_lossy(&text);
    let line = |line: &str| {
        let mut fields = line.split(':');
        let found = fields.next().filter(|found| *found == name)?.to_owned();
        let gid = fields.nth(1)?.parse().ok()?;
        Some(Group { name: found, gid })
    };
    Ok(text.lines().find_map(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(passwd: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "mail:x:8:\nbad\nmailstack:x:990:a,b\n").unwrap();
        let root = Root::new(dir.path());
        (dir, root)
    }

    #[test]
    fn reads_passwd_and_group() {
        let (_dir, root) = tree(
            "root:x:0:0:root:/root:/bin/sh\n#x:y\n+::::::\nalice:x:1000:1000:& Liddell,,,:/home/alice:\nshort:x:1\ntoor:x:0:0::/:\n",
        );
        let users = Users::of(&root);
        let alice = users.by_name("alice").unwrap().unwrap();
        assert_eq!((alice.uid, alice.full_name.as_str()), (1000, "alice Liddell"));
        assert_eq!(users.by_uid(0).unwrap().unwrap().name, "root");
        for nobody in ["", "short", "+", "#x", "Alice"] {
            assert_eq!(users.by_name(nobody).unwrap(), None, "{nobody}");
        }
        assert_eq!(group(&root, "mailstack").unwrap().unwrap().gid, 990);
        assert_eq!(group(&root, "wheel").unwrap(), None);
    }

    #[test]
    fn nobody_is_missing_from_a_file_that_is_not_whole() {
        let (dir, root) = tree("");
        let users = Users::of(&root);
        assert!(users.by_name("bob").is_err() && users.by_uid(2).is_err());
        std::fs::write(dir.path().join("etc/passwd"), "bob:x:2:2::/:\n").unwrap();
        assert!(users.by_name("alice").is_err());
        assert_eq!(users.by_name("bob").unwrap().unwrap().uid, 2);
        std::fs::remove_file(dir.path().join("etc/passwd")).unwrap();
        std::fs::create_dir(dir.path().join("etc/passwd")).unwrap();
        assert!(users.by_name("bob").is_err());
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let (dir, root) = tree("root:x:0:0::/:\n");
        let users = Users::of(&root);
        assert!(users.by_name("bob").unwrap().is_none());
        std::fs::write(dir.path().join("etc/passwd"), "bob:x:2:2::/:\nmore:x:3:3::/:\n").unwrap();
        assert!(users.by_name("bob").unwrap().is_some());
    }
}
