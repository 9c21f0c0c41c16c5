//! Who says that a generation does with mail what its role promises.

use std::error::Error;
use std::path::Path;

use mailstack_runtime::Config;

/// How far a candidate was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It ran and was probed.
    Ran {
        /// How many probes it answered as it must.
        probes: usize,
    },
    /// It could not be run here; its decisions alone were proven.
    PolicyOnly {
        /// Why it could not be run.
        reason: String,
    },
}

/// Proves a generation.
pub trait Prover {
    /// Proves a candidate that is on disk and not live.
    fn prove(&self, generation: &Path) -> Result<Proof, Box<dyn Error + Send + Sync>>;

    /// Proves what is live: a gateway refuses a foreign relay.
    fn verify(&self, config: &Config) -> Result<(), Box<dyn Error + Send + Sync>>;
}
