//! The commands around a deployment: they check, draw, document and prepare a stack without changing anything in AWS.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpListener,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use clap::CommandFactory as _;
use deployer::{
    commands::cli::Cli,
    config::{Config, Program},
};
use serde_json::{Value, json};
use support::{
    Project, Said,
    cloud::TestAws,
    scene::{Phase, Scene},
};
use testkit::{
    LocalAws,
    proxy::InjectedFault,
    small_programs::{echo_function, tiny_service},
};

/// A server in the place of AWS that counts its callers and hangs up on them.
struct HangUp {
    endpoint: String,
    calls: Arc<AtomicUsize>,
}

impl HangUp {
    fn start() -> HangUp {
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
    fn run(&self, project: &Project, arguments: &[&str]) -> Said {
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

const SMALL: &str = "name: small\nregion: us-east-1\nbuckets: { a: , b-c: }\ntables: { t: { partition_key: k } }\n";

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

#[test]
fn completions_know_the_commands_and_their_options() {
    let project = Project::with(SMALL);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = project.done(&["completions", shell]).stdout;
        for word in ["validate", "no-wait", "detailed-exitcode"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(project.run(&["completions", "cmd"]).code, 64);

    // The completions of bash after `deployer up --no`.
    std::fs::write(project.path().join("script"), project.done(&["completions", "bash"]).stdout).expect("a file");
    let typed = "source ./script; COMP_WORDS=(deployer up --no); COMP_CWORD=2; _deployer deployer --no up; \
                 printf '%s\\n' \"${COMPREPLY[@]}\"";
    let offered = Command::new("bash").args(["--norc", "-c", typed]).current_dir(project.path()).output();
    let offered = offered.expect("there is a bash");
    let text = String::from_utf8_lossy(&offered.stdout).into_owned();
    assert_eq!(text, "--no-wait\n", "{}", String::from_utf8_lossy(&offered.stderr));
}

#[test]
fn every_command_has_a_manual_page() {
    let project = Project::with(SMALL);
    let said = project.done(&["man", "share/man1"]);
    assert!(said.stderr.contains("share/man1"), "{}", said.all());
    let page = |name: &str| {
        let file = project.path().join("share/man1").join(name);
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    let help = project.done(&["--help"]).stdout;
    let (_, commands) = help.split_once("Commands:\n").expect("the commands");
    let commands: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(commands.contains(&"up") && commands.contains(&"man"), "{commands:?}");
    for command in commands.iter().filter(|command| help.contains(&format!("\n  {command} "))) {
        assert!(page(&format!("deployer-{command}.1")).contains(".SH NAME"), "{command}");
    }
    assert!(page("deployer-up.1").contains("\\-\\-no\\-wait") && page("deployer-local-start.1").contains(".SH NAME"));
    assert_eq!(page("deployer.1"), project.done(&["man"]).stdout);

    let refused = project.run(&["man", "stack.yaml"]);
    assert_eq!(refused.code, 1, "{}", refused.all());
    assert!(refused.stderr.contains("failed to write the manual pages to stack.yaml"), "{}", refused.all());
}

/// The names of all commands, each with its help, such as `local start`.
fn commands(command: &clap::Command, path: &str) -> Vec<(String, String)> {
    let below = command.get_subcommands().flat_map(|it| commands(it, &format!("{path} {}", it.get_name())));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    [(path.to_owned(), after)].into_iter().chain(below).collect()
}

#[test]
fn every_command_has_an_example() {
    let all = commands(&Cli::command(), "deployer");
    let has = |name: &str| all.iter().any(|(path, _)| path == name);
    assert!(has("deployer up") && has("deployer local chaos") && has("deployer secret rm"), "{all:?}");
    for (path, help) in &all {
        let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{path} has no examples: {help}"));
        let is_example = |line: &str| line.starts_with("  ") && line.contains(path.as_str());
        assert!(examples.lines().any(is_example), "{path} is in none of its examples: {examples}");
    }
}

#[test]
fn without_arguments_it_introduces_itself() {
    let project = Project::with(SMALL);
    let said = project.run(&[]);
    assert_eq!((said.code, said.stdout.as_str()), (64, ""), "{}", said.all());
    assert!(said.stderr.lines().count() < 10 && said.stderr.lines().all(|line| line.len() <= 80), "{}", said.all());
    assert!(said.stderr.contains("deployer up --local"), "{}", said.all());
}

#[test]
fn the_words_of_other_tools_name_ours() {
    let project = Project::with(SMALL);
    for (word, ours) in [
        ("deploy", "deployer calls it `up`"),
        ("apply", "deployer calls it `up`"),
        ("destroy", "deployer calls it `down`"),
        ("delete", "deployer calls it `down`"),
        ("diff", "deployer calls it `plan`"),
        ("state", "no state file"),
    ] {
        let said = project.run(&["--local", word, "--auto-approve"]);
        assert_eq!(said.code, 64, "{}", said.all());
        assert!(said.stderr.starts_with(&format!("error: {word}: ")) && said.stderr.contains(ours), "{}", said.all());
        assert!(said.stderr.contains("\nhint: "), "{}", said.all());
    }
    let typo = project.run(&["validat"]);
    assert!(typo.code == 64 && typo.stderr.contains("'validate'"), "{}", typo.all());
}

/// A folder of this name without a description.
fn empty(name: &str) -> Project {
    let project = Project::with(SMALL);
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    std::fs::create_dir(project.path().join(name)).expect("the folder can be written to");
    project
}

const TEMPLATES: [&str; 3] = ["postagram", "service", "function"];

#[test]
fn every_template_is_valid_and_so_is_every_field_that_it_suggests() {
    for template in TEMPLATES {
        let project = empty("x");
        let said = project.done(&["init", "--template", template, "--name", "shop", "--region", "us-west-2"]);
        assert!(said.stderr.starts_with("wrote stack.yaml: the stack shop, "), "{}", said.all());
        project.done(&["validate"]);
        let text = project.description();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let config = Config::parse("stack.yaml", &text).expect("it is valid");
        assert_eq!((config.name.as_str(), config.region.as_str()), ("shop", "us-west-2"));
        let lines: Vec<&str> = text.lines().collect();
        let mut suggested = 0;
        for (index, line) in lines.iter().enumerate() {
            let Some((indent, field)) = line.split_once("# ").filter(|(indent, _)| indent.trim().is_empty()) else {
                continue;
            };
            let is_field =
                field.split_once(": ").is_some_and(|(key, _)| key.chars().all(|c| c.is_lowercase() || c == '_'));
            if is_field {
                suggested += 1;
                let field = format!("{indent}{field}");
                let with = [&lines[..index], &[field.as_str()], &lines[index + 1..]].concat().join("\n");
                Config::parse("stack.yaml", &with).unwrap_or_else(|errors| panic!("{errors}"));
            }
        }
        assert!(suggested > 0, "{text}");
    }
}

#[test]
fn the_template_of_the_shipped_app_describes_the_shipped_app() {
    let project = empty("x");
    project.done(&["init", "--template", "postagram", "--name", "postagram"]);
    let (written, shipped) = (project.description(), Project::postagram().description());
    let [written, shipped] = [written, shipped].map(|text| Config::parse("stack.yaml", &text).expect("it is valid"));
    let parts = |config: &Config| {
        let mut config = config.clone();
        // The programs are those of this build in one of them.
        let program = || Program::Package("it".into());
        config.functions.values_mut().for_each(|function| function.program = program());
        config.services.values_mut().for_each(|service| service.program = program());
        let Config { name, region, tags, buckets, tables, functions, services, outputs, verify, .. } = config;
        let text = format!(
            "{name} {region} {tags:?} {buckets:?} {tables:?} {functions:?} {services:?} {outputs:?} {verify:?}"
        );
        // References are in other lines.
        let (mut rest, mut parts) = (text.as_str(), String::new());
        while let Some((before, after)) = rest.split_once("Place {") {
            parts += before;
            rest = after.split_once('}').expect("the end of a place").1;
        }
        parts + rest
    };
    assert_eq!(parts(&written), parts(&shipped));
}

#[test]
fn init_never_overwrites_and_names_the_stack_after_its_folder() {
    let project = empty("My_Shop");
    project.done(&["init", "--file", "My_Shop/stack.yaml"]);
    let text = std::fs::read_to_string(project.path().join("My_Shop/stack.yaml")).expect("it was written");
    assert!(text.contains("\nname: my-shop\n") && text.contains("    package: My_Shop\n"), "{text}");

    project.describe("mine");
    let said = project.run(&["init"]);
    assert_eq!(said.code, 64, "{}", said.all());
    assert!(said.stderr.contains("stack.yaml exists already") && said.stderr.contains("--file PATH"), "{}", said.all());
    assert_eq!(project.description(), "mine");
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    std::os::unix::fs::symlink("elsewhere", project.path().join("stack.yaml")).expect("a link can be made");
    assert_eq!(project.run(&["init"]).code, 64);
    assert!(!project.path().join("elsewhere").exists(), "a link is not followed");

    for arguments in [
        &["init", "--file", "a.yaml", "--name", "Shop"][..],
        &["init", "--file", "a.yaml", "--name", &"long".repeat(12)],
        &["init", "--file", "a.yaml", "--region", "us-esat-1"],
        &["init", "--file", "a.yaml", "--template", "queue"],
    ] {
        let said = project.run(arguments);
        assert_eq!(said.code, 64, "{arguments:?}: {}", said.all());
        assert!(!project.path().join("a.yaml").exists(), "{arguments:?}");
    }
    assert_eq!(project.run(&["init", "--file", "nowhere/a.yaml"]).code, 1);
}

#[test]
fn what_init_writes_comes_up_on_this_machine() {
    for (template, programs) in [
        ("service", vec![("package: shop", tiny_service().to_owned())]),
        ("function", vec![("package: shop", echo_function().to_owned())]),
        (
            "postagram",
            vec![("package: labeler", echo_function().to_owned()), ("package: service", tiny_service().to_owned())],
        ),
    ] {
        let project = empty("x");
        let said = project.done(&["init", "--template", template, "--name", "shop"]);
        assert!(said.stderr.contains("`binary`"), "there is no Cargo.toml: {}", said.all());
        assert!(said.stderr.contains("next: name the programs; then `deployer up --local`"), "{}", said.all());
        programs.iter().for_each(|(package, path)| project.edit(package, &format!("binary: {}", path.display())));
        let up = project.done(&["up", "--local", "--yes"]);
        match template {
            "function" => assert!(up.output("BUCKET").starts_with("shop-files-"), "{}", up.all()),
            _ => assert!(up.output("URL").starts_with("http://127.0.0.1:"), "{}", up.all()),
        }
        project.done(&["down", "--local", "--yes"]);
    }
}

/// The line of this subject in the output of `doctor`.
fn finding(said: &Said, subject: &str) -> String {
    let is_it = |line: &&str| line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(subject));
    let line = said.stdout.lines().find(is_it).unwrap_or_else(|| panic!("nothing about {subject}: {}", said.all()));
    line.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_everything_there_and_changes_nothing() {
    let scene = Scene::local().await;
    let before = scene.inventory().await;
    let said = scene.run(&["doctor"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    for good in [
        "stack.yaml: 24 resources",
        "program ",
        "credentials: arn:aws:iam::000000000000:",
        "region: us-east-1 is enabled",
        "network: vpc-",
        "resources: 0 of 23 exist (programs not counted), and all can be read",
        "permission ec2:CreateSecurityGroup: allowed",
        "permission ec2:CreateLaunchTemplate: allowed",
        "permissions of `up`: ",
        "quota of load balancers: 0 of 50 exist, 1 to create",
        "quota of target groups: 0 of 3000 exist, 1 to create",
        "quota of Auto Scaling groups: 0 of 500 exist, 1 to create",
        "quota of vCPUs: 32 for On-Demand instances; the groups need up to 8",
        "quota of security groups: 1 of 2500 exist, 2 to create",
        "quota of tables: 0 of 2500 exist, 1 to create",
        "quota of concurrent executions: 0 of 1000 are reserved, 0 to reserve; 100 have to stay unreserved",
    ] {
        assert!(finding(&said, good).starts_with('✓'), "{good}: {}", said.all());
    }
    assert_eq!(scene.inventory().await, before);

    scene.done(Phase::Up).await;
    let said = scene.run(&["doctor"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(finding(&said, "resources: 23 of 23 exist").starts_with('✓'), "{}", said.all());
    for kept in
        ["load balancers: 1 of 50", "target groups: 1 of 3000", "Auto Scaling groups: 1 of 500", "tables: 1 of 2500"]
    {
        let line = finding(&said, &format!("quota of {kept} exist, 0 to create"));
        assert!(line.starts_with('✓'), "{}", said.all());
    }
    scene.done(Phase::Down).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_aws_would_refuse() {
    let scene = Scene::local().await;
    let denied =
        || InjectedFault::refused(403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
    let off = InjectedFault::Reworded(vec![("opt-in-not-required".into(), "not-opted-in".into())]);
    let full = InjectedFault::Reworded(vec![("<Max>50<".into(), "<Max>0<".into())]);
    let no_zone = InjectedFault::Reworded(vec![("<instanceType>t3.micro".into(), "<instanceType>t3.nano".into())]);
    let empty = InjectedFault::Answered("<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>".into());
    for (call, fault, subject, remedy) in [
        ("CreateLaunchTemplate", denied(), "permission ec2:CreateLaunchTemplate", "CreateLaunchTemplate"),
        ("CreateSecurityGroup", denied(), "permission ec2:CreateSecurityGroup", "CreateSecurityGroup"),
        ("DescribeVpcs", empty, "network", "create-default-vpc"),
        ("DescribeInstanceTypeOfferings", no_zone, "network", "instance_type"),
        ("DescribeRegions", off, "region", "enable-region"),
        ("DescribeAccountLimits", full, "quota of load balancers", "Service Quotas"),
    ] {
        scene.proxy.reset();
        scene.proxy.inject([call], fault, usize::MAX);
        let said = scene.run(&["doctor"]).await;
        assert_eq!(said.code, 1, "{call}: {}", said.all());
        let line = finding(&said, subject);
        assert!(line.starts_with('✗'), "{call}: {}", said.all());
        let (_, below) = said.stdout.split_once(&line).expect("the line");
        let hint = below.lines().nth(1).expect("a remedy");
        assert!(hint.starts_with("  hint: ") && hint.contains(remedy), "{call}: {}", said.all());
    }
    scene.proxy.reset();
    scene.put_chaos("vcpu-limit").await;
    let said = scene.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let line = finding(&said, "quota of vCPUs: the groups need 2 vCPUs, more than the quota of 1");
    assert!(
        line.starts_with('✗') && said.stdout.contains("lower `instances`, or request an increase"),
        "{}",
        said.all()
    );
    scene.put_chaos("").await;

    // A check that `up` does not need is only reported as unchecked.
    for call in ["DescribeRegions", "DescribeAccountLimits", "DescribeInstanceTypes"] {
        scene.proxy.reset();
        scene.proxy.inject([call], denied(), usize::MAX);
        let said = scene.run(&["doctor"]).await;
        assert_eq!(said.code, 0, "{call}: {}", said.all());
        assert!(said.stdout.contains(": not checked: UnauthorizedOperation: "), "{call}: {}", said.all());
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_compares_reserved_concurrency_with_what_the_account_has() {
    let binary = echo_function().display().to_string();
    let text = format!("name: s\nregion: us-east-1\nfunctions:\n  f:\n    binary: {binary}\n    concurrency: 901\n");
    let (cloud, project) = (TestAws::start().await, Project::with(&text));
    let said = cloud.run(&project, &["doctor"]).await;
    let line = "✗ quota of concurrent executions: 0 of 1000 are reserved, 901 to reserve; 100 have to stay unreserved";
    let hint = "  hint: lower `concurrency`, or request an increase (Service Quotas, L-B99A9384)";
    assert!(said.code == 1 && said.stdout.contains(&format!("{line}\n{hint}\n")), "{}", said.all());
    // As `up` finds out.
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert!(up.code == 1 && up.stderr.contains("below its minimum value of [100]"), "{}", up.all());
    project.edit("concurrency: 901", "concurrency: 900");
    cloud.done(&project, &["doctor"]).await;
    cloud.done(&project, &["up", "--yes"]).await;
    let said = cloud.done(&project, &["doctor"]).await;
    let line = "✓ quota of concurrent executions: 900 of 1000 are reserved, 0 to reserve";
    assert!(said.stdout.contains(line), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_the_credentials_and_how_long_they_last() {
    let project = Project::light();
    let none = project.run_with(&["doctor"], &[("AWS_EC2_METADATA_DISABLED", "true")]);
    assert_eq!(none.code, 1, "{}", none.all());
    assert!(
        finding(&none, "credentials: ").starts_with('✗') && none.stdout.contains("  hint: sign in"),
        "{}",
        none.all()
    );
    assert!(finding(&none, "region, network, permissions, quotas: not checked").starts_with('!'), "{}", none.all());

    let aws = LocalAws::start().await;
    let lasting = |seconds: u64| {
        let end = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
        let end =
            time::OffsetDateTime::from(end).format(&time::format_description::well_known::Rfc3339).expect("a time");
        let keys = json!({
            "Version": 1, "AccessKeyId": local::ACCESS_KEY, "SecretAccessKey": local::SECRET_KEY, "Expiration": end,
        });
        let config = format!("[default]\ncredential_process = echo '{keys}'\n");
        std::fs::write(project.path().join("config"), config).expect("a file");
        let file = project.path().join("config").display().to_string();
        project.run_with(&["doctor"], &[("AWS_ENDPOINT_URL", &aws.endpoint()), ("AWS_CONFIG_FILE", &file)])
    };
    let long = lasting(3 * 3600 + 120);
    assert!(finding(&long, "credentials: ").contains(", for 3 h 1 min"), "{}", long.all());
    let short = lasting(400);
    let line = finding(&short, "credentials: ");
    assert!(line.starts_with('!') && line.contains(", only for 6 min"), "{}", short.all());
    aws.stop().await;
}

#[test]
fn doctor_checks_what_this_machine_needs() {
    let project = Project::light();
    let said = project.done(&["doctor", "--local"]);
    for good in ["stack.yaml: 24 resources", "program ", "local state: kept in ", "local AWS: uses a free port"] {
        assert!(finding(&said, good).starts_with('✓'), "{}", said.all());
    }
    assert!(!project.path().join(".deployer").exists(), "nothing was written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let said = project.run_with(&["doctor", "--local"], &[("DEPLOYER_LOCAL_PORT", &port)]);
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(finding(&said, &format!("local AWS: port {port} is taken")).starts_with('✗'), "{}", said.all());

    project.done(&["local", "start"]);
    let said = project.done(&["doctor", "--local"]);
    assert!(finding(&said, "local AWS: runs at http://127.0.0.1:").starts_with('✓'), "{}", said.all());
}

#[test]
fn doctor_names_problems_of_the_description_and_the_programs() {
    let project = Project::with(SMALL);
    let doctor = || project.run(&["doctor", "--local"]);
    project.edit("partition_key", "partition_kye");
    let said = doctor();
    assert!(said.code == 1 && finding(&said, "stack.yaml: line 4").starts_with('✗'), "{}", said.all());
    project
        .describe("name: app\nregion: us-east-1\nfunctions: { f: { package: nothing }, g: { binary: ./nothing } }\n");
    let said = doctor();
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(finding(&said, "build of nothing: no Cargo.toml").starts_with('✗'), "{}", said.all());
    assert!(finding(&said, "program ./nothing: failed to read").starts_with('✗'), "{}", said.all());
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    let said = doctor();
    assert!(said.code == 0 && finding(&said, "stack.yaml: there is no").starts_with('!'), "{}", said.all());
    assert!(said.stdout.contains("  hint: `deployer init`"), "{}", said.all());
}
