//! Diagnosis of services and functions that are not healthy: `evidence` reads what AWS shows, and the first matching cause
//! of a table is reported.

mod causes;
mod evidence;
mod functions;
pub mod report;

pub use causes::{Verdict, verdict};
pub use evidence::{
    Evidence, Group, Instance, Launch, Member, Place, Wiring, collect, denied_or_said, is_denied, unread,
};
pub(in crate::cloud) use evidence::{group, instances, keep, launches, wiring};
pub use functions::{FunctionEvidence, FunctionPlace, collect_function, function_verdict, last_error};

use futures::{StreamExt as _, TryStreamExt as _};

use crate::{
    cloud::aws::{Aws, items},
    engine::{AT_ONCE, Fault},
};

/// The location of the reports of a service's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// The artifact bucket.
    pub bucket: String,
    /// The prefix of the keys, with a trailing slash.
    pub prefix: String,
}

/// The most reports read, newest first.
const MOST_REPORTS: usize = 8;

/// Reads the newest reports written since `since_s`, newest first.
pub async fn reports(aws: &Aws, at: &Reports, since_s: i64) -> Result<Vec<report::Report>, Fault> {
    newest_reports(aws, at, since_s, MOST_REPORTS).await
}

/// Reads at most `most` reports written since `since_s`, newest first.
pub async fn newest_reports(aws: &Aws, at: &Reports, since_s: i64, most: usize) -> Result<Vec<report::Report>, Fault> {
    let call = aws.s3.list_objects_v2().bucket(&at.bucket).prefix(&at.prefix);
    let listed = items(call.into_paginator().send()).await?;
    let mut found: Vec<(i64, String)> = listed
        .iter()
        .filter_map(|object| Some((object.last_modified()?.secs(), object.key()?.to_owned())))
        .filter(|(at_s, _)| *at_s >= since_s)
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    let read = found.into_iter().take(most).map(|(at_s, key)| async move {
        let answer = aws.s3.get_object().bucket(&at.bucket).key(&key).send().await?;
        let bytes = answer.body.collect().await.map(|body| body.into_bytes()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(16 << 10)]).into_owned();
        let (instance, stage) = key[at.prefix.len()..].split_once('/').unwrap_or_default();
        Ok::<_, Fault>(report::Report::parse(instance, stage, at_s, &text))
    });
    futures::stream::iter(read).buffered(AT_ONCE).try_collect().await
}

/// Returns the instances whose service repeats the same exit, each with that exit.
pub async fn certain_ends(aws: &Aws, at: &Reports, since_s: i64) -> Result<Vec<(String, report::End)>, Fault> {
    let written = reports(aws, at, since_s).await?;
    Ok(written.iter().filter_map(|report| Some((report.instance.clone(), report::certain(report)?))).collect())
}
