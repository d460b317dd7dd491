//! The state of functions.

use serde::Serialize;

use crate::cloud::{
    aws::Aws,
    why::{self, FunctionNames},
};

/// The state of a function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionStatus {
    /// Its name in `stack.yaml`.
    pub name: String,
    /// Whether `why` finds no problem; `None` if its state is unknown.
    pub healthy: Option<bool>,
    /// `Active`, `Pending`, `Inactive` or `Failed`; `None` if it does not exist or its state is unknown.
    pub state: Option<String>,
    /// The problem, as `why` words it.
    pub problem: Option<String>,
    /// The newest line of its log that reports an error.
    pub last_error: Option<String>,
    /// Messages about failed reads.
    pub unread: Vec<String>,
    /// Whether it exists.
    #[serde(skip)]
    pub exists: bool,
}

/// Reads the state of a function.
pub(super) async fn read(aws: &Aws, names: &FunctionNames) -> FunctionStatus {
    let evidence = why::collect_function(aws, names).await;
    let problem = why::function_verdict(&evidence).map(|verdict| verdict.words);
    let healthy = match (&problem, &evidence.state) {
        (Some(_), _) => Some(false),
        (None, Some(_)) => Some(true),
        (None, None) => None,
    };
    let state = evidence.state.iter().flatten().map(|it| it.state.clone()).find(|state| !state.is_empty());
    FunctionStatus {
        name: names.entry.clone(),
        healthy,
        exists: evidence.state.iter().flatten().next().is_some(),
        state,
        problem,
        last_error: why::last_error(&evidence).map(str::to_owned),
        unread: evidence.unread,
    }
}
