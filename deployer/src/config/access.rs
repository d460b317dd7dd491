//! The access of functions and services to the stack's buckets and tables.

use std::collections::BTreeMap;

use super::scalar::Name;

/// The resources that a function or service uses, which determine its permissions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uses {
    /// Buckets.
    pub buckets: BTreeMap<Name, Access>,
    /// Tables.
    pub tables: BTreeMap<Name, Access>,
    /// Whether it calls Rekognition.
    pub rekognition: bool,
}

/// The access to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Write only.
    Write,
    /// Read and write.
    ReadWrite,
}

impl Access {
    /// Whether it includes reading.
    pub fn reads(self) -> bool {
        self != Access::Write
    }

    /// Whether it includes writing.
    pub fn writes(self) -> bool {
        self != Access::Read
    }
}
