//! `cargo quickstart`: builds mailstack, applies a starter host.toml below a directory, leaves it running.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::packages::{self, FOR_CF};
use crate::step::{self, Failure, cargo};

/// The declaration that is applied, unless the directory has one already.
const STARTER: &str = include_str!("../quickstart.toml");
/// Where it lies below the directory.
const DECLARATION: &str = "etc/mailstack/host.toml";
/// The user and group that the MTA runs as below a directory of root's.
const MTA_USER: &str = "mailstack";

/// Does it all, and ends with what listens where and what to type next.
pub fn run(dir: Option<&str>) -> Result<(), Failure> {
    let dir = directory(dir)?;
    let _alone = lock(&dir)?;
    step::run("build mailstack", &mut cargo(&["build", "--release", "--package", "mailstack"]))?;
    packages::install(&[FOR_CF])?;
    let binary = furnish(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let declaration = dir.join(DECLARATION);
    let mut apply = Command::new(&binary);
    apply.arg("apply").arg(&declaration).arg("--root").arg(&dir);
    step::run(&format!("mailstack apply {}", declaration.display()), &mut apply)?;
    summary(&dir, &binary)
}

/// The directory as given, or one that both its owner and the MTA's user can reach; made if it is not there.
fn directory(given: Option<&str>) -> Result<PathBuf, Failure> {
    let dir = match given {
        Some("") => return Err("name a directory, or none: cargo quickstart [DIR]".to_owned()),
        Some(dir) => PathBuf::from(dir),
        // Root's home is closed to the MTA, which does not run as root.
        None if step::is_root() => PathBuf::from("/srv/mailstack-quickstart"),
        None => {
            let home =
                std::env::var_os("HOME").ok_or("HOME is not set: name a directory, cargo quickstart DIR")?;
            Path::new(&home).join("mailstack-quickstart")
        }
    };
    let made = fs::create_dir_all(&dir).and_then(|()| dir.canonicalize());
    let dir = made.map_err(|error| format!("{}: {error}", dir.display()))?;
    if dir.to_str().is_none_or(|text| text.contains(char::is_whitespace)) {
        return Err(format!("{}: choose a directory without white space in its name", dir.display()));
    }
    match dir.ancestors().skip(1).find(|above| step::is_root() && !is_open(above)) {
        Some(closed) => Err(format!(
            "{}: the MTA does not run as root and cannot pass {}; choose another directory",
            dir.display(),
            closed.display()
        )),
        None => Ok(dir),
    }
}

/// Whether every user may pass a directory.
fn is_open(dir: &Path) -> bool {
    fs::metadata(dir).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
}

/// Waits until no other quickstart is at work below the directory.
fn lock(dir: &Path) -> Result<File, Failure> {
    let failed = |error: io::Error| format!("{}: {error}", dir.display());
    let file = File::create(dir.join(".quickstart.lock")).map_err(failed)?;
    if file.try_lock().is_err() {
        println!("another quickstart is at work below {}; waiting for it", dir.display());
        file.lock().map_err(failed)?;
    }
    Ok(file)
}

/// Puts the binary, the declaration and (for root) the accounts in place; returns the binary.
fn furnish(dir: &Path) -> io::Result<PathBuf> {
    let binary = dir.join("usr/bin/mailstack");
    for parent in ["usr/bin", "etc/mailstack", "var/mail"] {
        fs::create_dir_all(dir.join(parent))?;
    }
    // Renamed into place: the one that runs cannot be written to.
    let fresh = binary.with_extension("new");
    fs::copy(step::target().join("release/mailstack"), &fresh)?;
    fs::rename(&fresh, &binary)?;
    let declaration = dir.join(DECLARATION);
    if !declaration.exists() {
        fs::write(&declaration, STARTER)?;
    }
    // For editors: the declaration names it in its first line.
    let schema = Command::new(&binary).args(["schema", "loopback"]).output()?;
    fs::write(declaration.with_file_name("loopback.schema.json"), schema.stdout)?;
    if step::is_root() {
        accounts(dir)?;
    }
    Ok(binary)
}

/// This machine's accounts with the MTA's user beside them, below the directory: none is made on the machine.
fn accounts(dir: &Path) -> io::Result<()> {
    let (passwd, group) = (fs::read_to_string("/etc/passwd")?, fs::read_to_string("/etc/group")?);
    let known = passwd.lines().any(|line| line.starts_with(&format!("{MTA_USER}:")));
    let id = (900..1000).rev().find(|id| !uses(&passwd, *id) && !uses(&group, *id));
    if let (false, Some(id)) = (known, id) {
        fs::write(
            dir.join("etc/passwd"),
            format!("{passwd}{MTA_USER}:x:{id}:{id}:mailstack:/nonexistent:/usr/sbin/nologin\n"),
        )?;
        fs::write(dir.join("etc/group"), format!("{group}{MTA_USER}:x:{id}:\n"))?;
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
}

/// Whether a line of a passwd or group file has this id.
fn uses(file: &str, id: u32) -> bool {
    file.lines().any(|line| line.split(':').nth(2) == Some(&id.to_string()))
}

/// Where the MTA listens, as it says itself.
fn listens(dir: &Path, binary: &Path) -> Result<String, Failure> {
    let status = step::output(Command::new(binary).arg("status").arg("--root").arg(dir))?;
    let row = status.lines().find_map(|line| line.strip_prefix("listens"));
    Ok(format!("{} (SMTP)", row.unwrap_or_default().trim()))
}

fn summary(dir: &Path, binary: &Path) -> Result<(), Failure> {
    let user = step::output(Command::new("id").arg("-un"))?;
    let (d, current) = (dir.display(), dir.join("var/lib/mailstack/current"));
    let place = |file: &str| {
        let path = current.join(file);
        if path.exists() {
            path.display().to_string()
        } else {
            "left out: m4 or sendmail-cf is missing".to_owned()
        }
    };
    println!("\nmailstack runs below {d}\n");
    let rows = [
        ("listens", listens(dir, binary)?),
        ("", format!("{d}/run/mailstack/submit (the sendmail program)")),
        ("declaration", dir.join(DECLARATION).display().to_string()),
        ("sendmail.mc", place("etc/mail/sendmail.mc")),
        ("sendmail.cf", place("etc/mail/sendmail.cf")),
        ("send", format!("printf 'Subject: hello\\n\\nIt works.\\n' | {d}/usr/sbin/sendmail {user}")),
        ("see it", format!("cat {d}/var/mail/{user}")),
        ("status", format!("{} status --root {d}", binary.display())),
        ("stop", format!("{} stop --root {d}", binary.display())),
    ];
    for (what, value) in rows {
        println!("  {what:<12} {value}");
    }
    Ok(())
}
