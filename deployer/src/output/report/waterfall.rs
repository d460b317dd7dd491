//! When each resource was worked on: a bar for each, with those of the critical path marked.

use std::time::Duration;

use console::measure_text_width;

use super::{escape, screen, seconds};
use crate::engine::Timed;

/// The widest chart.
const WIDEST: usize = 80;
/// The longest name; longer ones are cut.
const LONGEST_NAME: usize = 36;
/// The fewest columns of a bar's area.
const NARROWEST: usize = 10;

/// Prints the times of a run.
pub fn waterfall(timed: &[Timed]) {
    let columns = screen::columns().unwrap_or(WIDEST).min(WIDEST);
    rows(timed, columns).iter().for_each(|row| screen::print(&escape::line(row)));
}

fn rows(timed: &[Timed], columns: usize) -> Vec<String> {
    let Some(start) = timed.iter().map(|it| it.begun).min() else { return Vec::new() };
    let end = timed.iter().map(|it| it.begun + it.took).max().unwrap_or_default();
    let whole = end - start;
    let name = |it: &Timed| screen::fit(&it.name, LONGEST_NAME);
    let names = timed.iter().map(|it| measure_text_width(&name(it))).max().unwrap_or(0);
    let times = timed.iter().map(|it| seconds(it.took).len()).max().unwrap_or(0);
    // A mark, the name, the time, and the bar, with blanks between them.
    let area = columns.saturating_sub(2 + names + 2 + times + 2).max(NARROWEST);
    let total = seconds(whole);
    let mut rows = vec![format!("{:before$}0{total:>rest$}", "", before = 2 + names + 2 + times + 2, rest = area - 1)];
    for it in timed {
        let (name, took) = (name(it), seconds(it.took));
        let blanks = names - measure_text_width(&name);
        let (before, length) = bar(it.begun - start, it.took, whole, area);
        let (mark, block) = if it.is_critical { ("*", "█") } else { (" ", "░") };
        let end = if it.has_failed { " ✗" } else { "" };
        let drawn = format!("{}{}{end}", " ".repeat(before), block.repeat(length));
        let row = format!("{mark} {name}{:blanks$}  {took:>times$}  {drawn}", "");
        rows.push(screen::fit(row.trim_end(), columns));
    }
    rows.extend(path(timed, whole, columns));
    rows
}

/// The first column of a bar and its length, at least one column.
fn bar(begun: Duration, took: Duration, whole: Duration, area: usize) -> (usize, usize) {
    let part = |time: Duration| match whole.is_zero() {
        true => 0.0,
        false => time.as_secs_f64() / whole.as_secs_f64() * area as f64,
    };
    let before = (part(begun) as usize).min(area - 1);
    let end = (part(begun + took).round() as usize).clamp(before + 1, area);
    (before, end - before)
}

/// The critical path in words, on as many lines as it needs.
fn path(timed: &[Timed], whole: Duration, columns: usize) -> Vec<String> {
    let critical: Vec<&Timed> = timed.iter().filter(|it| it.is_critical).collect();
    let work: Duration = critical.iter().map(|it| it.took).sum();
    let mut lines = Vec::new();
    let mut line = format!("* critical path, {} of {}:", seconds(work), seconds(whole));
    for (index, it) in critical.iter().enumerate() {
        let arrow = if index > 0 { "→ " } else { "" };
        let next = format!(" {arrow}{}", it.name);
        if measure_text_width(&line) + measure_text_width(&next) > columns {
            lines.push(std::mem::replace(&mut line, "   ".into()));
        }
        line += &next;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(name: &str, begun_s: u64, took_s: u64, is_critical: bool) -> Timed {
        let (begun, took) = (Duration::from_secs(begun_s), Duration::from_secs(took_s));
        Timed { name: name.into(), begun, took, is_critical, has_failed: false }
    }

    #[test]
    fn bars_show_beginning_and_length_and_the_critical_path() {
        let mut failed = timed("table.posts", 10, 5, false);
        failed.has_failed = true;
        let rows = rows(&[timed("bucket.a", 10, 2, true), failed, timed("load_balancer.web", 12, 18, true)], 50);
        assert_eq!(
            rows,
            [
                "                            0                 20 s",
                "* bucket.a           2.0 s  ██",
                "  table.posts        5.0 s  ░░░░░░ ✗",
                "* load_balancer.web   18 s    ████████████████████",
                "* critical path, 20 s of 20 s: bucket.a",
                "    → load_balancer.web",
            ]
        );
    }

    #[test]
    fn every_row_fits_at_every_width() {
        let name = "x".repeat(60);
        let many: Vec<Timed> = (0..40).map(|n| timed(&format!("{name}{n}"), n * 7, n % 5, n % 3 == 0)).collect();
        for columns in [60, 80] {
            for row in rows(&many, columns) {
                assert!(measure_text_width(&row) <= columns || row.contains(&name), "{row}");
            }
        }
        assert_eq!(rows(&[], 80), [""; 0]);
        assert_eq!(rows(&[timed("a", 3, 0, true)], 80).len(), 3, "a run without a duration");
    }
}
