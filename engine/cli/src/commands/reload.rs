//! `mailstack reload`: a renewed certificate, without a restart.

use anstream::eprintln;
use mailstack_mta::host::Root;
use mailstack_mta::run::USER;
use mailstack_mta::secrets::certificate;

use super::queue;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::host::HostTree;

/// Reads the certificate and its key, and hands them to the running MTA: that has given up root, who alone may read the
/// key. A certificate that cannot be used changes nothing.
pub fn reload(host: &HostTree) -> Result<Exit, Failure> {
    let config = queue::live(host)?;
    if config.sendmail.is_some() {
        return Err(Failure::NotOfSendmail { what: "reload" });
    }
    let read = certificate(&Root::new(&host.root), &config, USER);
    let Some((acceptor, certificate)) = read.map_err(|error| Failure::Secret(Box::new(error)))? else {
        eprintln!("no certificate is configured: there is nothing to reload");
        return Ok(Exit::Done);
    };
    queue::connect(host)?.renew(certificate)?;
    let until = acceptor.expires().map(|at| format!(" until {}", crate::table::time(at)));
    super::print(&format!("the certificate is good{}\n", until.unwrap_or_default()))
}
