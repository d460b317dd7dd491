//! Services behind one load balancer.

use aws_sdk_elasticloadbalancingv2::types::{Rule, TargetHealthStateEnum};
use deployer::cloud::aws::Aws;
use testkit::small_programs::tiny_service;

use super::Project;

/// The operations that only rules need.
pub const OPERATIONS: &[&str] = &["CreateRule", "DeleteRule", "DescribeRules", "ModifyRule", "SetRulePriorities"];

/// The line of the description that puts the second service behind the first.
pub const BEHIND: &str = "    behind: { service: web, path: /environment }\n";

/// A service's lines in the description; it answers with its name in `WHO`.
pub fn service(entry: &str, fields: &str) -> String {
    format!(
        "  {entry}:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 1 }}
    health_check: /health
{fields}    environment: {{ WHO: {entry} }}
",
        tiny_service().display()
    )
}

/// The stack `s` of these services.
pub fn stack(services: &[String]) -> String {
    let outputs = "outputs:\n  URL: ${services.web.url}\n";
    format!("name: s\nregion: us-east-1\nservices:\n{}{outputs}", services.concat())
}

/// A stack whose service `api` gets one path of the service `web`.
pub fn project() -> Project {
    Project::with(&stack(&[service("web", ""), service("api", BEHIND)]))
}

/// A stack with two services behind the load balancer of `web`.
pub fn crowded() -> Project {
    let other = BEHIND.replace("/environment", "/pid");
    Project::with(&stack(&[service("web", ""), service("api", BEHIND), service("other", &other)]))
}

/// Gives the service `api` another path and another port.
pub fn reroute(project: &Project) {
    let text = project.description();
    let (before, api) = text.split_once("  api:\n").expect("there is the service");
    let api = api.replacen("path: /environment", "path: /env*", 1).replacen("port: 8080", "port: 8081", 1);
    project.describe(&format!("{before}  api:\n{api}"));
}

/// Exchanges the paths of the services behind others, and with them the priorities of their rules.
pub fn swap(project: &Project) {
    const BETWEEN: &str = "path: /between";
    project.edit("path: /pid", BETWEEN);
    let text = project.description();
    let rest = text.split_once("  api:\n").expect("there is the service").1;
    let path = rest.lines().find_map(|line| line.split_once("path: ")?.1.split_once(" }")).expect("it has a path").0;
    project.edit(&format!("path: {path}"), "path: /pid");
    project.edit(BETWEEN, &format!("path: {path}"));
}

/// The description without the service `api`.
pub fn without_api(project: &Project) {
    let text = project.description();
    let (before, rest) = text.split_once("  api:\n").expect("there is the service");
    // Up to the next entry, or section.
    let own = rest.split_inclusive('\n').take_while(|line| line.starts_with("    ")).map(str::len).sum::<usize>();
    project.describe(&format!("{before}{}", &rest[own..]));
}

/// The rules of every listener of the stack's load balancers, without the default ones.
pub async fn rules(aws: &Aws) -> Vec<Rule> {
    let mut rules = Vec::new();
    for balancer in aws.elb.describe_load_balancers().send().await.expect("load balancers").load_balancers() {
        let arn = balancer.load_balancer_arn().unwrap_or_default();
        let listeners = aws.elb.describe_listeners().load_balancer_arn(arn).send().await.expect("listeners");
        for listener in listeners.listeners() {
            let call = aws.elb.describe_rules().listener_arn(listener.listener_arn().unwrap_or_default());
            rules.extend(call.send().await.expect("rules").rules.unwrap_or_default());
        }
    }
    rules.retain(|rule| rule.is_default() != Some(true));
    rules
}

/// Whether a rule forwards to a healthy target of the service `api`.
pub async fn serves_api(aws: &Aws) -> bool {
    for rule in rules(aws).await {
        let mut groups = rule.actions().iter().filter_map(|action| action.target_group_arn());
        let Some(group) = groups.find(|arn| arn.contains(":targetgroup/s-api-")) else { continue };
        let targets = aws.elb.describe_target_health().target_group_arn(group).send().await.expect("targets");
        let mut healths = targets.target_health_descriptions().iter().filter_map(|target| target.target_health());
        if healths.any(|health| health.state() == Some(&TargetHealthStateEnum::Healthy)) {
            return true;
        }
    }
    false
}
