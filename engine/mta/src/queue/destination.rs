//! What the schedule groups recipients by.

use std::fmt;
use std::net::IpAddr;

use mailstack_policy::DomainName;
use mailstack_policy::Route;
use mailstack_policy::rules::{HopHost, NextHop};

/// The port that is not written.
const SMTP: u16 = 25;

/// Where a recipient goes next, as far as it decides what is delivered together and what waits together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A mailbox of this host.
    Local,
    /// The first of these that takes it.
    Hops(Vec<NextHop>),
    /// The exchangers of a domain.
    Mx(DomainName),
    /// An address literal.
    Literal(IpAddr),
    /// Nowhere: the delivery finds the reason again and fails the recipient.
    Nowhere,
}

impl From<&Route> for Destination {
    fn from(route: &Route) -> Self {
        match route {
            Route::Local { .. } | Route::Program { .. } | Route::File { .. } => Destination::Local,
            Route::Hops(hops) => Destination::Hops(hops.clone()),
            Route::Mx { domain, .. } => Destination::Mx(domain.clone()),
            Route::Literal { addr, .. } => Destination::Literal(*addr),
            Route::Fail(_) => Destination::Nowhere,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Local => f.write_str("local"),
            Destination::Hops(hops) => {
                for (at, hop) in hops.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    match &hop.host {
                        HopHost::Mx(name) => name.fmt(f)?,
                        HopHost::Host(name) => write!(f, "[{name}]")?,
                        HopHost::Address(address) => write!(f, "[{address}]")?,
                    }
                    if hop.port != SMTP {
                        write!(f, ":{}", hop.port)?;
                    }
                }
                Ok(())
            }
            Destination::Mx(domain) => domain.fmt(f),
            Destination::Literal(address) => write!(f, "[{address}]"),
            Destination::Nowhere => f.write_str("nowhere"),
        }
    }
}
