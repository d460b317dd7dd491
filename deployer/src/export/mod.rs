//! Hands a stack over to other tools.

pub mod terraform;
