//! The commands that read the journal and send it to CloudWatch Logs: `journalctl`, `jq` and `aws logs`.

use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::commands::{Done, Tools, below, full_name, option, unknown};
use super::secrets;

/// The options of `journalctl` without a value.
const PLAIN: &[&str] = &["--all", "--no-pager", "--quiet"];
/// Its options with a value.
const VALUED: &[&str] = &["--cursor-file", "--lines", "--output", "--output-fields", "--since", "--unit"];

/// A line of the journal, as `instance::Host` writes it: `TIME HOST PROCESS: TEXT`.
struct Entry<'a> {
    at: OffsetDateTime,
    rest: &'a str,
    /// The length of the line, and of all lines before it.
    end: u64,
}

/// `journalctl --unit=UNIT`, with `--lines=N` and `--output=short-iso` or `json`. It returns the last lines, or with
/// `--since` or a cursor the first ones (docs/aws.md §8.6).
pub fn journalctl(root: &Path, tools: &dyn Tools, arguments: &[&str]) -> Done {
    let refused =
        || Done::failed(format!("journalctl {}: this does not exist on a local instance", arguments.join(" ")));
    let given = |name: &str| option(arguments, name);
    let most = given("--lines").map_or(Ok(usize::MAX), str::parse);
    let show: fn(&Entry, &str) -> String = match (given("--output"), given("--output-fields")) {
        (Some("short-iso"), None) => short_iso,
        (Some("json"), Some("MESSAGE")) => json_line,
        _ => return refused(),
    };
    let (Some(unit), Ok(most), None) = (given("--unit"), most, unknown(arguments, PLAIN, VALUED)) else {
        return refused();
    };
    // The cursor of a local instance is a position in the journal of the unit.
    let file = given("--cursor-file").map(|path| below(root, path)).transpose();
    let Ok(file) = file else { return refused() };
    let read = |file: &std::path::PathBuf| std::fs::read_to_string(file).ok()?.trim().strip_prefix("b=")?.parse().ok();
    let cursor: Option<u64> = file.as_ref().and_then(read);
    let (mut end, text) = tools.journal(&full_name(unit), cursor.unwrap_or_default());
    // Another thread may be writing the last line.
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let entries: Vec<Entry> = complete
        .map(|line| {
            end += line.len() as u64;
            let (at, rest) = line.trim_end().split_once(' ').unwrap_or_default();
            Entry { at: OffsetDateTime::parse(at, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH), rest, end }
        })
        .collect();
    let most = most.min(entries.len());
    let shown = match cursor.is_some() || given("--since").is_some() {
        true => &entries[..most],
        false => &entries[entries.len() - most..],
    };
    if let (Some(file), Some(last)) = (&file, shown.last())
        && let Err(error) = std::fs::write(file, format!("b={}\n", last.end))
    {
        return Done::failed(format!("Failed to write cursor: {error}"));
    }
    Done {
        output: shown.iter().map(|entry| show(entry, entry.message())).collect::<String>().into(),
        ..Done::default()
    }
}

impl Entry<'_> {
    /// The text, without the host and the process.
    fn message(&self) -> &str {
        self.rest.split_once(": ").map_or("", |(_, text)| text)
    }

    fn micros(&self) -> i128 {
        self.at.unix_timestamp_nanos() / 1000
    }
}

/// Times have no fraction, and an offset without a colon.
fn short_iso(entry: &Entry, _: &str) -> String {
    let whole = entry.at.replace_nanosecond(0).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default();
    format!("{}+0000 {}\n", whole.trim_end_matches('Z'), entry.rest)
}

fn json_line(entry: &Entry, message: &str) -> String {
    // Fields with characters that cannot be printed are lists of bytes.
    let is_plain = |c: char| matches!(c, '\t' | '\n') || !c.is_control();
    let message = if message.chars().all(is_plain) { json!(message) } else { json!(message.as_bytes()) };
    let at = entry.micros().to_string();
    let line = json!({ "__CURSOR": format!("b={}", entry.end), "__REALTIME_TIMESTAMP": at, "MESSAGE": message });
    format!("{line}\n")
}

/// The filter of `jq` on a local instance: it turns the entries of a journal into the events of `PutLogEvents`.
const EVENTS: &str = r#"def plain:[foreach (.[],-1) as $b ([0];if .[0]==2 and $b>31 and $b<127 then [if $b<64 then 2 else 0 end] elif .[0]==1 and $b==91 then [2] else (if .[0]==1 then [27] else [] end) as $kept|if $b==27 then [1]+$kept else [0]+$kept+[$b] end end;.[1:][])];def text:[foreach .[] as $b ({n:0};if .n>0 and $b>127 and $b<192 then {n:(.n-1),least,c:(.c*64+$b-128)}|.o=if .n>0 then [] elif .c<.least or .c>1114111 or (.c>55295 and .c<57344) then [65533] else [.c] end else (if .n>0 then [65533] else [] end) as $o|if $b<0 then {n:0,$o} elif $b<128 then {n:0,o:($o+[$b])} elif $b<192 or $b>247 then {n:0,o:($o+[65533])} elif $b<224 then {n:1,least:128,c:($b-192),$o} elif $b<240 then {n:2,least:2048,c:($b-224),$o} else {n:3,least:65536,c:($b-240),$o} end end;.o[])]|implode;map({timestamp:(.__REALTIME_TIMESTAMP|tonumber/1000|floor),message:(.MESSAGE|if type=="string" then . else (try (plain|text) catch .) end|if .=="" then " " else . end)})|sort_by(.timestamp)|select(length>0)"#;

/// `jq -cs FILTER` with the filter above, `jq -s length`, and the filter for secrets.
pub fn jq(arguments: &[&str], input: &[u8]) -> Done {
    let failed =
        || Done { status: 5, output: Vec::new(), errors: "jq: error: the input is not a journal\n".to_owned() };
    if arguments == ["-s", "length"] {
        let values = serde_json::Deserializer::from_slice(input).into_iter::<Value>();
        let count = values.map(|value| value.ok().map(drop)).collect::<Option<Vec<()>>>();
        return count
            .map_or_else(failed, |values| Done { output: format!("{}\n", values.len()).into(), ..Done::default() });
    }
    if let ["-r", "--arg", "name", name, "--arg", "key", key, secrets::ASSIGNMENT] = *arguments {
        return secrets::jq(name, key, input);
    }
    if arguments != ["-cs", EVENTS] {
        return Done::failed(format!("jq {}: this does not exist on a local instance", arguments.join(" ")));
    }
    let lines = serde_json::Deserializer::from_slice(input).into_iter::<Value>();
    let event = |entry: Value| {
        let micros: i64 = entry["__REALTIME_TIMESTAMP"].as_str()?.parse().ok()?;
        let message = match &entry["MESSAGE"] {
            Value::String(text) => text.clone(),
            Value::Array(bytes) => {
                let bytes = bytes.iter().filter_map(|byte| u8::try_from(byte.as_u64()?).ok());
                String::from_utf8_lossy(&without_control_sequences(bytes)).into_owned()
            }
            other => format!("Cannot iterate over {other}"),
        };
        let message = if message.is_empty() { " ".to_owned() } else { message };
        Some((micros.div_euclid(1000), message))
    };
    let events: Option<Vec<(i64, String)>> = lines.map(|line| event(line.ok()?)).collect();
    let Some(mut events) = events else { return failed() };
    events.sort_by_key(|(at, _)| *at);
    let events: Vec<Value> = events.iter().map(|(at, text)| json!({ "timestamp": at, "message": text })).collect();
    let output = if events.is_empty() { String::new() } else { format!("{}\n", Value::Array(events)) };
    Done { output: output.into(), ..Done::default() }
}

/// Removes the control sequences of terminals: `ESC [`, characters up to `?`, and one from `@` on.
fn without_control_sequences(bytes: impl Iterator<Item = u8>) -> Vec<u8> {
    #[derive(PartialEq)]
    enum In {
        Text,
        Escape,
        Sequence,
    }
    let (mut kept, mut state) = (Vec::new(), In::Text);
    for byte in bytes {
        state = match (state, byte) {
            (In::Sequence, b' '..=b'?') | (In::Escape, b'[') => In::Sequence,
            (In::Sequence, b'@'..=b'~') => In::Text,
            (before, byte) => {
                kept.extend((before == In::Escape).then_some(0x1b));
                kept.extend((byte != 0x1b).then_some(byte));
                if byte == 0x1b { In::Escape } else { In::Text }
            }
        };
    }
    kept.extend((state == In::Escape).then_some(0x1b));
    kept
}

/// `aws logs create-log-stream` and `put-log-events`, with the options that name the stream.
pub async fn aws_logs(root: &Path, tools: &dyn Tools, arguments: &[&str]) -> Done {
    let refused = |why: String| Done::failed(format!("aws logs {}: {why}", arguments.join(" ")));
    let (operation, mut rest) = match arguments.split_first() {
        Some((&"create-log-stream", rest)) => ("CreateLogStream", rest.iter()),
        Some((&"put-log-events", rest)) => ("PutLogEvents", rest.iter()),
        _ => return refused("this does not exist on a local instance".to_owned()),
    };
    let (mut region, mut input) = (None, json!({}));
    while let Some(option) = rest.next() {
        let Some(value) = rest.next() else { return refused(format!("{option}: expected one argument")) };
        match (*option, operation) {
            ("--region", _) => region = Some(*value),
            ("--log-group-name", _) => input["logGroupName"] = json!(value),
            ("--log-stream-name", _) => input["logStreamName"] = json!(value),
            ("--log-events", "PutLogEvents") => match events_in(root, value) {
                Ok(events) => input["logEvents"] = events,
                Err(why) => return refused(why),
            },
            _ => return refused(format!("Unknown options: {option}")),
        }
    }
    match tools.log(region, operation, input).await {
        Ok(answer) if operation == "PutLogEvents" => Done { output: format!("{answer:#}\n").into(), ..Done::default() },
        Ok(_) => Done::default(),
        Err(why) => Done { status: 254, output: Vec::new(), errors: format!("\n{why}\n") },
    }
}

/// The events in `file://PATH`.
fn events_in(root: &Path, value: &str) -> Result<Value, String> {
    let path = value.strip_prefix("file://").ok_or("of --log-events, only file://PATH exists on a local instance")?;
    let text = std::fs::read_to_string(below(root, path)?).map_err(|error| {
        format!("Error parsing parameter '--log-events': Unable to load paramfile {value}: {error}")
    })?;
    serde_json::from_str(&text)
        .map_err(|error| format!("Error parsing parameter '--log-events': Invalid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::tests::FakeTools;

    /// The lines of a journal: one each second.
    fn journal(texts: &[&str]) -> String {
        let line = |(at, text): (usize, &&str)| format!("2026-11-29T10:00:{at:02}.123Z ip-1 web[7]: {text}\n");
        texts.iter().enumerate().map(line).collect()
    }

    fn run(root: &Path, tools: &FakeTools, more: &[&str]) -> String {
        let done = journalctl(root, tools, &[&["--unit=web", "--no-pager", "--quiet"], more].concat());
        String::from_utf8(done.output).unwrap() + &done.errors
    }

    #[test]
    fn the_journal_is_read_on_from_a_cursor() {
        let (dir, tools) = (tempfile::tempdir().unwrap(), FakeTools::default());
        *tools.lines.lock() = journal(&["one", "two: 2", "three"]) + "2026 cut";
        let iso = |more: &[&str]| run(dir.path(), &tools, &[&["--output=short-iso"], more].concat());
        assert_eq!(iso(&["--lines=1"]), "2026-11-29T10:00:02+0000 ip-1 web[7]: three\n");
        let first = ["--lines=2", "--since=2000-01-01", "--cursor-file=/cursor"];
        assert!(iso(&first).ends_with("web[7]: one\n2026-11-29T10:00:01+0000 ip-1 web[7]: two: 2\n"));
        assert_eq!(iso(&first), "2026-11-29T10:00:02+0000 ip-1 web[7]: three\n");
        assert_eq!(iso(&first), "");
        std::fs::write(dir.path().join("cursor"), "b=10\n").unwrap();
        let lines = tools.lines.lock().clone();
        (*tools.lines.lock(), *tools.gone.lock()) = (lines[42..].to_owned(), 42);
        // Lines before the cursor have been removed.
        assert!(iso(&first).starts_with("2026-11-29T10:00:01+0000 ip-1 web[7]: two: 2\n"));
        assert_eq!(iso(&first), "");
        assert!(iso(&["--follow"]).contains("does not exist on a local instance"));
    }

    #[test]
    fn entries_become_events_as_with_jq() {
        let (dir, tools) = (tempfile::tempdir().unwrap(), FakeTools::default());
        *tools.lines.lock() = journal(&["a \"b\" é", "\u{1b}[31mé", ""]);
        let entries = run(dir.path(), &tools, &["--output=json", "--output-fields=MESSAGE", "--all"]);
        let done = jq(&["-cs", EVENTS], entries.as_bytes());
        let expected = r#"[{"timestamp":1795946400123,"message":"a \"b\" é"},{"timestamp":1795946401123,"message":"é"},{"timestamp":1795946402123,"message":" "}]"#;
        assert_eq!(String::from_utf8(done.output).unwrap(), format!("{expected}\n"));
        assert_eq!((jq(&["-cs", EVENTS], b"").output.len(), jq(&["-cs", EVENTS], b"x").status), (0, 5));
        let count = |input: &[u8]| String::from_utf8(jq(&["-s", "length"], input).output).unwrap();
        assert_eq!([count(entries.as_bytes()), count(b""), count(b"x")], ["3\n", "0\n", ""]);
        assert!(jq(&["."], b"").errors.contains("does not exist on a local instance"));
    }

    #[test]
    fn control_sequences_are_removed_from_messages() {
        for (bytes, kept) in [
            ("\u{1b}[1;32mINFO\u{1b}[0m Zoé", "INFO Zoé"),
            ("\u{1b}[2Ka\u{1b}b\u{1b}", "a\u{1b}b\u{1b}"),
            ("\u{1b}\u{1b}[1mx\u{1b}[31", "\u{1b}x"),
            ("\u{1b}[3é", "é"),
        ] {
            let kept_bytes = without_control_sequences(bytes.bytes());
            assert_eq!(String::from_utf8(kept_bytes).unwrap(), kept, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn events_are_sent_with_the_options_of_the_cli() {
        let (dir, tools) = (tempfile::tempdir().unwrap(), FakeTools::default());
        std::fs::write(dir.path().join("batch"), "[1]").unwrap();
        let run = async |line: &str| aws_logs(dir.path(), &tools, &line.split(' ').collect::<Vec<_>>()).await;
        let to = "--region r --log-group-name g --log-stream-name s";
        assert_eq!(run(&format!("create-log-stream {to}")).await.status, 0);
        let put = run(&format!("put-log-events {to} --log-events file:///batch")).await;
        assert_eq!((put.status, put.output.as_slice()), (0, &b"{}\n"[..]));
        let name = json!({ "logGroupName": "g", "logStreamName": "s" });
        let mut events = name.clone();
        events["logEvents"] = json!([1]);
        let calls = [("CreateLogStream".to_owned(), name), ("PutLogEvents".to_owned(), events)];
        assert_eq!(*tools.logged.lock(), calls);
        let refused = async |line: &str, word: &str| {
            let done = run(line).await;
            assert!(done.status != 0 && done.errors.contains(word), "{}", done.errors);
        };
        refused("put-log-events --log-events file:///none", "Unable to load paramfile").await;
        refused("put-log-events --log-events []", "only file://PATH").await;
        refused("create-log-stream --log-events file:///batch", "Unknown options").await;
        refused("delete-log-group --log-group-name g", "does not exist on a local instance").await;
    }
}
