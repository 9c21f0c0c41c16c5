//! Who accepts connections, held against what can be had so.

use std::net::SocketAddr;

use mailstack_runtime::ServedBy;
use mailstack_schema::host::{Gateway, Listen, ServiceBy};
use mailstack_schema::spans::element;

use super::Faults;
use super::common::Common;
use crate::model::fault::FaultKind;
use crate::model::{Engine, Platform, Service, parse};

/// The keys, resolved.
pub(super) fn resolve(host: &Gateway, common: &Common, default: Service, faults: &mut Faults) -> Service {
    let written = host.service.clone().unwrap_or_default();
    let by = written.by.map_or(default.by, by);
    // The schema bounds it.
    let nice = written.nice.and_then(|nice| u8::try_from(nice).ok()).unwrap_or(default.nice);
    if !by.is_daemon() && common.engine == Engine::Sendmail {
        by_sendmail(host, by, common, faults);
    }
    Service { by, nice }
}

pub(in crate::model) fn by(written: ServiceBy) -> ServedBy {
    match written {
        ServiceBy::Daemon => ServedBy::Daemon,
        ServiceBy::Inetd => ServedBy::Inetd,
        ServiceBy::Xinetd => ServedBy::Xinetd,
        ServiceBy::Socket => ServedBy::Socket,
    }
}

/// `sendmail -bs` is one process for one client, without the rights of root: it counts no others, knows no listener and
/// reads no key of root's.
fn by_sendmail(host: &Gateway, by: ServedBy, common: &Common, faults: &mut Faults) {
    let mut refuse = |at: &str, needed: &'static str| {
        faults.add(at, FaultKind::NotBySessions { needed });
    };
    if common.platform != Platform::Debian {
        refuse("service.by", "a queue of a user, and this packaging's is root's");
    }
    let checks = host.checks.clone().unwrap_or_default();
    for (key, is_written) in [
        ("connection_rate", checks.connection_rate.is_some_and(|rate| rate > 0)),
        ("connection_rate_per_client", checks.connection_rate_per_client.is_some_and(|rate| rate > 0)),
    ] {
        if is_written {
            refuse(&format!("checks.{key}"), "one process that sees all connections");
        }
    }
    let limits = host.common.limits.clone().unwrap_or_default();
    for (key, is_written) in [
        ("connections", limits.connections.is_some()),
        ("connections_per_client", limits.connections_per_client.is_some()),
    ] {
        if is_written && by == ServedBy::Inetd {
            refuse(&format!("limits.{key}"), "somebody who counts, which xinetd and systemd do");
        }
    }
    if host.tls.as_ref().is_some_and(|tls| tls.certificate.is_some()) {
        refuse("tls.certificate", "a process that may read the key");
    }
    for (index, listen) in host.listen.iter().flatten().enumerate() {
        if is_special(listen) {
            refuse(&element("listen", index), "a process that knows which listener it serves");
        }
    }
}

fn is_special(listen: &Listen) -> bool {
    let port = parse::listen(listen.address()).ok().map(|at: SocketAddr| at.port());
    let kind = listen.kind();
    match kind {
        Some(kind) => !matches!(kind, mailstack_schema::host::ListenerKind::Smtp),
        None => matches!(port, Some(587 | 465)),
    }
}
