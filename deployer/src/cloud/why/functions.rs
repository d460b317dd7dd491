//! Diagnosis of functions.

mod invocations;
mod signs;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_lambda::types::{LastUpdateStatus, State};
use futures::future::try_join_all;
use time::{OffsetDateTime, macros::format_description};

use super::{
    Measured, Verdict,
    evidence::keep,
    measured::{self, WITHIN_MIN},
    service_log,
};
use crate::{
    cloud::{
        aws::{Aws, found},
        partition,
    },
    engine::Fault,
    output::counted::counted,
};

use invocations::{Event, Invocation, failed_lines, invocations};
use signs::SIGNS;

/// A function and the names of its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionNames {
    /// Its name in `stack.yaml`.
    pub entry: String,
    /// Its name in the account.
    pub name: String,
    /// Its log group.
    pub log_group: String,
    /// The buckets whose uploads it is notified of.
    pub buckets: Vec<String>,
    /// The concurrency that `stack.yaml` reserves for it.
    pub concurrency: Option<i32>,
}

/// The evidence about a function. What could not be read is empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FunctionEvidence {
    /// Messages about failed reads.
    pub unread: Vec<String>,
    /// Its configuration; the inner `None` means that it does not exist.
    pub state: Option<Option<FunctionState>>,
    /// Buckets without permission to invoke it.
    pub unpermitted: Vec<String>,
    /// Buckets that do not notify it.
    pub silent: Vec<String>,
    /// Its reserved concurrency.
    pub concurrency: Option<Concurrency>,
    /// What CloudWatch has measured of it.
    pub measured: Option<Measured>,
    /// The lines of its last invocations, oldest first: those after the last one that succeeded.
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
    /// When its code or configuration was last changed, in milliseconds since 1970.
    pub changed_ms: Option<i64>,
}

/// How many invocations of a function may run at once, reserved for it; `None` if nothing is reserved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Concurrency {
    /// What Lambda has reserved.
    pub reserved: Option<i32>,
    /// What `stack.yaml` reserves.
    pub described: Option<i32>,
}

impl FunctionEvidence {
    /// The evidence in lines; the metrics and the end of the log only on request.
    pub fn summary(&self, with_all: bool) -> Vec<String> {
        let last = &self.lines[self.lines.len().saturating_sub(if with_all { LAST_LINES } else { 0 })..];
        let measured = self.measurements().filter(|_| with_all);
        let unread = self.unread.iter().cloned();
        unread.chain(measured).chain(last.iter().map(|line| format!("  {line}"))).collect()
    }

    /// The metrics that are not zero, if any explains a problem.
    fn measurements(&self) -> Option<String> {
        let measured = self.measured.filter(|it| it.throttled + it.dropped + it.undelivered > 0)?;
        let counts = [
            (measured.throttled, "throttled"),
            (measured.dropped, "events dropped"),
            (measured.undelivered, "records not written"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let oldest = measured.oldest_event_ms.map(|ms| format!("events waited up to {:.1} s", ms / 1000.0));
        let all: Vec<String> = counts.chain(oldest).collect();
        let reserved = self.concurrency.map(|it| match it.reserved {
            Some(number) => format!("; reserved concurrency: {number}"),
            None => "; no reserved concurrency".to_owned(),
        });
        Some(format!("last {WITHIN_MIN} min: {}{}", all.join(", "), reserved.unwrap_or_default()))
    }
}

/// The most lines of a log shown.
const LAST_LINES: usize = 12;

/// Older lines explain nothing: a function that is not invoked is not unhealthy.
const RECENT_S: i64 = 60 * 60;

/// Reads all evidence, concurrently.
pub async fn collect_function(aws: &Aws, names: &FunctionNames) -> FunctionEvidence {
    let mut unread = Vec::new();
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let (state, policy, silent, lines, reserved, values) = futures::join!(
        state(aws, names),
        policy(aws, names),
        silent(aws, names),
        lines(aws, names),
        reserved(aws, names),
        measured::read(aws, &names.name, now_s)
    );
    let policy = keep(&mut unread, "the function's policy", policy);
    let partition = partition::of(&aws.region);
    let lets = |policy: &str, bucket: &str| policy.contains(&format!("arn:{partition}:s3:::{bucket}\""));
    let state = keep(&mut unread, "the function", state);
    let changed_ms = state.iter().flatten().find_map(|state: &FunctionState| state.changed_ms);
    let since_ms = changed_ms.unwrap_or_default().max((now_s - RECENT_S) * 1000);
    let streams = keep(&mut unread, "the function's log", lines).unwrap_or_default();
    let unpermitted = |policy: String| names.buckets.iter().filter(|it| !lets(&policy, it)).cloned().collect();
    FunctionEvidence {
        state,
        unpermitted: policy.map(unpermitted).unwrap_or_default(),
        silent: keep(&mut unread, "the buckets' notifications", silent).unwrap_or_default(),
        concurrency: keep(&mut unread, "the function's concurrency", reserved)
            .map(|reserved| Concurrency { reserved, described: names.concurrency }),
        measured: keep(&mut unread, "the function's metrics", values)
            .map(|values| Measured::of(&values, changed_ms.unwrap_or_default() / 1000)),
        lines: failed_lines(&streams, since_ms),
        unread,
    }
}

/// The concurrency that Lambda has reserved for the function.
async fn reserved(aws: &Aws, names: &FunctionNames) -> Result<Option<i32>, Fault> {
    let answer = found(aws.lambda.get_function_concurrency().function_name(&names.name).send().await)?;
    Ok(answer.and_then(|it| it.reserved_concurrent_executions))
}

async fn state(aws: &Aws, names: &FunctionNames) -> Result<Option<FunctionState>, Fault> {
    let answer = found(aws.lambda.get_function_configuration().function_name(&names.name).send().await)?;
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
            changed_ms: it.last_modified().and_then(modified_ms),
        }
    }))
}

/// Parses the time at which Lambda says that a function was changed: `2026-01-31T12:00:00.000+0000`.
fn modified_ms(text: &str) -> Option<i64> {
    let format = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond][offset_hour sign:mandatory][offset_minute]"
    );
    let at = OffsetDateTime::parse(text, format).ok()?;
    i64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

async fn policy(aws: &Aws, names: &FunctionNames) -> Result<String, Fault> {
    let answer = found(aws.lambda.get_policy().function_name(&names.name).send().await)?;
    Ok(answer.and_then(|it| it.policy).unwrap_or_default())
}

async fn silent(aws: &Aws, names: &FunctionNames) -> Result<Vec<String>, Fault> {
    let mut silent = Vec::new();
    for bucket in &names.buckets {
        let call = aws.s3.get_bucket_notification_configuration().bucket(bucket);
        let answer = found(call.send().await)?;
        let configured = answer.iter().flat_map(|it| it.lambda_function_configurations());
        let mut configured =
            configured.filter(|it| it.lambda_function_arn().ends_with(&format!(":function:{}", names.name)));
        if configured.next().is_none() {
            silent.push(bucket.clone());
        }
    }
    Ok(silent)
}

/// The last lines of the newest streams, each oldest first.
async fn lines(aws: &Aws, names: &FunctionNames) -> Result<Vec<Vec<Event>>, Fault> {
    let streams = service_log::streams(aws, &names.log_group).await?.into_iter();
    let events = streams.map(|stream| async move { service_log::events(aws, &names.log_group, &stream).await });
    try_join_all(events).await
}

/// Returns the newest line of the log that reports an error.
pub fn last_error(it: &FunctionEvidence) -> Option<&str> {
    let is_error = |line: &&String| SIGNS.iter().any(|sign| sign.is_in(line));
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
    if let Some(verdict) = throttled(it) {
        return Some(verdict);
    }
    let events: Vec<Event> = it.lines.iter().map(|line| (0, line.clone())).collect();
    let invocations = invocations(&events);
    if let Some((sign, line)) = invocations.iter().rev().find_map(Invocation::sign) {
        return verdict(sign.cause, format!("{}: {line}", sign.says), sign.remedy, sign.field);
    }
    let Measured { dropped, undelivered, .. } = it.measured.unwrap_or_default();
    if undelivered > 0 {
        let words =
            format!("its destination misses {} of dropped events, {}", counted(undelivered, "record"), lately());
        let remedy = "run `up`, which restores the role's policy; with `roles`, allow it to write to the destination";
        return verdict("undelivered", words, remedy, "on_failure");
    }
    if dropped > 0 {
        let words = format!("{} dropped {}", counted(dropped, "asynchronous event"), lately());
        let remedy = "`deployer logs` shows failed attempts; `on_failure` records each dropped event with its error";
        return verdict("dropped", words, remedy, "on_failure");
    }
    None
}

/// When throttles and dropped events count.
fn lately() -> String {
    format!("in the last {WITHIN_MIN} min")
}

/// The cause of a function without concurrency for its invocations.
fn throttled(it: &FunctionEvidence) -> Option<Verdict> {
    let Measured { throttled, dropped, .. } = it.measured?;
    let concurrency = it.concurrency.unwrap_or_default();
    let throttles = format!("{} throttled {}", counted(throttled, "invocation"), lately());
    let raise = match concurrency.reserved == concurrency.described {
        true => "raise `concurrency`, or leave it out, and run `up`",
        false => "run `up`, which reverts the manual change",
    };
    let (cause, words, remedy) = match concurrency.reserved {
        Some(0) if throttled > 0 => ("stopped", format!("its reserved concurrency of 0 stops it: {throttles}"), raise),
        // With a destination, events are dropped at once.
        Some(0) if dropped > 0 => {
            let drops = format!("{} dropped {}", counted(dropped, "event"), lately());
            ("stopped", format!("its reserved concurrency of 0 stops it: {drops}"), raise)
        }
        _ if throttled == 0 => return None,
        Some(number) => ("throttled", format!("its reserved concurrency of {number} is used up: {throttles}"), raise),
        None => (
            "account-throttled",
            format!("the account's concurrency is used up: {throttles}"),
            "reserve some for it with `concurrency`, or ask AWS for more (Service Quotas, L-B99A9384)",
        ),
    };
    Some(Verdict { cause, words, remedy: remedy.into(), field: "concurrency" })
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

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

    /// The lines of an invocation, one a second.
    fn invocation(at_s: i64, id: &str, lines: &[&str]) -> Vec<Event> {
        let lines = [
            &[format!("START RequestId: {id} Version: $LATEST")][..],
            &lines.iter().map(|line| line.replace("ID", id)).collect::<Vec<_>>(),
        ]
        .concat();
        lines.into_iter().zip(at_s..).map(|(line, at_s)| (at_s * 1000, line)).collect()
    }

    const REPORT: &str = "REPORT RequestId: ID Duration: 2.00 ms";
    const TIMED_OUT: &str = "ID Task timed out after 3.00 seconds";
    const KILLED: &str = "RequestId: ID Error: Runtime exited with error: signal: killed";

    fn cause(streams: &[Vec<Event>], since_s: i64) -> Option<&'static str> {
        let lines = failed_lines(streams, since_s * 1000);
        function_verdict(&FunctionEvidence { lines, ..Default::default() }).map(|verdict| verdict.cause)
    }

    #[test]
    fn only_invocations_after_the_last_success_and_the_last_change_count() {
        let (late, good) = (invocation(10, "a", &[REPORT, TIMED_OUT]), invocation(20, "b", &["well", "END", REPORT]));
        assert_eq!(cause(from_ref(&late), 0), Some("function-timeout"));
        assert_eq!(cause(&[[late.clone(), good.clone()].concat()], 0), None, "it has succeeded since");
        assert_eq!(cause(&[good.clone(), late.clone()], 0), None, "in another stream");
        assert_eq!(cause(from_ref(&late), 15), None, "it has been changed since");
        let again = invocation(30, "c", &[REPORT, TIMED_OUT]);
        assert_eq!(cause(&[[late, good, again].concat()], 0), Some("function-timeout"));
        let running = invocation(40, "d", &["so far"]);
        assert_eq!(cause(&[invocation(10, "a", &[REPORT, TIMED_OUT]), running], 0), Some("function-timeout"));
    }

    #[test]
    fn the_newest_invocation_that_failed_counts() {
        let (killed, late) = (invocation(10, "a", &[REPORT, KILLED]), invocation(20, "b", &[REPORT, TIMED_OUT]));
        assert_eq!(cause(&[[killed.clone(), late.clone()].concat()], 0), Some("function-timeout"));
        assert_eq!(cause(&[late.clone(), killed.clone()], 0), Some("function-timeout"), "in another stream");
        let both = invocation(30, "c", &["an AccessDenied", REPORT, KILLED]);
        assert_eq!(cause(&[[killed, late, both].concat()], 0), Some("function-memory"), "the first row of the table");
    }

    #[test]
    fn the_time_of_a_change_is_that_of_lambda() {
        assert_eq!(modified_ms("2026-11-29T10:00:00.250+0000"), Some(1_795_946_400_250));
        assert_eq!(modified_ms("yesterday"), None);
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
        check(log("x is not authorized to perform: kms:Decrypt on resource: y"), "function-key", "kms:Decrypt");
        check(log("KMS.KMSInvalidStateException: y is pending deletion."), "function-key", "pending deletion");
        check(log("Runtime.ExitError"), "function-crash", "it exits");
        let import = "[ERROR] Runtime.ImportModuleError: Unable to import module 'app': No module named 'PIL'";
        check(log(import), "function-import", "cannot import a module: [ERROR] Runtime.ImportModuleError: Unable");
        let reported = "REPORT RequestId: 1 Status: error Error Type: Runtime.ImportModuleError";
        let both = FunctionEvidence { lines: vec![import.into(), reported.into()], ..Default::default() };
        check(both, "function-import", "No module named 'PIL'");
        let handler = "[ERROR] Runtime.HandlerNotFound: Handler 'handler' missing on module 'app'";
        check(log(handler), "function-handler", "Handler 'handler' missing");
        check(
            log("[ERROR] Runtime.UserCodeSyntaxError: Syntax error in module 'app'"),
            "function-syntax",
            "syntax error",
        );
        check(
            FunctionEvidence { unpermitted: vec!["b".into()], ..Default::default() },
            "function-permission",
            "bucket b",
        );
        check(FunctionEvidence { silent: vec!["b".into()], ..Default::default() }, "notification", "does not notify");
        check(FunctionEvidence { state: Some(None), ..Default::default() }, "no-function", "does not exist");
        let measured = |throttled, dropped, undelivered, reserved, described| FunctionEvidence {
            measured: Some(Measured { throttled, dropped, undelivered, oldest_event_ms: None }),
            concurrency: Some(Concurrency { reserved, described }),
            ..Default::default()
        };
        check(measured(3, 1, 0, Some(0), Some(0)), "stopped", "of 0 stops it: 3 invocations throttled");
        check(measured(0, 1, 0, Some(0), Some(0)), "stopped", "of 0 stops it: 1 event dropped");
        check(measured(1, 0, 0, Some(2), Some(2)), "throttled", "concurrency of 2 is used up: 1 invocation throttled");
        check(measured(1, 0, 0, None, None), "account-throttled", "the account's concurrency is used up");
        check(measured(0, 2, 1, None, None), "undelivered", "misses 1 record");
        check(measured(0, 2, 0, None, None), "dropped", "2 asynchronous events dropped");
        let slow = FunctionEvidence { lines: log("Task timed out").lines, ..measured(0, 2, 1, None, None) };
        check(slow, "function-timeout", "time limit");
        let slow = FunctionEvidence { lines: log("Task timed out").lines, ..measured(5, 0, 0, Some(1), Some(1)) };
        check(slow, "throttled", "of 1 is used up");
        assert_eq!(function_verdict(&measured(0, 0, 0, Some(0), Some(0))), None, "nothing has invoked it");
        let trouble = FunctionState { trouble: Some("it is Failed: x".into()), ..Default::default() };
        check(FunctionEvidence { state: Some(Some(trouble)), ..Default::default() }, "function-failed", "Failed");
        assert_eq!(function_verdict(&FunctionEvidence { lines: vec!["END".into()], ..Default::default() }), None);
    }

    #[test]
    fn a_concurrency_that_was_changed_by_hand_is_reverted() {
        let remedy = |reserved, described| {
            let evidence = FunctionEvidence {
                measured: Some(Measured { throttled: 1, ..Default::default() }),
                concurrency: Some(Concurrency { reserved, described }),
                ..Default::default()
            };
            function_verdict(&evidence).expect("a cause").remedy
        };
        assert!(remedy(Some(1), Some(1)).starts_with("raise `concurrency`"));
        assert!(remedy(Some(1), None).contains("manual change") && remedy(Some(0), Some(5)).contains("manual change"));
        assert!(remedy(None, None).contains("L-B99A9384"));
    }

    #[test]
    fn the_metrics_are_shown_with_a_cause_only() {
        let evidence = FunctionEvidence {
            measured: Some(Measured { throttled: 7, dropped: 2, undelivered: 0, oldest_event_ms: Some(1500.0) }),
            concurrency: Some(Concurrency { reserved: Some(1), described: Some(1) }),
            ..Default::default()
        };
        let line = "last 15 min: 7 throttled, 2 events dropped, events waited up to 1.5 s; reserved concurrency: 1";
        assert_eq!((evidence.summary(true), evidence.summary(false)), (vec![line.to_owned()], vec![]));
    }
}
