//! Counts calls, to prove that "nothing to do" changed nothing.

use std::{collections::BTreeMap, sync::Arc};

use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{Intercept, context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
        orchestrator::Metadata,
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use parking_lot::Mutex;

/// Every attempt of every call, by operation. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<BTreeMap<String, usize>>>);

/// The number of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub calls: usize,
    /// The calls that may have changed something.
    pub mutating: usize,
}

/// The prefixes of read-only operations.
const READS: &[&str] = &["Describe", "Filter", "Get", "List", "Head"];

impl Journal {
    /// The number of calls so far.
    pub fn tally(&self) -> Tally {
        let calls = self.by_operation();
        let mutating = calls.iter().filter(|(operation, _)| !reads(operation)).map(|(_, count)| count).sum();
        Tally { calls: calls.values().sum(), mutating }
    }

    /// The number of calls of each operation.
    pub fn by_operation(&self) -> BTreeMap<String, usize> {
        self.0.lock().clone()
    }
}

fn reads(operation: &str) -> bool {
    READS.iter().any(|read| operation.starts_with(read))
}

#[dyn_dispatch_hint]
impl Intercept for Journal {
    fn name(&self) -> &'static str {
        "journal"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("?", |metadata| metadata.name()).to_owned();
        *self.0.lock().entry(operation).or_default() += 1;
        Ok(())
    }
}
