//! The MTAs that are compared: how each is unpacked, cleaned and asked.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde::Serialize;

use super::BenchArguments;

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Peer {
    /// mailstack's own MTA.
    Mailstack,
    /// Postfix.
    Postfix,
    /// Exim.
    Exim,
    /// OpenSMTPD.
    #[value(name = "opensmtpd")]
    OpenSmtpd,
    /// Sendmail.
    Sendmail,
    /// dma, which only submits.
    Dma,
    /// nullmailer, which only submits.
    Nullmailer,
    /// msmtp, which only submits and has no queue.
    Msmtp,
}

/// Scripts that make the private roots, carried along so that the program needs no checkout.
const SCRIPTS: &[(&str, &str)] = &[
    ("lib.sh", include_str!("../../roots/lib.sh")),
    ("peers.sh", include_str!("../../roots/peers.sh")),
    ("sendmail.sh", include_str!("../../roots/sendmail.sh")),
    ("peer/mailstack.sh", include_str!("../../roots/peer/mailstack.sh")),
    ("peer/postfix.sh", include_str!("../../roots/peer/postfix.sh")),
    ("peer/exim.sh", include_str!("../../roots/peer/exim.sh")),
    ("peer/opensmtpd.sh", include_str!("../../roots/peer/opensmtpd.sh")),
    ("peer/sendmail.sh", include_str!("../../roots/peer/sendmail.sh")),
    ("peer/dma.sh", include_str!("../../roots/peer/dma.sh")),
    ("peer/nullmailer.sh", include_str!("../../roots/peer/nullmailer.sh")),
    ("peer/msmtp.sh", include_str!("../../roots/peer/msmtp.sh")),
];

impl Peer {
    /// Those that relay.
    pub const RELAYS: &[Peer] =
        &[Peer::Mailstack, Peer::Postfix, Peer::OpenSmtpd, Peer::Sendmail, Peer::Exim];
    /// All.
    pub const ALL: &[Peer] = &[
        Peer::Mailstack,
        Peer::Postfix,
        Peer::OpenSmtpd,
        Peer::Sendmail,
        Peer::Exim,
        Peer::Dma,
        Peer::Nullmailer,
        Peer::Msmtp,
    ];

    /// Its root below the directory of roots.
    pub fn directory(self) -> &'static str {
        match self {
            Peer::Mailstack => "mailstack",
            Peer::Postfix => "postfix",
            Peer::Exim => "exim",
            Peer::OpenSmtpd => "opensmtpd",
            Peer::Sendmail => "sendmail",
            Peer::Dma => "dma",
            Peer::Nullmailer => "nullmailer",
            Peer::Msmtp => "msmtp",
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Peer::Postfix => "Postfix",
            Peer::Exim => "Exim",
            Peer::OpenSmtpd => "OpenSMTPD",
            Peer::Sendmail => "Sendmail",
            other => other.directory(),
        }
    }

    /// What its 250 promises, as configured here, which is as Debian ships it.
    pub fn sync_policy(self) -> &'static str {
        match self {
            Peer::Mailstack => "group commit: one fdatasync for all that wait, before their 250",
            Peer::Postfix => "fsync of each message before its 250",
            Peer::Exim => "fsync of each file of a message before its 250",
            Peer::OpenSmtpd => "none: 250 before anything is synced",
            Peer::Sendmail => "fsync of each file of a message before its 250 (SuperSafe=True)",
            Peer::Dma => "fsync before sendmail returns",
            Peer::Nullmailer => "fsync before sendmail returns",
            Peer::Msmtp => "no queue: returns when the next hop has it",
        }
    }

    /// The Debian package that says its version; None for what was built here.
    fn package(self) -> Option<&'static str> {
        match self {
            Peer::Mailstack => None,
            Peer::Exim => Some("exim4-daemon-light"),
            Peer::Sendmail => Some("sendmail-bin"),
            other => Some(other.directory()),
        }
    }

    /// Its version, from the package that was unpacked.
    pub fn version(self, roots: &Path) -> String {
        let Some(package) = self.package() else { return env!("CARGO_PKG_VERSION").to_owned() };
        let found = ["packages", "sendmail.packages"].iter().find_map(|dir| {
            let entries = fs::read_dir(roots.join(dir)).ok()?;
            entries.flatten().find_map(|entry| {
                let name = entry.file_name().to_string_lossy().replace("%3a", ":");
                name.strip_prefix(&format!("{package}_"))?.split('_').next().map(str::to_owned)
            })
        });
        found.unwrap_or_else(|| "unknown".to_owned())
    }

    /// Directories whose files are its queue.
    pub fn queues(self) -> &'static [&'static str] {
        match self {
            Peer::Mailstack => &["var/spool/mailstack", "var/spool/mailstack-drop", "var/log"],
            Peer::Postfix => &[
                "var/spool/postfix/incoming",
                "var/spool/postfix/active",
                "var/spool/postfix/deferred",
                "var/spool/postfix/defer",
                "var/spool/postfix/bounce",
                "var/spool/postfix/maildrop",
            ],
            Peer::Exim => &["var/spool/exim4", "var/log/exim4"],
            Peer::OpenSmtpd => &["var/spool/smtpd/queue", "var/spool/smtpd/offline"],
            Peer::Sendmail => &["var/spool/mqueue", "var/spool/mqueue-client"],
            Peer::Dma => &["var/spool/dma"],
            Peer::Nullmailer => &["var/spool/nullmailer/queue", "var/spool/nullmailer/failed"],
            Peer::Msmtp => &[],
        }
    }

    /// Whether it has a daemon.
    pub fn has_daemon(self) -> bool {
        !matches!(self, Peer::Dma | Peer::Msmtp)
    }

    /// The command that lists its queue, and the one that tries all of it now.
    pub fn queue_commands(self) -> Option<(&'static str, &'static str)> {
        match self {
            Peer::Mailstack => Some(("/usr/bin/mailstack queue list", "/usr/bin/mailstack queue flush")),
            Peer::Postfix => Some(("/usr/sbin/postqueue -p", "/usr/sbin/postqueue -f")),
            Peer::Exim => Some(("/usr/sbin/exim4 -bp", "/usr/sbin/exim4 -qff")),
            Peer::OpenSmtpd => Some(("/usr/sbin/smtpctl show queue", "/usr/sbin/smtpctl schedule all")),
            Peer::Sendmail => Some(("/usr/sbin/sendmail -bp", "/usr/sbin/sendmail -q")),
            _ => None,
        }
    }
}

/// Makes the roots of the peers that are wanted, and puts the binary under test into its own.
pub fn unpack(roots: &Path, arguments: &BenchArguments, mailstack: &Path) -> io::Result<()> {
    let scripts = tempfile::tempdir()?;
    fs::create_dir(scripts.path().join("peer"))?;
    for (name, text) in SCRIPTS {
        fs::write(scripts.path().join(name), text)?;
    }
    let wanted = Peer::ALL.iter().filter(|peer| arguments.wants_peer(**peer)).map(|peer| peer.directory());
    let status = Command::new("sh")
        .arg(scripts.path().join("peers.sh"))
        .arg(roots)
        // smtp-source and smtp-sink are Postfix's.
        .arg(Peer::Postfix.directory())
        .args(wanted)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(io::Error::other("the peers' roots could not be made (vmtests/roots/peers.sh)"));
    }
    if arguments.wants_peer(Peer::Mailstack) {
        let target: PathBuf = roots.join("mailstack/usr/bin/mailstack");
        // A program that runs cannot be written to.
        let _ = fs::remove_file(&target);
        fs::copy(mailstack, &target)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", mailstack.display())))?;
    }
    Ok(())
}

/// Removes the files below a directory, and keeps the directories.
pub fn remove_files(directory: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => remove_files(&entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}
