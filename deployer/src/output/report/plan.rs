//! Prints plans, for people and as JSON. Secret values are hidden unless the user asks for them.

use console::measure_text_width;
use serde_json::{Value as Json, json};

use super::{escape, events, say, screen, style};
use crate::{
    cost::{difference::Difference, prices::prices, rounded},
    engine::{Change, Plan, Planned, Step, Value},
};

/// Whether the values of variables are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Only that they changed.
    Hidden,
    /// The values themselves (`--show-values`).
    Shown,
}

impl Values {
    /// According to the command line.
    pub fn shown_if(is_asked_for: bool) -> Values {
        if is_asked_for { Values::Shown } else { Values::Hidden }
    }

    fn of(self, value: &Value) -> Option<&str> {
        match self {
            Values::Hidden => value.open(),
            Values::Shown => Some(value.revealed()),
        }
    }
}

/// Finds the line of a field in `stack.yaml`.
pub type Places<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Prints a plan. Returns whether there was anything to show.
pub fn plan(plan: &Plan, values: Values, places: Places) -> bool {
    events::plan(|| document(plan, values, places));
    let shown: Vec<&Planned> = plan.lines.iter().filter(|line| line.step != Step::Keep).collect();
    let width = shown.iter().map(|line| line.address.to_string().len()).max().unwrap_or(0);
    for line in &shown {
        let (mark, words) = mark(&line.step);
        let address = escape::line(&line.address.to_string());
        let words = escape::line(&words);
        let before = format!("  {mark} {address:width$}  ");
        print(format!("{before}{}{words}", name(&line.name, &before, &words)).trim_end());
        details(&line.step, values, places, room()).iter().for_each(|detail| print(&format!("{INDENT}{detail}")));
    }
    if !shown.is_empty() {
        say(summary(&plan.lines));
    }
    !shown.is_empty()
}

/// Prints changes, one line each.
pub fn changes(changes: &[Change], values: Values) {
    if changes.is_empty() {
        print("      no change from what the instances run now");
    }
    changes.iter().for_each(|change| print(&format!("      {}", escape::line(&field(change, values)))));
}

/// Cuts a line to one row on a terminal; prints all of it elsewhere.
pub(super) fn print(line: &str) {
    match screen::columns() {
        Some(columns) => screen::print(&screen::fit(line, columns)),
        None => screen::print(line),
    }
}

/// What begins the lines below that of a resource.
pub(super) const INDENT: &str = "      ";

/// The columns beside the indent, on a terminal.
pub(super) fn room() -> Option<usize> {
    screen::columns().map(|columns| columns.saturating_sub(INDENT.len()))
}

/// Fits a name with its surroundings on one row of a terminal; an ARN is cut at the beginning, since its end is more
/// specific. What follows the name, such as the loss of data, stays visible.
pub(super) fn name(name: &str, before: &str, after: &str) -> String {
    let name = escape::line(name);
    let taken = measure_text_width(before) + measure_text_width(after);
    match screen::columns().map(|columns| columns.saturating_sub(taken)) {
        Some(room) if measure_text_width(&name) > room && name.starts_with("arn:") => {
            format!("…{}", name.splitn(6, ':').last().unwrap_or_default())
        }
        Some(room) if !after.is_empty() => screen::fit(&name, room),
        _ => name,
    }
}

fn mark(step: &Step) -> (String, String) {
    let (mark, style, words) = match step {
        Step::Keep => (" ", style(), String::new()),
        Step::Create => ("+", style().green(), String::new()),
        Step::Update(_) | Step::Pending(_) => ("~", style().yellow(), String::new()),
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

/// The details below a line, escaped: one per field. With so many columns, a field is cut before its place.
pub(super) fn details(step: &Step, values: Values, places: Places, columns: Option<usize>) -> Vec<String> {
    let placed = |change: &Change| {
        let place = change.source.as_deref().and_then(places).map(|place| escape::line(&format!(" ({place})")));
        let (field, place) = (escape::line(&field(change, values)), place.unwrap_or_default());
        let fitting = columns.map(|columns| screen::fit(&field, columns.saturating_sub(measure_text_width(&place))));
        fitting.unwrap_or(field) + &place
    };
    match step {
        Step::Update(changes) | Step::Replace(changes) => changes.iter().map(placed).collect(),
        Step::Pending(on) => on
            .iter()
            .map(|address| escape::line(&format!("takes values from {address}, which changes first")))
            .collect(),
        _ => Vec::new(),
    }
}

fn field(change: &Change, values: Values) -> String {
    let path = &short_path(&change.path);
    let is_hidden = change.from.iter().chain(&change.to).any(|value| values.of(value).is_none());
    match (&change.from, &change.to) {
        (Some(_), Some(_)) if is_hidden => return format!("{path} (changed)"),
        (None, Some(_)) if is_hidden => return format!("{path} (added)"),
        (Some(_), None) if is_hidden => return format!("{path} (removed)"),
        _ => (),
    }
    let value = |value: &Option<Value>| value.as_ref().and_then(|value| values.of(value)).map(str::to_owned);
    match (&value(&change.from), &value(&change.to)) {
        (Some(from), Some(to)) => {
            let (from, to) = from_where_they_differ(from, to);
            format!("{}: {} → {}", path, short(&from), short(&to))
        }
        (None, Some(to)) => format!("{}: {}", path, short(to)),
        (Some(from), None) => format!("{}: {} → nothing", path, short(from)),
        (None, None) => path.clone(),
    }
}

/// Leaves out of a path with an ARN, such as that of a forward to a target group, what all ARNs of the stack share.
fn short_path(path: &str) -> String {
    match path.split_once(".arn:").map(|(before, arn)| (before, arn.splitn(5, ':').last())) {
        Some((before, Some(resource))) => format!("{before}.…{resource}"),
        _ => path.to_owned(),
    }
}

/// The longest value shown in full: longer ones, such as user data, would hide the rest of the plan.
const MOST: usize = 60;

/// Drops what two values of which one is too long have in common, so that the difference is visible: the same texts of
/// lists, or else the prefix.
fn from_where_they_differ(from: &str, to: &str) -> (String, String) {
    const BEFORE: usize = 12;
    let same = from.chars().zip(to.chars()).take_while(|(a, b)| a == b).count();
    let is_long = from.chars().nth(MOST).or(to.chars().nth(MOST)).is_some();
    if let Some(lists) = other_texts(from, to).filter(|_| is_long) {
        return lists;
    }
    match same.checked_sub(BEFORE) {
        Some(skipped) if is_long && skipped > 1 => {
            let rest = |text: &str| format!("…{}", text.chars().skip(skipped).collect::<String>());
            (rest(from), rest(to))
        }
        _ => (from.to_owned(), to.to_owned()),
    }
}

/// Two lists of texts without those that are in both; `None` for other values, and for lists of another order.
fn other_texts(from: &str, to: &str) -> Option<(String, String)> {
    let texts = |list: &str| serde_json::from_str::<Vec<String>>(list).ok();
    let (from, to) = (texts(from)?, texts(to)?);
    let rest = |list: &[String], other: &[String]| {
        let rest: Vec<String> =
            list.iter().filter(|text| !other.contains(text)).map(|text| format!("{text:?}")).collect();
        let same = if rest.len() < list.len() { Some("…".to_owned()) } else { None };
        format!("[{}]", same.into_iter().chain(rest).collect::<Vec<_>>().join(", "))
    };
    let (gone, new) = (rest(&from, &to), rest(&to, &from));
    (gone != new).then_some((gone, new))
}

/// Puts a value on one line.
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
        (count(|step| matches!(step, Step::Update(_) | Step::Pending(_) | Step::Wait(_))), "to change"),
        (count(|step| matches!(step, Step::Replace(_))), "that cannot be changed in place"),
        (count(|step| matches!(step, Step::Delete { .. })), "to remove"),
        (count(|step| matches!(step, Step::Keep)), "up to date"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    parts.join(", ")
}

/// The plan as one JSON document.
pub fn plan_json(plan: &Plan, difference: Difference, values: Values, places: Places) -> String {
    let mut document = document(plan, values, places);
    document["cost"] = json!({
        "monthly_difference": rounded(difference.amount),
        "complete": difference.is_complete,
        "prices_region": prices().region,
        "prices_date": prices().date,
    });
    format!("{document:#}\n")
}

fn document(plan: &Plan, values: Values, places: Places) -> Json {
    let lines: Vec<_> = plan
        .lines
        .iter()
        .map(|line| {
            json!({
                "address": line.address.to_string(),
                "section": line.address.section,
                "name": line.name,
                "step": step_json(&line.step, values, places),
            })
        })
        .collect();
    json!({ "changes": !plan.is_empty(), "resources": lines })
}

pub(super) fn step_json(step: &Step, values: Values, places: Places) -> Json {
    let changes =
        |changes: &[Change]| changes.iter().map(|change| change_json(change, values, places)).collect::<Json>();
    match step {
        Step::Keep => json!("keep"),
        Step::Create => json!("create"),
        Step::Update(changed) => json!({ "update": changes(changed) }),
        Step::Pending(on) => json!({ "pending": on.iter().map(ToString::to_string).collect::<Vec<_>>() }),
        Step::Replace(changed) => json!({ "replace": changes(changed) }),
        Step::Delete { loss } => json!({ "delete": { "loss": loss } }),
        Step::Wait(state) => json!({ "wait": state }),
        Step::Leave(why) => json!({ "leave": why }),
        Step::Foreign { owner, is_free } => json!({ "foreign": { "owner": owner, "is_free": is_free } }),
        Step::Protected => json!("protected"),
    }
}

fn change_json(change: &Change, values: Values, places: Places) -> Json {
    let value = |value: &Option<Value>| value.as_ref().map(|value| values.of(value).unwrap_or("(hidden)").to_owned());
    let mut shown = json!({ "path": change.path, "from": value(&change.from), "to": value(&change.to) });
    if let Some(source) = &change.source {
        shown["source"] = json!({ "path": source, "place": places(source) });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Address;

    fn change(from: Option<&str>, to: Option<&str>) -> Change {
        Change::of("it", from.map(Into::into), to.map(Into::into))
    }

    fn check(from: &str, to: &str, expected: &str) {
        assert_eq!(field(&change(Some(from), Some(to)), Values::Hidden), format!("it: {expected}"));
    }

    #[test]
    fn of_long_values_the_difference_is_shown() {
        check("a", "b", "a → b");
        check("", "b", " → b");
        let arn = "arn:aws:iam::000000000000:role/deployer/postagram/postagram-us-east-1";
        let (from, to) = (format!("{arn}-labeler-fn"), format!("{arn}-other"));
        check(&from, &to, "…m-us-east-1-labeler-fn → …m-us-east-1-other");
        check(&"é".repeat(70), &"ü".repeat(2), &format!("{}… → üü", "é".repeat(60)));
        let (from, to) = (format!("{}\nA=1", "x".repeat(80)), format!("{}\nA=2", "x".repeat(80)));
        check(&from, &to, "…xxxxxxxxx⏎A=1 → …xxxxxxxxx⏎A=2");
        let admitted = r#"["tcp 80 from 172.31.0.0/16 (clients)","tcp 81 from 172.31.0.0/16 (clients)"#;
        let (from, to) = (format!(r#"{admitted}","tcp 22 from 10.0.0.0/8"]"#), format!(r#"{admitted}"]"#));
        check(&from, &to, r#"[…, "tcp 22 from 10.0.0.0/8"] → […]"#);
    }

    #[test]
    fn of_the_arn_in_a_path_the_end_is_shown() {
        let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/app-web-8080/0a1b2c3d4e5f6071";
        let change = Change::of(format!("forwards.{arn}"), Some("0".into()), Some("1".into()));
        let shown = "forwards.…targetgroup/app-web-8080/0a1b2c3d4e5f6071: 0 → 1";
        assert_eq!(field(&change, Values::Hidden), shown);
        assert_eq!(short_path("user_data.environment.NAME"), "user_data.environment.NAME");
    }

    #[test]
    fn of_a_secret_value_only_its_name_and_the_kind_of_change_are_shown() {
        let shown = |from, to, values| field(&change(from, to).hidden_below(&["it"]), values);
        assert_eq!(shown(Some("hunter2"), Some("tiger3"), Values::Hidden), "it (changed)");
        assert_eq!(shown(None, Some("tiger3"), Values::Hidden), "it (added)");
        assert_eq!(shown(Some("hunter2"), None, Values::Hidden), "it (removed)");
        assert_eq!(shown(Some("hunter2"), Some("tiger3"), Values::Shown), "it: hunter2 → tiger3");
        let secret = change(Some("hunter2"), None).hidden_below(&["it"]);
        assert_eq!(
            change_json(&secret, Values::Hidden, &|_| None),
            json!({ "path": "it", "from": "(hidden)", "to": null })
        );
        assert_eq!(
            change_json(&secret, Values::Shown, &|_| None),
            json!({ "path": "it", "from": "hunter2", "to": null })
        );
    }

    #[test]
    fn a_change_says_on_which_line_of_the_file_it_is_decided() {
        let step = Step::Update(vec![change(Some("4"), Some("6")).sourced("services.web", &[("it", "instances.max")])]);
        let places = |path: &str| (path == "services.web.instances.max").then(|| "stack.yaml:41".to_owned());
        assert_eq!(details(&step, Values::Hidden, &places, None), ["it: 4 → 6 (stack.yaml:41)"]);
        assert_eq!(details(&step, Values::Hidden, &places, Some(24)), ["it: 4 →… (stack.yaml:41)"]);
        let source = json!({ "path": "services.web.instances.max", "place": "stack.yaml:41" });
        assert_eq!(step_json(&step, Values::Hidden, &places)["update"][0]["source"], source);
    }

    #[test]
    fn a_pending_step_names_the_resources_it_waits_for() {
        let template = Address { kind: "launch_template", key: "web".into(), section: "services.web".into() };
        let pending = Step::Pending(vec![template]);
        let shown = details(&pending, Values::Hidden, &|_| None, None);
        assert_eq!(shown, ["takes values from launch_template.web, which changes first"]);
        assert_eq!(step_json(&pending, Values::Hidden, &|_| None), json!({ "pending": ["launch_template.web"] }));
    }
}
