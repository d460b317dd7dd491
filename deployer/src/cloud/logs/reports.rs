//! The lines of the reports that instances write when they boot and when their service exits.

use super::{Found, LogLine};
use crate::cloud::why::report::Report;

/// The most reports read at once: an instance writes one for each of three stages.
pub const MOST: usize = 150;

/// Facts that are shown elsewhere, or that are of no use to people.
const LEFT_OUT: &[&str] = &["stage", "port"];

/// The lines of a report from a time on: its facts, and the journal's last lines.
pub fn lines(place: usize, report: &Report, since_ms: i64) -> Vec<LogLine> {
    // A later report of the same stage replaces it.
    let document = format!("{} {}", report.stage, report.at_s);
    let line = |at_s: i64, text: String| LogLine {
        at_ms: at_s.saturating_mul(1000),
        place,
        stream: report.instance.clone(),
        found: Found::Report(document.clone()),
        text,
    };
    let facts = report.facts.iter().filter(|(name, value)| !value.is_empty() && !LEFT_OUT.contains(&name.as_str()));
    let facts = facts.map(|(name, value)| format!(" {name}={value}")).collect::<String>();
    let head = line(report.at_s, format!("boot report: {}{facts}", report.stage));
    let journal = report.lines.iter().filter(|it| !it.text.is_empty());
    let journal = journal.map(|it| line(it.at_s.unwrap_or(report.at_s), it.text.clone()));
    // Times in reports are in whole seconds.
    journal.chain([head]).filter(|line| line.at_ms.saturating_add(999) >= since_ms).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_its_facts_and_the_lines_of_the_journal() {
        let text = "stage=exit port=8080 http= result=exit-code code=exited status=78\nNRestarts=3\n\
                    2026-11-29T10:00:00+0000 ip-10-0-0-1 service[7]: JWT_SECRET is not set\n\
                    2026-11-29T10:00:02+0000 ip-10-0-0-1 systemd[1]: web.service: Stopped.\n";
        let report = Report::parse("i-1", "exit", 1_795_946_403, text);
        let shown = |since_ms| -> Vec<(i64, String)> {
            lines(0, &report, since_ms).into_iter().map(|line| (line.at_ms, line.text)).collect()
        };
        let all = shown(0);
        assert_eq!(all.len(), 3);
        assert_eq!(all[0], (1_795_946_400_000, "JWT_SECRET is not set".to_owned()));
        let head = "boot report: exit NRestarts=3 code=exited result=exit-code status=78";
        assert_eq!(all[2], (1_795_946_403_000, head.to_owned()));
        assert_eq!(shown(1_795_946_402_500).len(), 2, "the second of the line is not over");
        assert_eq!(shown(1_795_946_404_000).len(), 0);
    }
}
