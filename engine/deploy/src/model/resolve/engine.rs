//! Keys that the engine in use does not honour: refused where they are written, never ignored.

use mailstack_schema::host::{Host, MailboxFormat, Mailboxes, Platform as WrittenPlatform};

use super::Faults;
use crate::model::Engine;
use crate::model::fault::FaultKind;

/// Where Debian's mail.local keeps mailboxes: compiled in.
const MAILBOXES: &str = "/var/mail";

/// Notes each key that the host's Sendmail cannot do.
pub(super) fn unhonoured(host: &Host, engine: Engine, faults: &mut Faults) {
    if engine == Engine::Builtin {
        return;
    }
    let mut refuse = |key: &str, reason: &'static str| {
        faults.add(key, FaultKind::NotWithSendmail { reason });
    };
    let common = host.common();
    if common.queue.as_ref().is_some_and(|queue| queue.connections_per_destination.is_some()) {
        refuse("queue.connections_per_destination", "it does not bound connections to one destination");
    }
    let limits = common.limits.clone().unwrap_or_default();
    let is_client = matches!(host, Host::Nullclient(_) | Host::Msp(_));
    if is_client && limits.connections.is_some() {
        refuse("limits.connections", "its submission program serves no connections");
    }
    if !matches!(host, Host::Gateway(_)) && limits.connections_per_client.is_some() {
        refuse("limits.connections_per_client", "it counts the connections of a client only as a gateway");
    }
    if let Host::Gateway(host) = host
        && host.auth.is_some()
    {
        refuse("auth", "its users are in sasldb2, which nothing here makes");
    }
    if super::security::has_credentials(host) {
        refuse("mail_host", "its credentials are in a map of makemap, which nothing here makes");
    }
    let local = match host {
        Host::Loopback(host) => Some(&host.local),
        Host::Gateway(host) => Some(&host.local),
        Host::Nullclient(_) | Host::Msp(_) => None,
    };
    let has_programs = local.is_some_and(|local| local.programs.is_some());
    if has_programs && common.platform == Some(WrittenPlatform::Suse) {
        refuse("programs", "where SUSE's smrsh looks for programs is not known");
    }
    match host {
        Host::Loopback(host) => mailboxes(host.local.mailboxes.as_ref(), refuse),
        Host::Gateway(host) => mailboxes(host.local.mailboxes.as_ref(), refuse),
        Host::Nullclient(_) | Host::Msp(_) => {}
    }
}

fn mailboxes(written: Option<&Mailboxes>, mut refuse: impl FnMut(&str, &'static str)) {
    let Some(written) = written else { return };
    if written.format == Some(MailboxFormat::Lmtp) {
        refuse(
            "mailboxes.format",
            "a candidate of it would deliver the mail of its proof to the real server",
        );
    } else if written.format == Some(MailboxFormat::Maildir) {
        refuse("mailboxes.format", "it writes no Maildir by itself");
    } else if written.path.as_ref().is_some_and(|path| path != MAILBOXES) {
        refuse("mailboxes.path", "its mail.local keeps mailboxes in /var/mail and nowhere else");
    }
}
