//! The state of a stack at one moment, for `status`.
//!
//! Reads are independent and bounded; a denied one is reported with its purpose, and does not hide the others.

mod data;
mod functions;
mod programs;
mod services;

pub use data::{ABSENT, BucketStatus, Objects, TableStatus};
pub use functions::FunctionStatus;
pub use programs::{Deployed, deployed};
pub use services::{InstanceStatus, PENDING, ServiceStatus};

use futures::{Stream, StreamExt as _, stream};
use serde::Serialize;

use crate::{
    cloud::aws::Aws,
    cost::Cost,
    engine::{AT_ONCE, look},
    kinds::bucket::Bucket,
    page::ResourceNames,
};

/// The state of a stack. Its fields are the keys of `status --json`.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// The stack's name.
    pub stack: String,
    /// The account's number.
    pub account: String,
    /// The region.
    pub region: String,
    /// When it was read.
    pub at: Option<String>,
    /// Whether everything is healthy.
    pub healthy: bool,
    /// Its services, functions and data.
    #[serde(flatten)]
    pub contents: Contents,
    /// Its monthly cost.
    pub cost: Cost,
    /// The differences from `stack.yaml`.
    pub drift: Drift,
    /// The options that commands need to act on this stack: empty, or ` --local`.
    #[serde(skip)]
    pub options: &'static str,
}

/// The number of changes that a plan would make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// The number of changes; `None` if unknown.
    pub changes: Option<usize>,
    /// The entries whose programs were not compared, because they would have to be built first.
    pub uncompared: Vec<String>,
    /// Why the number is unknown.
    pub unread: Option<String>,
}

/// The state of everything that a stack runs and holds.
#[derive(Debug, Clone, Serialize)]
pub struct Contents {
    /// Whether anything of the stack exists; `None` if that could not be read.
    pub deployed: Option<bool>,
    /// The services, in the order of their names.
    pub services: Vec<ServiceStatus>,
    /// The functions.
    pub functions: Vec<FunctionStatus>,
    /// The buckets.
    pub buckets: Vec<BucketStatus>,
    /// The tables.
    pub tables: Vec<TableStatus>,
}

impl Contents {
    /// Whether everything runs and nothing is missing. What could not be read does not count as healthy.
    pub fn is_healthy(&self) -> bool {
        self.deployed == Some(true)
            && self.services.iter().all(|it| it.healthy == Some(true) || it.is_off())
            && self.functions.iter().all(|it| it.healthy == Some(true))
            && self.buckets.iter().all(|it| it.exists == Some(true))
            && self.tables.iter().all(|it| it.is_healthy() == Some(true))
    }
}

/// Reads the state of everything.
pub async fn read(aws: &Aws, names: &ResourceNames, account: &str) -> Contents {
    let anchor = Bucket { name: names.anchor.clone(), account: account.into() };
    let (has_anchor, services, functions, buckets, tables) = futures::join!(
        look(|| anchor.exists(aws)),
        all(stream::iter(&names.services).map(|names| services::read(aws, names))),
        all(stream::iter(&names.functions).map(|names| functions::read(aws, names))),
        all(stream::iter(&names.buckets).map(|(entry, name)| data::bucket(aws, entry, name, account))),
        all(stream::iter(&names.tables).map(|(entry, name)| data::table(aws, entry, name))),
    );
    let exists = services.iter().any(|it| it.exists)
        || functions.iter().any(|it| it.exists)
        || buckets.iter().any(|it| it.exists == Some(true))
        || tables.iter().any(|it| it.state.as_deref().is_some_and(|state| state != ABSENT));
    let deployed = if exists { Some(true) } else { has_anchor.ok() };
    Contents { deployed, services, functions, buckets, tables }
}

/// Runs these reads, a bounded number at once, and keeps their order.
async fn all<T>(reads: impl Stream<Item = impl Future<Output = T>>) -> Vec<T> {
    reads.buffered(AT_ONCE).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(deployed: Option<bool>, exists: Option<bool>, state: Option<&str>) -> Contents {
        let (name, objects, unread) = (String::from("images"), Objects::default(), Vec::new());
        let bucket = BucketStatus { name, bucket: "app-images".into(), exists, objects, unread };
        let (name, state, unread) = (String::from("posts"), state.map(str::to_owned), Vec::new());
        let table = TableStatus { name, table: "app-posts".into(), state, rows: None, unread };
        let (services, functions) = Default::default();
        Contents { deployed, services, functions, buckets: vec![bucket], tables: vec![table] }
    }

    #[test]
    fn only_what_was_read_and_works_is_healthy() {
        for (deployed, exists, state, wanted) in [
            (Some(true), Some(true), Some("ACTIVE"), true),
            (Some(true), Some(true), Some("UPDATING"), true),
            (None, Some(true), Some("ACTIVE"), false),
            (Some(false), Some(true), Some("ACTIVE"), false),
            (Some(true), None, Some("ACTIVE"), false),
            (Some(true), Some(false), Some("ACTIVE"), false),
            (Some(true), Some(true), None, false),
            (Some(true), Some(true), Some(ABSENT), false),
            (Some(true), Some(true), Some("CREATING"), false),
            (Some(true), Some(true), Some("DELETING"), false),
            (Some(true), Some(true), Some("INACCESSIBLE_ENCRYPTION_CREDENTIALS"), false),
        ] {
            assert_eq!(contents(deployed, exists, state).is_healthy(), wanted, "{deployed:?} {exists:?} {state:?}");
        }
        let nothing = |deployed| {
            let (services, functions, buckets, tables) = Default::default();
            Contents { deployed, services, functions, buckets, tables }.is_healthy()
        };
        assert_eq!([Some(true), Some(false), None].map(nothing), [true, false, false]);
    }
}
