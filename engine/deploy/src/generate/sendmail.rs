//! What runs the host's Sendmail: units, directories, and the switches of its packaging.
//!
//! One side runs it: these units, or, where no systemd is, the processes that `mailstack apply` starts. The packaging's
//! own init script and cron job are told to run nothing.

use std::fmt::Write;

use mailstack_runtime::Sendmail;

use super::units::{DIRECTORY, HARDENING, timer};
use super::{Files, Kind, add as add_file};
use crate::model::{FlushBy, Model};
use crate::sendmail::process::SESSIONS_QUEUE;

/// Adds the units of the role, and the switches of the packaging.
pub(super) fn add(model: &Model, sendmail: &Sendmail, files: &mut Files) {
    let mut unit = |path: String, text: String| add_file(files, &path, Kind::Unit, text);
    if model.mta().is_some() {
        unit(format!("{DIRECTORY}/mailstack.service"), daemon(model, sendmail));
    }
    let stays = model.flush.by == FlushBy::Resident;
    unit(format!("{DIRECTORY}/mailstack-queue.service"), client_queue(sendmail, stays));
    if !stays {
        unit(format!("{DIRECTORY}/mailstack-queue.timer"), timer(sendmail.queue_interval));
    }
    unit("etc/tmpfiles.d/mailstack.conf".to_owned(), tmpfiles(sendmail) + &super::units::jail(model));
    if let Some((path, text)) = model.packaging().switches {
        add_file(files, path, Kind::Config, text.to_owned());
    }
}

/// Without NoNewPrivileges= and ProtectHome=: mail for a program of a user runs as that user, who may call the setgid
/// submission program, and .forward lies in homes.
fn daemon(model: &Model, sendmail: &Sendmail) -> String {
    let (program, service) = (sendmail.program.display(), model.service());
    let arguments = match service.by.is_daemon() {
        true => format!("-L sm-mta -bD -q{}s", sendmail.queue_interval),
        false => SESSIONS_QUEUE.join(" ") + "\nStandardOutput=null",
    };
    let nice = match service.nice {
        nice if nice > 0 && service.by.is_daemon() => format!("Nice={nice}\n"),
        _ => String::new(),
    };
    format!(
        "[Unit]\n\
         Description=Sendmail, as mailstack declares it\n\
         After=network-online.target nss-lookup.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} {arguments}\n\
         {nice}\
         Restart=on-failure\n\
         RestartSec=5s\n\
         ProtectSystem=full\n\
         ProtectClock=yes\n\
         ProtectHostname=yes\n\
         ProtectKernelLogs=yes\n\
         ProtectKernelModules=yes\n\
         ProtectKernelTunables=yes\n\
         ProtectControlGroups=yes\n\
         PrivateDevices=yes\n\
         RestrictNamespaces=yes\n\
         RestrictRealtime=yes\n\
         LockPersonality=yes\n\
         SystemCallArchitectures=native\n\
         RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    )
}

/// One run of the submission program's queue, in the foreground, as its owner; or the runner that stays.
fn client_queue(sendmail: &Sendmail, stays: bool) -> String {
    let Sendmail { program, client_user: user, client_queue: queue, run, queue_interval: interval, .. } =
        sendmail;
    let mut text = format!(
        "[Unit]\n\
         Description=Queue run of Sendmail's submission program\n\
         After=network-online.target nss-lookup.target\n\
         Wants=network-online.target\n\
         \n\
         [Service]\n\
         Type={}\n\
         ExecStart={} -L sm-msp-queue -Ac {}\n\
         User={user}\n\
         Group={user}\n\
         CapabilityBoundingSet=\n\
         ProtectHome=yes\n\
         ProtectSystem=strict\n",
        if stays { "exec" } else { "oneshot" },
        program.display(),
        // 99.100: a queue runner has no other way to stay in the foreground (op.txt, appendix "debugging").
        if stays { format!("-q{interval}s -d99.100") } else { "-qf".to_owned() },
    );
    if stays {
        text.push_str("StandardOutput=null\nRestart=on-failure\nRestartSec=5s\n");
    }
    text.push_str(HARDENING);
    let (queue, run) = (queue.display(), run.display());
    let _ = writeln!(
        text,
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
         ReadWritePaths={queue} -{run}/msp -/var/lib/sendmail"
    );
    if stays {
        text.push_str("\n[Install]\nWantedBy=multi-user.target\n");
    }
    text
}

/// The directories of the pid files, as the packaging's init script makes them.
fn tmpfiles(sendmail: &Sendmail) -> String {
    let Sendmail { daemon_user, client_user, run, .. } = sendmail;
    let run = run.display();
    format!(
        "# Where Sendmail keeps its pid files.\n\
         d {run} 2755 root {daemon_user} -\n\
         d {run}/mta 2755 {daemon_user} {daemon_user} -\n\
         d {run}/msp 2775 {client_user} {client_user} -\n"
    )
}
