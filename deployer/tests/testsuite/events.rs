//! The progress of `up` and `down`: events for programs, usual times and charts for people.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use testkit::{Control, programs::root};

use crate::support::{Project, RunOutput, terminal::Terminal};

/// The keys of each event, as docs/commands.md documents them.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(root().join("docs/commands.md")).expect("the page is there");
    let (_, section) = text.split_once("## Events of `up` and `down`").expect("the section");
    let table = section.split("\n## ").next().expect("its text");
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
        let common = ["event", "at", "elapsed_s"].map(str::to_owned);
        (quoted(cells[0]).remove(0), quoted(cells[2]).into_iter().chain(common).collect())
    });
    rows.collect()
}

/// The events of a run, each with exactly the documented keys; the last one is the summary of this exit code.
fn events(said: &RunOutput, seen: &mut BTreeSet<String>) -> Vec<Value> {
    let documented = documented();
    let events: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}: {}", said.all())))
        .collect();
    for event in &events {
        let name = event["event"].as_str().expect("a name").to_owned();
        let keys: BTreeSet<String> = event.as_object().expect("an object").keys().cloned().collect();
        assert_eq!(Some(&keys), documented.get(&name), "{event}");
        seen.insert(name);
    }
    let last = events.last().unwrap_or_else(|| panic!("there are events: {}", said.all()));
    assert_eq!((&last["event"], &last["exit"]), (&json!("summary"), &json!(said.code)), "{}", said.all());
    assert_eq!(events.iter().filter(|event| event["event"] == "summary").count(), 1);
    events
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_has_exactly_the_documented_keys() {
    let project = Project::light();
    let mut seen = BTreeSet::new();
    project.done(&["local", "start"]);

    // There are no prompts.
    let asked = project.run(&["up", "--local", "--json"]);
    assert_eq!(asked.code, 64, "{}", asked.all());
    let refused = events(&asked, &mut seen);
    assert!(of(&refused, "error")[0]["hint"].as_str().is_some_and(|hint| hint.contains("--yes")), "{refused:?}");
    assert_eq!(project.run(&["plan", "--local", "--detailed-exitcode"]).code, 2, "nothing was made");

    // A refused role keeps what needs it from being made.
    let control = Control::of(&project.endpoint());
    control.refuse("CreateRole", 400, "LimitExceeded").await;
    let failed = project.run(&["up", "--local", "--json", "--yes"]);
    assert_eq!(failed.code, 1, "{}", failed.all());
    let events_of_failure = events(&failed, &mut seen);
    let names = |event: &str| -> BTreeSet<String> {
        of(&events_of_failure, event).iter().map(|it| it["resource"].as_str().expect("a name").to_owned()).collect()
    };
    assert!(
        names("failed").contains("role.labeler-fn") || names("failed").contains("role.web-svc"),
        "{failed:?}",
        failed = names("failed")
    );
    assert!(
        names("skipped").contains("function.labeler") || names("skipped").contains("instance_profile.web"),
        "{}",
        failed.all()
    );
    let error = of(&events_of_failure, "error")[0];
    assert!(error["causes"].to_string().contains("LimitExceeded") && error["place"].is_string(), "{error}");
    control.delete("faults").await;

    // The service answers, but it is not Postagram.
    project.edit("within_s: 60", "within_s: 0");
    project.edit("within_s: 10", "within_s: 0");
    let up = project.run(&["up", "--local", "--json", "--yes", "--verify"]);
    assert_eq!(up.code, 4, "{}", up.all());
    let events_of_up = events(&up, &mut seen);
    let done: BTreeSet<&str> = of(&events_of_up, "done").iter().filter_map(|it| it["resource"].as_str()).collect();
    assert!(["service.web", "function.labeler"].iter().all(|name| done.contains(name)), "{done:?}");
    let last = of(&events_of_up, "done").pop().expect("something was done");
    assert_eq!((&last["done"], &last["left_s"]), (&last["all"], &json!(0.0)), "{last}");
    let first = of(&events_of_up, "done")[0];
    assert!(first["left_s"].as_f64() > Some(0.0), "{first}");
    assert!(of(&events_of_up, "outputs")[0]["values"]["URL"].as_str().is_some_and(|url| url.starts_with("http://")));
    let started = of(&events_of_up, "started").len();
    assert!(started >= 4 && of(&events_of_up, "plan").len() == 1, "{}", up.all());

    let down = project.run(&["down", "--local", "--json", "--yes"]);
    assert_eq!(down.code, 0, "{}", down.all());
    let events_of_down = events(&down, &mut seen);
    let last = of(&events_of_down, "done").pop().expect("something was removed");
    assert_eq!((&last["resource"], &last["action"]), (&json!("bucket.artifacts"), &json!("deleting")), "{last}");
    assert_eq!(last["done"], last["all"], "{last}");

    assert_eq!(seen, documented().into_keys().collect(), "an event of the table was not seen");
}

#[test]
fn no_event_has_the_value_of_a_variable() {
    let project = Project::light();
    let variable = "    environment:\n      TOKEN: hunter2-of-old\n      BUCKET";
    project.edit("    environment:\n      BUCKET", variable);
    let up = project.run(&["up", "--local", "--json", "--yes"]);
    assert_eq!(up.code, 0, "{}", up.all());
    project.edit("hunter2-of-old", "hunter2-of-today");
    let again = project.run(&["up", "--local", "--json", "--yes"]);
    assert_eq!(again.code, 0, "{}", again.all());
    assert!(again.stdout.contains("environment.TOKEN"), "the change is in the plan: {}", again.all());
    assert!(!up.all().contains("hunter2") && !again.all().contains("hunter2"), "{}", again.all());
    let both = project.run(&["up", "--local", "--json", "--yes", "--show-values"]);
    assert_eq!(both.code, 64, "{}", both.all());
}

#[test]
fn errors_before_a_plan_are_events_too() {
    let project = Project::with("name: small\nregion: us-esat-1\n");
    let mut seen = BTreeSet::new();
    for command in ["up", "down"] {
        let said = project.run(&[command, "--local", "--json"]);
        assert_eq!(said.code, 78, "{}", said.all());
        let events = events(&said, &mut seen);
        assert!(of(&events, "error")[0]["message"].as_str().is_some_and(|it| it.contains("us-esat-1")), "{events:?}");
    }
}

/// At this speed, a load balancer takes 7.5 seconds.
const SLOWLY: &str = "20";

#[tokio::test(flavor = "multi_thread")]
async fn usual_times_stand_beside_the_elapsed_ones_and_a_chart_ends_a_verbose_run() {
    let project = Project::light();
    project.done(&["local", "start", "--speed", SLOWLY]);
    let mut up = Terminal::of(&tokio::process::Command::from(project.command(&["up", "--local", "--yes", "-v"], &[])));
    up.see("load_balancer.web  ").await;
    up.see(" / usually 8 s").await;
    up.see(" s left").await;
    let said = up.end().await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(said.stderr.contains("* critical path, "), "{}", said.all());
    let down = project.done(&["down", "--local", "--yes", "-v"]);
    assert!(down.stderr.contains("  load_balancer.web: deleting (usually 5 s)\n"), "{}", down.all());
    assert!(!down.stderr.contains(" s left") && !down.stderr.contains('\r'), "there is no footer: {}", down.all());
    let chart: Vec<&str> = down.stderr.lines().filter(|line| line.contains(['█', '░'])).collect();
    assert!(chart.iter().any(|line| line.starts_with("* bucket.artifacts ")), "{}", down.all());
    assert!(chart.len() > 10 && chart.iter().all(|line| line.chars().count() <= 80), "{}", down.all());
}
