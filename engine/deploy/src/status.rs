//! How a host is: what is live, what has drifted, what runs, and what does not fit.
//!
//! Owns what can be seen from outside of the MTA. What is in its queue, only it can say.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::activation::{Activator, sockets};
use crate::apply::{Cause, Discrepancy, counts, live_config, programs};
use crate::generation::{Digest, Drift, LeftOut, Store};
use crate::others::{self, Before, Queue};
use crate::sendmail::queue;

/// How a host is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The generation that is live.
    pub generation: Option<Digest>,
    /// Its role.
    pub role: Option<String>,
    /// The host's name, where the declaration gives one.
    pub hostname: Option<String>,
    /// How it differs from what was written.
    pub drift: Vec<Drift>,
    /// Derived files that this host could not make.
    pub left_out: Vec<LeftOut>,
    /// Who runs the role: `builtin` or `sendmail`.
    pub engine: &'static str,
    /// How many messages wait in Sendmail's queues, where it runs the role.
    pub waiting: Option<usize>,
    /// The generation that was found good last, where it is another.
    pub unproven: bool,
    /// The process id of the MTA.
    pub pid: Option<u32>,
    /// Whether it has nothing to do and is started for the first who hands mail in.
    pub waits: bool,
    /// Where the MTA listens, as the kernel sees it. None: the kernel does not say whose sockets are whose, since the MTA
    /// is another user and this process lacks CAP_SYS_PTRACE, as root in a container does.
    pub listening: Option<BTreeSet<SocketAddr>>,
    /// Whether whoever asks may see ports and permissions: root, or whoever owns the tree.
    pub checked: bool,
    /// How what runs differs from what was declared; without `checked` only whether it runs at all.
    pub discrepancies: Vec<Discrepancy>,
    /// Programs that hand mail in and are not in their place.
    pub misplaced: Vec<PathBuf>,
    /// MTAs that the host was taken over from; `mailstack deactivate` gives it back.
    pub taken_over: Vec<String>,
    /// Mail of other MTAs that nobody delivers.
    pub left_behind: Vec<Queue>,
}

impl Status {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.generation.is_some()
            && !self.unproven
            && self.drift.is_empty()
            && self.discrepancies.is_empty()
            && self.misplaced.is_empty()
    }
}

/// Looks at a host. `activator` is None where nothing was ever applied.
pub fn status(root: &Path, activator: Option<&dyn Activator>) -> Result<Status, Cause> {
    let store = Store::below(root);
    let live = store.current_generation()?;
    let running = activator.map_or(Ok(None), Activator::running)?;
    let pid = running.and_then(|running| running.pid);
    let checked = may_check(root);
    let discrepancies = match (live_config(&store), running) {
        (Ok(Some(_)), Some(_)) if !checked => Vec::new(),
        (Ok(Some(config)), Some(running)) => {
            let mut found = crate::apply::discrepancies(root, &config, running.pid);
            found.extend(crate::apply::unserved(&config));
            found
        }
        (Ok(Some(_)), None) => vec![Discrepancy::NotRunning],
        // Without a generation nothing was declared; one that cannot be read has drifted.
        (Ok(None) | Err(_), _) => Vec::new(),
    };
    let is_foreign = live.as_ref().is_some_and(|live| live.is_foreign);
    let config = live_config(&store).ok().flatten();
    let sendmail = config.as_ref().and_then(|config| config.sendmail.as_ref());
    // Whoever keeps the generation also says where programs lie, and what is live.
    let misplaced =
        programs(root, sendmail).into_iter().filter(|program| !is_foreign && !program.is_in_place());
    let waiting = sendmail.map(|sendmail| queue::list(sendmail).len());
    // The record is root's alone.
    let record = Before::read(&store).ok().flatten();
    let queues = record.iter().flat_map(|_| others::queues(root));
    let left_behind =
        queues.filter(|queue| config.as_ref().is_some_and(|config| counts(config, queue))).collect();
    let manifest = live.as_ref().map(|live| live.manifest.clone());
    Ok(Status {
        drift: live.as_ref().map_or(Ok(Vec::new()), |live| live.drift())?,
        unproven: live.is_some() && !is_foreign && store.current() != store.last_good(),
        generation: live.map(|live| live.digest().clone()),
        hostname: manifest.as_ref().and_then(|manifest| manifest.hostname.clone()),
        role: manifest.as_ref().map(|manifest| manifest.role.clone()),
        left_out: manifest.map(|manifest| manifest.left_out).unwrap_or_default(),
        pid,
        waits: running.is_some() && pid.is_none(),
        checked,
        listening: pid.map_or_else(|| Some(BTreeSet::new()), sockets::listened_by),
        discrepancies,
        engine: if sendmail.is_some() { "sendmail" } else { "builtin" },
        waiting,
        misplaced: misplaced.map(|program| program.path).collect(),
        taken_over: record.map(|record| record.mtas).unwrap_or_default(),
        left_behind,
    })
}

/// To others the kernel does not say who listens, and a directory's owner is not theirs to judge.
fn may_check(root: &Path) -> bool {
    let own = nix::unistd::geteuid();
    own.is_root() || std::fs::metadata(root).is_ok_and(|tree| tree.uid() == own.as_raw())
}
