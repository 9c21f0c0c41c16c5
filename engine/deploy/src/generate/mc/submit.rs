//! `submit.mc`: the submission program, which every role has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mailstack_policy::rules::{HopHost, Masquerade, NextHop};

use super::{Mc, host, host_list};
use crate::model::{MailHosts, Model, Mta, RoleModel};

/// What the submission program submits to, and as whom.
pub(super) fn submit_mc(model: &Model) -> String {
    match &model.role {
        RoleModel::Nullclient(client) => {
            let hosts = host_list(&client.mail_hosts);
            render(
                model,
                &hosts,
                Some(&client.mail_hosts),
                client.mail_hosts.port(),
                Some(&client.masquerade()),
            )
        }
        RoleModel::Msp(msp) => {
            let hosts = host_list(&msp.mail_hosts);
            render(model, &hosts, Some(&msp.mail_hosts), msp.mail_hosts.port(), msp.masquerade.as_ref())
        }
        RoleModel::Loopback(mta) | RoleModel::Gateway(mta, _) => {
            let hop = own_listener(mta);
            render(model, &host(&hop), None, hop.port, None)
        }
    }
}

fn render(
    model: &Model,
    hosts: &str,
    mail_hosts: Option<&MailHosts>,
    port: u16,
    masquerade: Option<&Masquerade>,
) -> String {
    let mut mc = Mc::new(
        model,
        "submission program",
        &[
            "Takes the mail of this host's programs, with a queue of its own, and hands it on. Listens nowhere.",
        ],
    );
    mc.fixed("confCF_VERSION", "Submit");
    mc.hostname(model);
    mc.block("The packaging's places.");
    let sendmail = model.sendmail();
    mc.define("MSP_QUEUE_DIR", &sendmail.client_queue.display().to_string());
    mc.define("confPID_FILE", &format!("{}/msp/sendmail.pid", sendmail.run.display()));
    mc.define("STATUS_FILE", model.packaging().client_statistics);
    mc.block("Which hosts answer is not noted: ordinary users may not, and each would be warned.");
    mc.call("undefine", "confHOST_STATUS_DIRECTORY");
    mc.block("The user's own time zone; no groups of the caller are kept.");
    mc.fixed("confTIME_ZONE", "USE_TZ");
    mc.fixed("confDONT_INIT_GROUPS", "True");
    mc.block("A program that hands mail in waits while the mail host is tried: not for minutes.");
    mc.fixed("confTO_ICONNECT", "20s");
    mc.message_limits(model);
    mc.queue(model);
    mc.relay_port(port);
    if mail_hosts.is_some() {
        mc.security(model);
        mc.authinfo(model);
    }
    if let Some(masquerade) = masquerade {
        masquerading(&mut mc, masquerade);
    }
    mc.block("Last, since it calls MAILER.");
    mc.feature("always_add_domain");
    mc.feature_with("msp", hosts);
    if let Some(mail_hosts) = mail_hosts {
        mc.mail_hosts_rules(model, mail_hosts);
    }
    mc.0
}

/// All of it before `FEATURE(msp)`: behind it, a bare recipient would stay with this host's name, which receives
/// no mail.
fn masquerading(mc: &mut Mc, masquerade: &Masquerade) {
    mc.block("Before msp, else bare recipients keep the name of this host, which receives no mail.");
    super::mta::masquerade(mc, masquerade);
}

/// The listener that a program of this host can reach: a loopback address, else the first.
fn own_listener(mta: &Mta) -> NextHop {
    // Not those where a program would have to authenticate.
    let mut open = mta.listeners.iter().filter(|at| !mta.listener_kinds.contains_key(at));
    let reachable = open.clone().find(|at| at.ip().is_loopback() || at.ip().is_unspecified());
    let at = reachable.or(open.next()).copied().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 25)));
    let ip = match at.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    NextHop { host: HopHost::Address(ip), port: at.port() }
}
