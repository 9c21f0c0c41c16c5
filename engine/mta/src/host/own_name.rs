//! The host's own fully qualified name, `$j`.

use std::fs;

use mailstack_smtp::address::DomainName;

use super::Root;

/// The kernel's host name of this UTS namespace.
const KERNEL_NAME: &str = "/proc/sys/kernel/hostname";

/// The host's own name, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnName {
    /// The name to use.
    pub name: DomainName,
    /// What to tell the administrator where the name is not fully qualified.
    pub warning: Option<String>,
}

/// Finds the host's own name: the kernel's where it has a dot, else the canonical name that hosts(5) gives for it.
/// Where that yields none, the bare name is used, with a warning. No name server is asked: mail must not depend on
/// one to start.
pub fn own_name(root: &Root) -> OwnName {
    let kernel = fs::read_to_string(KERNEL_NAME).unwrap_or_default();
    let hosts = fs::read_to_string(root.etc("hosts")).unwrap_or_default();
    choose(kernel.trim(), &hosts)
}

fn choose(kernel: &str, hosts: &str) -> OwnName {
    let Ok(name) = kernel.parse::<DomainName>() else {
        return fallback(kernel);
    };
    if name.is_qualified() {
        return OwnName { name, warning: None };
    }
    if let Some(name) = hosts.lines().find_map(|line| qualified_in(line, &name)) {
        return OwnName { name, warning: None };
    }
    let warning = format!(
        "my unqualified host name ({name}) unknown; using it as it is: set hostname in host.toml, or give {name} a \
         fully qualified name in /etc/hosts"
    );
    OwnName { name, warning: Some(warning) }
}

/// Returns the first qualified name of a hosts(5) line that names `short`.
fn qualified_in(line: &str, short: &DomainName) -> Option<DomainName> {
    let line = line.split('#').next().unwrap_or_default();
    let names: Vec<DomainName> =
        line.split_whitespace().skip(1).filter_map(|name| name.parse().ok()).collect();
    if !names.contains(short) {
        return None;
    }
    names.into_iter().find(|name| name.is_qualified() && !name.as_str().starts_with("localhost."))
}

fn fallback(kernel: &str) -> OwnName {
    #[expect(clippy::expect_used, reason = "a constant that parses; the tests show it")]
    let name = "localhost".parse().expect("localhost is a name");
    let warning =
        format!("the host name {kernel:?} is no domain name; using localhost: set hostname in host.toml");
    OwnName { name, warning: Some(warning) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_qualified_by_hosts_alone() {
        let hosts = "127.0.0.1 localhost.localdomain localhost\n# 10.0.0.1 web01.no.example web01\n\
                     10.0.0.2 web01 web01.corp.example # web01\n";
        for (kernel, hosts, name, warned) in [
            ("gw.corp.example", "", "gw.corp.example", false),
            ("GW.Corp.Example", "", "gw.corp.example", false),
            ("web01", hosts, "web01.corp.example", false),
            ("web02", hosts, "web02", true),
            ("localhost", hosts, "localhost", true),
            ("no name", hosts, "localhost", true),
            ("", "", "localhost", true),
        ] {
            let own = choose(kernel, hosts);
            assert_eq!((own.name.as_str(), own.warning.is_some()), (name, warned), "{kernel}");
        }
    }
}
