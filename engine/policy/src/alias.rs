//! The expansion of local names: aliases, users, and the names that always exist.

use std::collections::BTreeSet;
use std::fmt;

use mailstack_smtp::address::{Address, Domain};

use crate::decision::{Here, NotAMailbox, Refusal, Target};
use crate::interpret::Meaning;
use crate::list::{Includes, is_list};
use crate::rules::{AliasTarget, Rules};
use crate::virtuser;
use crate::why::Rule;

/// Aliases within aliases (`MaxAliasRecursion`).
const MAX_DEPTH: usize = 10;

/// Names that a host must take mail for whether or not anyone has them (RFC 5321 4.5.1), lower case.
pub(crate) const ALWAYS: [&str; 2] = ["postmaster", "mailer-daemon"];

/// The alias that gets what is sent to them where they have none: the first that there is.
const STAND_INS: [&str; 2] = ["postmaster", OPERATOR];

/// The user who gets it where there is no such alias.
const OPERATOR: &str = "root";

/// The final recipients of a local address, without repetition. Errors: no such alias or user, a loop.
pub(crate) fn expand(
    rules: &Rules,
    here: Here<'_>,
    address: Address,
    user_exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<Final>, Refusal> {
    let includes = Includes::new();
    let mut expansion = Expansion::new(rules, here, &includes, user_exists);
    let mut found = Found::default();
    expansion.name(&address, &mut found)?;
    Ok(found.in_order)
}

/// The final members of a list, which has these files. Errors: there is no such alias, or a loop.
pub(crate) fn expand_list(
    rules: &Rules,
    here: Here<'_>,
    alias: &str,
    includes: &Includes,
    user_exists: &dyn Fn(&str) -> bool,
) -> Result<Vec<Final>, Refusal> {
    let (alias, targets) = rules.aliases.get_key_value(alias).ok_or(Refusal::UserUnknown)?;
    let mut expansion = Expansion::new(rules, here, includes, user_exists);
    let mut found = Found::default();
    expansion.members(alias, targets, &mut found)?;
    Ok(found.in_order)
}

/// A final recipient.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Final {
    pub(crate) address: Address,
    pub(crate) target: Target,
}

impl From<Address> for Final {
    fn from(address: Address) -> Self {
        Self { address, target: Target::Address }
    }
}

/// Final recipients, each once.
#[derive(Default)]
struct Found {
    in_order: Vec<Final>,
    seen: BTreeSet<Final>,
}

impl Found {
    fn add(&mut self, found: impl Into<Final>) {
        let found = found.into();
        if self.seen.insert(found.clone()) {
            self.in_order.push(found);
        }
    }
}

struct Expansion<'a> {
    rules: &'a Rules,
    here: Here<'a>,
    user_exists: &'a dyn Fn(&str) -> bool,
    /// The addresses of the files of the list that is expanded.
    includes: &'a Includes,
    /// The files that led here.
    files: Vec<&'a str>,
    /// The aliases that led here.
    path: Vec<&'a str>,
    /// The aliases that are expanded.
    done: BTreeSet<&'a str>,
}

impl<'a> Expansion<'a> {
    fn new(
        rules: &'a Rules,
        here: Here<'a>,
        includes: &'a Includes,
        user_exists: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        let (files, path, done) = (Vec::new(), Vec::new(), BTreeSet::new());
        Self { rules, here, user_exists, includes, files, path, done }
    }

    /// A local address that the client wrote.
    fn name(&mut self, address: &Address, found: &mut Found) -> Result<(), Refusal> {
        let name = address.local().to_ascii_lowercase();
        if let Some((alias, targets)) = self.alias(&name) {
            return self.alias_targets(alias, targets, found);
        }
        if let Some(user) = self.user(&name) {
            self.here.note_of(|| Rule::User(user.to_owned()), address);
            found.add(self.mailbox(user, address.domain())?);
            return Ok(());
        }
        if ALWAYS.contains(&name.as_str()) {
            self.here.note_of(|| Rule::StandIn(name.clone()), address);
            return self.operator(found);
        }
        Err(not_a_mailbox(&name).map_or(Refusal::UserUnknown, Refusal::NotAMailbox))
    }

    fn operator(&mut self, found: &mut Found) -> Result<(), Refusal> {
        match STAND_INS.into_iter().find_map(|name| self.alias(name)) {
            Some((alias, targets)) => self.alias_targets(alias, targets, found),
            None => {
                found.add(self.mailbox(OPERATOR, None)?);
                Ok(())
            }
        }
    }

    fn alias_targets(
        &mut self,
        alias: &'a str,
        targets: &'a [AliasTarget],
        found: &mut Found,
    ) -> Result<(), Refusal> {
        if self.path.contains(&alias) || self.path.len() == MAX_DEPTH {
            return Err(Refusal::AliasLoop);
        }
        if !self.done.insert(alias) {
            return Ok(());
        }
        if is_list(self.rules, alias, targets) {
            self.here.note_of(|| Rule::List(alias.to_owned()), &alias);
            let target = Target::List(alias.to_owned());
            found.add(Final { address: self.mailbox(alias, None)?, target });
            return Ok(());
        }
        self.members(alias, targets, found)
    }

    fn members(
        &mut self,
        alias: &'a str,
        targets: &'a [AliasTarget],
        found: &mut Found,
    ) -> Result<(), Refusal> {
        self.here.note(|| Rule::Alias(alias.to_owned()), &alias, &Listed(targets));
        self.path.push(alias);
        for target in targets {
            self.target(target, found)?;
        }
        self.path.pop();
        Ok(())
    }

    fn target(&mut self, target: &'a AliasTarget, found: &mut Found) -> Result<(), Refusal> {
        match target {
            AliasTarget::User(user) => {
                self.here.note_of(|| Rule::NotExpanded(user.clone()), user);
                found.add(self.mailbox(&user.to_ascii_lowercase(), None)?);
            }
            AliasTarget::Address(address) => match virtuser::mean(self.rules, self.here, address) {
                Ok(Meaning::Away(address)) => found.add(address),
                Ok(Meaning::Here(address)) => self.local_target(&address, found)?,
                // The others of the alias get their mail; this one's comes back.
                Err(refusal @ (Refusal::MailerError { .. } | Refusal::UserUnknown)) => {
                    self.here.note_of(|| Rule::Refused(refusal.clone()), address);
                    found.add(Final { address: address.clone(), target: Target::Refused(refusal) });
                }
                Err(refusal) => return Err(refusal),
            },
            AliasTarget::Include(path) => self.file(path, found)?,
            AliasTarget::Program(command) => {
                self.here.note(|| Rule::Program(command.clone()), &self.name_here(), target);
                let address = self.mailbox(self.name_here(), None)?;
                found.add(Final { address, target: Target::Program(command.clone()) });
            }
            AliasTarget::File(path) => {
                self.here.note(|| Rule::File(path.clone()), &self.name_here(), target);
                let address = self.mailbox(self.name_here(), None)?;
                found.add(Final { address, target: Target::File(path.clone()) });
            }
        }
        Ok(())
    }

    /// The alias whose targets are expanded now.
    fn name_here(&self) -> &'a str {
        self.path.last().copied().unwrap_or(OPERATOR)
    }

    /// A file that includes itself adds nothing.
    fn file(&mut self, path: &'a str, found: &mut Found) -> Result<(), Refusal> {
        let includes = self.includes;
        if self.files.contains(&path) {
            return Ok(());
        }
        self.files.push(path);
        for target in includes.get(path).into_iter().flatten() {
            self.target(target, found)?;
        }
        self.files.pop();
        Ok(())
    }

    /// A local name on the right-hand side. One that nobody has is final too: the mail is taken, and returned
    /// when it cannot be delivered.
    fn local_target(&mut self, address: &Address, found: &mut Found) -> Result<(), Refusal> {
        let name = address.local().to_ascii_lowercase();
        match self.alias(&name) {
            // `eric: eric, other`: an alias that names itself means the user.
            Some((alias, _)) if self.path.last() == Some(&alias) => {
                self.here.note_of(|| Rule::NotExpanded(alias.to_owned()), address);
                found.add(self.mailbox(alias, address.domain())?);
                Ok(())
            }
            Some((alias, targets)) => self.alias_targets(alias, targets, found),
            None => {
                let known = self.user(&name);
                let user = known.unwrap_or(&name);
                let rule = if known.is_some() { Rule::User } else { Rule::AliasToNobody };
                self.here.note_of(|| rule(user.to_owned()), address);
                found.add(self.mailbox(user, address.domain())?);
                Ok(())
            }
        }
    }

    /// The alias of a name, or of what stands in front of its `+detail`.
    fn alias(&self, name: &str) -> Option<(&'a str, &'a [AliasTarget])> {
        let find = |name: &str| self.rules.aliases.get_key_value(name);
        let entry = find(name).or_else(|| match self.is_user(name) {
            true => None,
            false => find(without_detail(name)?),
        })?;
        Some((entry.0.as_str(), entry.1.as_slice()))
    }

    /// The user of a name, or of what stands in front of its `+detail`.
    fn user<'n>(&self, name: &'n str) -> Option<&'n str> {
        match self.is_user(name) {
            true => Some(name),
            false => without_detail(name).filter(|user| self.is_user(user)),
        }
    }

    fn is_user(&self, name: &str) -> bool {
        (self.user_exists)(name)
    }

    /// The final address of a user: in the local domain that was written, else at this host's name.
    fn mailbox(&self, user: &str, domain: Option<&Domain>) -> Result<Address, Refusal> {
        let domain = match domain {
            Some(domain) if !self.here.is_own_host(domain) => domain.clone(),
            _ => Domain::Name(self.here.hostname.clone()),
        };
        Address::new(user, Some(domain)).map_err(|_| Refusal::UserUnknown)
    }
}

/// The targets of an alias, as they are written.
struct Listed<'t>(&'t [AliasTarget]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { ", " } else { "" })?;
            target.fmt(f)?;
        }
        Ok(())
    }
}

fn without_detail(name: &str) -> Option<&str> {
    name.split_once('+').map(|(user, _)| user).filter(|user| !user.is_empty())
}

fn not_a_mailbox(name: &str) -> Option<NotAMailbox> {
    match name.as_bytes().first() {
        Some(b'|') => Some(NotAMailbox::Program),
        Some(b'/') => Some(NotAMailbox::File),
        Some(b':') if name.starts_with(":include:") => Some(NotAMailbox::Include),
        _ => None,
    }
}
