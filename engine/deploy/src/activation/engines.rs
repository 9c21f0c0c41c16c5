//! Both engines where no systemd runs. Which of them starts is what the live generation says; both are stopped, for the
//! generation before may have had the other.

use std::fs;
use std::path::PathBuf;

use mailstack_runtime::{CONFIG_PATH, Config};

use super::{ActivationError, Activator, Daemon, Running};
use crate::sendmail::process::Processes;

/// The built-in MTA and the host's Sendmail.
#[derive(Clone, Debug)]
pub struct Engines {
    /// The built-in MTA.
    pub builtin: Daemon,
    /// The host's Sendmail.
    pub sendmail: Processes,
    /// The link to the generation that is live.
    pub current: PathBuf,
}

impl Activator for Engines {
    fn running(&self) -> Result<Option<Running>, ActivationError> {
        Ok(self.builtin.running()?.or_else(|| self.sendmail.running()))
    }

    fn stop(&self) -> Result<(), ActivationError> {
        self.builtin.stop()?;
        self.sendmail.stop()
    }

    fn start(&self) -> Result<Running, ActivationError> {
        let config = self.live()?;
        match &config.sendmail {
            Some(sendmail) => self.sendmail.start(&config, sendmail),
            None => self.builtin.start(),
        }
    }
}

impl Engines {
    fn live(&self) -> Result<Config, ActivationError> {
        let path = self.current.join(CONFIG_PATH);
        let failed =
            |source| ActivationError::Process { operation: format!("read {}", path.display()), source };
        let text = fs::read_to_string(&path).map_err(failed)?;
        toml::from_str(&text).map_err(|error| failed(std::io::Error::other(error)))
    }
}
