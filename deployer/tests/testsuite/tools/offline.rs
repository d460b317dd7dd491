//! `validate` and `graph`, which need neither credentials nor network.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use crate::support::{Project, RunOutput};

/// A server in the place of AWS that counts its callers and hangs up on them.
struct HangUp {
    endpoint: String,
    calls: Arc<AtomicUsize>,
}

impl HangUp {
    pub(super) fn start() -> HangUp {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let calls = Arc::new(AtomicUsize::new(0));
        let count = calls.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
                drop(stream);
            }
        });
        HangUp { endpoint, calls }
    }

    /// Runs the deployer with this server as its AWS.
    pub(super) fn run(&self, project: &Project, arguments: &[&str]) -> RunOutput {
        let environment = [
            ("AWS_ENDPOINT_URL", &*self.endpoint),
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ];
        project.run_with(arguments, &environment)
    }

    fn was_called(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > 0
    }
}

pub(super) const SMALL: &str =
    "name: small\nregion: us-east-1\nbuckets: { a: , b-c: }\ntables: { t: { partition_key: k } }\n";

/// The addresses of the resources that `up --local` would create.
fn planned(project: &Project) -> BTreeSet<String> {
    let plan: Value = serde_json::from_str(&project.done(&["plan", "--local", "--json"]).stdout).expect("JSON");
    let resources = plan["resources"].as_array().expect("a list");
    resources.iter().map(|it| it["address"].as_str().expect("an address").to_owned()).collect()
}

/// The shipped stack, whose resources do not depend on the cloud: without a bake time of its own, it has alarms on AWS only.
fn baked() -> Project {
    let project = Project::light();
    project.edit("    health_check: /health\n", "    health_check: /health\n    bake: 5m\n");
    project
}

#[test]
fn validate_counts_the_resources_that_up_would_create() {
    let project = baked();
    let said = project.done(&["validate"]);
    let count = planned(&project).len();
    assert_eq!(said.stdout, format!("stack.yaml: {count} resources, no problems\n"), "{}", said.all());
    assert_eq!(said.stderr, "");
}

#[test]
fn a_command_that_contains_a_secret_is_warned_of_with_its_line_and_without_it() {
    let project = Project::of_service("");
    let description = project.description();
    let binary = description.lines().find(|line| line.starts_with("    binary: ")).expect("it is there");
    project.edit(
        binary,
        "    files: app\n    setup: pip3 install git+https://ada:hunter2@git.example.org/a\n    run: ./x",
    );
    std::fs::create_dir(project.path().join("app")).expect("a folder can be made");
    let said = project.done(&["validate"]);
    let warning = "warning: stack.yaml:6: setup contains an address with a password";
    assert!(said.stderr.contains(warning) && !said.all().contains("hunter2"), "{}", said.all());
}

#[test]
fn a_variable_that_looks_like_a_secret_is_warned_of_with_its_line_and_without_its_value() {
    let project = Project::light();
    let value = "9f86d081884c7d659a2feaa0c55ad015";
    project.edit("    environment:\n", &format!("    environment:\n      SESSION_SECRET: {value}\n"));
    let lines = project.description();
    let line = lines.lines().position(|line| line.contains("SESSION_SECRET")).expect("it is there") + 1;
    let warning = format!("warning: stack.yaml:{line}: SESSION_SECRET looks like a secret");
    for arguments in [&["validate"][..], &["plan", "--local"]] {
        let said = project.done(arguments);
        assert!(said.stderr.contains(&warning) && !said.all().contains(value), "{arguments:?}: {}", said.all());
    }
}

#[test]
fn validate_and_graph_need_neither_credentials_nor_network() {
    let (project, aws) = (Project::with(SMALL), HangUp::start());
    for arguments in [&["validate"][..], &["validate", "--json"], &["graph"], &["graph", "--format", "dot"]] {
        let said = aws.run(&project, arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.all());
        let said = project.run_with(arguments, &[("AWS_PROFILE", "nothing")]);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.all());
    }
    assert!(!aws.was_called());
    assert_ne!(aws.run(&project, &["plan"]).code, 0);
    assert!(aws.was_called(), "the server would have noticed a call");
}

#[test]
fn validate_refuses_what_up_refuses_with_the_same_words() {
    let project = Project::with(SMALL);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refusals");
    let files = std::fs::read_dir(folder).expect("the refusals are there").map(|file| file.expect("a file").path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    assert!(files.len() > 50);
    for file in files {
        project.describe(&std::fs::read_to_string(&file).expect("it can be read"));
        let (validated, refused) = (project.run(&["validate"]), project.run(&["up", "--yes"]));
        assert_eq!((validated.code, refused.code), (78, 78), "{}: {}", file.display(), validated.all());
        assert_eq!(validated.stderr, refused.stderr, "{}", file.display());
        let said = project.run(&["validate", "--json"]);
        let result: Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!((said.code, &result["valid"]), (78, &json!(false)), "{}", said.all());
        for problem in result["problems"].as_array().expect("a list") {
            let message: String = problem["message"].as_str().expect("a text").chars().take(40).collect();
            assert!(validated.stderr.contains(&message), "{message}: {}", validated.all());
        }
    }
}

#[test]
fn validate_prints_its_result_as_json() {
    let project = Project::with(SMALL);
    let result = |arguments: &[&str]| -> Value {
        serde_json::from_str(&project.run(arguments).stdout).expect("its answer is JSON")
    };
    let good = json!({ "file": "stack.yaml", "valid": true, "resources": 6, "problems": [] });
    assert_eq!(result(&["validate", "--json"]), good);
    project.edit("partition_key: k", "partition_key: k, sort_kye: s");
    let bad = result(&["validate", "--json"]);
    assert_eq!((&bad["valid"], &bad["problems"][0]["line"]), (&json!(false), &json!(4)), "{bad}");
    assert!(bad["problems"][0]["help"].as_str().is_some_and(|help| help.contains("sort_key")), "{bad}");
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    let none = result(&["validate", "--json"]);
    assert!(none["problems"][0]["message"].as_str().is_some_and(|it| it.contains("there is no stack.yaml")), "{none}");
    let region = project.run(&["validate", "--json", "--file", "x.yaml", "--region", "us-esat-1"]);
    assert_eq!(region.code, 78, "the missing file comes first: {}", region.all());
}

/// The nodes and edges of a graph in DOT.
fn parsed(dot: &str) -> (BTreeSet<String>, Vec<(String, String)>) {
    let (mut nodes, mut edges) = (BTreeSet::new(), Vec::new());
    for line in dot.lines().map(str::trim).filter(|line| line.starts_with('"')) {
        let names: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        match names[..] {
            [node] => assert!(nodes.insert(node.to_owned()), "{node} is there twice"),
            [from, to] => edges.push((from.to_owned(), to.to_owned())),
            _ => panic!("{line}"),
        }
    }
    (nodes, edges)
}

#[test]
fn the_graph_has_the_resources_of_the_plan_and_an_order_for_them() {
    let project = baked();
    let dot = project.done(&["graph", "--format", "dot"]).stdout;
    assert_eq!(dot, project.done(&["graph", "--format", "dot"]).stdout);
    let (nodes, edges) = parsed(&dot);
    assert_eq!(nodes, planned(&project));

    // All can be created, one after the other.
    let mut needs: BTreeMap<&String, Vec<&String>> = nodes.iter().map(|node| (node, Vec::new())).collect();
    edges.iter().for_each(|(from, to)| needs.get_mut(from).expect("a node").push(to));
    let mut created: BTreeSet<&String> = BTreeSet::new();
    while created.len() < nodes.len() {
        let ready: Vec<&String> = needs.keys().copied().filter(|it| !created.contains(it)).collect();
        let ready: Vec<&String> =
            ready.into_iter().filter(|it| needs[it].iter().all(|it| created.contains(it))).collect();
        assert!(!ready.is_empty(), "there is a cycle: {edges:?}");
        created.extend(ready);
    }
    let has = |from: &str, to: &str| edges.contains(&(from.to_owned(), to.to_owned()));
    assert!(has("function.labeler", "role.labeler-fn") && has("notification.images", "permissions.labeler"), "{dot}");
    assert!(has("auto_scaling_group.web", "alarm.web-target-5xx"), "the alarms watch its roll-outs: {dot}");
    assert!(!has("function.labeler", "bucket.artifacts"), "its role implies it: {dot}");

    let mermaid = project.done(&["graph"]).stdout;
    assert!(mermaid.starts_with("flowchart RL\n"), "{mermaid}");
    assert_eq!(mermaid.matches(" --> ").count(), edges.len());
    let labels = mermaid.lines().filter(|line| line.starts_with("    "));
    let labels: BTreeSet<String> = labels.map(|line| line.split('"').nth(1).expect("a label").to_owned()).collect();
    assert_eq!(labels, nodes);
}
