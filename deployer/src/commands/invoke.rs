//! `invoke`: invokes a function and prints its answer, and the end of its log.

use std::{io::Read as _, path::Path, time::Duration};

use anyhow::anyhow;
use aws_sdk_lambda::{config::retry::RetryConfig, operation::invoke::InvokeOutput, primitives::Blob, types::LogType};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use tokio::sync::oneshot;

use super::{Session, unless_stopped};
use crate::{
    cloud::{aws::found, sample},
    commands::cli::{Global, Invoke},
    engine::Fault,
    kinds::function::{Described, Function},
    machine::files::read_regular_file,
    output::{
        exit::{Exit, Failure},
        report,
    },
    page::names::StackNames,
};

/// The largest event of a synchronous invocation (docs/aws.md §7.7).
const LARGEST_EVENT: u64 = 6 << 20;

/// The longest that a function may run (docs/aws.md §7.7).
const LONGEST_RUN: Duration = Duration::from_secs(15 * 60);

/// Exit code 1 if the function fails.
pub async fn run(global: &Global, args: &Invoke) -> Result<Exit, Failure> {
    let given = match &args.event {
        Some(from) => Some(unless_stopped(given(from)).await?),
        None => None,
    };
    let session = Session::open_without_network(global).await?;
    let entry = function(&session, &args.function)?;
    let name = StackNames::of(&session.config, &session.site).plain(&entry);
    let answer = unless_stopped(async {
        check_owner(&session, &name).await?;
        let event = match (&args.sample, given) {
            (Some(object), _) => sample(&session, object).await?.to_string(),
            (None, Some(event)) => event,
            (None, None) => "{}".to_owned(),
        };
        Ok(invoke(&session, &name, event).await?)
    })
    .await?;
    session.tally(global);
    let log = STANDARD.decode(answer.log_result().unwrap_or_default()).unwrap_or_default();
    own_lines(&String::from_utf8_lossy(&log)).for_each(report::say);
    let payload = String::from_utf8_lossy(answer.payload().map(Blob::as_ref).unwrap_or_default()).into_owned();
    report::answer(&format!("{payload}\n"));
    match answer.function_error() {
        None => Ok(Exit::Done),
        Some(_) => Err(Failure::new(Exit::Failed, anyhow!("{entry} fails: {}", reason(&payload))).hint(format!(
            "`deployer logs {entry}` shows its whole log, and `deployer why {entry}` may know the cause"
        ))),
    }
}

/// The function of this name in `stack.yaml`, with or without its section.
fn function(session: &Session, name: &str) -> Result<String, Failure> {
    let entry = name.strip_prefix("functions.").or(name.strip_prefix("function.")).unwrap_or(name);
    let mut all = session.config.functions.keys().map(|it| it.as_str().to_owned());
    all.clone().find(|it| it == entry).ok_or_else(|| {
        let failure = Failure::usage(format!("stack.yaml has no function {name:?}"));
        match all.by_ref().collect::<Vec<_>>().join(", ") {
            all if all.is_empty() => failure.hint("it has no functions at all"),
            all => failure.hint(format!("available: {all}")),
        }
    })
}

/// Reads the event from a file, or from stdin.
async fn given(from: &Path) -> Result<String, Failure> {
    let wrong = |why: anyhow::Error| Failure::new(Exit::Usage, why.context(format!("--event {}", from.display())));
    let text = match from == Path::new("-") {
        true => stdin().await.map_err(|error| wrong(error.into()))?,
        false => read_regular_file(from, LARGEST_EVENT).map_err(|error| wrong(error.into()))?,
    };
    if text.len() as u64 > LARGEST_EVENT {
        return Err(wrong(anyhow!("more than {LARGEST_EVENT} bytes, the maximum of an event")));
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(&text).map_err(|error| wrong(anyhow!("not JSON: {error}")))?;
    let text = String::from_utf8(text).map_err(|error| wrong(error.into()))?;
    Ok(text.trim().to_owned())
}

/// Reads stdin to its end, or to a byte more than an event may have.
async fn stdin() -> std::io::Result<Vec<u8>> {
    let (answer, answered) = oneshot::channel();
    // In a thread of its own, which ends with the process: a blocking read cannot be cancelled.
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let read = std::io::stdin().lock().take(LARGEST_EVENT + 1).read_to_end(&mut text);
        answer.send(read.map(|_| text))
    });
    answered.await.unwrap_or_else(|_| Err(std::io::ErrorKind::UnexpectedEof.into()))
}

/// Refuses to run a function that does not belong to this stack.
async fn check_owner(session: &Session, name: &str) -> Result<(), Failure> {
    let Some(Described { owner, .. }) = Function::named(name).describe(&session.aws).await? else {
        return Err(Failure::new(Exit::Failed, anyhow!("the function {name} does not exist")).hint("run `up` first"));
    };
    match owner.foreign_to(session.config.name.as_str()) {
        None => Ok(()),
        Some(owner) => {
            Err(Failure::new(Exit::Failed, anyhow!("the function {name} belongs to {owner}: it is not invoked"))
                .hint("`plan` shows the resources of this stack that belong to others"))
        }
    }
}

/// The event about an object of a bucket of `stack.yaml`.
async fn sample(session: &Session, object: &str) -> Result<Value, Failure> {
    let buckets = || {
        let all: Vec<&str> = session.config.buckets.keys().map(|it| it.as_str()).collect();
        format!("name an object of a bucket of stack.yaml, such as `BUCKET/KEY`; buckets: {}", all.join(", "))
    };
    let (entry, key) = object
        .split_once('/')
        .filter(|(_, key)| !key.is_empty())
        .ok_or_else(|| Failure::usage(format!("--sample {object}: a bucket and a key are needed")).hint(buckets()))?;
    if !session.config.buckets.keys().any(|it| it.as_str() == entry) {
        return Err(Failure::usage(format!("--sample: stack.yaml has no bucket {entry:?}")).hint(buckets()));
    }
    let bucket = StackNames::of(&session.config, &session.site).bucket(entry);
    let head = session.aws.s3.head_object().bucket(&bucket).key(key).expected_bucket_owner(&session.site.account);
    let Some(head) = found(head.send().await)? else {
        return Err(Failure::new(Exit::Failed, anyhow!("there is no object {key:?} in the bucket {bucket}"))
            .hint("upload it first: the event describes an existing object"));
    };
    Ok(sample::created(&session.site, &bucket, key, &head))
}

/// Invokes the function once. The call is never repeated: a lost answer does not mean that the function has not run.
async fn invoke(session: &Session, name: &str, event: String) -> Result<InvokeOutput, Fault> {
    let once = aws_sdk_lambda::config::Builder::new()
        .timeout_config(session.aws.work_within(LONGEST_RUN))
        .retry_config(RetryConfig::standard().with_max_attempts(1));
    let call = session.aws.lambda.invoke().function_name(name).log_type(LogType::Tail);
    Ok(call.payload(Blob::new(event)).customize().config_override(once).send().await?)
}

/// The lines of the last invocation in the end of a log; all of them if its beginning is not there.
fn own_lines(log: &str) -> impl Iterator<Item = &str> {
    log.rfind(START).map_or(log, |at| &log[at..]).lines().filter(|line| !line.is_empty())
}

/// The line that each invocation begins with.
const START: &str = "START RequestId: ";

/// The error of a function, as its answer words it.
fn reason(payload: &str) -> String {
    let answer: Value = serde_json::from_str(payload).unwrap_or_default();
    match (answer["errorMessage"].as_str(), answer["errorType"].as_str()) {
        (Some(message), Some(kind)) if !kind.is_empty() => format!("{message} ({kind})"),
        (Some(message), _) => message.to_owned(),
        (None, _) => payload.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_that_of_the_last_invocation() {
        let lines = |log| own_lines(log).collect::<Vec<_>>().join(",");
        assert_eq!(lines("START RequestId: 1\na\nSTART RequestId: 2\nb\n\nEND\n"), "START RequestId: 2,b,END");
        assert_eq!(lines("cut off\nEND\n"), "cut off,END");
    }

    #[test]
    fn the_reason_is_read_from_the_answer() {
        assert_eq!(reason(r#"{"errorType":"Sad","errorMessage":"as asked"}"#), "as asked (Sad)");
        assert_eq!(reason(r#"{"errorMessage":"Task timed out"}"#), "Task timed out");
        assert_eq!(reason("x"), "x");
    }
}
