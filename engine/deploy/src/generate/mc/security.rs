//! TLS and AUTH in a `.mc`.
//!
//! A host that is to be verified is held against its certificate's subject (`CN`): Sendmail knows no other names of
//! it. Whatever fails is temporary (4.7.x): the mail waits.

use std::collections::BTreeSet;

use mailstack_policy::rules::NextHop;
use mailstack_runtime::{ListenerKind, TlsPolicy};

use super::{Mc, host};
use crate::model::{MailHosts, Model, RoleModel};

impl Mc {
    /// Defines; before features and mailers.
    pub(super) fn security(&mut self, model: &Model) {
        let tls = &model.tls;
        let is_verifying = verifies(model);
        if tls.server.is_some() || is_verifying {
            self.block("TLS: what other hosts are verified by, and what this one shows.");
            self.define("confCACERT", &tls.ca_file.display().to_string());
            // Without a directory of them there is no TLS at all.
            let directory = tls.ca_file.parent().unwrap_or(&tls.ca_file);
            self.define("confCACERT_PATH", &directory.display().to_string());
        }
        if let Some(server) = &tls.server {
            self.define("confSERVER_CERT", &server.certificate.display().to_string());
            self.define("confSERVER_KEY", &server.key.display().to_string());
        }
        if let Some(auth) = &model.auth {
            let names: Vec<&str> = auth.mechanisms.iter().map(|mechanism| mechanism.as_str()).collect();
            self.block("Users may relay; no password in clear (p), no anonymous user (y).");
            self.define("confAUTH_MECHANISMS", &names.join(" "));
            self.call("TRUST_AUTH_MECH", &names.join(" "));
            self.fixed("confAUTH_OPTIONS", "A p y");
            if let Some(realm) = &auth.realm {
                self.define("confAUTH_REALM", realm.as_str());
            }
        }
    }

    /// What this host shows to its mail hosts; a feature, before mailers.
    pub(super) fn authinfo(&mut self, model: &Model) {
        let places: BTreeSet<_> =
            model.tls.mail_hosts.iter().filter_map(|host| host.credentials.as_ref()).collect();
        if let Some(place) = places.first() {
            self.block("User and password, in a map that is made beside this generation and never in it.");
            self.feature_with("authinfo", &format!("hash {}", place.display()));
        }
    }

    /// Rules about the mail hosts of a role without an access map; behind the mailers.
    pub(super) fn mail_hosts_rules(&mut self, model: &Model, mail_hosts: &MailHosts) {
        match policy_of(model, mail_hosts) {
            TlsPolicy::Opportunistic => {}
            TlsPolicy::None => {
                self.block("No TLS.");
                self.line("LOCAL_TRY_TLS");
                self.line("R$*\t\t\t$#error $@ 5.7.1 $: \"550 no TLS here\"");
            }
            TlsPolicy::Verified => {
                self.block("A certificate that is valid for the mail host, or the mail waits.");
                self.line("LOCAL_TLS_SERVER");
                self.line("R$*\t\t\t$: <$&{verify}> <$&{server_name}>");
                self.line("R<OK> <$&{cn_subject}>\t$@ OK");
                self.line(
                    "R$*\t\t\t$#error $@ 4.7.5 $: \"454 4.7.5 no valid certificate of \" $&{server_name}",
                );
            }
        }
    }
}

/// The modifiers and the name of a listener.
pub(super) fn daemon_kind(kind: Option<&ListenerKind>) -> (&'static str, &'static str) {
    match kind {
        None | Some(ListenerKind::Smtp) => ("MTA", ""),
        Some(ListenerKind::Submission) => ("MSA", ", M=Ea"),
        Some(ListenerKind::Submissions) => ("TLSMSA", ", M=Eas"),
    }
}

fn verifies(model: &Model) -> bool {
    let of_hosts = model.tls.mail_hosts.iter().filter_map(|host| host.policy);
    of_hosts
        .chain(model.tls.peers.values().copied())
        .chain([model.tls.outgoing])
        .any(|policy| policy == TlsPolicy::Verified)
}

/// One word for all mail hosts of a role: the strictest.
fn policy_of(model: &Model, mail_hosts: &MailHosts) -> TlsPolicy {
    let of_hop = |hop: &NextHop| {
        let said = model.tls.mail_hosts.iter().find(|said| said.hop == *hop).and_then(|said| said.policy);
        said.unwrap_or(model.tls.outgoing)
    };
    mail_hosts.hosts().iter().map(of_hop).max().unwrap_or(model.tls.outgoing)
}

/// The entries of the access map that say with whom TLS is used.
pub(in crate::generate) fn access(model: &Model) -> Vec<String> {
    let RoleModel::Gateway(..) = model.role else { return Vec::new() };
    let tls = &model.tls;
    let mut lines = entries("", tls.outgoing, TlsPolicy::Opportunistic);
    for said in &tls.mail_hosts {
        let name = host(&said.hop);
        let name = name.trim_matches(['[', ']']);
        lines.extend(said.policy.map(|policy| entries(name, policy, tls.outgoing)).unwrap_or_default());
    }
    for (domain, policy) in &tls.peers {
        lines.extend(entries(domain.as_str(), *policy, tls.outgoing));
        if *policy == TlsPolicy::Verified {
            lines.push(format!("TLS_Rcpt:{domain}\tTEMP+VERIFY:128++CN"));
        }
    }
    lines
}

/// Of one server, or of all: nothing where it is as for everybody.
fn entries(name: &str, policy: TlsPolicy, everybody: TlsPolicy) -> Vec<String> {
    match policy {
        policy if policy == everybody => Vec::new(),
        TlsPolicy::None => vec![format!("Try_TLS:{name}\tNO"), format!("TLS_Srv:{name}\tOK")],
        TlsPolicy::Opportunistic => vec![format!("Try_TLS:{name}\tOK"), format!("TLS_Srv:{name}\tOK")],
        TlsPolicy::Verified => {
            vec![format!("Try_TLS:{name}\tOK"), format!("TLS_Srv:{name}\tTEMP+VERIFY:128++CN")]
        }
    }
}
