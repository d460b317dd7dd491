//! The network of a stack.

use std::collections::BTreeSet;

use super::block::Block;

/// A network other than the default one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChosenNetwork {
    /// One that exists.
    Existing(ExistingNetwork),
    /// One of the stack's own, with this block of addresses.
    Own(Block),
}

impl ChosenNetwork {
    /// The number of zones that it is in.
    pub fn zones(&self) -> usize {
        match self {
            ChosenNetwork::Existing(existing) => existing.subnets.len(),
            ChosenNetwork::Own(_) => OWN_ZONES,
        }
    }
}

/// The zones of a network of the stack's own: as many as a load balancer needs. Each one costs a public address.
pub const OWN_ZONES: usize = 2;

/// A network that the deployer uses and never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingNetwork {
    /// The id of its VPC.
    pub vpc: String,
    /// The ids of the subnets to use.
    pub subnets: BTreeSet<String>,
}
