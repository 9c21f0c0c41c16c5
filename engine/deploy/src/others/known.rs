//! The MTAs that are known, as Debian's packages have them, and where others put the same.

/// An MTA.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mta {
    /// Its name, to people.
    pub name: &'static str,
    /// Its units, in the order that they are started in.
    pub units: &'static [&'static str],
    /// Its scripts in `/etc/init.d`.
    pub scripts: &'static [&'static str],
    /// Where its daemons write their process ids, on the first line.
    pub pid_files: &'static [&'static str],
    /// What its processes are called by the kernel (15 octets at most).
    pub processes: &'static [&'static str],
    /// Its queues.
    pub queues: &'static [&'static str],
    /// What has it try all that waits now: program and arguments, of each program the first place that exists.
    pub flush: &'static [(&'static [&'static str], &'static [&'static str])],
}

const SENDMAIL: &[&str] =
    &["/usr/libexec/sendmail/sendmail", "/usr/sbin/sendmail.sendmail", "/usr/sbin/sendmail"];

pub(super) const KNOWN: &[Mta] = &[
    Mta {
        name: "Sendmail",
        units: &["sendmail.service", "sm-client.service"],
        scripts: &["sendmail"],
        pid_files: &[
            "/run/sendmail/mta/sendmail.pid",
            "/run/sendmail/msp/sendmail.pid",
            "/run/sendmail.pid",
            "/run/sm-client.pid",
        ],
        processes: &["sendmail", "sendmail-mta", "sendmail-msp", "sendmail.sendma"],
        queues: &["/var/spool/mqueue", "/var/spool/mqueue-client", "/var/spool/clientmqueue"],
        // `-v` keeps it in the foreground.
        flush: &[(SENDMAIL, &["-Ac", "-q", "-v"]), (SENDMAIL, &["-q", "-v"])],
    },
    Mta {
        name: "Postfix",
        units: &["postfix.service", "postfix@-.service"],
        scripts: &["postfix"],
        pid_files: &["/var/spool/postfix/pid/master.pid"],
        processes: &["master"],
        queues: &[
            "/var/spool/postfix/maildrop",
            "/var/spool/postfix/incoming",
            "/var/spool/postfix/active",
            "/var/spool/postfix/deferred",
            "/var/spool/postfix/hold",
        ],
        flush: &[(&["/usr/sbin/postqueue"], &["-f"])],
    },
    Mta {
        name: "Exim",
        units: &["exim4.service", "exim.service"],
        scripts: &["exim4", "exim"],
        pid_files: &["/run/exim4/exim.pid", "/run/exim.pid"],
        processes: &["exim4", "exim"],
        queues: &["/var/spool/exim4/input", "/var/spool/exim/input"],
        flush: &[(&["/usr/sbin/exim4", "/usr/sbin/exim"], &["-qff"])],
    },
    Mta {
        name: "OpenSMTPD",
        units: &["opensmtpd.service", "smtpd.service"],
        scripts: &["opensmtpd"],
        pid_files: &[],
        processes: &["smtpd"],
        queues: &["/var/spool/smtpd/queue"],
        flush: &[(&["/usr/sbin/smtpctl"], &["schedule", "all"])],
    },
    Mta {
        name: "nullmailer",
        units: &["nullmailer.service"],
        scripts: &["nullmailer"],
        pid_files: &["/run/nullmailer.pid"],
        processes: &["nullmailer-send"],
        queues: &["/var/spool/nullmailer/queue"],
        flush: &[],
    },
];
