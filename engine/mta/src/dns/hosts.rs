//! `etc/hosts` (hosts(5)).

use std::collections::BTreeMap;
use std::net::IpAddr;

use mailstack_smtp::address::DomainName;

/// The names of a hosts file and their addresses, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    addresses: BTreeMap<DomainName, Vec<IpAddr>>,
    names: BTreeMap<IpAddr, DomainName>,
}

impl Hosts {
    /// Reads the text of a hosts file; lines and names that are none are passed over, as resolvers do.
    pub fn parse(text: &str) -> Self {
        let mut hosts = Self::default();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words.filter_map(|word| word.parse().ok()) {
                let name: DomainName = name;
                hosts.names.entry(address).or_insert_with(|| name.clone());
                hosts.addresses.entry(name).or_default().push(address);
            }
        }
        hosts
    }

    /// The addresses of a name, or None where the file has none.
    pub fn find(&self, name: &DomainName) -> Option<&[IpAddr]> {
        self.addresses.get(name).map(Vec::as_slice)
    }

    /// The first name of an address, its canonical one, or None where the file has none.
    pub fn name_of(&self, address: IpAddr) -> Option<&DomainName> {
        self.names.get(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file() {
        let text = "# comment\n127.0.0.1\tlocalhost\n192.0.2.1 Mail.Corp.Example mail # front\n\
            2001:db8::1 mail\nnonsense here\n192.0.2.9\n\n";
        let hosts = Hosts::parse(text);
        let find = |name: &str| {
            let found = hosts.find(&name.parse().unwrap()).unwrap_or_default();
            found.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(find("localhost"), "127.0.0.1");
        assert_eq!(find("mail.corp.example"), "192.0.2.1");
        assert_eq!(find("mail"), "192.0.2.1 2001:db8::1");
        assert_eq!(find("here"), "");
        let name = hosts.name_of("192.0.2.1".parse().unwrap()).map(DomainName::as_str);
        assert_eq!(name, Some("mail.corp.example"));
    }
}
