//! What systemd reads: service, socket and timer units, users and directories.

use std::fmt::Write;

use mailstack_runtime::{MailboxFormat, Paths, credential_name};

use super::{Files, Kind, add as add_file};
use crate::model::{FlushBy, Model, Mta, schedule};

/// Where units lie.
pub(super) const DIRECTORY: &str = "etc/systemd/system";

/// Adds the units of the role.
pub(super) fn add(model: &Model, files: &mut Files) {
    let client = model.mta().is_none();
    let mut unit = |path: String, text: String| add_file(files, &path, Kind::Unit, text);
    unit(format!("{DIRECTORY}/mailstack.service"), service(model));
    unit(format!("{DIRECTORY}/mailstack.socket"), socket(model));
    if client && model.flush.by == FlushBy::Timer {
        unit(format!("{DIRECTORY}/mailstack-queue.service"), flush());
        unit(format!("{DIRECTORY}/mailstack-queue.timer"), timer(model.flush_interval()));
    }
    if let Some(text) = crontab(model) {
        add_file(files, "etc/cron.d/mailstack", Kind::Config, text);
    }
    add_users(model, files);
}

fn add_users(model: &Model, files: &mut Files) {
    let mut unit = |path: String, text: String| add_file(files, &path, Kind::Unit, text);
    unit("etc/sysusers.d/mailstack.conf".to_owned(), sysusers().to_owned());
    unit("etc/tmpfiles.d/mailstack.conf".to_owned(), tmpfiles(model));
}

/// What cron reads. Its request starts the MTA, or asks the one that runs: there are never two.
fn crontab(model: &Model) -> Option<String> {
    let fields = schedule(model.flush_interval()).filter(|_| model.flush.by == FlushBy::Cron)?;
    Some(format!(
        "# Queue runs of mailstack. Generated from host.toml, which is to be changed instead.\n\
         SHELL=/bin/sh\n\
         PATH=/usr/sbin:/usr/bin:/sbin:/bin\n\
         MAILTO=\"\"\n\
         {fields} mailstack /usr/bin/mailstack sendmail -q\n"
    ))
}

/// Whether the MTA starts with the host.
fn stays(model: &Model) -> bool {
    model.mta().is_some() || model.flush.by == FlushBy::Resident
}

/// The MTA. A client is started by its socket or timer, an MTA with the host.
fn service(model: &Model) -> String {
    let mut text = String::from(
        "[Unit]\n\
         Description=mailstack mail transfer agent\n\
         Requires=mailstack.socket\n\
         After=mailstack.socket network-online.target nss-lookup.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type=notify\n",
    );
    text.push_str(match stays(model) {
        false => "ExecStart=/usr/bin/mailstack run --exit-when-idle\n",
        true => "ExecStart=/usr/bin/mailstack run\n",
    });
    text.push_str("Restart=on-failure\nRestartSec=5s\n");
    if model.service().nice > 0 {
        let _ = writeln!(text, "Nice={}", model.service().nice);
    }
    let programs = model.mta().is_some_and(runs_programs);
    text.push_str(&hardening(programs));
    match model.mta() {
        None => {
            text.push_str(CLIENT_RIGHTS);
            text.push_str(&credentials(model));
        }
        Some(mta) => add_mta_rights(mta, &mut text),
    }
    text.push_str(DAEMON);
    let Paths { spool, drop, .. } = model.runtime_config().paths;
    let _ = writeln!(text, "ReadWritePaths=/run/mailstack {} {}", spool.display(), drop.display());
    if stays(model) {
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    }
    text
}

/// No privilege at all: nothing listens, nothing is delivered here. Without PrivateUsers=: in a user namespace every
/// other user is nobody, and the uid of who hands mail in is what says who sends.
const CLIENT_RIGHTS: &str = "\
    User=mailstack\n\
    Group=mailstack\n\
    CapabilityBoundingSet=\n\
    ProtectHome=yes\n\
    ProtectSystem=strict\n";

/// A secret may be root's alone: systemd reads it and gives it on.
fn credentials(model: &Model) -> String {
    let config = model.runtime_config();
    let lines = config
        .secrets()
        .map(|place| format!("LoadCredential={}:{}\n", credential_name(place), place.display()));
    lines.collect()
}

/// Started as root for the ports and the delivery helper, which keeps CAP_SETUID, CAP_SETGID and CAP_CHOWN; the
/// runtime itself goes on as mailstack. CAP_DAC_OVERRIDE: root writes the pid file into mailstack's directory.
fn add_mta_rights(mta: &Mta, text: &mut String) {
    text.push_str(
        "CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_NET_BIND_SERVICE\n",
    );
    match mta.mailboxes.format {
        MailboxFormat::Mbox => {
            let directory = mta.mailboxes.path.display();
            // A program of an alias keeps what it does where nobody here knows.
            let system = if runs_programs(mta) { "full" } else { "strict" };
            let _ = writeln!(text, "ProtectSystem={system}\nReadWritePaths=-{directory}");
            let homes = ["/home", "/root", "/run/user"];
            if !homes.iter().any(|home| mta.mailboxes.path.starts_with(home)) {
                text.push_str("ProtectHome=yes\n");
            }
        }
        // A home is where passwd says, which nobody here knows.
        MailboxFormat::Maildir => text.push_str("ProtectSystem=full\n"),
        MailboxFormat::Lmtp => {
            let system = if runs_programs(mta) { "full" } else { "strict" };
            let _ = writeln!(text, "ProtectSystem={system}\nProtectHome=yes");
        }
    }
    if let Some(jail) = mta.restricted.as_ref().and_then(|restricted| restricted.file_jail.as_ref()) {
        let _ = writeln!(text, "ReadWritePaths=-{}", jail.display());
    }
}

fn runs_programs(mta: &Mta) -> bool {
    mta.restricted.as_ref().is_some_and(|restricted| !restricted.programs.is_empty())
}

/// Programs of aliases may be of an interpreter that makes code as it runs.
fn hardening(programs: bool) -> String {
    match programs {
        true => HARDENING.replace("MemoryDenyWriteExecute=yes\n", ""),
        false => HARDENING.to_owned(),
    }
}

/// The directory of files of aliases, with those that the declared ones need: Sendmail makes none.
pub(super) fn jail(model: &Model) -> String {
    let Some(mta) = model.mta() else { return String::new() };
    let user = mta.restricted.as_ref().map(|restricted| restricted.user.as_str()).unwrap_or_default();
    let lines = mta.jail_directories().into_iter();
    let lines: String = lines.map(|path| format!("d {} 0755 {user} - -\n", path.display())).collect();
    match lines.is_empty() {
        true => lines,
        false => format!("# Where aliases write files.\n{lines}"),
    }
}

/// What everything here goes without.
///
/// The calls by which the MTA confines itself are in no group of systemd's (252). ENOSYS, since the usual answer ends the
/// process: a systemd that does not know such a call refuses it, and the MTA goes without.
pub(super) const HARDENING: &str = "\
    NoNewPrivileges=yes\n\
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
    LockPersonality=yes\n\
    MemoryDenyWriteExecute=yes\n\
    RemoveIPC=yes\n\
    UMask=0077\n\
    SystemCallArchitectures=native\n\
    SystemCallFilter=@system-service seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self\n\
    SystemCallErrorNumber=ENOSYS\n";

/// AF_NETLINK: the kernel tells through it which addresses are this host's own.
const DAEMON: &str = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n";

/// Where `sendmail` hands mail in, and where `mailq` asks: anybody may. Both start the MTA.
fn socket(model: &Model) -> String {
    let Paths { submission_socket, control_socket, .. } = model.runtime_config().paths;
    format!(
        "[Unit]\n\
         Description=mailstack mail submission\n\
         \n\
         [Socket]\n\
         ListenStream={}\n\
         ListenStream={}\n\
         SocketMode=0666\n\
         DirectoryMode=0755\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n",
        submission_socket.display(),
        control_socket.display()
    )
}

/// One queue run. Its request starts the MTA.
fn flush() -> String {
    format!(
        "[Unit]\n\
         Description=mailstack queue run\n\
         Requires=mailstack.socket\n\
         After=mailstack.socket\n\
         \n\
         [Service]\n\
         Type=oneshot\n\
         ExecStart=/usr/bin/mailstack sendmail -q\n\
         {HARDENING}\
         {CLIENT_RIGHTS}\
         RestrictAddressFamilies=AF_UNIX\n\
         PrivateNetwork=yes\n"
    )
}

/// As often as the first retry is due.
pub(super) fn timer(first_retry: u64) -> String {
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
    let text = format!(
        "# The queue, and where sendmail leaves mail when nobody serves the socket.\n\
         d {} 0700 mailstack mailstack -\n\
         d {} 3777 mailstack mailstack -\n\
         # The sockets.\n\
         d /run/mailstack 0755 mailstack mailstack -\n",
        paths.spool.display(),
        paths.drop.display()
    );
    text + &jail(model)
}
