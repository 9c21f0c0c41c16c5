//! What lies on a host beside a generation: the MTA's directories, and the programs that hand mail in.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use mailstack_runtime::{Config, Sendmail};
use nix::unistd::{Uid, getgid, getuid};

use crate::generation::Store;
use crate::generation::disk::{self, At, DiskError};
use crate::sendmail::links;
use crate::sendmail::users::Users;

/// The user and group that the MTA runs as, where root starts it.
pub(super) const MTA_USER: &str = "mailstack";
/// The spool is the MTA's alone.
pub(super) const SPOOL_MODE: u32 = 0o700;
/// Everyone may leave mail, nobody may take what another left; it belongs to the MTA's group.
pub(super) const DROP_MODE: u32 = 0o3777;
/// In every wrapper, so that it is known for one.
const MARK: &str = "# Hands over to mailstack; written by `mailstack apply`.";

/// The places and names of the programs of an MTA.
const PROGRAMS: &[(&str, &str)] =
    &[("usr/sbin/sendmail", "sendmail"), ("usr/bin/mailq", "mailq"), ("usr/bin/newaliases", "newaliases")];

/// Who owns what the MTA writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    /// The MTA's user, where this runs as root; else who runs this. Error: the name of a user that is not there.
    pub(super) fn of(root: &Path) -> Result<Self, String> {
        if !getuid().is_root() {
            return Ok(Self { uid: getuid().as_raw(), gid: getgid().as_raw() });
        }
        let user = find(&etc(root, "passwd"), MTA_USER, 2).filter(|uid| *uid != 0);
        let uid = user.ok_or_else(|| MTA_USER.to_owned())?;
        let gid = find(&etc(root, "group"), MTA_USER, 2);
        let gid =
            gid.or_else(|| find(&etc(root, "passwd"), MTA_USER, 3)).ok_or_else(|| MTA_USER.to_owned())?;
        Ok(Self { uid, gid })
    }
}

/// A file of the tree's own `etc`, or of the host where the tree has none; empty where there is none at all.
fn etc(root: &Path, name: &str) -> String {
    let own = root.join("etc").join(name);
    let path = if own.exists() { own } else { Path::new("/etc").join(name) };
    fs::read_to_string(path).unwrap_or_default()
}

/// Whether there is a user of this name.
pub(super) fn has_user(root: &Path, name: &str) -> bool {
    find(&etc(root, "passwd"), name, 2).is_some()
}

/// The number in a field of the line that has this name.
fn find(text: &str, name: &str, field: usize) -> Option<u32> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(field)?.parse().ok()
}

/// A program in the place where others call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its place.
    pub path: PathBuf,
    /// The name that mailstack answers to.
    pub name: &'static str,
    wanted: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// A link to the binary, on the host itself.
    Link(PathBuf),
    /// A script that names the root, below another directory.
    Script(String),
    /// A link to a program of the host's Sendmail, or whatever its packaging has there.
    Sendmail(PathBuf),
}

/// The programs as they must be below this root.
pub fn programs(root: &Path, sendmail: Option<&Sendmail>) -> Vec<Program> {
    if let Some(sendmail) = sendmail {
        return programs_of_sendmail(root, sendmail);
    }
    let binary = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/bin/mailstack"));
    let form = |name: &str| match root == Path::new("/") {
        true => Form::Link(binary.clone()),
        false => Form::Script(script(root, &binary, name)),
    };
    let program =
        |(place, name): &(&str, &'static str)| Program { path: root.join(place), name, wanted: form(name) };
    PROGRAMS.iter().map(program).collect()
}

fn script(root: &Path, binary: &Path, name: &str) -> String {
    let (root, binary) = (quote(root), quote(binary));
    format!("#!/bin/sh\n{MARK}\nMAILSTACK_ROOT={root} exec {binary} {name} \"$@\"\n")
}

/// One word to a shell.
fn quote(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

impl Program {
    /// Whether it is there as it must be.
    pub fn is_in_place(&self) -> bool {
        match &self.wanted {
            Form::Link(target) => fs::read_link(&self.path).is_ok_and(|found| found == *target),
            Form::Script(text) => fs::read_to_string(&self.path).is_ok_and(|found| found == *text),
            Form::Sendmail(target) => {
                is_of_sendmail(&self.path, target) || (self.name != "sendmail" && self.is_missing())
            }
        }
    }

    /// Whether something is there that mailstack did not put there.
    pub(super) fn is_foreign(&self) -> bool {
        if matches!(&self.wanted, Form::Sendmail(target) if is_of_sendmail(&self.path, target)) {
            return false;
        }
        if let Ok(target) = fs::read_link(&self.path) {
            return target.file_name().is_none_or(|name| name != "mailstack");
        }
        match fs::read(&self.path) {
            Ok(bytes) => !String::from_utf8_lossy(&bytes[..bytes.len().min(512)]).contains(MARK),
            Err(_) => self.path.exists(),
        }
    }

    /// Whether nothing is in its place.
    pub(super) fn is_missing(&self) -> bool {
        self.path.symlink_metadata().is_err()
    }

    /// Whether it is the very link that mailstack makes.
    pub(super) fn is_link(&self) -> bool {
        match &self.wanted {
            Form::Link(target) | Form::Sendmail(target) => {
                fs::read_link(&self.path).is_ok_and(|found| found == *target)
            }
            Form::Script(_) => false,
        }
    }

    fn put(&self) -> Result<(), DiskError> {
        if self.is_in_place() {
            return Ok(());
        }
        self.path.parent().map_or(Ok(()), disk::make_dirs)?;
        match &self.wanted {
            Form::Link(target) | Form::Sendmail(target) => disk::point(&self.path, target),
            Form::Script(text) => {
                let fresh = self.path.with_extension("new");
                disk::remove(&fresh)?;
                disk::write_new(&fresh, text.as_bytes(), 0o755)?;
                disk::rename(&fresh, &self.path)
            }
        }
    }
}

/// Makes what is missing, and leaves what is as it must be.
pub(super) fn furnish(root: &Path, config: &Config, owner: Owner) -> Result<(), DiskError> {
    let paths = &config.paths;
    directory(&below(root, &paths.spool), SPOOL_MODE, owner)?;
    directory(&below(root, &paths.drop), DROP_MODE, owner)?;
    for socket in [&paths.submission_socket, &paths.control_socket, &paths.pid_file] {
        below(root, socket).parent().map_or(Ok(()), |dir| directory(dir, 0o755, owner))?;
    }
    jail(root, config)?;
    programs(root, None).iter().try_for_each(Program::put)
}

/// The directories of files of aliases, each its user's; what is there already stays as it is.
pub(super) fn jail(root: &Path, config: &Config) -> Result<(), DiskError> {
    let Some(restricted) = &config.restricted else { return Ok(()) };
    let passwd = etc(root, "passwd");
    let ids = find(&passwd, &restricted.user, 2).zip(find(&passwd, &restricted.user, 3));
    // Whoever is not there is told of by the delivery helper, and the mail waits.
    let Some((uid, gid)) = ids.filter(|_| getuid().is_root()) else { return Ok(()) };
    for path in restricted.directories(&config.rules.aliases) {
        let path = below(root, &path);
        if !path.exists() {
            directory(&path, 0o755, Owner { uid, gid })?;
        }
    }
    Ok(())
}

/// Whether a program is the one of Sendmail: Debian's are links to links, some to a script of its own.
fn is_of_sendmail(path: &Path, target: &Path) -> bool {
    let both = fs::canonicalize(path).ok().zip(fs::canonicalize(target).ok());
    both.is_some_and(|(found, wanted)| found == wanted || found.starts_with("/usr/share/sendmail"))
}

/// What Sendmail needs beside its generation: its programs in their places, the directories of its pid files, and the
/// links in `/etc/mail`. Its queues and mailboxes are its packaging's.
pub(super) fn furnish_sendmail(
    root: &Path,
    store: &Store,
    sendmail: &Sendmail,
    files: &[&str],
) -> Result<(), DiskError> {
    if let Ok(Users { daemon, daemon_group, client, client_group }) = Users::of(sendmail) {
        let (all, mta) = (Owner { uid: 0, gid: daemon_group }, Owner { uid: daemon, gid: daemon_group });
        let msp = Owner { uid: client, gid: client_group };
        for (path, mode, owner) in [("", 0o2755, all), ("mta", 0o2755, mta), ("msp", 0o2775, msp)]
            .map(|(name, mode, owner)| (below(root, &sendmail.run).join(name), mode, owner))
        {
            // Of the packaging's own user, where that is another.
            if !path.is_dir() || sendmail.no_root {
                directory(&path, mode, owner)?;
            }
        }
        // Debian's OSTYPE names it, and its package makes it at times only: without it each who hands mail in is warned.
        let hosts = root.join(HOST_STATUS);
        if sendmail.mail_local && !hosts.is_dir() && hosts.parent().is_some_and(Path::is_dir) {
            directory(&hosts, 0o2775, Owner { uid: 0, gid: client_group })?;
        }
    }
    disk::make_dirs(&root.join(RECORDS))?;
    links::put(root, store, files)?;
    programs_of_sendmail(root, sendmail).iter().try_for_each(Program::put)
}

/// Whether nothing is left to furnish for Sendmail.
pub(super) fn is_furnished_sendmail(root: &Path, store: &Store, sendmail: &Sendmail, files: &[&str]) -> bool {
    links::are_put(root, store, files)
        && programs_of_sendmail(root, sendmail).iter().all(Program::is_in_place)
}

/// Where the ids of Sendmail's processes are noted, below the root.
pub const RECORDS: &str = "run/mailstack";

/// Where Debian's Sendmail notes which hosts answer, below the root.
const HOST_STATUS: &str = "var/lib/sendmail/host_status";

/// The programs that hand mail in, where Sendmail does it: a link of the packaging's own is as good as this one.
fn programs_of_sendmail(root: &Path, sendmail: &Sendmail) -> Vec<Program> {
    let directory = sendmail.program.parent().unwrap_or(Path::new("/"));
    let form = |name: &str| Form::Sendmail(directory.join(name));
    PROGRAMS
        .iter()
        .map(|(place, name)| Program { path: root.join(place), name, wanted: form(name) })
        .collect()
}

/// Whether nothing is left to furnish.
pub(super) fn is_furnished(root: &Path, config: &Config, owner: Owner) -> bool {
    is_directory(&below(root, &config.paths.spool), SPOOL_MODE, owner)
        && is_directory(&below(root, &config.paths.drop), DROP_MODE, owner)
        && programs(root, None).iter().all(Program::is_in_place)
}

/// Whether it is a directory with this mode and owner.
pub(super) fn is_directory(path: &Path, mode: u32, owner: Owner) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_dir()
            && meta.permissions().mode() & 0o7777 == mode
            && (meta.uid(), meta.gid()) == (owner.uid, owner.gid)
    })
}

fn directory(path: &Path, mode: u32, owner: Owner) -> Result<(), DiskError> {
    if is_directory(path, mode, owner) {
        return Ok(());
    }
    disk::make_dirs(path)?;
    let meta = fs::metadata(path).at("look at", path)?;
    if (meta.uid(), meta.gid()) != (owner.uid, owner.gid) && Uid::effective().is_root() {
        chown(path, Some(owner.uid), Some(owner.gid)).at("change the owner of", path)?;
    }
    // After chown, which clears the setgid bit.
    disk::set_mode(path, mode)
}

/// Where a path as below `/` lies.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nmailstack:x:990:991::/:/usr/sbin/nologin\n";
        assert_eq!((find(passwd, MTA_USER, 2), find(passwd, MTA_USER, 3)), (Some(990), Some(991)));
        assert_eq!(find(passwd, "mail", 2), None);
    }

    #[test]
    fn a_wrapper_is_known_and_anything_else_is_foreign() {
        let root = tempfile::tempdir().unwrap();
        let sendmail = programs(root.path(), None).remove(0);
        assert!(!sendmail.is_foreign() && !sendmail.is_in_place());
        sendmail.put().unwrap();
        assert!(!sendmail.is_foreign() && sendmail.is_in_place());
        fs::write(&sendmail.path, b"\x7fELF").unwrap();
        assert!(sendmail.is_foreign());
    }

    #[test]
    fn a_root_with_a_quote_in_its_name_is_one_word() {
        assert_eq!(quote(Path::new("/srv/o'neil")), r"'/srv/o'\''neil'");
    }
}
