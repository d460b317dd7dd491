//! `logs`: prints what services, functions and booting instances have logged, merged by time.

use std::{
    ops::ControlFlow,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{Session, interrupted, why};
use crate::{
    cloud::{
        logs::{Found, LogKind, LogLine, LogPlace, Reader},
        why::Reports,
    },
    commands::cli::{Global, Logs},
    machine::signals,
    output::{
        exit::{Exit, Failure},
        report,
        utc::timestamp_ms,
    },
    page::{names::StackNames, user_data::reports_prefix},
};

/// The pause between two rounds of `-f`. Calls also keep to the rate that AWS allows.
const PAUSE: Duration = Duration::from_secs(2);

/// Exit code 1 if something could not be read; 130 if it was interrupted, which is how `-f` ends.
pub async fn run(global: &Global, args: &Logs) -> Result<Exit, Failure> {
    let session = Session::open_without_network(global).await?;
    let places = places(&session, &args.names)?;
    let width = places.iter().map(width).max().unwrap_or_default();
    let mut reader = Reader::new(&session.aws, places, since_ms(args.since));
    let print = |place: &LogPlace, line: &LogLine| {
        let is_wanted = args.grep.as_ref().is_none_or(|text| line.text.contains(text.as_str()));
        let is_open = match args.json {
            _ if !is_wanted => true,
            true => report::object(&object(place, line)),
            false => report::logged(&origin(place, line), width, &line.text),
        };
        // The reader has closed the pipe, as `| head` does.
        if is_open { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    let stop = signals::watch();
    loop {
        let round = tokio::select! {
            biased;
            () = stop.cancelled() => return if args.follow { Ok(Exit::Interrupted) } else { Err(interrupted()) },
            round = reader.round(print, report::say) => round?,
        };
        if round.is_break() || !args.follow || reader.is_denied() {
            break;
        }
        stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }
    session.tally(global);
    Ok(if reader.is_incomplete() { Exit::Failed } else { Exit::Done })
}

/// The chosen services and functions, with the names of their logs.
fn places(session: &Session, names: &[String]) -> Result<Vec<LogPlace>, Failure> {
    let of = StackNames::of(&session.config, &session.site);
    let place = |section: String| {
        let (kind, entry) = section.split_once('.').unwrap_or_default();
        let reports = || Reports { bucket: of.artifacts(), prefix: reports_prefix(entry) };
        let (kind, log_group, reports) = match kind {
            "services" => (LogKind::Service, of.service_log_group(entry), Some(reports())),
            _ => (LogKind::Function, of.log_group(entry), None),
        };
        LogPlace { kind, name: entry.to_owned(), log_group, reports }
    };
    let mut chosen = why::chosen(session, names)?;
    chosen.sort();
    chosen.dedup();
    Ok(chosen.into_iter().map(place).collect())
}

fn since_ms(span: Duration) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.saturating_sub(span).as_millis()).unwrap_or(i64::MAX)
}

/// `web i-0abc…4f` for a line of an instance, `labeler` for one of a function.
fn origin(place: &LogPlace, line: &LogLine) -> String {
    match place.kind {
        LogKind::Service => format!("{} {}", place.name, short(&line.stream)),
        LogKind::Function => place.name.clone(),
    }
}

/// The columns that the origins of a place take.
fn width(place: &LogPlace) -> usize {
    place.name.chars().count() + if place.kind == LogKind::Service { 1 + SHORT } else { 0 }
}

/// The length of a shortened instance id.
const SHORT: usize = 9;

/// The first and the last characters of an instance id: `i-0abc…4f`.
fn short(id: &str) -> String {
    let letters: Vec<char> = id.chars().collect();
    match letters.len() {
        0..=SHORT => id.to_owned(),
        length => letters[..6].iter().chain(['…'].iter()).chain(&letters[length - 2..]).collect(),
    }
}

fn object(place: &LogPlace, line: &LogLine) -> Value {
    let stream = if place.kind == LogKind::Service { "instance" } else { "stream" };
    let source = if matches!(line.found, Found::Report(_)) { "report" } else { "log" };
    json!({
        "time": timestamp_ms(line.at_ms),
        "kind": place.kind.name(),
        "name": place.name,
        stream: line.stream,
        "source": source,
        "text": line.text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_is_shortened() {
        assert_eq!(short("i-0abc123456789014f"), "i-0abc…4f");
        assert_eq!((short("i-0abc…4f").chars().count(), short("i-1"), short("")), (SHORT, "i-1".into(), "".into()));
    }

    #[test]
    fn a_line_as_json_has_its_time_and_origin() {
        let place = LogPlace { kind: LogKind::Service, name: "web".into(), log_group: "/x".into(), reports: None };
        let found = Found::Log("1".into());
        let line = LogLine { at_ms: 1_700_000_000_123, place: 0, stream: "i-1".into(), found, text: "a".into() };
        let expected = r#"{"time":"2023-11-14T22:13:20.123Z","kind":"service","name":"web","instance":"i-1","source":"log","text":"a"}"#;
        assert_eq!(object(&place, &line).to_string(), expected);
    }
}
