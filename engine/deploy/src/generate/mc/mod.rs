//! The `.mc` files: m4 source over Sendmail's cf library, in the order that the library needs.
//!
//! The library says nothing when the order is wrong: OSTYPE before every define (it overwrites them), masquerading
//! before `FEATURE(msp)` but after `FEATURE(nullclient)`, features before mailers.

mod checks;
mod client;
mod mta;
mod quote;
pub(super) mod security;
mod submit;

use mailstack_policy::rules::{HopHost, NextHop};

use super::{Files, Kind, add as add_file};
use crate::model::{MailHosts, Model, RoleModel};
use quote::quote;

/// The main configuration (`sendmail.cf` is derived from it).
pub(super) const SENDMAIL_MC: &str = "etc/mail/sendmail.mc";
/// The submission program's configuration (`submit.cf`).
pub(super) const SUBMIT_MC: &str = "etc/mail/submit.mc";

/// Adds the sources that the role has.
pub(super) fn add(model: &Model, files: &mut Files) {
    let sendmail = match &model.role {
        RoleModel::Nullclient(client) => Some(client::sendmail_mc(model, client)),
        RoleModel::Msp(_) => None,
        RoleModel::Loopback(mta) => Some(mta::loopback_mc(model, mta)),
        RoleModel::Gateway(mta, relay) => Some(mta::gateway_mc(model, mta, relay)),
    };
    if let Some(text) = sendmail {
        add_file(files, SENDMAIL_MC, Kind::Source, text);
    }
    add_file(files, SUBMIT_MC, Kind::Source, submit::submit_mc(model));
}

/// A `.mc` file in the making.
struct Mc(String);

impl Mc {
    /// The head that every file has: what it is, the library, and the packaging that it is written for.
    fn new(model: &Model, title: &str, about: &[&str]) -> Self {
        let mut mc = Self(String::from("divert(-1)\n"));
        mc.0.push_str(&format!("{title}\n"));
        about.iter().for_each(|line| mc.0.push_str(&format!("{line}\n")));
        mc.0.push_str(
            "Generated from host.toml by mailstack, which replaces it: change host.toml instead.\n",
        );
        mc.0.push_str("divert(0)dnl\n");
        mc.block("No user, host, directory or date of the build in the .cf; before the library is read.");
        mc.fixed("_NO_MAKEINFO_", "1");
        mc.block("The library; -D_CF_DIR_=DIRECTORY/ on the command line names another place.");
        let library = model.cf_dir();
        mc.line(&format!("ifdef(`_CF_DIR_', `', `define(`_CF_DIR_', `{}/')')dnl", library.display()));
        mc.line("include(_CF_DIR_`m4/cf.m4')dnl");
        mc.line(&format!("VERSIONID({})dnl", quote(&format!("mailstack {title}"))));
        mc.block(
            "Users, directories and mailers of the packaging; it overwrites defines, so it comes first.",
        );
        mc.call("OSTYPE", model.packaging().ostype);
        mc.block("No name and version in Received.");
        mc.fixed("_REC_BY_", "$.by $j$?r with $r$. id $i$?{tls_version}");
        mc
    }

    /// A comment in front of a block, and the empty line that sets it apart.
    fn block(&mut self, reason: &str) {
        self.line("dnl");
        reason.lines().for_each(|line| self.0.push_str(&format!("dnl # {line}\n")));
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn define(&mut self, name: &str, value: &str) {
        self.line(&format!("define(`{name}', {})dnl", quote(value)));
    }

    /// A value of this program's own, as it stands.
    fn fixed(&mut self, name: &'static str, value: &'static str) {
        self.line(&format!("define(`{name}', `{value}')dnl"));
    }

    /// A number: options are read by atoi, so there is never a unit behind it.
    fn define_number(&mut self, name: &str, value: u64) {
        self.define(name, &value.to_string());
    }

    fn define_seconds(&mut self, name: &str, seconds: u64) {
        self.define(name, &format!("{seconds}s"));
    }

    fn call(&mut self, name: &str, value: &str) {
        self.line(&format!("{name}({})dnl", quote(value)));
    }

    fn feature(&mut self, name: &str) {
        self.call("FEATURE", name);
    }

    fn feature_with(&mut self, name: &str, argument: &str) {
        self.line(&format!("FEATURE(`{name}', {})dnl", quote(argument)));
    }

    /// The owner of the queue, of the pid file and of /etc/mail, and where that file is.
    fn owner(&mut self, model: &Model) {
        let sendmail = model.sendmail();
        self.define("confTRUSTED_USER", &sendmail.daemon_user);
        if sendmail.no_root {
            self.block("Nobody else than that owner once a client is connected.");
            self.define("confRUN_AS_USER", &sendmail.daemon_user);
        }
        self.define("confPID_FILE", &format!("{}/mta/sendmail.pid", sendmail.run.display()));
    }

    /// `$j`, where the declaration says it.
    fn hostname(&mut self, model: &Model) {
        if let Some(hostname) = &model.hostname {
            self.block("The name of this host, $j.");
            self.define("confDOMAIN_NAME", hostname.as_str());
        }
    }

    /// Sizes and counts, as plain numbers.
    fn message_limits(&mut self, model: &Model) {
        self.block("Limits: octets and counts.");
        self.define_number("confMAX_MESSAGE_SIZE", model.limits.message_size);
        self.define_number("confMAX_RCPTS_PER_MESSAGE", model.limits.recipients.into());
        self.define_number("confMAX_HEADERS_LENGTH", model.limits.header_size.into());
        self.define_number("confMAX_HOP", model.limits.hops.into());
    }

    /// Waits between attempts, which double up to the longest, and the age at which mail is returned.
    fn queue(&mut self, model: &Model) {
        self.block("Retries double from the first wait to the longest; then the mail is returned.");
        self.define_seconds("confMIN_QUEUE_AGE", model.queue.first_retry);
        self.define_seconds("confMAX_QUEUE_AGE", model.queue.longest_retry);
        self.define_seconds("confTO_QUEUERETURN", model.queue.lifetime);
        self.block("A host that does not answer: the next one is tried then, not when the kernel gives up.");
        self.fixed("confTO_CONNECT", "30s");
    }

    /// Ports other than 25 are an argument of the mailer.
    fn relay_port(&mut self, port: u16) {
        if port != 25 {
            self.block("The port of the mail host.");
            self.line(&format!("define(`RELAY_MAILER_ARGS', `TCP $h {port}')dnl"));
        }
    }
}

/// The hosts as a host list, which SMTP mailers try from left to right.
fn host_list(mail_hosts: &MailHosts) -> String {
    mail_hosts.hosts().iter().map(host).collect::<Vec<_>>().join(":")
}

/// One host as Sendmail writes it: in brackets where there is no MX look-up.
pub(super) fn host(hop: &NextHop) -> String {
    match &hop.host {
        HopHost::Mx(name) => name.to_string(),
        HopHost::Host(name) => format!("[{name}]"),
        HopHost::Address(std::net::IpAddr::V4(v4)) => format!("[{v4}]"),
        HopHost::Address(std::net::IpAddr::V6(v6)) => format!("[IPv6:{v6}]"),
    }
}
