//! From the text of a topology to a fleet, with every fault at its place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;

use mailstack_deploy::model::Model;
use mailstack_policy::DomainName;
use mailstack_prove::fleet::{Fleet, FleetHost, Zones};
use mailstack_schema::host::OneOrMany;
use mailstack_schema::spans::{child, element};
use mailstack_schema::topology::{Machine, Topology as Written};
use mailstack_schema::{Spans, Written as Read, read_flawed};
use toml::de::DeTable;

use crate::declaration::{Declaration, Faulty, Invalid, Wrong};
use crate::sources::Sources;

/// A topology that is valid.
pub struct Topology {
    /// What it says.
    pub written: Written,
    /// Where each key stands.
    pub spans: Spans,
    /// What the places are in.
    pub sources: Sources,
    /// What it means.
    pub fleet: Fleet,
    /// Declarations in files of their own, by host.
    declarations: BTreeMap<String, Declaration>,
}

/// Something that stands somewhere.
pub struct Spot<'t> {
    /// The texts that it is in.
    pub sources: &'t Sources,
    /// Where there.
    pub span: Range<usize>,
    /// Its key.
    pub key: String,
}

impl Topology {
    /// Where a key of a host's declaration stands: the first of these that is written, else the host itself.
    pub fn spot(&self, host: &str, keys: &[&str]) -> Spot<'_> {
        let machine = child("host", host);
        let declared = |key: &&str| match self.declarations.get(host) {
            Some(declaration) => declaration.spans.contains(key).then(|| Spot {
                sources: &declaration.sources,
                span: declaration.spans.find(key),
                key: (*key).to_owned(),
            }),
            None => self.at(&format!("{machine}.declaration.{key}")),
        };
        let found = keys.iter().find_map(declared).or_else(|| self.at(&machine));
        found.unwrap_or(Spot { sources: &self.sources, span: 0..0, key: machine })
    }

    /// Where a key of the topology stands; None: it is not written.
    pub fn at(&self, key: &str) -> Option<Spot<'_>> {
        let spot = || Spot { sources: &self.sources, span: self.spans.find(key), key: key.to_owned() };
        self.spans.contains(key).then(spot)
    }
}

/// Whether a text is a topology and no declaration of one host.
pub fn is_topology(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (table, _) = DeTable::parse_recoverable(text);
    let table = table.get_ref();
    !table.contains_key("role") && (table.contains_key("network") || table.contains_key("host"))
}

/// Reads a topology and the declarations that it names. Errors: all that is wrong with each file.
pub fn read(file: &Path, bytes: &[u8]) -> Result<Topology, Vec<Invalid>> {
    let sources = Sources::of([(file.to_owned(), bytes)]);
    let faulty = |faults| Invalid::Faulty(Faulty { sources: sources.clone(), faults });
    let Read { value: written, spans } = match read_flawed::<Written>(bytes) {
        Ok(read) => read,
        Err(flawed) => {
            let faults = flawed.faults.into_iter().map(|fault| (fault.span.clone(), Wrong::Written(fault)));
            return Err(vec![faulty(faults.collect())]);
        }
    };
    let mut reader = Reader { file, spans: &spans, faults: Vec::new(), others: Vec::new() };
    let zones = reader.zones(&written);
    let mut declarations = BTreeMap::new();
    let hosts = written.host.iter().filter_map(|(name, machine)| {
        Some((name.clone(), reader.host(name, machine, &written, &mut declarations)?))
    });
    let hosts: BTreeMap<_, _> = hosts.collect();
    reader.steps(&written);
    let Reader { mut faults, mut others, .. } = reader;
    if !faults.is_empty() {
        faults.sort_by_key(|(span, _)| (span.start, span.end));
        others.insert(0, faulty(faults));
    }
    if !others.is_empty() {
        return Err(others);
    }
    Ok(Topology { fleet: Fleet::new(hosts, zones), written, spans, sources, declarations })
}

struct Reader<'r> {
    file: &'r Path,
    spans: &'r Spans,
    faults: Vec<(Range<usize>, Wrong)>,
    /// Faults of other files.
    others: Vec<Invalid>,
}

impl Reader<'_> {
    fn disagree(&mut self, key: &str, message: String, help: &str) {
        let wrong = Wrong::Disagrees { key: key.to_owned(), message, help: help.to_owned() };
        self.faults.push((self.spans.find(key), wrong));
    }

    fn zones(&mut self, written: &Written) -> Zones {
        let mut zones = Zones::default();
        for (index, zone) in written.zone.iter().enumerate() {
            let path = element("zone", index);
            if zone.origin.parse::<DomainName>().is_err() {
                let message = format!("`{}` is not a domain name", zone.origin);
                self.disagree(&child(&path, "origin"), message, "such as `corp.example`");
                continue;
            }
            for fault in zones.add(&zone.origin, &zone.records) {
                let key = element(&child(&path, "records"), fault.index);
                self.disagree(
                    &key,
                    fault.reason,
                    "owner, type and data, such as `@ MX 10 mailhost.corp.example.`",
                );
            }
        }
        zones
    }

    fn host(
        &mut self,
        name: &str,
        machine: &Machine,
        written: &Written,
        declarations: &mut BTreeMap<String, Declaration>,
    ) -> Option<FleetHost> {
        let path = child("host", name);
        let full = machine.hostname.as_deref().unwrap_or(name);
        let hostname: Option<DomainName> = full.parse().ok();
        if hostname.is_none() {
            let key = child(&path, "hostname");
            self.disagree(
                &key,
                format!("`{full}` is not a domain name"),
                "letters, digits, hyphens and dots",
            );
        }
        let addresses = self.addresses(&path, machine, written);
        let users = machine.users.iter().cloned().chain(["root".to_owned()]).collect::<BTreeSet<_>>();
        let model = self.model(name, &path, machine, declarations);
        let config = model?.map(|model| model.runtime_config());
        Some(FleetHost::new(hostname?, addresses, users, config))
    }

    fn addresses(&mut self, path: &str, machine: &Machine, written: &Written) -> Vec<(String, IpAddr)> {
        let mut addresses = Vec::new();
        for (network, texts) in &machine.addresses {
            let key = child(&child(path, "addresses"), network);
            if !written.network.contains_key(network) {
                let known = written.network.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
                self.disagree(&key, format!("no network `{network}`"), &format!("there are `{known}`"));
            }
            for (index, text) in texts.as_slice().iter().enumerate() {
                match text.parse() {
                    Ok(addr) => addresses.push((network.clone(), addr)),
                    Err(_) => {
                        let at = match texts {
                            OneOrMany::One(_) => key.clone(),
                            OneOrMany::Many(_) => element(&key, index),
                        };
                        self.disagree(
                            &at,
                            format!("`{text}` is not an IP address"),
                            "such as `192.168.10.2`",
                        );
                    }
                }
            }
        }
        addresses
    }

    /// What a host's declaration means; None within: it has none. None: it has faults.
    fn model(
        &mut self,
        name: &str,
        path: &str,
        machine: &Machine,
        declarations: &mut BTreeMap<String, Declaration>,
    ) -> Option<Option<Model>> {
        match (&machine.host_toml, &machine.declaration) {
            (None, None) => Some(None),
            (Some(_), Some(_)) => {
                let message = "host_toml and declaration say it twice".to_owned();
                self.disagree(&child(path, "host_toml"), message, "keep one of the two");
                None
            }
            (Some(text), None) => {
                let directory = self.file.parent().unwrap_or(Path::new(""));
                match Declaration::read(&directory.join(text)) {
                    Ok(declaration) => {
                        let model = declaration.model.clone();
                        declarations.insert(name.to_owned(), declaration);
                        Some(Some(model))
                    }
                    Err(invalid) => {
                        self.others.push(invalid);
                        None
                    }
                }
            }
            (None, Some(host)) => {
                let prefix = child(path, "declaration");
                if host.common().imports.is_some() {
                    let message = "a declaration within a topology imports nothing".to_owned();
                    self.disagree(&child(&prefix, "imports"), message, "use host_toml, a file of its own");
                }
                match Model::resolve(&Read { value: host.clone(), spans: Spans::default() }) {
                    Ok(model) => Some(Some(model)),
                    Err(faults) => {
                        for mut fault in faults {
                            fault.path = format!("{prefix}.{}", fault.path);
                            let key = fault.is_key;
                            let span = match key {
                                true => self.spans.key(&fault.path),
                                false => self.spans.find(&fault.path),
                            };
                            self.faults.push((span, Wrong::Meant(fault)));
                        }
                        None
                    }
                }
            }
        }
    }

    /// The hosts that steps name.
    fn steps(&mut self, written: &Written) {
        for (path, host) in super::steps::hosts(written) {
            if !written.host.contains_key(&host) {
                let known = written.host.keys().map(String::as_str).collect::<Vec<_>>().join("`, `");
                self.disagree(&path, format!("no host `{host}`"), &format!("there are `{known}`"));
            }
        }
    }
}
