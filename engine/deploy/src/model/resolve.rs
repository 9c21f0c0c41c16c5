//! From what was written to what is valid: each key is parsed, then keys are held against each other.
//!
//! Every fault is noted and the walk goes on, so that all of them are told at once.

mod access;
mod common;
mod cross;
mod engine;
mod expect;
mod flush;
mod local;
mod restricted;
mod security;
mod service;
mod virtusers;

use std::collections::{BTreeMap, BTreeSet};

use mailstack_policy::DomainName;
use mailstack_policy::rules::{HopHost, Masquerade};
use mailstack_schema::host::{ClientMasquerade, Gateway, Host, Loopback, Msp as WrittenMsp, Nullclient};
use mailstack_schema::spans::element;

use super::defaults::Defaults;
use super::fault::{FaultKind, ModelFault};
use super::{MailHosts, Model, Msp, NullClient, Relay, RoleModel, parse};
use common::Common;
pub(crate) use flush::schedule;
use security::mail_hosts;
pub(super) use service::by as served_by;

/// The faults so far.
#[derive(Default)]
pub(super) struct Faults(Vec<ModelFault>);

impl Faults {
    fn add(&mut self, path: impl Into<String>, kind: FaultKind) {
        self.0.push(ModelFault { path: path.into(), is_key: false, kind });
    }

    /// The same as `keep`, of the key at the path.
    fn keep_key<T>(&mut self, path: &str, parsed: Result<T, FaultKind>) -> Option<T> {
        let fault = |kind| self.0.push(ModelFault { path: path.to_owned(), is_key: true, kind });
        parsed.map_err(fault).ok()
    }

    /// The value, or None after noting the fault.
    fn keep<T>(&mut self, path: &str, parsed: Result<T, FaultKind>) -> Option<T> {
        parsed.map_err(|kind| self.add(path, kind)).ok()
    }
}

/// The model of a declaration, or all of its faults.
pub(super) fn model(host: &Host) -> Result<Model, Vec<ModelFault>> {
    let defaults = Defaults::of(host.role());
    let mut faults = Faults::default();
    let common = common::resolve(host.common(), &defaults, &mut faults);
    let tls = security::tls(host, &defaults, &mut faults);
    let auth = security::auth(host, &defaults, &mut faults);
    let role = match host {
        Host::Nullclient(host) => nullclient(host, &mut faults),
        Host::Msp(host) => msp(host, &defaults, &mut faults),
        Host::Loopback(host) => loopback(host, &common, &defaults, &mut faults),
        Host::Gateway(host) => gateway(host, &common, &defaults, &mut faults),
    };
    let expectations = expect::resolve(host.common().expect.as_deref().unwrap_or_default(), &mut faults);
    let flush = flush::resolve(host, &common, &mut faults);
    engine::unhonoured(host, common.engine, &mut faults);
    let Common { platform, cf_dir, engine, hostname, limits, queue } = common;
    match role {
        Some(role) if faults.0.is_empty() => Ok(Model {
            platform,
            cf_dir,
            engine,
            hostname,
            limits,
            queue,
            flush,
            tls,
            auth,
            role,
            expectations,
        }),
        _ => Err(faults.0),
    }
}

fn nullclient(host: &Nullclient, faults: &mut Faults) -> Option<RoleModel> {
    let mail_hosts = mail_hosts(&host.mail_host, faults);
    let masquerade = host.masquerade.as_ref();
    for (key, value) in [
        ("envelope", masquerade.and_then(|m| m.envelope)),
        ("recipients", masquerade.and_then(|m| m.recipients)),
    ] {
        if value == Some(false) {
            faults.add(format!("masquerade.{key}"), FaultKind::NullclientRewritesAll);
        }
    }
    let exposed_users = masquerade.map(|m| exposed_users(m, faults)).unwrap_or_default();
    let appears_as = match masquerade {
        Some(masquerade) => faults.keep("masquerade.domain", parse::domain(&masquerade.domain)),
        None => mail_hosts.as_ref().and_then(|hosts| faults.keep("mail_host", name_of(hosts))),
    };
    Some(RoleModel::Nullclient(NullClient {
        mail_hosts: mail_hosts?,
        appears_as: appears_as?,
        exposed_users,
    }))
}

/// The name of the first mail host, as `FEATURE(nullclient)` masquerades.
fn name_of(mail_hosts: &MailHosts) -> Result<DomainName, FaultKind> {
    match mail_hosts.hosts().first().map(|hop| &hop.host) {
        Some(HopHost::Mx(name) | HopHost::Host(name)) if name.is_qualified() => Ok(name.clone()),
        Some(HopHost::Mx(name) | HopHost::Host(name)) => {
            Err(FaultKind::Unqualified { text: name.to_string() })
        }
        Some(HopHost::Address(_)) | None => Err(FaultKind::NoNameToAppearAs),
    }
}

fn msp(host: &WrittenMsp, defaults: &Defaults, faults: &mut Faults) -> Option<RoleModel> {
    let mail_hosts = mail_hosts(&host.mail_host, faults);
    let masquerade = match &host.masquerade {
        Some(written) => Some(masquerade(written, defaults, faults)?),
        None => None,
    };
    Some(RoleModel::Msp(Msp { mail_hosts: mail_hosts?, masquerade }))
}

fn loopback(host: &Loopback, common: &Common, defaults: &Defaults, faults: &mut Faults) -> Option<RoleModel> {
    let listen = host.listen.as_deref();
    let mta = local::resolve(&host.local, listen, common, defaults, faults);
    for (index, text) in listen.unwrap_or_default().iter().enumerate() {
        if parse::listen(text).is_ok_and(|at| !at.ip().is_loopback()) {
            faults.add(element("listen", index), FaultKind::ListenOffLoopback { text: text.clone() });
        }
    }
    mta.map(RoleModel::Loopback)
}

fn gateway(host: &Gateway, common: &Common, defaults: &Defaults, faults: &mut Faults) -> Option<RoleModel> {
    let written = host.listen.as_ref();
    let listen = written.map(|all| all.iter().map(|at| at.address().to_owned()).collect::<Vec<_>>());
    let mut mta = local::resolve(&host.local, listen.as_deref(), common, defaults, faults);
    let kinds = security::listener_kinds(host, written.map_or(&[][..], Vec::as_slice), faults);
    if let Some(mta) = &mut mta {
        mta.listener_kinds = kinds;
    }
    let service = service::resolve(host, common, defaults.service, faults);
    let relay = host.relay.clone().unwrap_or_default();
    let networks = local::distinct("relay.networks", relay.networks.as_deref(), parse::network, faults);
    let domains = local::distinct("relay.domains", relay.domains.as_deref(), parse::relay_domain, faults);
    cross::relay(&domains, common, &host.local, faults);
    let mut relay = Relay {
        networks: networks.into_iter().map(|(_, network)| network).collect(),
        domains: domains.into_iter().map(|(_, domain)| domain).collect(),
        access: BTreeMap::new(),
        service,
        checks: access::checks(host, &defaults.checks, faults),
    };
    relay.access = access::table(host.access.as_ref(), &relay, faults);
    access::nearly_all(&relay, &relay.access, faults);
    mta.map(|mta| RoleModel::Gateway(mta, relay))
}

/// What every masquerading has.
fn masquerade(written: &ClientMasquerade, defaults: &Defaults, faults: &mut Faults) -> Option<Masquerade> {
    let exposed_users = exposed_users(written, faults);
    Some(Masquerade {
        domain: faults.keep("masquerade.domain", parse::domain(&written.domain))?,
        envelope: written.envelope.unwrap_or(defaults.masquerade.envelope),
        recipients: written.recipients.unwrap_or(defaults.masquerade.recipients),
        domains: BTreeSet::new(),
        whole_domain: false,
        limited: false,
        exceptions: BTreeSet::new(),
        exposed_users,
    })
}

fn exposed_users(written: &ClientMasquerade, faults: &mut Faults) -> BTreeSet<String> {
    let users =
        local::distinct("masquerade.exposed_users", written.exposed_users.as_deref(), parse::user, faults);
    users.into_iter().map(|(_, user)| user).collect()
}
