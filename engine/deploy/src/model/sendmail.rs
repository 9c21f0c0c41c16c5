//! Where each packaging keeps Sendmail.

use mailstack_runtime::Sendmail;

use super::Platform;

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
        },
    }
}
