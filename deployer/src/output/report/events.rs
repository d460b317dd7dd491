//! The events of `up --json` and `down --json`: one JSON object a line on stdout, and nothing else there.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{checks::rounded, logged::object};
use crate::{
    engine::{Progress, Schedule},
    output::exit::{Exit, Failure},
};

static STREAM: OnceLock<Stream> = OnceLock::new();

struct Stream {
    command: &'static str,
    begun: Instant,
    counts: Mutex<Counts>,
}

/// The number of resources by result.
#[derive(Default)]
struct Counts {
    done: usize,
    failed: usize,
    skipped: usize,
}

/// Prints events instead of other answers from now on.
pub fn turn_on(command: &'static str) {
    let stream = Stream { command, begun: Instant::now(), counts: Mutex::default() };
    // A process runs one command.
    drop(STREAM.set(stream));
}

/// Whether events are printed.
pub fn are_on() -> bool {
    STREAM.get().is_some()
}

/// The command begins to act on a stack.
pub fn begin(stack: &str, account: &str, region: &str) {
    emit("begin", |stream| json!({ "command": stream.command, "stack": stack, "account": account, "region": region }));
}

/// A plan was made.
pub fn plan(plan: impl FnOnce() -> Value) {
    emit("plan", |_| plan());
}

/// The progress of a resource.
pub(super) fn progress(name: &str, action: &str, progress: &Progress, schedule: &Schedule) {
    let took = || schedule.took(name).map(rounded);
    let usual = || schedule.usual(name).map(rounded);
    let end = |event: &str, count: fn(&mut Counts) -> &mut usize, mut keys: Value| {
        emit(event, |stream| {
            *count(&mut stream.counts.lock()) += 1;
            let remaining = schedule.remaining();
            keys["done"] = json!(remaining.done);
            keys["all"] = json!(remaining.all);
            keys["left_s"] = json!(rounded(remaining.left));
            keys
        });
    };
    match progress {
        Progress::Began(action) => {
            emit("started", |_| json!({ "resource": name, "action": action, "usual_s": usual() }));
        }
        Progress::Waiting(state) => emit("waiting", |_| json!({ "resource": name, "state": state })),
        Progress::Done => {
            let keys =
                json!({ "resource": name, "action": none_if_empty(action), "took_s": took(), "usual_s": usual() });
            end("done", |counts| &mut counts.done, keys);
        }
        Progress::Failed => {
            let keys = json!({ "resource": name, "action": none_if_empty(action), "took_s": took() });
            end("failed", |counts| &mut counts.failed, keys);
        }
        Progress::Skipped => end("skipped", |counts| &mut counts.skipped, json!({ "resource": name })),
    }
}

/// An error, whether or not the command continues.
pub(super) fn error(failure: &Failure) {
    emit("error", |_| {
        let causes: Vec<String> = failure.error.chain().skip(1).map(ToString::to_string).collect();
        json!({
            "message": failure.error.to_string(), "causes": causes, "place": failure.place, "hint": failure.hint,
        })
    });
}

/// A step of `verify`.
pub(super) fn verified(result: impl FnOnce() -> Value) {
    emit("verified", |_| result());
}

/// The outputs of the stack.
pub fn outputs(values: impl FnOnce() -> Value) {
    emit("outputs", |_| json!({ "values": values() }));
}

/// The last event.
pub fn summary(exit: Exit) {
    emit("summary", |stream| {
        let Counts { done, failed, skipped } = &*stream.counts.lock();
        json!({ "exit": exit as u8, "done": done, "failed": failed, "skipped": skipped })
    });
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

/// Prints an event with these keys, if events are on.
fn emit(event: &str, keys: impl FnOnce(&Stream) -> Value) {
    let Some(stream) = STREAM.get() else { return };
    object(&framed(event, OffsetDateTime::now_utc(), stream.begun.elapsed(), keys(stream)));
}

fn framed(event: &str, at: OffsetDateTime, elapsed: Duration, keys: Value) -> Value {
    let at = at.replace_nanosecond(at.nanosecond() / 1_000_000 * 1_000_000).unwrap_or(at);
    let mut framed = Map::new();
    framed.insert("event".into(), json!(event));
    framed.insert("at".into(), json!(at.format(&Rfc3339).unwrap_or_default()));
    framed.insert("elapsed_s".into(), json!(rounded(elapsed)));
    if let Value::Object(keys) = keys {
        framed.extend(keys);
    }
    Value::Object(framed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_begins_with_its_name_and_its_time() {
        let at = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap();
        let event = framed("waiting", at, Duration::from_micros(1_234_567), json!({ "resource": "table.t" }));
        assert_eq!(
            event.to_string(),
            r#"{"event":"waiting","at":"2023-11-14T22:13:20.123Z","elapsed_s":1.235,"resource":"table.t"}"#
        );
    }
}
