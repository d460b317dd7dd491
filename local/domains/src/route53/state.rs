//! Hosted zones, their records and the changes to them, as stored on disk.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::name;

/// The stored state of Route 53.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// By ID.
    pub zones: BTreeMap<String, Zone>,
    /// By ID.
    pub changes: BTreeMap<String, Change>,
    /// The name servers that parents delegate domains to, where these are not those of the zone.
    pub delegations: BTreeMap<String, Vec<String>>,
}

/// The number of changes that are remembered.
const MOST_CHANGES: usize = 500;

impl State {
    /// Records a change.
    pub fn note(&mut self, id: &str, change: Change) {
        self.changes.insert(id.to_owned(), change);
        while self.changes.len() > MOST_CHANGES {
            let oldest = self.changes.iter().min_by_key(|(_, change)| change.submitted_ms).map(|(id, _)| id.clone());
            let Some(oldest) = oldest else { return };
            self.changes.remove(&oldest);
        }
    }
}

/// A public hosted zone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Zone {
    pub id: String,
    pub name: String,
    pub caller_reference: String,
    pub comment: Option<String>,
    pub name_servers: Vec<String>,
    pub created_ms: i64,
    pub tags: BTreeMap<String, String>,
    /// The record sets as the API shows them, by [`key`].
    pub records: BTreeMap<String, RecordSet>,
    /// The record sets that name servers answered with when `coming` was last emptied.
    pub served: BTreeMap<String, RecordSet>,
    /// The changes that name servers do not know yet, oldest first.
    pub coming: Vec<Coming>,
    /// Until when a change is being processed.
    pub busy_until_ms: i64,
}

/// A change of one record set, with the time from which name servers answer with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Coming {
    pub from_ms: i64,
    pub key: String,
    pub record: Option<RecordSet>,
}

impl Zone {
    /// Returns the record sets that name servers answer with.
    pub fn served_at(&self, now_ms: i64) -> BTreeMap<String, RecordSet> {
        let mut served = self.served.clone();
        for coming in self.coming.iter().filter(|coming| coming.from_ms <= now_ms) {
            coming.apply(&mut served);
        }
        served
    }

    /// Replaces the records; name servers answer with them from `from_ms` on.
    pub fn replace(&mut self, records: BTreeMap<String, RecordSet>, now_ms: i64, from_ms: i64) {
        self.served = self.served_at(now_ms);
        self.coming.retain(|coming| coming.from_ms > now_ms);
        let gone = self.records.keys().filter(|key| !records.contains_key(*key)).map(|key| (key.clone(), None));
        let changed = records.iter().filter(|(key, record)| self.records.get(*key) != Some(record));
        let changed = changed.map(|(key, record)| (key.clone(), Some(record.clone())));
        let coming = gone.chain(changed).map(|(key, record)| Coming { from_ms, key, record });
        self.coming.extend(coming.collect::<Vec<_>>());
        self.records = records;
    }
}

impl Coming {
    fn apply(&self, served: &mut BTreeMap<String, RecordSet>) {
        match &self.record {
            Some(record) => drop(served.insert(self.key.clone(), record.clone())),
            None => drop(served.remove(&self.key)),
        }
    }
}

/// The records of one name and type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordSet {
    pub name: String,
    pub kind: String,
    /// `None` for an alias.
    pub ttl: Option<u32>,
    pub values: Vec<String>,
    pub alias: Option<Alias>,
}

impl RecordSet {
    /// Whether both have the same records, in any order.
    pub fn is_same(&self, other: &RecordSet) -> bool {
        let sorted = |set: &RecordSet| {
            let mut values = set.values.clone();
            values.sort();
            values
        };
        (self.ttl, &self.alias, sorted(self)) == (other.ttl, &other.alias, sorted(other))
    }
}

/// The target of an alias record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub zone: String,
    pub name: String,
    pub evaluates_health: bool,
}

/// The key of a record set, in the order of lists: by the reversed name, then by the type.
pub fn key(name: &str, kind: &str) -> String {
    format!("{} {kind}", name::reversed(name))
}

/// A change, which is `PENDING` until all name servers know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Change {
    pub submitted_ms: i64,
    pub in_sync_ms: i64,
    pub comment: Option<String>,
}
