//! Elastic IP addresses.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    /// `eipalloc-…`.
    pub allocation: String,
    /// The port of this machine that stands for it.
    pub port: u16,
    pub association: Option<Association>,
}

/// The instance that has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// `eipassoc-…`.
    pub id: String,
    pub instance: String,
}

impl Address {
    /// Returns its local address and port.
    pub fn public_ip(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns whether an instance has it.
    pub fn is_of(&self, instance: &str) -> bool {
        self.association.as_ref().is_some_and(|association| association.instance == instance)
    }
}
