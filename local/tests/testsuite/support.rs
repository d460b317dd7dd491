//! Helpers shared by several modules.

pub mod presign;
pub mod process;
pub mod script;
pub mod stack;
