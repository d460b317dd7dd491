//! Services that share a load balancer: by path and by host, over HTTP and HTTPS, with changes that no client notices.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, HostHeaderConditionConfig, PathPatternConditionConfig, RuleCondition, RulePriorityPair, Tag,
};
use deployer::{
    cloud::aws::Aws,
    config::{self, Behind},
    engine::{Observed, RESOURCE_TAG, Resource as _, STACK_TAG},
    kinds::rule::ListenerRule,
};
use serde_json::Value;

use crate::support::{
    Project, RunOutput,
    cloud::{KEYS, TestAws},
    crowd::Crowd,
    domain::{self, DOMAIN, assert_https},
    inventory::inventory,
    shared::{self, BEHIND, rules, service, stack},
};

async fn up(cloud: &TestAws, project: &Project) -> RunOutput {
    let up = cloud.done(project, &["up", "--yes"]).await;
    let plan = cloud.run(project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "nothing is left to do: {}", plan.all());
    up
}

/// The service that answers this request, according to its environment.
async fn who(url: &str, host: Option<&str>) -> String {
    let request = reqwest::Client::builder().no_proxy().build().expect("a client").get(format!("{url}/environment"));
    let request = host.iter().fold(request, |request, host| request.header("host", *host));
    let answer = request.send().await.expect("an answer").text().await.expect("a text");
    answer.lines().find_map(|line| line.strip_prefix("WHO=")).unwrap_or(&answer).to_owned()
}

fn assert_plan(plan: &RunOutput, lines: &[&str]) {
    for line in lines {
        assert!(plan.stderr.contains(line), "{line:?} is not in the plan: {}", plan.all());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_gets_a_path_of_another_one_and_gives_it_back() {
    let cloud = TestAws::start().await;
    let project = Project::with(&stack(&[service("web", "")]));
    let url = up(&cloud, &project).await.output("URL");
    let crowd = Crowd::gather(&url);
    assert_eq!(who(&url, None).await, "web");

    project.describe(&stack(&[service("web", ""), service("api", BEHIND)]));
    let plan = cloud.run(&project, &["plan"]).await;
    assert_plan(&plan, &["~ rule.api", "~ rule_action.api", "+ target_group.api", "+ security_group.api"]);
    assert!(!plan.stderr.contains("load_balancer.api") && !plan.stderr.contains("listener."), "{}", plan.all());
    up(&cloud, &project).await;
    assert_eq!(who(&url, None).await, "api");
    let status = cloud.done(&project, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    let addresses: BTreeSet<&str> =
        status["services"].as_array().expect("a list").iter().filter_map(|it| it["address"].as_str()).collect();
    assert_eq!(addresses, BTreeSet::from([url.as_str(), &format!("{url}/environment")]), "{status}");
    let why = cloud.done(&project, &["why"]).await;
    assert!(
        why.stdout.contains("api: no problem found") && why.stdout.contains("web: no problem found"),
        "{}",
        why.all()
    );
    let cost = cloud.done(&project, &["cost"]).await;
    assert_eq!(cost.stdout.matches(" load balancer ").count(), 1, "{}", cost.all());

    project.edit("path: /environment", "path: /env*");
    let plan = cloud.run(&project, &["plan"]).await;
    assert_plan(&plan, &["~ rule.api", "paths: [\"/environment\"] → [\"/env*\"] (stack.yaml:"]);
    up(&cloud, &project).await;
    assert_eq!(who(&url, None).await, "api");
    crowd.some_more().await;

    shared::without_api(&project);
    let plan = cloud.run(&project, &["plan"]).await;
    assert_plan(&plan, &["- rule.s-web/api", "- target_group.s-api-8080-web", "- auto_scaling_group.s-api-8080-web"]);
    up(&cloud, &project).await;
    assert_eq!(who(&url, None).await, "web");
    assert_eq!(rules(&cloud.aws).await.len(), 0);
    crowd.go_home().await;
    let there = inventory(&cloud.endpoint(), KEYS).await;
    assert!(!there.keys().any(|name| name.contains("s-api")), "{there:?}");
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(cloud.aws.elb.describe_target_groups().send().await.expect("a list").target_groups().len(), 0);
    cloud.end().await;
}

/// The crowd uses the path that the second service gets, moves with, and gives back.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_behind_a_rule_is_added_moved_to_another_port_and_removed_without_a_lost_request() {
    let cloud = TestAws::start().await;
    let project = Project::with(&stack(&[service("web", "")]));
    let crowd = Crowd::gather(&up(&cloud, &project).await.output("URL"));
    let web = crowd.get("/pid").await;
    project.describe(&stack(&[service("web", ""), service("api", &BEHIND.replace("/environment", "/pid"))]));
    up(&cloud, &project).await;
    assert_ne!(crowd.get("/pid").await, web, "the second service answers");
    let before = crowd.get("/pid").await;
    let text = project.description();
    let (web, api) = text.split_once("  api:\n").expect("two services");
    project.describe(&format!("{web}  api:\n{}", api.replace("port: 8080", "port: 8081")));
    let plan = cloud.run(&project, &["plan"]).await;
    assert_plan(&plan, &["+ target_group.api", "~ rule.api", "~ rule_action.api", "- target_group.s-api-8080-web"]);
    up(&cloud, &project).await;
    assert_ne!(crowd.get("/pid").await, before, "another process answers");
    // And the port of the service that has the load balancer.
    project.edit("port: 8080", "port: 8082");
    up(&cloud, &project).await;
    crowd.some_more().await;
    shared::without_api(&project);
    up(&cloud, &project).await;
    crowd.go_home().await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A target group belongs to one load balancer, so everything behind it is new.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_moves_behind_another_one_and_back_to_a_load_balancer_of_its_own() {
    let cloud = TestAws::start().await;
    let (alone, behind) = (
        stack(&[service("web", ""), service("api", "")]),
        stack(&[service("web", ""), service("api", &BEHIND.replace("/environment", "/env*"))]),
    );
    let project = Project::with(&alone);
    let url = up(&cloud, &project).await.output("URL");
    let balancers = async || {
        let listed = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
        listed.load_balancers.unwrap_or_default().len()
    };
    assert_eq!(balancers().await, 2);
    project.describe(&behind);
    let plan = cloud.run(&project, &["plan"]).await;
    assert_plan(&plan, &["~ rule.api", "- load_balancer.s-api", "- security_group.s-api-lb"]);
    up(&cloud, &project).await;
    assert_eq!((balancers().await, who(&url, None).await), (1, "api".to_owned()));
    project.describe(&alone);
    up(&cloud, &project).await;
    assert_eq!((balancers().await, who(&url, None).await), (2, "web".to_owned()));
    assert_eq!(rules(&cloud.aws).await.len(), 0);
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A load balancer of another scheme is another one, so everything behind it is new, also for the services that share it.
#[tokio::test(flavor = "multi_thread")]
async fn services_behind_a_load_balancer_that_becomes_internal_move_with_it_and_back() {
    let (cloud, project) = (TestAws::start().await, shared::project());
    up(&cloud, &project).await;
    let public = project.description();
    project.describe(&stack(&[service("web", "    load_balancer: internal\n"), service("api", BEHIND)]));
    let plan = cloud.run(&project, &["plan"]).await;
    let removed = [
        "- load_balancer.s-web",
        "- rule.s-web/api",
        "- target_group.s-api-8080-web",
        "- security_group.s-api-8080-web",
    ];
    assert_plan(&plan, &removed);
    let moved = up(&cloud, &project).await;
    assert_eq!(who(&moved.output("URL"), None).await, "api");
    assert!(moved.stderr.contains("/environment (reachable from its VPC only)\n"), "{}", moved.all());
    let status = cloud.done(&project, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    for one in status["services"].as_array().expect("a list") {
        assert_eq!((&one["internal"], &one["healthy"]), (&true.into(), &true.into()), "{status}");
    }
    project.describe(&(project.description() + "verify: { service: api, steps: { page: { request: GET / } } }\n"));
    let refused = cloud.run(&project, &["verify"]).await;
    let words = "verify.steps.page requests api, which is reachable from its VPC only";
    assert!(refused.code == 64 && refused.stderr.contains(words), "{}", refused.all());
    project.describe(&public);
    let url = up(&cloud, &project).await.output("URL");
    assert_eq!((rules(&cloud.aws).await.len(), who(&url, None).await), (1, "api".to_owned()));
    cloud.done(&project, &["down", "--yes"]).await;
    assert_eq!(cloud.aws.elb.describe_target_groups().send().await.expect("a list").target_groups().len(), 0);
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_distinguished_and_the_more_exact_rule_wins() {
    let cloud = TestAws::start().await;
    let behind = |host: &str| format!("    behind: {{ service: web, host: \"{host}\" }}\n");
    let services =
        [service("any", &behind("*.example.org")), service("api", &behind("api.example.org")), service("web", "")];
    let project = Project::with(&stack(&services));
    let url = up(&cloud, &project).await.output("URL");
    for (host, expected) in [
        ("api.example.org", "api"),
        ("API.example.org", "api"),
        ("api.example.org:80", "api"),
        ("www.example.org", "any"),
        ("example.org", "web"),
    ] {
        assert_eq!(who(&url, Some(host)).await, expected, "{host}");
    }
    let address = cloud.done(&project, &["status"]).await;
    assert!(address.stdout.contains("http://api.example.org:"), "{}", address.all());
    cloud.done(&project, &["pause", "--yes"]).await;
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0, "a pause is not drift");
    let url = cloud.done(&project, &["resume", "--yes"]).await.output("URL");
    up(&cloud, &project).await;
    assert_eq!(who(&url, Some("api.example.org")).await, "api");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The rule moves to the listener for HTTPS, and back.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_at_the_listener_that_forwards() {
    let cloud = TestAws::start().await;
    let project = shared::project();
    domain::make_zone(&cloud.aws).await;
    up(&cloud, &project).await;
    let port = async || {
        let rules = rules(&cloud.aws).await;
        assert_eq!(rules.len(), 1, "{rules:?}");
        let arn = rules[0].rule_arn().expect("an ARN").rsplit_once('/').expect("a listener").0.to_owned();
        let listener = cloud.aws.elb.describe_listeners().listener_arns(arn.replace(":listener-rule/", ":listener/"));
        listener.send().await.expect("it is there").listeners()[0].port()
    };
    assert_eq!(port().await, Some(80));
    let plain = project.description();
    project.describe(&plain.replacen(
        "    environment: { WHO: web }\n",
        &format!("    domain: {DOMAIN}\n    environment: {{ WHO: web }}\n"),
        1,
    ));
    assert_https(&up(&cloud, &project).await);
    assert_eq!(port().await, Some(443));
    let status = cloud.done(&project, &["status"]).await;
    assert!(status.stdout.contains(&format!("https://{DOMAIN}:")), "{}", status.all());
    assert!(status.stdout.contains("/environment"), "{}", status.all());
    project.describe(&plain);
    let url = up(&cloud, &project).await.output("URL");
    assert_eq!((port().await, who(&url, None).await), (Some(80), "api".to_owned()));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A change of the listeners moves the rules, also if only the service with the load balancer is chosen.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_chosen_alone_does_not_cut_off_those_behind_its_load_balancer() {
    let (cloud, project) = (TestAws::start().await, shared::project());
    domain::make_zone(&cloud.aws).await;
    let url = up(&cloud, &project).await.output("URL");
    let plain = project.description();
    project.describe(&plain.replacen(
        "    environment: { WHO: web }\n",
        &format!("    domain: {DOMAIN}\n    environment: {{ WHO: web }}\n"),
        1,
    ));
    up(&cloud, &project).await;
    project.describe(&plain);
    // The listener for HTTPS, and with it the only rule, is removed.
    let plan = cloud.run(&project, &["plan", "services.web"]).await;
    assert_plan(&plan, &["+ rule.api", "listener.web"]);
    cloud.done(&project, &["up", "services.web", "--yes"]).await;
    assert_eq!(who(&url, None).await, "api");
    up(&cloud, &project).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// AWS refuses a priority that another rule has, so both change at once.
#[tokio::test(flavor = "multi_thread")]
async fn two_services_exchange_their_paths_and_priorities() {
    let (cloud, project) = (TestAws::start().await, shared::crowded());
    let url = up(&cloud, &project).await.output("URL");
    assert_eq!(who(&url, None).await, "api");
    let before = priorities(&cloud.aws).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), ["rule.api", "rule.other"]);
    shared::swap(&project);
    up(&cloud, &project).await;
    assert_eq!(who(&url, None).await, "other");
    let after = priorities(&cloud.aws).await;
    assert_eq!((after["rule.api"], after["rule.other"]), (before["rule.other"], before["rule.api"]));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The priorities of the rules by their addresses.
async fn priorities(aws: &Aws) -> BTreeMap<String, u32> {
    let mut priorities = BTreeMap::new();
    for rule in rules(aws).await {
        let tags = aws.elb.describe_tags().resource_arns(rule.rule_arn().expect("an ARN")).send().await.expect("tags");
        let mut tags = tags.tag_descriptions()[0].tags().iter();
        let address = tags.find(|tag| tag.key() == Some(RESOURCE_TAG)).and_then(Tag::value).expect("an address");
        let priority = rule.priority().and_then(|priority| priority.parse().ok()).expect("a number");
        priorities.insert(address.to_owned(), priority);
    }
    priorities
}

/// Both rules begin alike, and requests fulfil both.
#[tokio::test(flavor = "multi_thread")]
async fn the_rule_with_more_characters_is_evaluated_first_and_makes_room_for_itself() {
    let cloud = TestAws::start().await;
    let behind = |path: &str| format!("    behind: {{ service: web, path: \"{path}\" }}\n");
    // By name, the less exact one would be evaluated first.
    let services = [service("any", &behind("/env*")), service("web", "")];
    let project = Project::with(&stack(&services));
    let url = up(&cloud, &project).await.output("URL");
    assert_eq!(who(&url, None).await, "any");
    let before = priorities(&cloud.aws).await["rule.any"];
    let services = [service("any", &behind("/env*")), service("exact", &behind("/env*ment")), service("web", "")];
    project.describe(&stack(&services));
    up(&cloud, &project).await;
    assert_eq!(who(&url, None).await, "exact");
    let after = priorities(&cloud.aws).await;
    assert_eq!((after["rule.exact"], after["rule.any"]), (before, before + 1));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Changes by hand, and the line that a plan shows for each; a `*` at the end matches anything.
const CHANGED: &[(&str, &str)] = &[
    ("rule.api", "priority: 7 → *"),
    ("rule.api", "paths: [\"/elsewhere\"] → [\"/environment\"]"),
    ("rule.api", "hosts: [\"other.example.org\"] → []"),
    ("rule.api", "target_group: *"),
    ("rule.api", "key: other → api"),
    ("rule_action.api", "forwards.*"),
];

/// Fields that cannot be changed by hand here, and why.
const UNCHANGEABLE: &[(&str, &str)] = &[("others", "the local AWS has no conditions of other types")];

async fn change(aws: &Aws, address: &str, field: &str) {
    let elb = &aws.elb;
    let rule = rules(aws).await.into_iter().next().expect("there is a rule");
    let arn = rule.rule_arn().expect("it has an ARN");
    let condition = |path: &str, host: Option<&str>| {
        let path = PathPatternConditionConfig::builder().values(path).build();
        let path = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
        let host = host.map(|host| HostHeaderConditionConfig::builder().values(host).build());
        let host = host.map(|host| RuleCondition::builder().field("host-header").host_header_config(host).build());
        Some([path].into_iter().chain(host).collect::<Vec<_>>())
    };
    let update = elb.modify_rule().rule_arn(arn);
    match (address, field) {
        ("rule.api", "priority") => {
            let pair = RulePriorityPair::builder().rule_arn(arn).priority(7).build();
            elb.set_rule_priorities().rule_priorities(pair).send().await.expect("a priority can be set");
        }
        ("rule.api", "paths") => {
            update.set_conditions(condition("/elsewhere", None)).send().await.expect("it can be changed");
        }
        ("rule.api", "hosts") => {
            let conditions = condition("/environment", Some("other.example.org"));
            update.set_conditions(conditions).send().await.expect("it can be changed");
        }
        ("rule.api", "target_group") | ("rule_action.api", _) => {
            let groups = elb.describe_target_groups().names("s-web-8080").send().await.expect("it is there");
            let group = groups.target_groups()[0].target_group_arn().expect("it has an ARN");
            let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
            update.actions(forward).send().await.expect("it can be changed");
        }
        ("rule.api", "key") => {
            let tag = Tag::builder().key(RESOURCE_TAG).value("rule.other").build();
            elb.add_tags().resource_arns(arn).tags(tag).send().await.expect("it can be tagged");
        }
        _ => unreachable!("{address} {field}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_rule_by_hand_is_in_the_plan_and_is_corrected() {
    let (cloud, project) = (TestAws::start().await, shared::project());
    up(&cloud, &project).await;
    for (address, line) in CHANGED {
        let field = line.split(": ").next().expect("a field");
        change(&cloud.aws, address, field).await;
        let plan = cloud.run(&project, &["plan"]).await;
        let shown = line.split('*').next().expect("a beginning");
        assert_plan(&plan, &[&format!("~ {address}"), shown]);
        up(&cloud, &project).await;
    }
    let listener = rules(&cloud.aws).await[0].rule_arn().expect("an ARN").to_owned();
    let listener = listener.rsplit_once('/').expect("a listener").0.replace(":listener-rule/", ":listener/");
    let rule = ListenerRule { listener, arn: None, ..ListenerRule::left("s", "s-web", "api", String::new()) };
    let Ok(Observed::Present(live)) = rule.read(&cloud.aws).await else { panic!("it is there") };
    let settings = serde_json::to_value(&live.settings).expect("plain data");
    for field in settings.as_object().expect("fields").keys() {
        let is_changed =
            CHANGED.iter().any(|(address, line)| *address == "rule.api" && line.starts_with(field.as_str()));
        assert!(is_changed || UNCHANGEABLE.iter().any(|(known, _)| known == field), "no case changes {field}");
    }
    let arn = rules(&cloud.aws).await[0].rule_arn().expect("an ARN").to_owned();
    cloud.aws.elb.delete_rule().rule_arn(arn).send().await.expect("it can be deleted");
    assert_plan(&cloud.run(&project, &["plan"]).await, &["+ rule.api"]);
    let why = cloud.run(&project, &["why"]).await;
    assert!(why.stdout.contains("no rule of the listener forwards to its target group"), "{}", why.all());
    up(&cloud, &project).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Creates a rule by hand, without tags.
async fn make_by_hand(aws: &Aws, listener: &str, priority: u16, path: &str) {
    let groups = aws.elb.describe_target_groups().names("s-web-8080").send().await.expect("it is there");
    let group = groups.target_groups()[0].target_group_arn().expect("it has an ARN");
    let path = PathPatternConditionConfig::builder().values(path).build();
    let path = RuleCondition::builder().field("path-pattern").path_pattern_config(path).build();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let call = aws.elb.create_rule().listener_arn(listener).priority(priority.into());
    call.conditions(path).actions(forward).send().await.expect("it can be made");
}

/// Without the reports of its instances, the rule would wait for them for ten minutes.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_service_whose_program_keeps_exiting_fails_with_the_cause() {
    let cloud = TestAws::start().await;
    let project = shared::project();
    project.edit("WHO: api }", "WHO: api, EXIT: 1 }");
    let said = cloud.run(&project, &["up", "--yes", "--healthy-within", "86400"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(said.stderr.contains("api: the service exits with 1"), "{}", said.all());
    let url = cloud.done(&project, &["outputs"]).await.output("URL");
    assert_eq!(who(&url, None).await, "web", "the requests stay with it");
    project.edit(", EXIT: 1 }", " }");
    up(&cloud, &project).await;
    assert_eq!(who(&url, None).await, "api");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The target group, which a rule needs, is new as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_priority_that_a_rule_of_another_owner_has_is_refused_before_anything_is_changed() {
    let cloud = TestAws::start().await;
    let project = Project::with(&stack(&[service("web", "")]));
    up(&cloud, &project).await;
    let balancers = cloud.aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN").to_owned();
    let listeners = cloud.aws.elb.describe_listeners().load_balancer_arn(balancer).send().await.expect("listeners");
    let listener = listeners.listeners()[0].listener_arn().expect("an ARN").to_owned();
    let behind = Behind { service: "web".parse().expect("a name"), path: Some("/environment".into()), host: None };
    let priority = config::priorities([("api", &behind)])["api"];
    make_by_hand(&cloud.aws, &listener, priority, "/by-hand").await;
    let before = inventory(&cloud.endpoint(), KEYS).await;
    project.describe(&stack(&[service("web", ""), service("api", BEHIND)]));
    for command in [&["plan"][..], &["up", "--yes"]] {
        let said = cloud.run(&project, command).await;
        assert_eq!(said.code, 1, "{}", said.all());
        for text in ["rule.api (s-web/api) exists but belongs to an unknown owner", "aws elbv2 set-rule-priorities"] {
            assert!(said.stderr.contains(text), "{text}: {}", said.all());
        }
    }
    assert_eq!(inventory(&cloud.endpoint(), KEYS).await, before, "nothing was changed");
    cloud.done(&project, &["up", "--yes", "--adopt", "rule.api"]).await;
    assert_eq!(rules(&cloud.aws).await.len(), 1, "it is ours now");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A rule of another owner with the priority of ours is never taken over, and rules by hand stay.
#[tokio::test(flavor = "multi_thread")]
async fn rules_of_other_owners_are_left_alone() {
    let (cloud, project) = (TestAws::start().await, shared::project());
    up(&cloud, &project).await;
    let rule = rules(&cloud.aws).await.remove(0);
    let (arn, elb) = (rule.rule_arn().expect("an ARN"), &cloud.aws.elb);
    let tag = |owner: &str| Tag::builder().key(STACK_TAG).value(owner).build();
    let refused = async |owner: &str| {
        let up = cloud.run(&project, &["up", "--yes"]).await;
        assert_eq!(up.code, 1, "{}", up.all());
        assert!(up.stderr.contains("rule.api") && up.stderr.contains(&format!("belongs to {owner}")), "{}", up.all());
        let down = cloud.run(&project, &["down", "--yes"]).await;
        assert_eq!(down.code, 1, "{}", down.all());
        assert!(down.stderr.contains("rule.api"), "{}", down.all());
        assert_eq!(rules(&cloud.aws).await[0].conditions(), rule.conditions(), "it is as it was");
    };
    elb.add_tags().resource_arns(arn).tags(tag("large")).send().await.expect("it can be tagged");
    refused("stack \"large\"").await;
    let untag = elb.remove_tags().resource_arns(arn).tag_keys(STACK_TAG).tag_keys(RESOURCE_TAG);
    untag.send().await.expect("it can be untagged");
    refused("an unknown owner").await;
    cloud.done(&project, &["up", "--yes", "--adopt", "rule.api"]).await;

    // One beside ours.
    let listener = arn.rsplit_once('/').expect("a listener").0.replace(":listener-rule/", ":listener/");
    make_by_hand(&cloud.aws, &listener, 3, "/by-hand").await;
    shared::without_api(&project);
    up(&cloud, &project).await;
    let left = rules(&cloud.aws).await;
    assert_eq!((left.len(), left[0].priority()), (1, Some("3")), "the one by hand");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
