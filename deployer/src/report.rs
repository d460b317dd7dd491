//! The only file that prints. Answers go to stdout; progress, plans and errors to stderr.

use std::{
    collections::BTreeMap,
    io::{BufRead, ErrorKind, IsTerminal, Write},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use console::{Style, Term};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tokio::sync::oneshot;

use crate::{
    cli::Color,
    engine::{Change, Event, Plan, Planned, Progress, Step},
    exit::Failure,
};

/// Prints an answer to stdout. What cannot be printed is told by [`unprinted`] at the end.
pub fn answer(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    note_unprinted(printed);
}

/// Remembers that something could not be printed. A reader that has gone away (`| head`) has what it wanted.
pub fn note_unprinted(printed: std::io::Result<()>) {
    if let Some(error) = printed.err().filter(|error| error.kind() != ErrorKind::BrokenPipe) {
        let _ = UNPRINTED.set(error);
    }
}

/// Why an answer is not on stdout, if it is not: a full disk, most of all.
pub fn unprinted() -> Option<&'static std::io::Error> {
    UNPRINTED.get()
}

static UNPRINTED: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a line of what is going on to stderr.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Decides once whether stderr has colours.
pub fn colours(when: Color) {
    match when {
        Color::Auto => (),
        Color::Always => console::set_colors_enabled_stderr(true),
        Color::Never => console::set_colors_enabled_stderr(false),
    }
}

fn style() -> Style {
    Style::new().for_stderr()
}

/// Prints why a command ended, cause after cause, with what to do about it.
pub fn failure(failure: &Failure) {
    say(format!("{} {}", style().red().bold().apply_to("error:"), failure.error));
    for cause in failure.error.chain().skip(1) {
        say(format!("  caused by: {cause}"));
    }
    if let Some(place) = &failure.place {
        say(format!("  {place}"));
    }
    if let Some(remedy) = &failure.hint {
        hint(remedy);
    }
    failure.standing.iter().for_each(say);
}

/// Prints what to do now.
pub fn hint(hint: &str) {
    say(format!("{} {hint}", style().cyan().bold().apply_to("hint:")));
}

/// Prints where a command is about to act, before it does.
pub fn heading(stack: &str, account: &str, region: &str, endpoint: Option<&str>) {
    let place = endpoint.map_or(String::new(), |endpoint| format!(" at {endpoint}"));
    say(format!("{} in account {account}, region {region}{place}", style().bold().apply_to(stack)));
}

/// Prints what a plan would do. Returns whether there was anything to show.
pub fn plan(plan: &Plan) -> bool {
    let shown: Vec<&Planned> = plan.lines.iter().filter(|line| line.step != Step::Keep).collect();
    let width = shown.iter().map(|line| line.address.to_string().len()).max().unwrap_or(0);
    for line in &shown {
        let (mark, words) = mark(&line.step);
        say(format!("  {mark} {:width$}  {}{words}", line.address.to_string(), line.name).trim_end());
        changes(&line.step).iter().for_each(|change| say(format!("      {}", field(change))));
    }
    if !shown.is_empty() {
        say(summary(&plan.lines));
    }
    !shown.is_empty()
}

fn mark(step: &Step) -> (String, String) {
    let (mark, style, words) = match step {
        Step::Keep => (" ", style(), String::new()),
        Step::Create => ("+", style().green(), String::new()),
        Step::Update(_) => ("~", style().yellow(), String::new()),
        Step::Replace(_) => ("±", style().red(), " cannot be changed in place".into()),
        Step::Delete { loss: Some(loss) } => ("-", style().red(), format!(" with {loss}")),
        Step::Delete { loss: None } => ("-", style().red(), String::new()),
        Step::Wait(state) => ("…", style().yellow(), format!(" is {state}")),
        Step::Leave(why) => ("=", style().dim(), format!(" stays: {why}")),
        Step::Foreign { owner, .. } => ("=", style().red(), format!(" stays: belongs to {owner}")),
        Step::Protected => ("=", style().red(), " stays: it is protected against deletion".into()),
    };
    (style.bold().apply_to(mark).to_string(), words)
}

fn changes(step: &Step) -> &[Change] {
    match step {
        Step::Update(changes) | Step::Replace(changes) => changes,
        _ => &[],
    }
}

fn field(change: &Change) -> String {
    match (&change.from, &change.to) {
        (Some(from), Some(to)) => {
            let (from, to) = from_where_they_differ(from, to);
            format!("{}: {} → {}", change.path, short(&from), short(&to))
        }
        (None, Some(to)) => format!("{}: {}", change.path, short(to)),
        (Some(from), None) => format!("{}: {} → nothing", change.path, short(from)),
        (None, None) => change.path.clone(),
    }
}

/// The longest value that is shown whole: longer ones, such as user data, would hide the rest of the plan.
const MOST: usize = 60;

/// Two values of which one is too long, without the beginning that both have: what differs is to be seen.
fn from_where_they_differ(from: &str, to: &str) -> (String, String) {
    const BEFORE: usize = 12;
    let same = from.chars().zip(to.chars()).take_while(|(a, b)| a == b).count();
    let is_long = from.chars().nth(MOST).or(to.chars().nth(MOST)).is_some();
    match same.checked_sub(BEFORE) {
        Some(skipped) if is_long && skipped > 1 => {
            let rest = |text: &str| format!("…{}", text.chars().skip(skipped).collect::<String>());
            (rest(from), rest(to))
        }
        _ => (from.to_owned(), to.to_owned()),
    }
}

/// One line of a value.
fn short(value: &str) -> String {
    let line = value.replace('\n', "⏎");
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn summary(lines: &[Planned]) -> String {
    let count = |is: fn(&Step) -> bool| lines.iter().filter(|line| is(&line.step)).count();
    let parts = [
        (count(|step| matches!(step, Step::Create)), "to create"),
        (count(|step| matches!(step, Step::Update(_) | Step::Wait(_))), "to change"),
        (count(|step| matches!(step, Step::Replace(_))), "that cannot be changed in place"),
        (count(|step| matches!(step, Step::Delete { .. })), "to remove"),
        (count(|step| matches!(step, Step::Keep)), "as wanted"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    parts.join(", ")
}

/// The plan as one JSON document.
pub fn plan_json(plan: &Plan) -> String {
    let lines: Vec<_> = plan
        .lines
        .iter()
        .map(|line| {
            serde_json::json!({
                "address": line.address.to_string(),
                "section": line.section,
                "name": line.name,
                "step": line.step,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::json!({ "changes": !plan.is_empty(), "resources": lines }))
}

/// Asks a yes-or-no question. No terminal is no answer.
///
/// Errors: without a terminal, naming the flag that answers beforehand.
pub async fn confirm(question: &str) -> Result<bool, Failure> {
    let answer = ask(&format!("{question} [y/N] ")).await?;
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes" | "o" | "oui"))
}

/// Asks for a text. No terminal is no answer.
///
/// Errors: without a terminal, naming the flag that answers beforehand.
pub async fn ask(question: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::usage("there is no terminal to ask at").hint("pass --yes to go ahead unasked"));
    }
    eprint_flush(question);
    let (answer, answered) = oneshot::channel();
    // In a thread of its own, which ends with the process: nothing else could end the wait for a line.
    std::thread::spawn(move || answer.send(typed()));
    let line = answered.await.unwrap_or_else(|_| Err(ErrorKind::UnexpectedEof.into()))?;
    Ok(line.trim().to_owned())
}

fn typed() -> std::io::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map(|_| line)
}

fn eprint_flush(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

/// Says what is waited for: at once on a terminal, after a second elsewhere.
pub async fn meanwhile<T>(words: &str, work: impl Future<Output = T>) -> T {
    const SOON: Duration = Duration::from_secs(1);
    let spinner = Term::stderr().is_term().then(|| {
        let spinner = ProgressBar::new_spinner();
        spinner.set_style(template("  {spinner} {wide_msg} {elapsed:>5}"));
        spinner.set_message(words.to_owned());
        spinner.enable_steady_tick(Duration::from_millis(120));
        spinner
    });
    tokio::pin!(work);
    let done = match tokio::time::timeout(SOON, &mut work).await {
        Ok(done) => done,
        Err(_) => {
            if spinner.is_none() {
                say(format!("{words} …"));
            }
            work.await
        }
    };
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    done
}

/// Seconds as people read them: `0.4 s`, `12 s`, `3 min 20 s`.
pub fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {} s", whole / 60, whole % 60),
    }
}

/// Draws what happens to each resource: a line per resource on a terminal, plain lines elsewhere.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    multi: MultiProgress,
    footer: ProgressBar,
    rows: Mutex<BTreeMap<String, Row>>,
    drawn: bool,
}

struct Row {
    begun: Instant,
    verb: &'static str,
    said: String,
    bar: Option<ProgressBar>,
}

impl Board {
    /// A board for so many resources.
    pub fn new(resources: usize) -> Self {
        let multi = MultiProgress::new();
        let drawn = Term::stderr().is_term();
        let footer = if drawn {
            let footer = multi.add(ProgressBar::new(resources as u64));
            footer.set_style(template("  {pos} of {len}  {elapsed}"));
            footer.enable_steady_tick(Duration::from_millis(200));
            footer
        } else {
            ProgressBar::hidden()
        };
        Board(Arc::new(Inner { multi, footer, rows: Mutex::default(), drawn }))
    }

    /// Shows an event.
    pub fn show(&self, event: Event) {
        self.show_row(event.address.to_string(), event.progress);
    }

    /// Shows how far something that is no resource has come.
    pub fn show_row(&self, name: String, progress: Progress) {
        let mut rows = self.0.rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match progress {
            Progress::Began(verb) => {
                let row = rows.entry(name.clone()).or_insert_with(|| self.row(&name));
                row.verb = verb;
                self.tell(&name, row, verb);
            }
            Progress::Waiting(state) => {
                let row = rows.entry(name.clone()).or_insert_with(|| self.row(&name));
                self.tell(&name, row, &state);
            }
            Progress::Done => {
                let row = rows.remove(&name).unwrap_or_else(|| self.row(&name));
                self.finish(&row, &name, style().green().apply_to("✓").to_string(), past(row.verb));
            }
            Progress::Failed => {
                let row = rows.remove(&name).unwrap_or_else(|| self.row(&name));
                self.finish(&row, &name, style().red().apply_to("✗").to_string(), "failed");
            }
            Progress::Skipped => self.line(&format!("  {} {name}  skipped", style().dim().apply_to("-"))),
        }
    }

    /// Wipes what moves and leaves what is done.
    pub fn close(&self) {
        let rows = std::mem::take(&mut *self.0.rows.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        rows.into_values().filter_map(|row| row.bar).for_each(|bar| bar.finish_and_clear());
        self.0.footer.finish_and_clear();
    }

    fn row(&self, name: &str) -> Row {
        let bar = self.0.drawn.then(|| {
            let bar = self.0.multi.insert_before(&self.0.footer, ProgressBar::new_spinner());
            bar.set_style(template("  {spinner} {prefix}  {wide_msg} {elapsed:>5}"));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Row { begun: Instant::now(), verb: "", said: String::new(), bar }
    }

    fn tell(&self, name: &str, row: &mut Row, state: &str) {
        if row.said == state {
            return;
        }
        row.said = state.to_owned();
        match &row.bar {
            Some(bar) => bar.set_message(state.to_owned()),
            None => say(format!("  {name}: {state}")),
        }
    }

    fn finish(&self, row: &Row, name: &str, mark: String, word: &str) {
        if let Some(bar) = &row.bar {
            bar.finish_and_clear();
        }
        self.0.footer.inc(1);
        self.line(&format!("  {mark} {name}  {word} in {}", seconds(row.begun.elapsed())));
    }

    fn line(&self, line: &str) {
        if self.0.drawn {
            let _ = self.0.multi.println(line);
        } else {
            say(line);
        }
    }
}

fn past(verb: &str) -> &str {
    match verb {
        "creating" => "created",
        "updating" => "updated",
        "deleting" => "gone",
        _ => "ready",
    }
}

fn template(text: &str) -> ProgressStyle {
    ProgressStyle::with_template(text).expect("the templates here are constants that parse")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str, expected: &str) {
        let change = Change { path: "it".into(), from: Some(from.into()), to: Some(to.into()) };
        assert_eq!(field(&change), format!("it: {expected}"));
    }

    #[test]
    fn of_long_values_what_differs_is_shown() {
        check("a", "b", "a → b");
        check("", "b", " → b");
        let arn = "arn:aws:iam::000000000000:role/deployer/postagram/postagram-us-east-1";
        let (from, to) = (format!("{arn}-labeler-fn"), format!("{arn}-other"));
        check(&from, &to, "…m-us-east-1-labeler-fn → …m-us-east-1-other");
        check(&"é".repeat(70), &"ü".repeat(2), &format!("{}… → üü", "é".repeat(60)));
        let (from, to) = (format!("{}\nA=1", "x".repeat(80)), format!("{}\nA=2", "x".repeat(80)));
        check(&from, &to, "…xxxxxxxxx⏎A=1 → …xxxxxxxxx⏎A=2");
    }
}
