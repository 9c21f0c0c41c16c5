//! The queue of an MTA that does not run, as it would show it: read, never changed, and not locked.

use mailstack_policy::DomainName;
use mailstack_runtime::Config;

use super::operate::header;
use super::{Client, ControlError, Damaged, Entry, Item, Shown};
use crate::host::{Root, own_name};
use crate::message::{QueueId, Timestamp};
use crate::queue::{Listed, Route, Selector};
use crate::run::{interfaces, router};
use crate::spool::{Look, SpoolError, Stored, Unreadable};

/// The queue of a host, whether its MTA runs or not.
pub enum View {
    /// As the MTA shows it.
    Running(Client),
    /// As it lies on the disk.
    Stopped(Box<Stopped>),
}

/// The messages of a list, as they come.
pub type Items = Box<dyn Iterator<Item = Result<Item, ControlError>>>;

impl View {
    /// Asks the MTA, else looks at the disk. Errors: [`ControlError::Io`], [`ControlError::Stopped`].
    pub fn of(root: &Root, config: &Config) -> Result<Self, ControlError> {
        match Client::connect(root, &config.paths) {
            Ok(client) => Ok(View::Running(client)),
            Err(ControlError::NotRunning { .. }) => {
                let stopped = Stopped::at(root, config).map_err(|source| ControlError::Stopped { source })?;
                Ok(View::Stopped(Box::new(stopped)))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the MTA runs.
    pub fn is_running(&self) -> bool {
        matches!(self, View::Running(_))
    }

    /// What is selected behind `after`, at most `limit` messages.
    pub fn list(
        self,
        after: Option<QueueId>,
        limit: Option<u64>,
        select: Selector,
    ) -> Result<Items, ControlError> {
        match self {
            View::Running(client) => Ok(Box::new(client.queue_list(after, limit, select)?)),
            View::Stopped(stopped) => Ok(Box::new(stopped.list(after, limit, &select).into_iter().map(Ok))),
        }
    }

    /// All that is known of a message; `write` gets its header, and its body where that is asked for.
    pub fn show(
        self,
        id: QueueId,
        body: bool,
        write: &mut dyn FnMut(&Shown, &[u8]) -> std::io::Result<()>,
    ) -> Result<(), ControlError> {
        match self {
            View::Running(mut client) => client.queue_show(id, body, write),
            View::Stopped(stopped) => match stopped.show(id, body, write) {
                Ok(written) => written.map_err(ControlError::Output),
                Err(SpoolError::Unknown(_)) => {
                    Err(ControlError::Refused(format!("{id} is not in the queue")))
                }
                Err(source) => Err(ControlError::Stopped { source }),
            },
        }
    }
}

/// The queue of a stopped MTA.
pub struct Stopped {
    look: Look,
    route: Route,
    damaged: Vec<Unreadable>,
}

impl Stopped {
    /// Reads where everything lies. Errors: the directory cannot be read by this user, or is of another version.
    pub fn at(root: &Root, config: &Config) -> Result<Self, SpoolError> {
        let look = Look::at(&root.path(&config.paths.spool))?;
        let hostname: DomainName = config.hostname.clone().unwrap_or_else(|| own_name(root).name);
        let route = router(config.rules.clone(), hostname, interfaces());
        let damaged = look.recovery.unreadable.clone();
        Ok(Self { look, route, damaged })
    }

    /// What [`super::Client::queue_list`] gives of one that runs.
    pub fn list(&self, after: Option<QueueId>, limit: Option<u64>, select: &Selector) -> Vec<Item> {
        let now = Timestamp(u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0));
        let mut damaged = if after.is_none() { self.damaged.clone() } else { Vec::new() };
        let mut messages = Vec::new();
        for id in self.look.ids().into_iter().filter(|id| Some(*id) > after) {
            if messages.len() as u64 >= limit.unwrap_or(u64::MAX) {
                break;
            }
            match self.look.message(id) {
                Ok(stored) => {
                    let listed = self.listed(stored);
                    if select.choose(now, &listed).is_some() {
                        messages.push(Item::Message(Entry::from(listed)));
                    }
                }
                Err(SpoolError::Unknown(_)) => {}
                Err(error) => damaged.push(Unreadable::message(id, &error)),
            }
        }
        let damaged = damaged.into_iter().map(|found| Item::Damaged(Damaged::from(found)));
        damaged.chain(messages).collect()
    }

    /// What [`super::Client::queue_show`] gives of one that runs. Errors: [`SpoolError::Unknown`], and the disk's.
    pub fn show(
        &self,
        id: QueueId,
        body: bool,
        write: &mut dyn FnMut(&Shown, &[u8]) -> std::io::Result<()>,
    ) -> Result<std::io::Result<()>, SpoolError> {
        let stored = self.look.message(id)?;
        let mut octets = self.look.body(id)?;
        let envelope = stored.envelope.clone();
        let shown = Shown::of(self.listed(stored), &envelope);
        let mut is_header = true;
        while let Some(chunk) = octets.read_chunk()? {
            let piece = if body { &chunk[..] } else { header(&chunk) };
            if let Err(error) = write(&shown, piece) {
                return Ok(Err(error));
            }
            is_header = is_header && piece.len() == chunk.len();
            if !body && !is_header {
                break;
            }
        }
        Ok(Ok(()))
    }

    fn listed(&self, stored: Stored) -> Listed {
        Listed::of(stored, &self.route)
    }
}
