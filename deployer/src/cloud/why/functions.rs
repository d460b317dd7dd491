//! Diagnosis of functions.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_lambda::types::{LastUpdateStatus, State};
use futures::future::try_join_all;
use time::{OffsetDateTime, macros::format_description};

use super::{Verdict, evidence::keep, service_log};
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

impl FunctionEvidence {
    /// The evidence in lines; the end of the log only on request.
    pub fn summary(&self, with_log: bool) -> Vec<String> {
        let last = &self.lines[self.lines.len().saturating_sub(if with_log { LAST_LINES } else { 0 })..];
        self.unread.iter().cloned().chain(last.iter().map(|line| format!("  {line}"))).collect()
    }
}

/// The most lines of a log shown.
const LAST_LINES: usize = 12;

/// Older lines explain nothing: a function that is not invoked is not unhealthy.
const RECENT_S: i64 = 60 * 60;

/// Reads all evidence, concurrently.
pub async fn collect_function(aws: &Aws, place: &FunctionPlace) -> FunctionEvidence {
    let mut unread = Vec::new();
    let (state, policy, silent, lines) =
        futures::join!(state(aws, place), policy(aws, place), silent(aws, place), lines(aws, place));
    let policy = keep(&mut unread, "the function's policy", policy);
    let partition = partition::of(&aws.region);
    let lets = |policy: &str, bucket: &str| policy.contains(&format!("arn:{partition}:s3:::{bucket}\""));
    let state = keep(&mut unread, "the function", state);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    let changed_ms = state.iter().flatten().find_map(|state: &FunctionState| state.changed_ms);
    let since_ms = changed_ms.unwrap_or_default().max((now_s - RECENT_S) * 1000);
    let streams = keep(&mut unread, "the function's log", lines).unwrap_or_default();
    let unpermitted = |policy: String| place.buckets.iter().filter(|it| !lets(&policy, it)).cloned().collect();
    FunctionEvidence {
        state,
        unpermitted: policy.map(unpermitted).unwrap_or_default(),
        silent: keep(&mut unread, "the buckets' notifications", silent).unwrap_or_default(),
        lines: failed_lines(&streams, since_ms),
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

/// A line of a log, with its time in milliseconds since 1970.
type Event = (i64, String);

/// The last lines of the newest streams, each oldest first.
async fn lines(aws: &Aws, place: &FunctionPlace) -> Result<Vec<Vec<Event>>, Fault> {
    let streams = service_log::streams(aws, &place.log_group).await?.into_iter();
    let events = streams.map(|stream| async move { service_log::events(aws, &place.log_group, &stream).await });
    try_join_all(events).await
}

/// One invocation, or what is left of one.
#[derive(Debug, Default, PartialEq, Eq)]
struct Invocation {
    /// Its request id; empty for lines outside an invocation.
    id: String,
    /// The time of its last line.
    at_ms: i64,
    lines: Vec<String>,
    /// Whether Lambda has reported its end.
    is_over: bool,
}

impl Invocation {
    fn add(&mut self, (at_ms, text): &Event) {
        self.at_ms = self.at_ms.max(*at_ms);
        self.is_over |= text.starts_with("REPORT RequestId: ");
        self.lines.push(text.clone());
    }

    /// The line of the log with the reason for the failure.
    fn sign(&self) -> Option<(&'static Sign, &str)> {
        SIGNS.iter().find_map(|sign| Some((sign, self.lines.iter().rev().find(|line| sign.is_in(line))?.as_str())))
    }
}

/// The invocations in the lines of a stream. A stream has one after the other; how a process ended is logged after the end
/// of its invocation, with the request id (docs/aws.md §7.6).
fn invocations(events: &[Event]) -> Vec<Invocation> {
    let mut all: Vec<Invocation> = Vec::new();
    let mut outside = Invocation::default();
    for event in events {
        let (_, text) = event;
        if let Some(start) = text.strip_prefix("START RequestId: ") {
            // The lines of a process that starts belong to the invocation that it starts for.
            let mut invocation = std::mem::take(&mut outside);
            invocation.id = start.split_whitespace().next().unwrap_or_default().to_owned();
            invocation.add(event);
            all.push(invocation);
            continue;
        }
        let named = all.iter().rposition(|it| !it.id.is_empty() && text.contains(&it.id));
        let open = all.len().checked_sub(1).filter(|last| !all[*last].is_over);
        match named.or(open) {
            Some(at) => all[at].add(event),
            None => outside.add(event),
        }
    }
    all.extend(Some(outside).filter(|it| !it.lines.is_empty()));
    all
}

/// The lines since this time of the invocations after the last one that succeeded, invocation after invocation.
fn failed_lines(streams: &[Vec<Event>], since_ms: i64) -> Vec<String> {
    let recent = |events: &Vec<Event>| -> Vec<Event> {
        events.iter().filter(|(at_ms, _)| *at_ms >= since_ms).cloned().collect()
    };
    let mut all: Vec<Invocation> = streams.iter().flat_map(|events| invocations(&recent(events))).collect();
    all.sort_by_key(|it| it.at_ms);
    let succeeded = all.iter().rposition(|it| it.is_over && it.sign().is_none());
    all.into_iter().skip(succeeded.map_or(0, |at| at + 1)).flat_map(|it| it.lines).collect()
}

/// Words in a log, with their meaning, the remedy, and the field that decides it.
struct Sign {
    cause: &'static str,
    words: &'static [&'static str],
    says: &'static str,
    remedy: &'static str,
    field: &'static str,
}

impl Sign {
    fn is_in(&self, line: &str) -> bool {
        self.words.iter().any(|word| line.contains(word))
    }
}

/// The first row that matches a line of the newest invocation with any counts.
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
    let events: Vec<Event> = it.lines.iter().map(|line| (0, line.clone())).collect();
    let invocations = invocations(&events);
    let (sign, line) = invocations.iter().rev().find_map(Invocation::sign)?;
    verdict(sign.cause, format!("{}: {line}", sign.says), sign.remedy, sign.field)
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
