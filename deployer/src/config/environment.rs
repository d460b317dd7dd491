//! The variables of functions and services.

use std::collections::{BTreeMap, BTreeSet};

use super::exposed;
use super::stored_values::StoredVariables;
use super::text::Text;

/// The most bytes of the variables of a function or service: Lambda's limit (docs/aws.md §7.1). It leaves enough room in
/// user data for the rest (§8.4).
pub const LARGEST_ENVIRONMENT: usize = 4096;

/// The same for a service without a load balancer: its user data also has the unit that associates its address, and its
/// name may be longer.
pub const LARGEST_DIRECT_ENVIRONMENT: usize = 2816;

/// The variables of a program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variables {
    /// The variables whose values are in `stack.yaml`.
    pub texts: Environment,
    /// The variables whose values plans hide.
    pub sensitive: BTreeSet<String>,
    /// The variables whose values are kept in AWS.
    pub stored: StoredVariables,
}

impl Variables {
    /// The variables whose values plans may show: they are in `stack.yaml`, and neither marked nor like secrets, by name or
    /// value.
    pub fn open(&self) -> BTreeSet<String> {
        let is_open = |(name, text): &(&String, &Text)| !self.sensitive.contains(*name) && exposed::is_open(name, text);
        self.texts.iter().filter(is_open).map(|(name, _)| name.clone()).collect()
    }
}

/// Environment variables.
pub type Environment = BTreeMap<String, Text>;
