//! Diagnosis of functions.

use aws_sdk_cloudwatchlogs::types::OrderBy;
use aws_sdk_lambda::types::{LastUpdateStatus, State};
use futures::future::try_join_all;

use super::{Verdict, evidence::keep};
use crate::{
    cloud::{
        aws::{Aws, found},
        partition,
    },
    engine::Fault,
};

/// A function and the names of its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionPlace {
    /// Its name in `stack.yaml`.
    pub entry: String,
    /// Its name in the account.
    pub name: String,
    /// Its log group.
    pub log_group: String,
    /// The buckets whose uploads it is notified of.
    pub buckets: Vec<String>,
}

/// The evidence about a function. What could not be read is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionEvidence {
    /// Messages about failed reads.
    pub unread: Vec<String>,
    /// Its configuration; the inner `None` means that it does not exist.
    pub state: Option<Option<FunctionState>>,
    /// Buckets without permission to invoke it.
    pub unpermitted: Vec<String>,
    /// Buckets that do not notify it.
    pub silent: Vec<String>,
    /// The last lines of its log, oldest first.
    pub lines: Vec<String>,
}

/// A function's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionState {
    /// `Active`, `Pending`, `Inactive` or `Failed`.
    pub state: String,
    /// The reason of its failed state or last update.
    pub trouble: Option<String>,
    /// Its memory in MB.
    pub memory_mb: i32,
    /// Its time limit in seconds.
    pub timeout_s: i32,
}

impl FunctionEvidence {
    /// The evidence in lines; the end of the log only on request.
    pub fn summary(&self, with_log: bool) -> Vec<String> {
        let last = &self.lines[self.lines.len().saturating_sub(if with_log { LAST_LINES } else { 0 })..];
        self.unread.iter().cloned().chain(last.iter().map(|line| format!("  {line}"))).collect()
    }
}

/// The most lines of a log shown.
const LAST_LINES: usize = 12;

/// Reads all evidence, concurrently.
pub async fn collect_function(aws: &Aws, place: &FunctionPlace) -> FunctionEvidence {
    let mut unread = Vec::new();
    let (state, policy, silent, lines) =
        futures::join!(state(aws, place), policy(aws, place), silent(aws, place), lines(aws, place));
    let policy = keep(&mut unread, "the function's policy", policy);
    let partition = partition::of(&aws.region);
    let lets = |policy: &str, bucket: &str| policy.contains(&format!("arn:{partition}:s3:::{bucket}\""));
    let unpermitted = |policy: String| place.buckets.iter().filter(|it| !lets(&policy, it)).cloned().collect();
    FunctionEvidence {
        state: keep(&mut unread, "the function", state),
        unpermitted: policy.map(unpermitted).unwrap_or_default(),
        silent: keep(&mut unread, "the buckets' notifications", silent).unwrap_or_default(),
        lines: keep(&mut unread, "the function's log", lines).unwrap_or_default(),
        unread,
    }
}

async fn state(aws: &Aws, place: &FunctionPlace) -> Result<Option<FunctionState>, Fault> {
    let answer = found(aws.lambda.get_function_configuration().function_name(&place.name).send().await)?;
    Ok(answer.map(|it| {
        let not_active = it
            .state()
            .filter(|state| **state == State::Failed)
            .map(|state| format!("it is {}: {}", state.as_str(), it.state_reason().unwrap_or("AWS gives no reason")));
        let update = it.last_update_status().filter(|status| **status == LastUpdateStatus::Failed).map(|_| {
            format!("its last update failed: {}", it.last_update_status_reason().unwrap_or("AWS gives no reason"))
        });
        FunctionState {
            state: it.state().map(|state| state.as_str().to_owned()).unwrap_or_default(),
            trouble: not_active.or(update),
            memory_mb: it.memory_size().unwrap_or_default(),
            timeout_s: it.timeout().unwrap_or_default(),
        }
    }))
}

async fn policy(aws: &Aws, place: &FunctionPlace) -> Result<String, Fault> {
    let answer = found(aws.lambda.get_policy().function_name(&place.name).send().await)?;
    Ok(answer.and_then(|it| it.policy).unwrap_or_default())
}

async fn silent(aws: &Aws, place: &FunctionPlace) -> Result<Vec<String>, Fault> {
    let mut silent = Vec::new();
    for bucket in &place.buckets {
        let call = aws.s3.get_bucket_notification_configuration().bucket(bucket);
        let answer = found(call.send().await)?;
        let configured = answer.iter().flat_map(|it| it.lambda_function_configurations());
        let mut configured =
            configured.filter(|it| it.lambda_function_arn().ends_with(&format!(":function:{}", place.name)));
        if configured.next().is_none() {
            silent.push(bucket.clone());
        }
    }
    Ok(silent)
}

/// The number of streams read, newest first, and of lines of each.
const STREAMS: i32 = 3;
const LINES: i32 = 60;

async fn lines(aws: &Aws, place: &FunctionPlace) -> Result<Vec<String>, Fault> {
    let call = aws.logs.describe_log_streams().log_group_name(&place.log_group);
    let streams = found(call.order_by(OrderBy::LastEventTime).descending(true).limit(STREAMS).send().await)?;
    let events = streams.and_then(|it| it.log_streams).unwrap_or_default().into_iter().map(|stream| async move {
        let call = aws.logs.get_log_events().log_group_name(&place.log_group).limit(LINES);
        let answer = found(call.log_stream_name(stream.log_stream_name().unwrap_or_default()).send().await)?;
        Ok::<_, Fault>(answer.and_then(|it| it.events).unwrap_or_default())
    });
    let mut events: Vec<_> = try_join_all(events).await?.into_iter().flatten().collect();
    events.sort_by_key(|event| event.timestamp());
    Ok(events.iter().map(|event| event.message().unwrap_or_default().trim_end().to_owned()).collect())
}

/// Words in a log, with their meaning, the remedy, and the field that decides it.
struct Sign {
    cause: &'static str,
    words: &'static [&'static str],
    says: &'static str,
    remedy: &'static str,
    field: &'static str,
}

/// The first row that matches a line of the log counts.
const SIGNS: &[Sign] = &[
    Sign {
        cause: "function-memory",
        words: &["Runtime.OutOfMemory", "signal: killed", "memory allocation of"],
        says: "it needs more memory than it has",
        remedy: "raise `memory_mb`",
        field: "memory_mb",
    },
    Sign {
        cause: "function-timeout",
        words: &["Task timed out", "Status: timeout"],
        says: "it exceeds its time limit",
        remedy: "raise `timeout_s`, or make it do less per invocation",
        field: "timeout_s",
    },
    Sign {
        cause: "rekognition",
        words: &["rekognition:DetectLabels", "DetectLabels", "InvalidImageFormat", "ImageTooLarge"],
        says: "Rekognition refused a call",
        remedy: "set `uses: { rekognition: true }`, and upload JPEG or PNG only",
        field: "uses.rekognition",
    },
    Sign {
        cause: "function-denied",
        words: &["is not authorized to perform", "AccessDenied"],
        says: "it lacks a permission",
        remedy: "add what it uses to `uses`, and run `up`",
        field: "uses",
    },
    Sign {
        cause: "function-crash",
        words: &["Runtime.ExitError", "Runtime.InvalidEntrypoint", "Runtime exited", "panicked at"],
        says: "it exits",
        remedy: "correct the function, and run `up`",
        field: "package",
    },
    Sign {
        cause: "function-error",
        words: &["\"level\":\"ERROR\"", "errorMessage", "[ERROR]"],
        says: "it fails",
        remedy: "correct the function, and run `up`",
        field: "package",
    },
];

/// Returns the newest line of the log that reports an error.
pub fn last_error(it: &FunctionEvidence) -> Option<&str> {
    let is_error = |line: &&String| SIGNS.iter().flat_map(|sign| sign.words).any(|word| line.contains(word));
    it.lines.iter().rev().find(is_error).map(String::as_str)
}

/// Returns the cause that matches the evidence, if any.
pub fn function_verdict(it: &FunctionEvidence) -> Option<Verdict> {
    let verdict =
        |cause, words: String, remedy: &str, field| Some(Verdict { cause, words, remedy: remedy.into(), field });
    if matches!(it.state, Some(None)) {
        return verdict("no-function", "it does not exist".into(), "run `up`", "");
    }
    if let Some(trouble) = it.state.iter().flatten().find_map(|state| state.trouble.clone()) {
        return verdict("function-failed", trouble, "correct what AWS names, and run `up`", "");
    }
    if let Some(bucket) = it.unpermitted.first() {
        let words = format!("the bucket {bucket} is not allowed to invoke it");
        return verdict("function-permission", words, "run `up`, which reverts the manual change", "");
    }
    if let Some(bucket) = it.silent.first() {
        let words = format!("the bucket {bucket} does not notify it of uploads");
        return verdict("notification", words, "run `up`, which reverts the manual change", "");
    }
    let seen = |sign: &'static Sign| {
        let line = it.lines.iter().rev().find(|line| sign.words.iter().any(|word| line.contains(word)))?;
        Some((sign, line))
    };
    let (sign, line) = SIGNS.iter().find_map(seen)?;
    verdict(sign.cause, format!("{}: {line}", sign.says), sign.remedy, sign.field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(evidence: FunctionEvidence, cause: &str, words: &str) {
        let verdict = function_verdict(&evidence).expect("a cause");
        assert!(verdict.cause == cause && verdict.words.contains(words), "{verdict:?}");
    }

    #[test]
    fn the_last_error_is_the_newest_line_that_reports_one() {
        let lines = ["Task timed out after 3.00 seconds", "[ERROR] no such post", "END"].map(String::from).into();
        let evidence = FunctionEvidence { lines, ..Default::default() };
        assert_eq!(last_error(&evidence), Some("[ERROR] no such post"));
        assert_eq!(last_error(&FunctionEvidence { lines: vec!["END".into()], ..Default::default() }), None);
    }

    #[test]
    fn each_cause_for_a_failing_function_is_found() {
        let log = |line: &str| FunctionEvidence { lines: vec!["START".into(), line.into()], ..Default::default() };
        check(
            log("RequestId: 1 Error: Runtime exited with error: signal: killed Runtime.ExitError"),
            "function-memory",
            "memory",
        );
        check(log("2026 1 Task timed out after 3.00 seconds"), "function-timeout", "time limit");
        check(log("not authorized to perform: rekognition:DetectLabels"), "rekognition", "Rekognition refused");
        check(log("x is not authorized to perform: dynamodb:PutItem on y"), "function-denied", "dynamodb:PutItem");
        check(log("Runtime.ExitError"), "function-crash", "it exits");
        check(
            FunctionEvidence { unpermitted: vec!["b".into()], ..Default::default() },
            "function-permission",
            "bucket b",
        );
        check(FunctionEvidence { silent: vec!["b".into()], ..Default::default() }, "notification", "does not notify");
        check(FunctionEvidence { state: Some(None), ..Default::default() }, "no-function", "does not exist");
        let trouble = FunctionState { trouble: Some("it is Failed: x".into()), ..Default::default() };
        check(FunctionEvidence { state: Some(Some(trouble)), ..Default::default() }, "function-failed", "Failed");
        assert_eq!(function_verdict(&FunctionEvidence { lines: vec!["END".into()], ..Default::default() }), None);
    }
}
