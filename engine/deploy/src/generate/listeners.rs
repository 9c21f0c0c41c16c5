//! What others read who accept connections: inetd, xinetd, and systemd with its socket units.
//!
//! Each of them starts `sendmail -bs` on a connection: mailstack's own, which hands it over to the MTA, or the host's
//! Sendmail, which takes the message and leaves it to the queue runner.

use std::fmt::Write;
use std::net::SocketAddr;

use mailstack_runtime::{Config, ServedBy};

use super::units::{DIRECTORY, HARDENING};
use super::{Files, Kind, add as add_file};
use crate::model::{Model, Mta, Service};

/// What accepts a connection does with it.
struct Session {
    /// Who it is done as; never root.
    user: String,
    program: String,
    arguments: &'static str,
    /// The most of one client, where nobody behind counts them.
    per_client: Option<u32>,
}

impl Session {
    fn of(config: &Config) -> Self {
        match &config.sendmail {
            None => Self {
                user: "mailstack".to_owned(),
                program: "/usr/bin/mailstack".to_owned(),
                arguments: "sendmail -bs",
                per_client: None,
            },
            // Queued: who may not become the recipient delivers nothing (mail.local), and the runner may.
            Some(sendmail) => Self {
                user: sendmail.daemon_user.clone(),
                program: sendmail.program.display().to_string(),
                arguments: "-L sm-mta -Am -bs -odq",
                per_client: Some(config.limits.connections_per_client),
            },
        }
    }
}

/// Adds what the declared way of accepting connections needs.
pub(super) fn add(model: &Model, files: &mut Files) {
    let Some(mta) = model.mta() else { return };
    let config = model.runtime_config();
    let (session, service) = (Session::of(&config), model.service());
    match service.by {
        ServedBy::Daemon => {}
        ServedBy::Inetd => {
            add_file(files, "etc/inetd.d/mailstack", Kind::Config, inetd(mta, &session, service));
        }
        ServedBy::Xinetd => {
            add_file(files, "etc/xinetd.d/mailstack", Kind::Config, xinetd(mta, &session, service, &config));
        }
        ServedBy::Socket => {
            let mut unit = |name: &str, text: String| {
                add_file(files, &format!("{DIRECTORY}/{name}"), Kind::Unit, text);
            };
            unit("mailstack-smtp.socket", socket(mta, &session, &config));
            unit("mailstack-smtp@.service", session_unit(&session, service, config.sendmail.is_some()));
        }
    }
}

const HEAD: &str = "Generated from host.toml by mailstack, which replaces it: change host.toml instead.";

/// Lines of inetd.conf(5). Ports are numbers: /etc/services may be another's.
fn inetd(mta: &Mta, session: &Session, service: Service) -> String {
    let Session { user, program, arguments, .. } = session;
    let mut text = format!("# SMTP, by mailstack. {HEAD}\n");
    for at in &mta.listeners {
        // An open socket of IPv6 would take IPv4's connections too, and leave IPv4's own none to bind.
        let family = match at {
            SocketAddr::V4(_) => "tcp4",
            SocketAddr::V6(v6) if v6.ip().is_unspecified() => "tcp6only",
            SocketAddr::V6(_) => "tcp6",
        };
        let place = match at {
            _ if at.ip().is_unspecified() => at.port().to_string(),
            SocketAddr::V4(_) => at.to_string(),
            SocketAddr::V6(v6) => format!("[{}]:{}", v6.ip(), v6.port()),
        };
        let run = match service.nice {
            0 => format!("{program} {} {arguments}", base(program)),
            nice => format!("/usr/bin/nice nice -n {nice} {program} {arguments}"),
        };
        let _ = writeln!(text, "{place} stream {family} nowait {user} {run}");
    }
    text
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// A file of xinetd.conf(5), one service per address.
fn xinetd(mta: &Mta, session: &Session, service: Service, config: &Config) -> String {
    let Session { user, program, arguments, per_client } = session;
    let mut text = format!("# SMTP, by mailstack. {HEAD}\n");
    for (index, at) in mta.listeners.iter().enumerate() {
        let flags = if at.is_ipv6() { "IPv6" } else { "IPv4" };
        let _ = write!(
            text,
            "\nservice smtp\n{{\n\
             \tid = mailstack-smtp-{index}\n\
             \ttype = UNLISTED\n\
             \tdisable = no\n\
             \tsocket_type = stream\n\
             \tprotocol = tcp\n\
             \tflags = {flags}\n\
             \tbind = {}\n\
             \tport = {}\n\
             \twait = no\n\
             \tuser = {user}\n\
             \tserver = {program}\n\
             \tserver_args = {arguments}\n\
             \tinstances = {}\n\
             \tcps = 0 0\n",
            at.ip(),
            at.port(),
            config.limits.connections,
        );
        if let Some(most) = per_client {
            let _ = writeln!(text, "\tper_source = {most}");
        }
        if at.is_ipv6() {
            text.push_str("\tv6only = yes\n");
        }
        if service.nice > 0 {
            let _ = writeln!(text, "\tnice = {}", service.nice);
        }
        text.push_str("}\n");
    }
    text
}

/// The sockets of systemd.socket(5), one process per connection.
fn socket(mta: &Mta, session: &Session, config: &Config) -> String {
    let mut text = String::from("[Unit]\nDescription=SMTP, for mailstack\n\n[Socket]\n");
    for at in &mta.listeners {
        let _ = writeln!(text, "ListenStream={at}");
    }
    let _ = write!(
        text,
        "BindIPv6Only=ipv6-only\nAccept=yes\nNoDelay=yes\nMaxConnections={}\n",
        config.limits.connections
    );
    if let Some(most) = session.per_client {
        let _ = writeln!(text, "MaxConnectionsPerSource={most}");
    }
    let is_always_there = |at: &SocketAddr| at.ip().is_unspecified() || at.ip().is_loopback();
    if !mta.listeners.iter().all(is_always_there) {
        // An address may come later than the sockets do.
        text.push_str("FreeBind=yes\n");
    }
    text + "\n[Install]\nWantedBy=sockets.target\n"
}

/// One connection. What Sendmail writes is the queue alone; its maps and aliases it reads.
fn session_unit(session: &Session, service: Service, is_sendmail: bool) -> String {
    let Session { user, program, arguments, .. } = session;
    let mut text = format!(
        "[Unit]\n\
         Description=A client of SMTP, for mailstack\n\
         CollectMode=inactive-or-failed\n\
         \n\
         [Service]\n\
         ExecStart=-{program} {arguments}\n\
         StandardInput=socket\n\
         StandardError=journal\n\
         User={user}\n\
         Group={user}\n\
         CapabilityBoundingSet=\n\
         ProtectHome=yes\n\
         ProtectSystem=strict\n"
    );
    if service.nice > 0 {
        let _ = writeln!(text, "Nice={}", service.nice);
    }
    text.push_str(HARDENING);
    text.push_str(match is_sendmail {
        false => "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n",
        true => {
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK\n\
             ReadWritePaths=/var/spool/mqueue -/run/sendmail/mta -/var/lib/sendmail\n"
        }
    });
    text
}
