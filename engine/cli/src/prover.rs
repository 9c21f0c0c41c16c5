//! The proof of a generation, as an apply asks for it.

use std::error::Error;
use std::fmt;
use std::path::Path;

use mailstack_deploy::apply::{Proof, Prover};
use mailstack_prove::{Finding, Severity, findings};
use mailstack_runtime::{CONFIG_PATH, Config};

/// Proves a generation by its decisions.
pub struct PolicyProver;

/// What a generation does that it must not.
#[derive(Debug)]
pub struct Findings(pub Vec<Finding>);

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Finding::to_string).collect();
        f.write_str(&lines.join("; "))
    }
}

impl Error for Findings {}

impl Prover for PolicyProver {
    fn prove(&self, generation: &Path) -> Result<Proof, Box<dyn Error + Send + Sync>> {
        let config: Config = toml::from_str(&std::fs::read_to_string(generation.join(CONFIG_PATH))?)?;
        self.verify(&config)?;
        Ok(Proof::PolicyOnly { reason: "a candidate is not run before the switch".to_owned() })
    }

    fn verify(&self, config: &Config) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut found = findings(config);
        found.retain(|finding| finding.severity() == Severity::Error);
        if found.is_empty() { Ok(()) } else { Err(Box::new(Findings(found))) }
    }
}
