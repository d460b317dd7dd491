//! Tables.

use std::{collections::BTreeMap, fmt};

use super::encryption_key::EncryptionKey;
use super::scalar::Name;

/// A table, billed by request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The partition key.
    pub partition_key: Key,
    /// The sort key.
    pub sort_key: Option<Key>,
    /// Global secondary indexes.
    pub indexes: BTreeMap<Name, Index>,
    /// Local secondary indexes; their partition key is the table's.
    pub local_indexes: BTreeMap<Name, Index>,
    /// Whether AWS refuses to delete it.
    pub protect: bool,
    /// Whether it can be restored to any second of the last 35 days.
    pub point_in_time_recovery: bool,
    /// The attribute with the time at which a row is deleted, in seconds since 1970.
    pub time_to_live: Option<String>,
    /// The view type of its stream, as `stack.yaml` names it; `None` without a stream.
    pub stream: Option<String>,
    /// The key that it is encrypted with; a key of DynamoDB if absent.
    pub key: Option<EncryptionKey>,
}

/// An attribute that is a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: String,
    /// Its type: `string`, `number` or `binary`.
    pub kind: &'static str,
}

impl fmt::Display for Key {
    /// The notation of the settings of tables: the name, with a type that is not string, as in `id (number)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            "string" => f.write_str(&self.name),
            kind => write!(f, "{} ({kind})", self.name),
        }
    }
}

impl Table {
    /// Whether it has secondary indexes.
    pub fn has_indexes(&self) -> bool {
        !self.indexes.is_empty() || !self.local_indexes.is_empty()
    }
}

/// A secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// The partition key.
    pub partition_key: Key,
    /// The sort key.
    pub sort_key: Option<Key>,
    /// The attributes that it copies besides the keys, sorted; `None` for all.
    pub include: Option<Vec<String>>,
}
