//! The daemon: from a configuration to a running MTA, and its end.
//!
//! Owns: the order of the steps. What needs root comes first (the pid file, ports, the delivery helper), then root is
//! given up and so is all that the role does not need (`confine`), then comes the runtime, and with it everything that
//! reads octets of others. Must not know SMTP.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mailstack_runtime::{CONFIG_PATH, Config, MailboxFormat, Role, VERSION};

use crate::delivery::helper::{Helper, HelperConfig, Work};
use crate::event::{Event, Events, Log};
use crate::host::{OwnName, Root, own_name};
use crate::secrets::Secrets;

pub(crate) mod confine;
mod daemon;
mod error;
mod notify;
mod pid_file;
mod privileges;
mod sockets;

pub use confine::Confinement;
pub use daemon::{interfaces, router};
pub use error::RunError;
pub use privileges::USER;

use daemon::Daemon;
use pid_file::PidFile;
use privileges::Identity;
use sockets::Bound;

/// How to run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The prefix of every path; `/` for the host itself.
    pub root: PathBuf,
    /// The configuration; None: [`CONFIG_PATH`] below the root.
    pub config: Option<PathBuf>,
    /// The user to become where root starts the daemon.
    pub user: String,
    /// End when there is nothing to do, in a role that does not receive: systemd starts the daemon again when a
    /// client comes or a flush is due.
    pub exit_when_idle: bool,
    /// Where the lines of the log go.
    pub log: Log,
    /// The program to start as the delivery helper; None: this one.
    pub helper: Option<PathBuf>,
}

impl RunOptions {
    /// The options for a tree.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            config: None,
            user: USER.to_owned(),
            exit_when_idle: false,
            log: Log::detect(),
            helper: None,
        }
    }
}

/// Runs until SIGTERM or SIGINT, in the foreground. Errors: see [`RunError`]; once it was ready the only one is
/// [`RunError::DeliveryEnded`].
pub fn run(options: RunOptions) -> Result<(), RunError> {
    let events = Events::new(options.log);
    run_with(options, events)
}

/// As [`run`], telling `events`.
pub fn run_with(options: RunOptions, events: Events) -> Result<(), RunError> {
    let root = Root::new(&options.root);
    let config = Arc::new(load(&options, &root)?);
    if config.sendmail.is_some() {
        return Err(RunError::OtherEngine { path: config_path(&options, &root) });
    }
    let hostname = hostname(&config, &root, &events);
    let path = config_path(&options, &root).display().to_string();
    let role = format!("{:?}", config.role).to_lowercase();
    events.emit(Event::ConfigLoaded { path, role, hostname: hostname.to_string() });

    bound_process(&config, &events)?;
    let identity = Identity::find(&root, &options.user)?;
    privileges::prepare(&root, &config, identity)?;
    let pid_file = PidFile::take(&root.path(&config.paths.pid_file))?;
    let mut bound = Bound::inherit(&config)?;
    bound.bind_network(&config)?;
    // Before rights are given up: a secret may be root's alone.
    let secrets = Secrets::read(&root, &config, &options.user).map_err(RunError::Secrets)?;
    let (helper, restricted) = helpers(&options, &root, &config, &hostname)?;
    privileges::stand_back(config.nice, &events);
    identity.assume()?;
    bound.bind_unix(&root, &config)?;
    // Asked of the kernel by a socket of a kind that is not left afterwards.
    let addresses = interfaces();
    let confinement = confine::confine(&root, &config, &bound.unix(), &events);

    let runtime = runtime(config.role).map_err(RunError::Runtime)?;
    let daemon = Daemon {
        root,
        config,
        hostname,
        events,
        secrets,
        helper,
        restricted,
        addresses,
        confinement,
        exit_when_idle: options.exit_when_idle,
    };
    let ended = runtime.block_on(daemon.run(bound));
    drop(pid_file);
    ended
}

/// Sessions of both kinds, network and local.
fn bound_process(config: &Config, events: &Events) -> Result<(), RunError> {
    let sessions = 2 * u64::from(config.limits.connections);
    let files = privileges::bound_process(sessions)?;
    if files < sessions {
        events.warn(format!(
            "{files} open files are allowed, fewer than limits.connections: raise LimitNOFILE or ulimit -n"
        ));
    }
    Ok(())
}

fn config_path(options: &RunOptions, root: &Root) -> PathBuf {
    options.config.clone().unwrap_or_else(|| root.path(CONFIG_PATH))
}

fn load(options: &RunOptions, root: &Root) -> Result<Config, RunError> {
    let path = config_path(options, root);
    match std::fs::read_to_string(&path) {
        Ok(text) => parse(&path, &text),
        Err(source) => Err(RunError::ReadConfig { path, source }),
    }
}

/// The version comes first: what another version wrote need not have the same keys.
fn parse(path: &Path, text: &str) -> Result<Config, RunError> {
    let failed = |source| RunError::ParseConfig { path: path.to_owned(), source: Box::new(source) };
    let table: toml::Table = text.parse().map_err(failed)?;
    match table.get("version").and_then(toml::Value::as_integer) {
        Some(found) if found != i64::from(VERSION) => Err(RunError::Version { path: path.to_owned(), found }),
        _ => toml::from_str(text).map_err(failed),
    }
}

fn hostname(config: &Config, root: &Root, events: &Events) -> mailstack_policy::DomainName {
    if let Some(name) = &config.hostname {
        return name.clone();
    }
    let OwnName { name, warning } = own_name(root);
    if let Some(warning) = warning {
        events.warn(warning);
    }
    name
}

/// Started before the runtime, with the rights that the daemon gives up: for mailboxes, and for programs and files of
/// aliases.
fn helpers(
    options: &RunOptions,
    root: &Root,
    config: &Config,
    hostname: &mailstack_policy::DomainName,
) -> Result<(Option<Helper>, Option<Helper>), RunError> {
    let start = |work: Option<Work>| {
        let Some(work) = work else { return Ok(None) };
        let exe = match &options.helper {
            Some(exe) => exe.clone(),
            None => std::env::current_exe().map_err(RunError::Helper)?,
        };
        let config = HelperConfig { root: root.clone(), work, hostname: hostname.clone() };
        Helper::spawn(&exe, &config).map(Some).map_err(RunError::Helper)
    };
    // What goes over LMTP needs nobody's rights.
    let mailboxes = config.mailboxes.clone().filter(|mailboxes| mailboxes.format != MailboxFormat::Lmtp);
    let mailboxes = start(mailboxes.map(Work::Mailboxes))?;
    Ok((mailboxes, start(config.restricted.clone().map(Work::Restricted))?))
}

/// A client role has little to do and must be small; a receiving one uses every core.
fn runtime(role: Role) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match role {
        Role::Nullclient | Role::Msp => tokio::runtime::Builder::new_current_thread(),
        Role::Loopback | Role::Gateway => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_told_before_its_keys() {
        let path = Path::new("mta.toml");
        let error = parse(path, "version = 2\nunknown = 1\n").unwrap_err();
        assert!(matches!(error, RunError::Version { found: 2, .. }), "{error}");
        for text in ["version = 1\n", "", "version = \"1\"\n", "= nonsense"] {
            assert!(matches!(parse(path, text), Err(RunError::ParseConfig { .. })), "{text}");
        }
    }
}
