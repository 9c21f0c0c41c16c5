//! Where files are written and read: Landlock.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
};
use mailstack_runtime::Config;

use super::is_client;
use crate::host::Root;

/// Where a client role reads, beside its queue and what the configuration names: nothing of users, nothing of other
/// services' data.
const READ: [&str; 7] = ["/etc", "/usr", "/run", "/proc", "/sys", "/dev", "/nix/store"];
/// Files that are read again when they change, and may be links to elsewhere.
const WATCHED: [&str; 4] = ["resolv.conf", "hosts", "passwd", "localtime"];

/// What is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Directories below which files are made, written and removed.
    pub(super) written: Vec<PathBuf>,
    /// Directories and files below which files are read; None: wherever the user may (`:include:` lists lie anywhere).
    pub(super) read: Option<Vec<PathBuf>>,
}

impl Places {
    /// What the role reaches. Mailboxes are the delivery helper's, sockets and the pid file are open already.
    pub(super) fn of(root: &Root, config: &Config) -> Self {
        let written = vec![root.path(&config.paths.spool), root.path(&config.paths.drop)];
        let read = is_client(config.role).then(|| {
            let places = READ.iter().flat_map(|place| [PathBuf::from(place), root.path(place)]);
            let watched = WATCHED.iter().map(|name| root.etc(name));
            let linked = watched.filter_map(|path| Some(path.canonicalize().ok()?.parent()?.to_owned()));
            let secrets = config.secrets().map(|place| root.path(place));
            places.chain(linked).chain(secrets).collect()
        });
        Self { written, read }
    }
}

/// Bounds the calling thread to the places, and keeps it from executing a file, binding a TCP port, or signalling a
/// process that is not confined with it. Returns the version of the interface; 0: the kernel has none, or the first, by
/// which no file can be moved to another directory, as the drop directory needs. Errors: why nothing is bounded.
pub(super) fn restrict(places: &Places) -> Result<u32, String> {
    let oldest = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_write(ABI::V2));
    let Ok(oldest) = oldest else { return Ok(0) };
    let status = rules(oldest, places).and_then(RulesetCreated::restrict_self).map_err(|error| {
        let why = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{why}")
    })?;
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => Ok(effective_abi as u32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => Ok(0),
    }
}

fn rules(oldest: Ruleset, places: &Places) -> Result<RulesetCreated, RulesetError> {
    let mut handled: BitFlags<AccessFs> = AccessFs::from_write(ABI::V5) | AccessFs::Execute;
    if places.read.is_some() {
        // Not of directories: one is opened to be made durable.
        handled |= AccessFs::ReadFile;
    }
    let mut rules = oldest
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(handled)?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::Signal)?
        .create()?;
    let written = AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer;
    for place in &places.written {
        rules = beneath(rules, place, written | (handled & AccessFs::ReadFile))?;
    }
    for place in places.read.iter().flatten() {
        rules = beneath(rules, place, AccessFs::ReadFile.into())?;
    }
    Ok(rules)
}

/// What is not there needs no rule.
fn beneath(
    rules: RulesetCreated,
    place: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(place) {
        Ok(place) => rules.add_rule(PathBeneath::new(place, access)),
        Err(_) => Ok(rules),
    }
}
