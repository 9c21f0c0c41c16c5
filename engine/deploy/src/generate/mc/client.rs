//! `sendmail.mc` of a null client.

use super::{Mc, host_list, quote};
use crate::model::{Model, NullClient};

/// What the queue in `/var/spool/mqueue` is run by, and what `mailq` and `-bv` read. Programs of this host hand
/// their mail in by submit.cf.
pub(super) fn sendmail_mc(model: &Model, client: &NullClient) -> String {
    let name = client.appears_as.as_str();
    let mut mc = Mc::new(
        model,
        "null client",
        &[
            "Everything goes to the mail host; nothing is delivered here and nothing listens here.",
            "Programs submit by submit.cf. This file is for the queue of the MTA: mailq, sendmail -q, -bv.",
        ],
    );
    mc.hostname(model);
    mc.block("Owner of the queue and of /etc/mail; without it even root cannot write a data file.");
    mc.owner(model);
    mc.block("Nobody needs to know more than that mail is taken.");
    mc.fixed("confPRIVACY_FLAGS", "goaway,noetrn,restrictmailq,restrictqrun");
    mc.fixed("confSMTP_LOGIN_MSG", "$j $b");
    mc.message_limits(model);
    mc.queue(model);
    mc.security(model);
    mc.block("Every connection goes to the mail host, whatever name the rewriting below routes by.");
    let hosts = quote(&host_list(&client.mail_hosts));
    let hosts = hosts.trim_matches(['`', '\'']);
    mc.line(&format!("define(`RELAY_MAILER_ARGS', `TCP {hosts} {}')dnl", client.mail_hosts.port()));
    if !client.exposed_users.is_empty() {
        mc.block("Senders that keep the name of this host.");
        client.exposed_users.iter().for_each(|user| mc.call("EXPOSED_USER", user));
    }
    mc.block(
        "Features before nullclient: it calls MAILER. No listener, also if somebody starts it with -bd.",
    );
    mc.authinfo(model);
    mc.feature("always_add_domain");
    mc.feature("no_default_msa");
    mc.line("DAEMON_OPTIONS(`Name=NoMTA, Addr=127.0.0.1, M=E')dnl");
    mc.block("What mail appears to come from and bare recipients are sent to; never in brackets.");
    mc.feature_with("nullclient", name);
    mc.mail_hosts_rules(model, &client.mail_hosts);
    mc.0
}
