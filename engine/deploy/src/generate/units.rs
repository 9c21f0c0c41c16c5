//! What systemd reads: service, socket and timer units, users and directories.

use std::fmt::Write;

use super::{Files, Kind, add as add_file};
use crate::model::Model;

const DIRECTORY: &str = "etc/systemd/system";

/// Adds the units of the role.
pub(super) fn add(model: &Model, files: &mut Files) {
    let client = model.mta().is_none();
    let mut unit = |path: String, text: String| add_file(files, &path, Kind::Unit, text);
    unit(format!("{DIRECTORY}/mailstack.service"), service(model));
    unit(format!("{DIRECTORY}/mailstack.socket"), socket().to_owned());
    if client {
        unit(format!("{DIRECTORY}/mailstack-queue.service"), flush().to_owned());
        unit(format!("{DIRECTORY}/mailstack-queue.timer"), timer(model.queue.first_retry));
    }
    unit("etc/sysusers.d/mailstack.conf".to_owned(), sysusers().to_owned());
    unit("etc/tmpfiles.d/mailstack.conf".to_owned(), tmpfiles(model));
}

/// The MTA. A client is started by its socket or timer, an MTA with the host.
fn service(model: &Model) -> String {
    let mut text = String::from(
        "[Unit]\n\
         Description=mailstack mail transfer agent\n\
         Documentation=man:mailstack(1)\n\
         Requires=mailstack.socket\n\
         After=mailstack.socket network-online.target nss-lookup.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart=/usr/bin/mailstack run\n\
         Restart=on-failure\n\
         RestartSec=5s\n",
    );
    match model.mta() {
        None => text.push_str(CLIENT_RIGHTS),
        Some(_) => text.push_str(MTA_RIGHTS),
    }
    text.push_str(HARDENING);
    match model.mta() {
        None => {}
        Some(mta) => {
            let _ = writeln!(text, "ReadWritePaths={}", mailbox_directory(mta));
            text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        }
    }
    text
}

/// The directory that deliveries write below.
fn mailbox_directory(mta: &crate::model::Mta) -> String {
    match mta.mailboxes.format {
        mailstack_runtime::MailboxFormat::Mbox => mta.mailboxes.path.display().to_string(),
        mailstack_runtime::MailboxFormat::Maildir => "/home".to_owned(),
    }
}

/// No privilege at all: nothing listens, nothing is delivered here.
const CLIENT_RIGHTS: &str = "\
    User=mailstack\n\
    Group=mailstack\n\
    CapabilityBoundingSet=\n\
    ProtectHome=yes\n\
    PrivateUsers=yes\n";

/// Started as root for the delivery helper, which keeps these capabilities; the runtime itself goes on as
/// mailstack. Homes stay visible: a mailbox may lie there.
const MTA_RIGHTS: &str = "\
    CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_FOWNER CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE\n";

/// What every role goes without.
const HARDENING: &str = "\
    NoNewPrivileges=yes\n\
    ProtectSystem=strict\n\
    ProtectProc=invisible\n\
    ProtectClock=yes\n\
    ProtectHostname=yes\n\
    ProtectKernelLogs=yes\n\
    ProtectKernelModules=yes\n\
    ProtectKernelTunables=yes\n\
    ProtectControlGroups=yes\n\
    PrivateTmp=yes\n\
    PrivateDevices=yes\n\
    RestrictNamespaces=yes\n\
    RestrictRealtime=yes\n\
    RestrictSUIDSGID=yes\n\
    RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n\
    LockPersonality=yes\n\
    MemoryDenyWriteExecute=yes\n\
    RemoveIPC=yes\n\
    UMask=0077\n\
    SystemCallArchitectures=native\n\
    SystemCallFilter=@system-service\n\
    RuntimeDirectory=mailstack\n\
    RuntimeDirectoryMode=0755\n\
    RuntimeDirectoryPreserve=yes\n\
    ReadWritePaths=/var/spool/mailstack /var/spool/mailstack-drop\n";

/// Where `sendmail` hands mail in: anybody may.
fn socket() -> &'static str {
    "[Unit]\n\
     Description=mailstack mail submission\n\
     \n\
     [Socket]\n\
     ListenStream=/run/mailstack/submit\n\
     SocketMode=0666\n\
     DirectoryMode=0755\n\
     \n\
     [Install]\n\
     WantedBy=sockets.target\n"
}

/// One queue run.
fn flush() -> &'static str {
    "[Unit]\n\
     Description=mailstack queue run\n\
     Requires=mailstack.service\n\
     After=mailstack.service\n\
     \n\
     [Service]\n\
     Type=oneshot\n\
     User=mailstack\n\
     Group=mailstack\n\
     ExecStart=/usr/bin/mailstack sendmail -q\n\
     NoNewPrivileges=yes\n\
     CapabilityBoundingSet=\n\
     ProtectSystem=strict\n\
     ProtectHome=yes\n\
     PrivateTmp=yes\n\
     PrivateDevices=yes\n\
     RestrictAddressFamilies=AF_UNIX\n\
     SystemCallArchitectures=native\n\
     SystemCallFilter=@system-service\n"
}

/// As often as the first retry is due.
fn timer(first_retry: u64) -> String {
    format!(
        "[Unit]\n\
         Description=mailstack queue runs\n\
         \n\
         [Timer]\n\
         OnBootSec={first_retry}s\n\
         OnUnitInactiveSec={first_retry}s\n\
         \n\
         [Install]\n\
         WantedBy=timers.target\n"
    )
}

fn sysusers() -> &'static str {
    "# The user that mail is handled as.\n\
     u mailstack - \"mailstack mail transfer agent\" /var/spool/mailstack /usr/sbin/nologin\n"
}

/// The drop directory is sticky and setgid: anybody leaves mail, nobody sees or takes another's.
fn tmpfiles(model: &Model) -> String {
    let paths = model.runtime_config().paths;
    format!(
        "# The queue, and where sendmail leaves mail when nobody serves the socket.\n\
         d {} 0700 mailstack mailstack -\n\
         d {} 3777 mailstack mailstack -\n",
        paths.spool.display(),
        paths.drop.display()
    )
}
