//! What each role says where the administrator says nothing, and the file an administrator starts from.
//!
//! Both are fragments of host.toml, compiled in from `profiles/`. A profile of defaults is valid host.toml but for
//! the keys that only an administrator can know (`mail_host`, `masquerade.domain`): read it with
//! [`defaults_table`] and lay the declaration over it.

use toml::Table;

use crate::host::Role;

/// Returns the defaults of a role, as TOML.
pub fn defaults(role: Role) -> &'static str {
    match role {
        Role::Nullclient => include_str!("../../profiles/nullclient.toml"),
        Role::Msp => include_str!("../../profiles/msp.toml"),
        Role::Loopback => include_str!("../../profiles/loopback.toml"),
        Role::Gateway => include_str!("../../profiles/gateway.toml"),
    }
}

/// Returns the starter host.toml of a role: what `mailstack init` prints.
pub fn starter(role: Role) -> &'static str {
    match role {
        Role::Nullclient => include_str!("../../profiles/starter/nullclient.toml"),
        Role::Msp => include_str!("../../profiles/starter/msp.toml"),
        Role::Loopback => include_str!("../../profiles/starter/loopback.toml"),
        Role::Gateway => include_str!("../../profiles/starter/gateway.toml"),
    }
}

/// Returns the defaults of a role as a table.
pub fn defaults_table(role: Role) -> Table {
    // A profile that is no TOML fails this crate's tests: it is compiled in.
    defaults(role).parse().unwrap_or_default()
}
