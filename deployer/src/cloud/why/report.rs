//! Reports that instances write (`page/user_data/reports.rs`), and lines of their journals and consoles.

use std::collections::BTreeMap;

use time::{OffsetDateTime, format_description::well_known::Rfc3339, macros::format_description};

use crate::page::user_data::{SETTING_UP, SETUP};

/// A report of one instance at one stage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// `i-…`.
    pub instance: String,
    /// `started`, `answers` or `exit`.
    pub stage: String,
    /// When it was written, in seconds since 1970.
    pub at_s: i64,
    /// `http`, `NRestarts`, `ActiveState`, …
    pub facts: BTreeMap<String, String>,
    /// The journal's last lines.
    pub lines: Vec<Line>,
}

/// A line of a journal or console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was written, in seconds since 1970; `None` on a console.
    pub at_s: Option<i64>,
    /// The program that wrote it, such as `systemd`; empty if unknown.
    pub program: String,
    /// The message.
    pub text: String,
}

/// How a service, or a command that runs before it, exited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Whether it was the program itself.
    pub is_program: bool,
    /// Whether it was the command `setup`.
    pub is_setup: bool,
    /// Whether a signal killed it.
    pub is_killed: bool,
    /// The exit code, or the signal's number.
    pub status: u32,
    /// systemd's name for it, such as `CONFIG` or `KILL`.
    pub name: String,
    /// The last message before the exit.
    pub words: String,
}

impl Report {
    /// Parses a report. Anything that is not a fact is kept as a line.
    pub fn parse(instance: &str, stage: &str, at_s: i64, text: &str) -> Report {
        let (mut facts, mut lines) = (BTreeMap::new(), Vec::new());
        for (at, line) in text.lines().enumerate() {
            let pairs = || line.split_whitespace().map(|word| word.split_once('='));
            let is_of_facts = lines.is_empty() && (at == 0 || !line.contains(' ')) && pairs().all(|it| it.is_some());
            if is_of_facts {
                facts.extend(pairs().flatten().map(|(name, value)| (name.to_owned(), value.to_owned())));
            } else {
                lines.push(Line::parse(line));
            }
        }
        Report { instance: instance.into(), stage: stage.into(), at_s, facts, lines }
    }

    /// Whether the service has exited several times within a short time, the last time shortly before `now_s`. Requests to
    /// such a service fail now and then, even if the load balancer finds it healthy in between.
    pub fn exits_again(&self, now_s: i64) -> bool {
        let recent = |line: &Line| line.at_s.is_none_or(|at_s| at_s > self.at_s - AGAIN_WITHIN_S);
        let recent: Vec<Line> = self.lines.iter().filter(|line| recent(line)).cloned().collect();
        let ends = ends(&recent).iter().filter(|end| end.is_program).count();
        self.stage == "exit" && self.at_s > now_s - AGAIN_WITHIN_S && ends >= ALIKE
    }

    /// The number of restarts.
    pub fn restarts(&self) -> u32 {
        self.facts.get("NRestarts").and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

impl Line {
    /// `TIME HOST WHO[PID]: TEXT`, or `[TIME] WHO[PID]: TEXT` on a console.
    pub fn parse(line: &str) -> Line {
        let parsed = line.split_once("]: ").and_then(|(head, text)| {
            let program = head.rsplit(' ').next()?.split_once('[')?.0;
            let at_s = head.split(' ').next().and_then(at);
            (!program.is_empty()).then(|| Line { at_s, program: program.into(), text: text.trim_end().into() })
        });
        parsed.unwrap_or_else(|| Line { at_s: None, program: String::new(), text: line.trim_end().into() })
    }
}

/// Parses the time of a journal's line, which has no colon in its offset (`--output=short-iso`).
fn at(text: &str) -> Option<i64> {
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][offset_hour sign:mandatory][offset_minute]");
    let parsed = OffsetDateTime::parse(text, format).or_else(|_| OffsetDateTime::parse(text, &Rfc3339));
    parsed.ok().map(OffsetDateTime::unix_timestamp)
}

/// Returns the exits in these lines, oldest first.
pub fn ends(lines: &[Line]) -> Vec<End> {
    let mut ends = Vec::new();
    let (mut words, mut program) = ("", "");
    for line in lines {
        if line.program != "systemd" {
            program = &line.program;
            // The beginning of a panic or backtrace is more useful than its end.
            let is_aside = line.text.starts_with("note: ") || line.text.starts_with("   ") || line.text.is_empty();
            words = if is_aside { words } else { &line.text };
            continue;
        }
        if let Some(end) = end(&line.text, program, words) {
            (words, program) = ("", "");
            // A service that exits on SIGTERM was stopped on purpose.
            ends.extend(Some(end).filter(|end| end.name != "TERM"));
        }
    }
    ends
}

fn end(text: &str, program: &str, words: &str) -> Option<End> {
    let (head, rest) = text.split_once(" process exited, code=")?;
    let (code, status) = rest.split_once(", status=")?;
    let (number, name) = status.trim_end().split_once('/')?;
    let is_program = head.ends_with("Main");
    Some(End {
        is_program,
        is_setup: !is_program && program == SETUP,
        is_killed: code != "exited",
        status: number.parse().ok()?,
        name: name.into(),
        words: message(Some(words).filter(|words| *words != SETTING_UP).unwrap_or_default()),
    })
}

/// Returns the message of a line; JSON lines have it in a field.
fn message(line: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(line).ok();
    let message = json.and_then(|json| {
        let named = ["message", "msg", "error"].iter().find_map(|name| json.get(name)?.as_str().map(str::to_owned));
        named.or_else(|| json.get("fields")?.get("message")?.as_str().map(str::to_owned))
    });
    message.unwrap_or_else(|| line.to_owned())
}

/// Exits within this many seconds count together.
const AGAIN_WITHIN_S: i64 = 15 * 60;

/// This many identical exits in a row are not a coincidence.
const ALIKE: usize = 3;

/// Errors that may be transient, because new resources take time to become visible.
const PASSING: &[&str] = &[
    "not authorized",
    "AccessDenied",
    "Access Denied",
    "credentials",
    "Throttl",
    "timed out",
    "timeout",
    "dispatch failure",
    "Unavailable",
    "ResourceNotFound",
    "connection refused",
    "Connection refused",
    "(403)",
    "(404)",
    "fatal error",
];

/// Returns the exit that the service repeats and that waiting will not cure.
pub fn certain(report: &Report) -> Option<End> {
    let ends = ends(&report.lines);
    let last = ends.last()?;
    let is_alike = |end: &&End| {
        (end.is_program, end.is_setup, end.is_killed, end.status)
            == (last.is_program, last.is_setup, last.is_killed, last.status)
    };
    let alike: Vec<&End> = ends.iter().rev().take_while(is_alike).collect();
    let may_pass = alike.iter().any(|end| PASSING.iter().any(|word| end.words.contains(word)));
    let is_certain =
        (last.is_program || last.is_setup) && report.restarts() as usize >= ALIKE && alike.len() >= ALIKE && !may_pass;
    is_certain.then(|| last.clone())
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_setup {
            f.write_str("cannot be set up: `setup` ")?;
        }
        match self.is_killed {
            true => write!(f, "is killed by {}", self.name)?,
            false => write!(f, "exits with {}", self.status)?,
        }
        if self.words.is_empty() { Ok(()) } else { write!(f, ": {}", self.words) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "2026-11-29T10:00:00+0000 ip-10-0-0-1 service[7]: error: AUTH is jwt: set JWT_SECRET\n\
        2026-11-29T10:00:00+0000 ip-10-0-0-1 systemd[1]: web.service: Main process exited, code=exited, status=78/CONFIG\n";

    fn report(restarts: u32, lines: &str) -> Report {
        let head = format!("stage=exit port=8080 http= result=exit-code code=exited status=78\nNRestarts={restarts}\n");
        Report::parse("i-1", "exit", 0, &(head + lines))
    }

    #[test]
    fn a_report_is_parsed() {
        let report = report(2, LINES);
        assert_eq!((report.restarts(), report.facts["port"].as_str(), report.lines.len()), (2, "8080", 2));
        let json = r#"{"timestamp":"2026","level":"ERROR","message":"AUTH is jwt"}"#;
        assert_eq!((message(json), message("plain")), ("AUTH is jwt".to_owned(), "plain".to_owned()));
        let end = ends(&report.lines).remove(0);
        assert_eq!(end.to_string(), "exits with 78: error: AUTH is jwt: set JWT_SECRET");
        assert_eq!(report.lines[0].at_s, Some(1_795_946_400));
        assert_eq!(Line::parse("2026-11-29T11:00:00+0100 host a[1]: b").at_s, Some(1_795_946_400));
        assert_eq!(Line::parse("2026-11-29T10:00:00.123Z a[1]: b").at_s, Some(1_795_946_400));
        let console = Line::parse("[   12.3] aws[9]: fatal error: x");
        assert_eq!((console.program.as_str(), console.at_s), ("aws", None));
        assert_eq!(Line::parse("anything").text, "anything");
    }

    #[test]
    fn a_service_that_has_exited_several_times_within_minutes_exits_again() {
        let (now_s, minute) = (1_795_946_400, 60);
        let of = |stage: &str, at_s, lines: &str| Report { stage: stage.into(), at_s, ..report(0, lines) };
        assert!(of("exit", now_s, &LINES.repeat(3)).exits_again(now_s));
        assert!(!of("exit", now_s, &LINES.repeat(2)).exits_again(now_s), "two exits may be a coincidence");
        assert!(!of("exit", now_s, &LINES.repeat(3)).exits_again(now_s + 16 * minute), "it has run since");
        let before = LINES.replace("T10:00", "T09:00").repeat(2);
        assert!(!of("exit", now_s, &(before + LINES)).exits_again(now_s), "two exits were an hour ago");
        assert!(!of("answers", now_s, &LINES.repeat(3)).exits_again(now_s), "it was written before");
    }

    #[test]
    fn a_setup_that_fails_again_and_again_is_certain() {
        let lines = "2026-11-29T10:00:00+0000 ip-10-0-0-1 setup[7]: setup: line 1: pip: command not found\n\
            2026-11-29T10:00:00+0000 ip-10-0-0-1 systemd[1]: web.service: Control process exited, code=exited, status=127/n/a\n";
        let end = certain(&report(3, &lines.repeat(3))).expect("it is certain");
        let expected = "cannot be set up: `setup` exits with 127: setup: line 1: pip: command not found";
        assert_eq!(end.to_string(), expected);
        let silent = lines.replace("setup: line 1: pip: command not found", SETTING_UP).replace("127/n/a", "9/n/a");
        let end = certain(&report(3, &silent.repeat(3))).expect("it is certain");
        assert_eq!(end.to_string(), "cannot be set up: `setup` exits with 9");
        let download = lines.replace("setup[7]", "aws[7]");
        assert_eq!(certain(&report(3, &download.repeat(3))), None, "a download may succeed later");
    }

    #[test]
    fn three_identical_exits_are_certain_unless_transient() {
        assert!(certain(&report(3, &LINES.repeat(3))).is_some());
        assert_eq!(certain(&report(2, &LINES.repeat(3))), None, "too few restarts");
        assert_eq!(certain(&report(3, &LINES.repeat(2))), None, "too few ends");
        let others = LINES.repeat(2) + &LINES.replace("78/CONFIG", "1/FAILURE");
        assert_eq!(certain(&report(3, &others)), None, "not alike");
        let denied = LINES.replace("AUTH is jwt", "AccessDeniedException").repeat(3);
        assert_eq!(certain(&report(3, &denied)), None, "a permission may not be in force yet");
    }
}
