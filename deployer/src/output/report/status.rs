//! The state of a stack, for people and as JSON.

use std::{io::Write as _, time::SystemTime};

use aws_smithy_types::{DateTime, date_time::Format};
use console::Term;

use super::{escape, note_unprinted, screen};
use crate::{
    cloud::status::{
        ABSENT, BucketStatus, Drift, FunctionStatus, InstanceStatus, Objects, PENDING, ServiceStatus, Status,
        TableStatus,
    },
    cost::{
        Cost,
        prices::{dollars, prices},
        spent::lifetime,
    },
    output::counted::counted,
    page::INTERNAL_REACH,
};

/// The column of the states.
const STATES: usize = 24;

/// Prints the state of a stack.
pub fn status(status: &Status) {
    put(&fitted(lines(status, now_s())));
}

/// Prints the state of a stack again: in place of the previous one on a terminal, below it elsewhere.
pub fn status_again(status: &Status) {
    let mut lines = fitted(lines(status, now_s()));
    let stdout = Term::stdout();
    if !stdout.is_term() {
        lines.push(String::new());
        return put(&lines);
    }
    let rows = usize::from(stdout.size().0).saturating_sub(1).max(1);
    if lines.len() > rows {
        let hidden = lines.len() - rows + 1;
        lines.truncate(rows - 1);
        lines.push(format!("… {hidden} more lines"));
    }
    // From the top, each line over the previous one, so that nothing flickers.
    let drawn: String = lines.iter().map(|line| format!("{line}\u{1b}[K\n")).collect();
    write(&format!("\u{1b}[H{drawn}\u{1b}[J"));
}

/// The state of a stack as one JSON document.
pub fn status_json(status: &Status) -> String {
    format!("{:#}\n", serde_json::to_value(status).expect("a status is plain data with string keys"))
}

/// The same on one line.
pub fn status_json_line(status: &Status) -> String {
    format!("{}\n", serde_json::to_value(status).expect("a status is plain data with string keys"))
}

/// How long ago a time was, in its largest unit: `12 s`, `5 min`, `3 h`, `2 d`.
pub fn age(since: &str, now_s: i64) -> Option<String> {
    let since = DateTime::from_str(since, Format::DateTime).ok()?;
    let s = (now_s - since.secs()).max(0);
    Some(match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..86_400 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    })
}

/// The time in seconds since 1970.
pub fn now_s() -> i64 {
    DateTime::from(SystemTime::now()).secs()
}

/// Cuts lines to the width of a terminal; elsewhere nothing is cut.
fn fitted(lines: Vec<String>) -> Vec<String> {
    let stdout = Term::stdout();
    let lines = lines.into_iter().map(|line| escape::line(&line));
    match stdout.is_term().then(|| usize::from(stdout.size().1)) {
        Some(columns) => lines.map(|line| screen::fit(&line, columns)).collect(),
        None => lines.collect(),
    }
}

fn put(lines: &[String]) {
    write(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
}

fn write(text: &str) {
    let mut stdout = std::io::stdout().lock();
    note_unprinted(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
}

fn lines(status: &Status, now_s: i64) -> Vec<String> {
    let Status { stack, account, region, at, contents, cost, drift, options, .. } = status;
    let mut lines = vec![format!("{stack} in account {account}, region {region}, {}", at.as_deref().unwrap_or("now"))];
    if contents.deployed == Some(false) {
        lines.push(format!("nothing is deployed: `deployer up{options}` deploys it"));
        return lines;
    }
    contents.services.iter().for_each(|it| service(it, now_s, options, &mut lines));
    contents.functions.iter().for_each(|it| function(it, &mut lines));
    contents.buckets.iter().for_each(|it| bucket(it, &mut lines));
    contents.tables.iter().for_each(|it| table(it, &mut lines));
    lines.push(row(' ', "cost", &costs(cost, region)));
    lines.push(row(' ', "drift", &drifted(drift, options)));
    if drift.changes.is_some() && !drift.uncompared.is_empty() {
        lines.push(detail(&format!("without changes of packages, which `deployer plan{options}` builds first")));
    }
    let mut services = contents.services.iter().filter(|it| !it.is_off()).map(|it| it.healthy);
    let mut functions = contents.functions.iter().map(|it| it.healthy);
    if services.any(|healthy| healthy == Some(false)) || functions.any(|healthy| healthy == Some(false)) {
        lines.push(format!("`deployer why{options}` explains what is not healthy"));
    }
    lines
}

fn row(mark: char, what: &str, state: &str) -> String {
    let width = STATES - 3;
    format!("{mark} {what:width$} {state}")
}

fn mark(healthy: Option<bool>) -> char {
    match healthy {
        Some(true) => '✓',
        Some(false) => '✗',
        None => '?',
    }
}

fn detail(text: &str) -> String {
    format!("    {text}")
}

fn service(it: &ServiceStatus, now_s: i64, options: &str, lines: &mut Vec<String>) {
    let count = |number: Option<usize>| number.map_or("?".into(), |number| number.to_string());
    let mut state = match it.exists || !it.unread.is_empty() {
        _ if it.is_off() => off_state(it),
        true => format!("{} of {} healthy", count(it.instances_healthy), count(it.instances_wanted)),
        false => "does not exist".into(),
    };
    if let Some(release) = &it.release {
        let made = it.released.as_deref().and_then(|at| age(at, now_s));
        state += &format!(", release {release}{}", made.map(|age| format!(" of {age} ago")).unwrap_or_default());
    }
    let mark = if it.is_off() { ' ' } else { mark(it.healthy) };
    lines.push(row(mark, &format!("service {}", it.name), &state));
    lines.extend(downtime(it, now_s, options).map(|text| detail(&text)));
    let reach = if it.internal == Some(true) { INTERNAL_REACH } else { "" };
    lines.extend(it.address.iter().map(|address| detail(&format!("{address}{reach}"))));
    if it.https == Some(PENDING) && !it.is_off() {
        lines.push(detail(&format!("HTTPS is pending: `deployer why{options}` says what it waits for")));
    }
    it.instances.iter().for_each(|one| instance(one, it.release.as_deref(), now_s, lines));
    lines.extend(it.failed_launch.iter().map(|failure| detail(&format!("a launch failed: {failure}"))));
    lines.extend(it.unread.iter().map(|unread| detail(unread)));
}

/// The state of a service that is off as intended.
fn off_state(it: &ServiceStatus) -> String {
    match (&it.paused, &it.ends) {
        (Some(since), _) => format!("paused since {since}"),
        (None, ends) => format!("ended at {}", ends.as_deref().unwrap_or_default()),
    }
}

/// How long a service still runs, or the command that brings it back.
fn downtime(it: &ServiceStatus, now_s: i64, options: &str) -> Option<String> {
    match (&it.paused, &it.ends) {
        (Some(_), _) if it.is_off() => Some(format!("`deployer resume{options}` brings it back")),
        (Some(since), _) => Some(format!("paused since {since}, not completely: run `pause` or `resume` again")),
        (None, Some(_)) if it.ended => {
            Some(format!("`deployer up{options}` brings it back; `deployer pause{options}` saves the rest"))
        }
        (None, Some(ends)) => {
            let left = DateTime::from_str(ends, Format::DateTime).ok().map(|at| lifetime(at.secs() - now_s));
            Some(format!("ends at {ends}, in {}", left.unwrap_or_default()))
        }
        (None, None) => None,
    }
}

/// The cost of a month in one line.
pub fn costs(cost: &Cost, region: &str) -> String {
    let words = prices().words(region);
    match cost.monthly {
        Some(0.0) => "only by use".into(),
        Some(monthly) => format!("about {} a month ({words})", dollars(monthly)),
        None => "unknown".into(),
    }
}

fn instance(it: &InstanceStatus, release: Option<&str>, now_s: i64, lines: &mut Vec<String>) {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let old = it.release.as_deref().filter(|own| release.is_some_and(|release| release != *own));
    let old = old.map(|old| format!("  release {old}")).unwrap_or_default();
    let age = it.launched.as_deref().and_then(|at| age(at, now_s)).unwrap_or_default();
    let (zone, state, health) = (known(&it.zone), known(&it.state), known(&it.health));
    let line = format!("    {:19}  {zone:11}  {state:8}  {health:9}  {age}{old}", it.id);
    lines.push(line.trim_end().to_owned());
    lines.extend(it.reason.iter().map(|reason| format!("      {reason}")));
}

fn function(it: &FunctionStatus, lines: &mut Vec<String>) {
    let state = match (&it.state, it.exists || !it.unread.is_empty()) {
        (Some(state), _) => state.as_str(),
        (None, true) => "?",
        (None, false) => "does not exist",
    };
    lines.push(row(mark(it.healthy), &format!("function {}", it.name), state));
    let problem = it.problem.iter().filter(|_| it.exists).map(|problem| detail(problem));
    lines.extend(problem);
    // A problem found in the log ends with its line.
    let is_said = |error: &&String| it.problem.as_ref().is_some_and(|problem| problem.ends_with(error.as_str()));
    let last_error = it.last_error.iter().filter(|error| !is_said(error));
    lines.extend(last_error.map(|error| detail(&format!("last error: {error}"))));
    lines.extend(it.unread.iter().map(|unread| detail(unread)));
}

fn bucket(it: &BucketStatus, lines: &mut Vec<String>) {
    let (mark, state) = match (it.exists, &it.objects) {
        (Some(false), _) => ('✗', "does not exist".to_owned()),
        (_, Objects { counted: Some(objects), more: false }) => (' ', counted(*objects, "object")),
        (_, Objects { counted: Some(objects), more: true }) => (' ', format!("{objects}+ objects")),
        (_, Objects { counted: None, .. }) => ('?', "?".into()),
    };
    lines.push(row(mark, &format!("bucket {}", it.name), &state));
    lines.extend(it.unread.iter().map(|unread| detail(unread)));
}

fn table(it: &TableStatus, lines: &mut Vec<String>) {
    let rows = |rows: i64| format!("{} (on AWS, as of up to 6 h ago)", counted(rows, "row"));
    let state = match (it.state.as_deref(), it.rows) {
        (Some(ABSENT), _) => "does not exist".to_owned(),
        (Some("ACTIVE"), Some(count)) => rows(count),
        (Some(state), _) => state.to_lowercase(),
        (None, _) => "?".into(),
    };
    let mark = if it.is_healthy() == Some(true) { ' ' } else { mark(it.is_healthy()) };
    lines.push(row(mark, &format!("table {}", it.name), &state));
    lines.extend(it.unread.iter().map(|unread| detail(unread)));
}

/// The drift in one line.
fn drifted(drift: &Drift, options: &str) -> String {
    match (drift.changes, &drift.unread) {
        (Some(0), _) => "in sync".into(),
        (Some(1), _) => format!("1 change: `deployer plan{options}` shows it"),
        (Some(changes), _) => format!("{changes} changes: `deployer plan{options}` shows them"),
        (None, why) => format!("unknown: {}", why.as_deref().unwrap_or("it could not be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::status::Contents;

    const NOW: &str = "2026-11-29T12:00:00Z";

    fn now() -> i64 {
        DateTime::from_str(NOW, Format::DateTime).unwrap().secs()
    }

    fn instance(id: &str, health: &str, reason: Option<&str>, release: &str) -> InstanceStatus {
        InstanceStatus {
            id: id.into(),
            zone: Some("us-east-1a".into()),
            state: Some("running".into()),
            health: Some(health.into()),
            reason: reason.map(str::to_owned),
            release: Some(release.into()),
            launched: Some("2026-11-27T11:00:00Z".into()),
        }
    }

    fn status(contents: Contents, drift: Drift) -> Status {
        let healthy = contents.is_healthy();
        let (account, region) = ("012345678901".into(), "us-east-1".into());
        let cost = Cost { monthly: Some(36.39), prices_region: "us-east-1", prices_date: "2026-07-20" };
        Status {
            stack: "app".into(),
            account,
            region,
            at: Some(NOW.into()),
            healthy,
            contents,
            cost,
            drift,
            options: "",
        }
    }

    fn one_of_each() -> Status {
        let service = ServiceStatus {
            name: "web".into(),
            healthy: Some(false),
            address: Some("http://app-web-1.us-east-1.elb.amazonaws.com".into()),
            instances_healthy: Some(1),
            instances_wanted: Some(2),
            release: Some("5".into()),
            released: Some("2026-11-29T09:00:00Z".into()),
            instances: vec![
                instance("i-0123456789abcdef0", "healthy", None, "5"),
                instance("i-0123456789abcdef1", "unhealthy", Some("Health checks failed with these codes: [404]"), "4"),
            ],
            exists: true,
            ..ServiceStatus::default()
        };
        let function = FunctionStatus {
            name: "labeler".into(),
            healthy: Some(false),
            state: Some("Active".into()),
            problem: Some("it fails: [ERROR] no".into()),
            last_error: Some("[ERROR] no".into()),
            unread: vec!["could not read the function's policy: denied (GetPolicy)".into()],
            exists: true,
        };
        let (name, bucket, exists) = ("images".into(), "app-images".into(), Some(true));
        let objects = Objects { counted: Some(1_000), more: true };
        let bucket = BucketStatus { name, bucket, exists, objects, unread: vec![] };
        let (name, table, state, rows) = ("posts".into(), "app-posts".into(), Some("ACTIVE".into()), Some(1));
        let table = TableStatus { name, table, state, rows, unread: vec![] };
        let drift = Drift { changes: Some(2), uncompared: vec!["services.web".into()], unread: None };
        let contents = Contents {
            deployed: Some(true),
            services: vec![service],
            functions: vec![function],
            buckets: vec![bucket],
            tables: vec![table],
        };
        status(contents, drift)
    }

    #[test]
    fn the_screen_has_a_line_for_everything_and_fits_into_80_columns() {
        let lines = lines(&one_of_each(), now());
        expect_test::expect![[r#"
            app in account 012345678901, region us-east-1, 2026-11-29T12:00:00Z
            ✗ service web           1 of 2 healthy, release 5 of 3 h ago
                http://app-web-1.us-east-1.elb.amazonaws.com
                i-0123456789abcdef0  us-east-1a   running   healthy    2 d
                i-0123456789abcdef1  us-east-1a   running   unhealthy  2 d  release 4
                  Health checks failed with these codes: [404]
            ✗ function labeler      Active
                it fails: [ERROR] no
                could not read the function's policy: denied (GetPolicy)
              bucket images         1000+ objects
              table posts           1 row (on AWS, as of up to 6 h ago)
              cost                  about $36.39 a month (prices of 2026-07-20)
              drift                 2 changes: `deployer plan` shows them
                without changes of packages, which `deployer plan` builds first
            `deployer why` explains what is not healthy
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn a_service_that_is_off_as_intended_is_not_marked_as_unhealthy() {
        let shown = |it: ServiceStatus| {
            let (is_off, mut lines) = (it.is_off(), Vec::new());
            service(&ServiceStatus { name: "web".into(), exists: true, ..it }, now(), "", &mut lines);
            (is_off, lines)
        };
        let since = Some("2026-11-29T10:00:00Z".to_owned());
        let paused = ServiceStatus { paused: since.clone(), is_empty: true, ..ServiceStatus::default() };
        let lines =
            ["  service web           paused since 2026-11-29T10:00:00Z", "    `deployer resume` brings it back"];
        assert_eq!(shown(paused.clone()), (true, lines.map(str::to_owned).to_vec()));
        let half = ServiceStatus { address: Some("http://a".into()), healthy: Some(false), ..paused };
        let (is_off, lines) = shown(half);
        assert!(!is_off && lines[1].ends_with("not completely: run `pause` or `resume` again"), "{lines:?}");
        let ended = ServiceStatus { ends: since, ended: true, is_empty: true, ..ServiceStatus::default() };
        let (is_off, lines) = shown(ended);
        assert!(is_off && lines[0].ends_with("ended at 2026-11-29T10:00:00Z"), "{lines:?}");
        let ends = Some("2026-11-29T16:00:00Z".to_owned());
        let (is_off, lines) = shown(ServiceStatus { ends, healthy: Some(true), ..ServiceStatus::default() });
        assert_eq!((is_off, lines[1].as_str()), (false, "    ends at 2026-11-29T16:00:00Z, in 4 h 0 min"));
    }

    #[test]
    fn a_bucket_or_table_that_is_not_healthy_is_marked() {
        let bucket_line = |exists, counted| {
            let objects = Objects { counted, more: false };
            let mut lines = Vec::new();
            bucket(&BucketStatus { name: "b".into(), bucket: "b".into(), exists, objects, unread: vec![] }, &mut lines);
            lines.remove(0)
        };
        assert_eq!(bucket_line(Some(true), Some(2)), "  bucket b              2 objects");
        assert_eq!(bucket_line(Some(false), None), "✗ bucket b              does not exist");
        assert_eq!(bucket_line(None, None), "? bucket b              ?");
        let table_line = |state: Option<&str>| {
            let (name, table, state) = ("t".into(), "t".into(), state.map(str::to_owned));
            let mut lines = Vec::new();
            super::table(&TableStatus { name, table, state, rows: Some(0), unread: vec![] }, &mut lines);
            lines.remove(0)
        };
        assert_eq!(table_line(Some("ACTIVE")), "  table t               0 rows (on AWS, as of up to 6 h ago)");
        assert_eq!(table_line(Some("UPDATING")), "  table t               updating");
        assert_eq!(table_line(Some("CREATING")), "✗ table t               creating");
        assert_eq!(table_line(Some(ABSENT)), "✗ table t               does not exist");
        assert_eq!(table_line(None), "? table t               ?");
    }

    #[test]
    fn a_stack_that_is_not_deployed_names_up() {
        let (services, functions, buckets, tables) = Default::default();
        let nothing = Contents { deployed: Some(false), services, functions, buckets, tables };
        let nothing = status(nothing, Drift { changes: Some(3), ..Drift::default() });
        assert!(!nothing.healthy);
        assert_eq!(lines(&nothing, now())[1..], ["nothing is deployed: `deployer up` deploys it"]);
    }

    #[test]
    fn drift_that_could_not_be_read_is_unknown_and_says_why() {
        let drift = Drift { unread: Some("denied (DescribeVpcs)".into()), ..Drift::default() };
        assert_eq!(drifted(&drift, ""), "unknown: denied (DescribeVpcs)");
        assert_eq!(drifted(&Drift { changes: Some(0), ..Drift::default() }, ""), "in sync");
        let one = drifted(&Drift { changes: Some(1), ..Drift::default() }, " --local");
        assert_eq!(one, "1 change: `deployer plan --local` shows it");
    }

    #[test]
    fn the_keys_of_the_json_are_stable() {
        let json: serde_json::Value = serde_json::from_str(&status_json(&one_of_each())).unwrap();
        let keys = |value: &serde_json::Value| -> Vec<String> {
            let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            keys.sort();
            keys
        };
        assert_eq!(
            keys(&json),
            [
                "account",
                "at",
                "buckets",
                "cost",
                "deployed",
                "drift",
                "functions",
                "healthy",
                "region",
                "services",
                "stack",
                "tables"
            ]
        );
        assert_eq!(
            keys(&json["services"][0]),
            [
                "address",
                "ended",
                "ends",
                "failed_launch",
                "healthy",
                "https",
                "instances",
                "instances_healthy",
                "instances_wanted",
                "internal",
                "name",
                "paused",
                "release",
                "released",
                "unread"
            ]
        );
        let instance = ["health", "id", "launched", "reason", "release", "state", "zone"];
        assert_eq!(keys(&json["services"][0]["instances"][0]), instance);
        let function = ["healthy", "last_error", "name", "problem", "state", "unread"];
        assert_eq!(keys(&json["functions"][0]), function);
        let bucket = ["bucket", "exists", "more_objects", "name", "objects", "unread"];
        assert_eq!(keys(&json["buckets"][0]), bucket);
        assert_eq!(keys(&json["tables"][0]), ["name", "rows", "state", "table", "unread"]);
        assert_eq!(keys(&json["drift"]), ["changes", "uncompared", "unread"]);
    }

    #[test]
    fn an_age_is_shown_in_its_largest_unit() {
        let shown = |at: &str| age(at, now()).unwrap();
        let times = [
            "2026-11-29T12:00:05Z",
            "2026-11-29T11:59:01Z",
            "2026-11-29T11:00:01Z",
            "2026-11-28T12:00:01Z",
            "2026-11-01T12:00:00Z",
        ];
        assert_eq!(times.map(shown), ["0 s", "59 s", "59 min", "23 h", "28 d"]);
        assert_eq!(age("yesterday", now()), None);
    }
}
