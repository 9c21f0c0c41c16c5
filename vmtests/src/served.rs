//! A host whose MTA does not listen itself: what listens for it, from a private root (`vmtests/roots/inetd.sh`).

use std::io;
use std::path::{Path, PathBuf};

use mailstack_schema::host::{Host, ServiceBy};

use crate::backend::BackendError;
use crate::netns::sendmail::{copy, libraries};

/// What is taken from the private root as it is.
const XINETD: &[&str] = &["usr/sbin/xinetd", "etc/xinetd.conf"];
const INETD: &[&str] = &["usr/sbin/inetutils-inetd"];

/// Who accepts a declaration's connections.
pub fn by(host: &Host) -> ServiceBy {
    let service = match host {
        Host::Gateway(gateway) => gateway.service.as_ref(),
        Host::Nullclient(_) | Host::Msp(_) | Host::Loopback(_) => None,
    };
    service.and_then(|service| service.by).unwrap_or(ServiceBy::Daemon)
}

/// The program that listens, which leaves the foreground by itself; none where the MTA does.
pub fn program(host: &str, by: ServiceBy) -> Result<Option<&'static [&'static str]>, BackendError> {
    match by {
        ServiceBy::Daemon => Ok(None),
        ServiceBy::Xinetd => Ok(Some(&["/usr/sbin/xinetd", "-stayalive"])),
        ServiceBy::Inetd => Ok(Some(&["/usr/sbin/inetutils-inetd"])),
        ServiceBy::Socket => Err(BackendError::Missing(format!(
            "{host}: service.by is socket, and no host of a topology has systemd: write inetd or xinetd"
        ))),
    }
}

/// The private root, beside that of Sendmail, where a host needs it.
pub fn root(
    roots: &Path,
    mut hosts: impl Iterator<Item = ServiceBy>,
) -> Result<Option<PathBuf>, BackendError> {
    if !hosts.any(|by| matches!(by, ServiceBy::Inetd | ServiceBy::Xinetd)) {
        return Ok(None);
    }
    let root = roots.join("inetd");
    if root.join(".complete").exists() {
        return Ok(Some(root));
    }
    let root = root.display();
    Err(BackendError::Missing(format!("no inetd in {root}: sh vmtests/roots/inetd.sh {root}")))
}

/// Puts both programs on a host, as after their installation.
pub fn install(from: &Path, root: &Path) -> io::Result<()> {
    XINETD.iter().chain(INETD).try_for_each(|file| copy(&from.join(file), &root.join(file)))?;
    libraries(from, root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_starts_a_socket_unit_and_a_root_is_needed_where_inetd_is() {
        let refused = program("gw", ServiceBy::Socket).map_err(|error| error.to_string());
        assert!(
            refused.is_err_and(|text| text.starts_with("gw: ") && text.contains("write inetd or xinetd"))
        );
        let nowhere = Path::new("/nonexistent");
        let refused = root(nowhere, [ServiceBy::Daemon, ServiceBy::Inetd].into_iter());
        let text = refused.map_err(|error| error.to_string());
        assert!(text.is_err_and(|text| text.contains("sh vmtests/roots/inetd.sh /nonexistent/inetd")));
        assert!(root(nowhere, [ServiceBy::Daemon].into_iter()).is_ok_and(|root| root.is_none()));
    }
}
