//! Units of systemd that other MTAs have.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::known::Mta;
use crate::activation::{ActivationError, systemctl};

/// How a unit was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    /// Its name.
    pub name: String,
    /// Whether it is started.
    pub active: bool,
    /// Whether it has processes; one that only started others has none itself.
    pub running: bool,
    /// Whether it starts with the host.
    pub enabled: bool,
}

/// The units of an MTA that are started, or will be with the host. One that somebody masked is neither.
pub(super) fn find(mta: &Mta) -> Result<Vec<Unit>, ActivationError> {
    let mut words = vec!["show", "--property=Id,LoadState,ActiveState,SubState,UnitFileState,WantedBy", "--"];
    words.extend(mta.units);
    Ok(parse(&systemctl(&words)?).into_iter().filter(|unit| unit.active || unit.enabled).collect())
}

fn parse(text: &str) -> Vec<Unit> {
    let unit = |block: &str| {
        let value = |name: &str| {
            let line = block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.unwrap_or_default().to_owned()
        };
        let active = ["active", "activating", "reloading", "deactivating"].contains(&&*value("ActiveState"));
        // A unit made of an init script is enabled by what wants it.
        let enabled = match &*value("UnitFileState") {
            "generated" => !value("WantedBy").is_empty(),
            state => state.starts_with("enabled"),
        };
        let loaded = value("LoadState") == "loaded";
        let running = active && value("SubState") != "exited";
        (loaded && !value("Id").is_empty()).then(|| Unit { name: value("Id"), active, running, enabled })
    };
    text.split("\n\n").filter_map(unit).collect()
}

/// Keeps a unit from being started by anything, and ends it. Can be called again.
pub(super) fn stop(unit: &Unit) -> Result<(), ActivationError> {
    match is_of_administrator(&unit.name) {
        // A mask has no place beside a unit that is there itself.
        true => systemctl(&["disable", &unit.name])?,
        false => systemctl(&["mask", &unit.name])?,
    };
    systemctl(&["stop", &unit.name]).map(drop)
}

/// Lets a unit be started again. Can be called again.
pub(super) fn release(unit: &Unit) -> Result<(), ActivationError> {
    match is_of_administrator(&unit.name) {
        true if unit.enabled => systemctl(&["enable", &unit.name]).map(drop),
        true => Ok(()),
        false => systemctl(&["unmask", &unit.name]).map(drop),
    }
}

/// Starts a unit that had been started.
pub(super) fn start(unit: &Unit) -> Result<(), ActivationError> {
    // One that was started too often is not started otherwise; one that never failed has nothing to reset.
    let _ = systemctl(&["reset-failed", &unit.name]);
    systemctl(&["start", &unit.name]).map(drop)
}

/// Whether the unit's own file lies where a mask would; a link to /dev/null is one.
fn is_of_administrator(name: &str) -> bool {
    let path = Path::new("/etc/systemd/system").join(name);
    let masked = fs::read_link(&path).is_ok_and(|target| target == Path::new("/dev/null"));
    path.symlink_metadata().is_ok() && !masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_says_of_units_is_read() {
        let text = "Id=postfix.service\nWantedBy=multi-user.target\nLoadState=loaded\nActiveState=active\n\
                    SubState=exited\nUnitFileState=enabled\n\n\
                    Id=sendmail.service\nWantedBy=\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n\
                    UnitFileState=generated\n\n\
                    Id=exim.service\nLoadState=masked\nActiveState=inactive\nUnitFileState=masked\n\n\
                    Id=none.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\n";
        let found = parse(text);
        let names: Vec<&str> = found.iter().map(|unit| unit.name.as_str()).collect();
        assert_eq!(names, ["postfix.service", "sendmail.service"]);
        assert!(found[0].active && found[0].enabled && !found[0].running);
        assert!(!found[1].active && !found[1].enabled);
    }
}
