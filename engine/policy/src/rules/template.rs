//! The right-hand side of a map that rewrites addresses: an address with `%1` to `%3` in it.

use std::fmt;

use mailstack_smtp::address::{Address, AddressError};
use serde::{Deserialize, Serialize};

/// An address or a bare name, in which `%1` to `%3` stand for parts of the one that was looked up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Template(String);

impl Template {
    /// The text, with at most `arguments` arguments. Errors: it is no address, or names an argument that there is
    /// none of.
    pub fn new(text: &str, arguments: usize) -> Result<Self, AddressError> {
        let template = Self(text.to_owned());
        let named = text.split('%').skip(1).map(|rest| rest.chars().next().and_then(|c| c.to_digit(10)));
        let known = |number: Option<u32>| number.is_some_and(|n| (1..=arguments).contains(&(n as usize)));
        if !named.clone().all(known) {
            return Err(AddressError::BadSyntax);
        }
        // An argument may be empty only where it is not all there is.
        template.fill(&["x"; 3][..arguments])?;
        Ok(template)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, with each `%n` replaced by the n-th argument. Errors: the result is no address.
    pub fn fill(&self, arguments: &[&str]) -> Result<Address, AddressError> {
        let mut text = String::new();
        let mut parts = self.0.split('%');
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let number = part.chars().next().and_then(|c| c.to_digit(10)).unwrap_or(0) as usize;
            text.push_str(number.checked_sub(1).and_then(|at| arguments.get(at)).unwrap_or(&""));
            text.push_str(part.get(1..).unwrap_or_default());
        }
        text.parse()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
