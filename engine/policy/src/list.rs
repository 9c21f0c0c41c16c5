//! Mailing lists: aliases with an owner or with addresses in a file, which are expanded when they are delivered to.

use std::collections::BTreeMap;
use std::fmt;

use mailstack_smtp::address::{Address, AddressError};

use crate::address_list::addresses;
use crate::alias;
use crate::decision::{Expanded, Here, Refusal};
use crate::rules::{AliasTarget, Rules};

/// What makes a file's addresses a target (`:include:/path`).
const INCLUDE: &str = ":include:";

/// The addresses of files, by path.
pub type Includes = BTreeMap<String, Vec<AliasTarget>>;

/// Whether an alias is expanded only when it is delivered to: it has an owner, whose address the envelope gets, or a
/// file to be read.
pub(crate) fn is_list(rules: &Rules, alias: &str, targets: &[AliasTarget]) -> bool {
    let includes = targets.iter().any(|target| matches!(target, AliasTarget::Include(_)));
    includes || rules.aliases.contains_key(&owner_alias(alias))
}

/// The name that Sendmail looks for.
fn owner_alias(alias: &str) -> String {
    match alias.starts_with("owner-") || alias.ends_with("-request") {
        true => "owner-owner".to_owned(),
        false => format!("owner-{alias}"),
    }
}

/// Who gets the errors of a list: what its `owner-NAME` stands for where that is one address, else `owner-NAME`
/// itself. None: it has none.
pub fn list_owner(rules: &Rules, alias: &str) -> Option<Address> {
    let owner = owner_alias(alias);
    match rules.aliases.get(&owner)?.as_slice() {
        [AliasTarget::Address(only)] => Some(only.clone()),
        [AliasTarget::User(only)] => Address::new(only.as_str(), None).ok(),
        _ => Address::new(owner, None).ok(),
    }
}

/// The files that an alias names itself.
pub fn list_includes<'a>(rules: &'a Rules, alias: &str) -> Vec<&'a str> {
    rules.aliases.get(alias).into_iter().flatten().filter_map(AliasTarget::include).collect()
}

/// The final recipients of a list, with the addresses of its files; another list among them is one. Errors: there is
/// no such alias any more, or it leads back to where it began.
pub fn list_members(
    rules: &Rules,
    here: Here<'_>,
    alias: &str,
    includes: &Includes,
    user_exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<Expanded>, Refusal> {
    let found = alias::expand_list(rules, here, alias, includes, user_exists)?;
    let expanded = found.into_iter().map(|one| Expanded { target: one.target, ..one.address.into() });
    Ok(expanded.collect())
}

/// Why a file holds no addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct IncludeError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub fault: IncludeFault,
}

/// What is wrong in a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IncludeFault {
    /// Quotes or brackets that do not balance.
    #[error("quotes, brackets or comments do not balance")]
    Malformed,
    /// No address.
    #[error("`{0}` is not an address: {1}")]
    Address(String, AddressError),
    /// What only the aliases may name.
    #[error("`{0}`: a list of addresses names no program and no file")]
    Special(String),
}

/// Reads the text of a file: addresses parted by commas and line ends, as in a header; lines that begin with `#` are
/// comments.
pub fn include_targets(text: &str) -> Result<Vec<AliasTarget>, IncludeError> {
    let mut targets = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.starts_with('#') {
            read_line(line, &mut targets).map_err(|fault| IncludeError { line: index + 1, fault })?;
        }
    }
    Ok(targets)
}

fn read_line(line: &str, targets: &mut Vec<AliasTarget>) -> Result<(), IncludeFault> {
    if let Some(path) = line.strip_prefix(INCLUDE) {
        targets.push(AliasTarget::Include(path.trim().to_owned()));
        return Ok(());
    }
    if let Some(user) = line.strip_prefix('\\').filter(|user| !user.contains([',', '@'])) {
        targets.push(AliasTarget::User(user.to_ascii_lowercase()));
        return Ok(());
    }
    for place in addresses(line.as_bytes()) {
        let place = place.map_err(|_| IncludeFault::Malformed)?;
        let text = line.get(place).unwrap_or_default();
        let address: Address = text.parse().map_err(|why| IncludeFault::Address(text.to_owned(), why))?;
        if address.local().starts_with(['|', '/', ':', '\\']) {
            return Err(IncludeFault::Special(text.to_owned()));
        }
        targets.push(AliasTarget::Address(address));
    }
    Ok(())
}

impl AliasTarget {
    /// The path of a file with addresses.
    pub fn include(&self) -> Option<&str> {
        match self {
            AliasTarget::Include(path) => Some(path),
            AliasTarget::Address(_)
            | AliasTarget::User(_)
            | AliasTarget::Program(_)
            | AliasTarget::File(_) => None,
        }
    }
}

impl fmt::Display for AliasTarget {
    /// As the aliases file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AliasTarget::Address(address) => address.fmt(f),
            AliasTarget::User(user) => write!(f, "\\{user}"),
            AliasTarget::Include(path) => write!(f, "{INCLUDE}{path}"),
            // In quotes, since it may have blanks and commas in it.
            AliasTarget::Program(command) => write!(f, "\"|{command}\""),
            AliasTarget::File(path) => f.write_str(path),
        }
    }
}
