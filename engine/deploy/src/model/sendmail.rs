//! Where each packaging keeps Sendmail.

use mailstack_runtime::Sendmail;

use super::Platform;

/// What differs between the packagings. Debian's is run by the tests; the others' are as their own configuration files
/// and manuals have it.
pub(crate) struct Packaging {
    /// The file of the cf library that describes the system (`OSTYPE`).
    pub(crate) ostype: &'static str,
    /// The directory of the cf library.
    pub(crate) library: &'static str,
    /// Whether mailboxes are written by mail.local; else by procmail, which that file names.
    pub(crate) mail_local: bool,
    /// Where `smrsh` looks for programs, below `/`; None: nobody here knows.
    pub(crate) programs: Option<&'static str>,
    /// Where the submission program counts its mail.
    pub(crate) client_statistics: &'static str,
    /// Where the packaging's own scripts read what they are to run, below `/`, and what tells them: nothing.
    pub(crate) switches: Option<(&'static str, &'static str)>,
}

impl Packaging {
    /// Of this platform.
    pub(crate) fn of(platform: Platform) -> Self {
        match platform {
            Platform::Debian => Self {
                ostype: "debian",
                library: "/usr/share/sendmail/cf",
                mail_local: true,
                programs: Some("etc/mail/smrsh"),
                client_statistics: "/var/lib/sendmail/sm-client.st",
                switches: Some(("etc/mail/sendmail.conf", DEBIAN)),
            },
            Platform::Redhat => Self {
                ostype: "linux",
                library: "/usr/share/sendmail-cf",
                mail_local: false,
                programs: Some("etc/smrsh"),
                client_statistics: "/var/spool/clientmqueue/sm-client.st",
                switches: Some(("etc/sysconfig/sendmail", REDHAT)),
            },
            Platform::Suse => Self {
                ostype: "linux",
                library: "/usr/share/sendmail",
                mail_local: false,
                programs: None,
                client_statistics: "/var/spool/clientmqueue/sm-client.st",
                switches: None,
            },
        }
    }
}

/// What Debian's init script, cron job and update scripts read.
const DEBIAN: &str = "\
    # Generated from host.toml by mailstack, which replaces it: change host.toml instead.\n\
    # mailstack runs Sendmail and its queues. The package's init script and cron job run nothing, and its update\n\
    # scripts change nothing here: never two at once.\n\
    HANDS_OFF=\"Yes\";\n\
    DAEMON_MODE=\"none\";\n\
    QUEUE_MODE=\"none\";\n\
    MSP_MODE=\"none\";\n";

/// What Red Hat's init script reads. Its units run Sendmail whatever stands here: they are to be masked.
const REDHAT: &str = "\
    # Generated from host.toml by mailstack, which replaces it: change host.toml instead.\n\
    # mailstack runs Sendmail and its queues: never two at once. Where systemd runs the package's own units, mask\n\
    # sendmail.service and sm-client.service.\n\
    DAEMON=no\n\
    QUEUE=\n";

/// Sendmail as this packaging has it, with this many seconds between two queue runs.
pub(super) fn of(platform: Platform, queue_interval: u64) -> Sendmail {
    match platform {
        Platform::Debian => Sendmail {
            program: "/usr/libexec/sendmail/sendmail".into(),
            makemap: "/usr/libexec/sendmail/makemap".into(),
            daemon_user: "smmta".to_owned(),
            client_user: "smmsp".to_owned(),
            daemon_queue: "/var/spool/mqueue".into(),
            client_queue: "/var/spool/mqueue-client".into(),
            run: "/run/sendmail".into(),
            queue_interval,
            mail_local: true,
            no_root: false,
        },
        Platform::Redhat => elsewhere("/usr/sbin/sendmail.sendmail", queue_interval),
        Platform::Suse => elsewhere("/usr/sbin/sendmail", queue_interval),
    }
}

/// As Sendmail itself is installed (sendmail/SECURITY): the daemon and its queue are root's.
fn elsewhere(program: &str, queue_interval: u64) -> Sendmail {
    Sendmail {
        program: program.into(),
        makemap: "/usr/sbin/makemap".into(),
        daemon_user: "root".to_owned(),
        client_user: "smmsp".to_owned(),
        daemon_queue: "/var/spool/mqueue".into(),
        client_queue: "/var/spool/clientmqueue".into(),
        run: "/run/sendmail".into(),
        queue_interval,
        mail_local: false,
        no_root: false,
    }
}

/// The user who owns mailboxes, and the group of them.
pub(crate) const MAIL: &str = "mail";

/// The same, never root once a client is connected.
pub(super) fn without_root(sendmail: Sendmail) -> Sendmail {
    Sendmail { daemon_user: MAIL.to_owned(), no_root: true, ..sendmail }
}
