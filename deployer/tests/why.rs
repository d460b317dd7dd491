//! Every way to break a deployment is explained in one sentence, with its remedy.

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_ec2::types::{InstanceType, IpPermission, RequestLaunchTemplateData, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};
use support::{Project, Said, cloud::TestAws};
use testkit::{
    eventually,
    programs::program,
    small_programs::{echo_function, tiny_service},
    until,
};

/// How much faster than AWS the local AWS is here in all its delays, so that times can be converted to those of AWS.
const SPEED: u32 = 20;

/// A local AWS at that speed.
async fn cloud() -> TestAws {
    TestAws::start_at(SPEED.to_string().parse().expect("a speed")).await
}

const BUCKET: &str = "s-artifacts-000000000000-us-east-1";
const GROUP: &str = "s-web-8080";

/// A broken service: its name, the cause, its lines of `stack.yaml`, and parts of the sentence and of the remedy.
struct Row {
    name: &'static str,
    cause: &'static str,
    lines: &'static str,
    says: &'static [&'static str],
    remedy: &'static str,
}

const fn row(
    name: &'static str,
    cause: &'static str,
    lines: &'static str,
    says: &'static [&'static str],
    remedy: &'static str,
) -> Row {
    Row { name, cause, lines, says, remedy }
}

const BROKEN: &[Row] = &[
    row(
        "variable",
        "a missing variable",
        "environment: { SAY: JWT_AUDIENCE is not set, EXIT: 78 }",
        &["the service exits with 78: JWT_AUDIENCE is not set"],
        "`environment`",
    ),
    row(
        "crash",
        "a crash at start",
        "environment: { SAY: it cannot be, EXIT: 1 }",
        &["the service exits with 1: it cannot be"],
        "correct",
    ),
    row(
        "later",
        "a crash later",
        "environment: { LIFE: 3 }",
        &["the service exits with 3: it has lived long enough"],
        "correct the service",
    ),
    row(
        "port",
        "another port",
        // Any port that the load balancer does not ask.
        "grace_period_s: 3600\n    environment: { LISTEN: 0 }",
        &["the service runs, but did not listen on port 8080"],
        "the variable PORT",
    ),
    row(
        "path",
        "a wrong health check path",
        "health_check: /missing\n    grace_period_s: 3600",
        &["the service answers its health check, /missing, with 404"],
        "`health_check.path`",
    ),
    row(
        "error",
        "an error in the health check",
        "health_check: /broken\n    grace_period_s: 3600",
        &["the service answers its health check, /broken, with 500"],
        "with 200",
    ),
    row(
        "slow",
        "a start longer than the grace period",
        "grace_period_s: 30\n    environment: { SLOW: 600 }",
        &["does not become healthy within 30 s"],
        "`grace_period_s`",
    ),
    row(
        "denied",
        "a missing permission of the service",
        "environment: { SAY: 'x is not authorized to perform: dynamodb:PutItem on resource: y', EXIT: 1 }",
        &["the service lacks a permission: x is not authorized to perform: dynamodb:PutItem"],
        "`uses`",
    ),
    #[cfg(target_os = "linux")]
    row(
        "memory",
        "too little memory",
        "environment: { EAT: 1500 }",
        &["the service needs more memory than t3.micro has"],
        "`instance_type`",
    ),
];

/// A stack with these services, each with its own lines.
fn stack(services: &[(&str, &str)]) -> Project {
    let mut text = "name: s\nregion: us-east-1\nservices:\n".to_owned();
    for (name, lines) in services {
        text += &format!(
            "  {name}:\n    binary: {}\n    port: 8080\n    instance_type: t3.micro\n    instances: {{ min: 1, max: 1 }}\n    load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}\n",
            tiny_service().display()
        );
        if !lines.is_empty() {
            text += &format!("    {lines}\n");
        }
    }
    Project::with(&text)
}

/// Something broken: its name in `stack.yaml`, the cause, and parts of the sentence and of the remedy.
#[derive(Clone, Copy)]
struct Broken<'a> {
    name: &'a str,
    cause: &'a str,
    says: &'a [&'a str],
    remedy: &'a str,
}

/// The evidence that AWS must show before a cause is certain.
#[derive(Clone, Copy)]
enum Sign {
    /// An exit of the service, after this many restarts, in a report.
    Exit(u32),
    /// A report on whether the service answers, and an unhealthy target.
    Answer,
    /// An unhealthy target.
    Ill,
    /// An instance that the group has replaced, because it was unhealthy after its grace period.
    Replaced,
    /// A launch that failed with one of the texts.
    Refused,
    /// A throttled invocation of a function, in its metrics.
    Throttled,
}

/// The signs of causes. Every other cause is certain as soon as something is broken.
const SIGNS: &[(&str, Sign)] = &[
    ("a missing variable", Sign::Exit(0)),
    ("a crash at start", Sign::Exit(0)),
    ("a crash later", Sign::Exit(3)),
    ("another port", Sign::Answer),
    ("a wrong health check path", Sign::Ill),
    ("an error in the health check", Sign::Ill),
    ("a start longer than the grace period", Sign::Replaced),
    ("a missing permission of the service", Sign::Exit(0)),
    ("too little memory", Sign::Exit(0)),
    ("a security group changed by hand", Sign::Ill),
    ("a program missing in the bucket", Sign::Exit(0)),
    ("a role without permission to download the program", Sign::Ill),
    ("the vCPU quota, by too many instances", Sign::Refused),
    ("a program for another architecture", Sign::Exit(0)),
    ("a machine image that does not exist", Sign::Refused),
    ("a machine image for another architecture", Sign::Refused),
    ("an instance type that the zone does not offer", Sign::Refused),
    ("a zone without capacity", Sign::Refused),
    ("the free plan", Sign::Refused),
    ("the vCPU quota of a new account", Sign::Refused),
    ("a program for a newer C library", Sign::Exit(0)),
    ("user data that cloud-init refuses", Sign::Ill),
    ("a full disk", Sign::Exit(0)),
    ("a function that is stopped", Sign::Throttled),
    ("a function whose reserved concurrency is used up", Sign::Throttled),
    ("a function that was stopped by hand", Sign::Throttled),
];

/// Every cause is explained within this time of AWS after it is certain.
const WITHIN: Duration = Duration::from_secs(120);

/// The time by the clock of the local AWS, which is that of this machine, in seconds since 1970.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs_f64()
}

/// Since when a cause is certain, according to AWS; `None` if it is not yet.
async fn certain_s(cloud: &TestAws, broken: &Broken<'_>, begun_s: f64) -> Option<f64> {
    let Broken { name, cause, says, .. } = broken;
    let Some((_, sign)) = SIGNS.iter().find(|(known, _)| known == cause) else { return Some(begun_s) };
    let group = format!("s-{name}-8080");
    let reports = async |stage: &str| {
        let listed = cloud.aws.s3.list_objects_v2().bucket(BUCKET).prefix(format!("boot/{name}/"));
        let listed = listed.send().await.expect("a list").contents.unwrap_or_default();
        // Whole seconds: one of the second in which it was broken may be older.
        let is_new = |at: f64| at > begun_s;
        let new = listed.into_iter().filter_map(|it| Some((it.last_modified()?.secs() as f64, it.key?)));
        new.filter(|(at, key)| key.ends_with(stage) && is_new(*at)).collect::<Vec<_>>()
    };
    let is_ill = async || {
        let arn = target_group(cloud, &group).await;
        let health = cloud.aws.elb.describe_target_health().target_group_arn(arn).send().await.expect("targets");
        let state =
            |it: &aws_sdk_elasticloadbalancingv2::types::TargetHealthDescription| it.target_health()?.state().cloned();
        health.target_health_descriptions().iter().filter_map(state).any(|state| state.as_str() == "unhealthy")
    };
    let activities = async || {
        let call = cloud.aws.autoscaling.describe_scaling_activities().auto_scaling_group_name(&group);
        call.send().await.expect("activities").activities.unwrap_or_default()
    };
    let began = |it: &aws_sdk_autoscaling::types::Activity| it.start_time().map(|at| at.as_secs_f64());
    match *sign {
        Sign::Exit(restarts) => {
            for (at, key) in reports("/exit").await {
                let report = cloud.aws.s3.get_object().bucket(BUCKET).key(key).send().await.expect("a report");
                let report = report.body.collect().await.expect("its text").into_bytes();
                let report = String::from_utf8_lossy(&report).into_owned();
                let count = report.lines().find_map(|line| line.strip_prefix("NRestarts=")?.parse::<u32>().ok());
                if count.is_some_and(|count| count >= restarts) {
                    return Some(at);
                }
            }
            None
        }
        Sign::Answer => (!reports("/answers").await.is_empty() && is_ill().await).then(now_s),
        Sign::Ill => is_ill().await.then(now_s),
        Sign::Replaced => {
            let is_replaced = |cause: &str| cause.contains("ELB system health check failure");
            activities().await.iter().filter(|it| is_replaced(it.cause().unwrap_or_default())).find_map(began)
        }
        Sign::Refused => {
            let is_meant = |text: &str| says.iter().any(|it| text.contains(it));
            activities().await.iter().rfind(|it| is_meant(it.status_message().unwrap_or_default())).and_then(began)
        }
        Sign::Throttled => {
            let function = Dimension::builder().name("FunctionName").value(format!("s-{name}")).build();
            let metric =
                Metric::builder().namespace("AWS/Lambda").metric_name("Throttles").dimensions(function).build();
            let stat = MetricStat::builder().metric(metric).period(60).stat("Sum").build();
            let query = MetricDataQuery::builder().id("throttles").metric_stat(stat).build();
            let moment = |at_s: f64| aws_sdk_cloudwatch::primitives::DateTime::from_secs(at_s as i64);
            let call = cloud.aws.cloudwatch.get_metric_data().metric_data_queries(query);
            let call = call.start_time(moment(begun_s - 60.0)).end_time(moment(now_s() + 60.0));
            let answer = call.send().await.expect("metrics");
            let is_throttled = answer.metric_data_results().iter().any(|it| it.values().iter().any(|it| *it > 0.0));
            is_throttled.then(now_s)
        }
    }
}

/// The part of the output of `why` about a service or function, if its first line has these texts and a line of
/// `stack.yaml`.
fn about(said: &Said, broken: &Broken) -> Option<Vec<String>> {
    let Broken { name, says, .. } = broken;
    let has = |line: &str| says.iter().chain(&["(stack.yaml:"]).all(|it| line.contains(it));
    let is_first = |line: &&str| line.starts_with(&format!("{name}: ")) && has(line);
    let mut lines = said.stdout.lines().skip_while(|line| !is_first(line));
    let first = lines.next()?.to_owned();
    let rest = lines.take_while(|line| line.starts_with("  ") || line.starts_with("hint: "));
    Some([first].into_iter().chain(rest.map(str::to_owned)).collect())
}

/// Runs `why` until it explains all of these, which are broken now, checks the remedies, and writes the rows of the table of
/// docs/proofs.md: the cause, the sentence, and the time of AWS since the cause was certain. Every run that begins more than
/// [`WITHIN`] after that has to explain it, however slow this machine is.
async fn all_explained(cloud: &TestAws, project: &Project, broken: &[Broken<'_>]) {
    let names: Vec<&str> = ["why"].into_iter().chain(broken.iter().map(|it| it.name)).collect();
    let (mut left, mut last, begun_s) = (broken.to_vec(), String::new(), now_s());
    let mut certain: HashMap<&str, f64> = HashMap::new();
    let explained = tokio::time::timeout(Duration::from_secs(240), async {
        while !left.is_empty() {
            for broken in left.iter().filter(|it| !certain.contains_key(it.name)).collect::<Vec<_>>() {
                if let Some(since_s) = certain_s(cloud, broken, begun_s).await {
                    certain.insert(broken.name, since_s);
                }
            }
            let run_s = now_s();
            let said = cloud.run(project, &names).await;
            left.retain(|broken| {
                let Broken { name, cause, remedy, .. } = broken;
                let since = |at_s: f64| certain.get(name).map(|since_s| (at_s - since_s).max(0.0) * f64::from(SPEED));
                let Some(lines) = about(&said, broken) else {
                    let is_late = since(run_s).is_some_and(|late| late > WITHIN.as_secs_f64());
                    assert!(!is_late, "{cause} has been certain for {:?} s: {}", since(run_s), said.all());
                    return true;
                };
                assert_eq!(said.code, 1, "{}", said.all());
                let hint = lines.iter().find(|line| line.starts_with("hint: ")).cloned().unwrap_or_default();
                assert!(hint.contains(remedy), "{name}: {remedy:?} is not in {}", lines.join("\n"));
                report(cause, &lines[0], Duration::from_secs_f64(since(now_s()).unwrap_or_default()));
                false
            });
            last = said.all();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    let left: Vec<&str> = left.iter().map(|broken| broken.cause).collect();
    assert!(explained.is_ok(), "{left:?} are not explained: {last}");
}

/// The same for one, broken now.
async fn explained(cloud: &TestAws, project: &Project, cause: &str, name: &str, says: &[&str], remedy: &str) {
    all_explained(cloud, project, &[Broken { name, cause, says, remedy }]).await;
}

/// The most characters of a sentence in the table.
const LONGEST: usize = 140;

/// Writes a row of the table of docs/proofs.md into a file of its own. `took` is in time of AWS.
fn report(cause: &str, sentence: &str, took: Duration) {
    let seconds = took.as_secs();
    // Messages of AWS and programs may be long.
    let (words, rest) = sentence.split_at(sentence.char_indices().nth(LONGEST).map_or(sentence.len(), |(at, _)| at));
    let sentence = words.replace('|', "\\|") + if rest.is_empty() { "" } else { "…" };
    let row = format!("| {cause} | {sentence} | {} min {} s |\n", seconds / 60, seconds % 60);
    let file = format!("causes-{}.md", cause.replace([' ', '/', '`'], "-"));
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file), &row).expect("the folder can be written to");
    print!("{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_service_is_explained() {
    let services: Vec<(&str, &str)> = BROKEN.iter().map(|row| (row.name, row.lines)).collect();
    let (cloud, project) = (cloud().await, stack(&services));
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    let broken: Vec<Broken> =
        BROKEN.iter().map(|&Row { name, cause, says, remedy, .. }| Broken { name, cause, says, remedy }).collect();
    all_explained(&cloud, &project, &broken).await;
    // The load balancer finds this one healthy now and then.
    let later = broken.iter().find(|it| it.name == "later").expect("there is one");
    for _ in 0..5 {
        let said = cloud.run(&project, &["why", "later"]).await;
        assert!(said.code == 1 && about(&said, later).is_some(), "{}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The id of the only service's instance.
async fn instance(cloud: &TestAws) -> String {
    let answer = cloud.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(GROUP);
    let answer = answer.send().await.expect("a group");
    answer.auto_scaling_groups()[0].instances()[0].instance_id().expect("an id").to_owned()
}

/// The user data of the first version of the service's launch template.
async fn user_data(cloud: &TestAws) -> String {
    let versions = cloud.aws.ec2.describe_launch_template_versions().launch_template_name("s-web").versions("1");
    let versions = versions.send().await.expect("a version");
    let data = versions.launch_template_versions()[0].launch_template_data().expect("its data").clone();
    let encoded = BASE64_STANDARD.decode(data.user_data().expect("user data")).expect("base64");
    String::from_utf8(encoded).expect("text")
}

/// Makes the group launch instances from whatever version is the newest.
async fn follow_the_newest(cloud: &TestAws) {
    let newest = LaunchTemplateSpecification::builder().launch_template_name("s-web").version("$Latest").build();
    let update = cloud.aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(GROUP);
    update.launch_template(newest).send().await.expect("it can be chosen");
}

/// Adds a version of the launch template that differs from the first one in these fields. EC2 does not check it.
async fn add_version(cloud: &TestAws, data: aws_sdk_ec2::types::builders::RequestLaunchTemplateDataBuilder) {
    let version = cloud.aws.ec2.create_launch_template_version().launch_template_name("s-web").source_version("1");
    version.launch_template_data(data.build()).send().await.expect("a version can be made");
}

/// Terminates every instance of the group, if there is any, so that it launches new ones.
async fn relaunch(cloud: &TestAws) {
    let groups = cloud.aws.autoscaling.describe_auto_scaling_groups().auto_scaling_group_names(GROUP);
    let groups = groups.send().await.expect("a group");
    for instance in groups.auto_scaling_groups()[0].instances() {
        let ended = cloud.aws.autoscaling.terminate_instance_in_auto_scaling_group();
        let ended = ended.instance_id(instance.instance_id().expect("an id")).should_decrement_desired_capacity(false);
        // It may be terminating already.
        let _ = ended.send().await;
    }
}

async fn target_group(cloud: &TestAws, name: &str) -> String {
    let answer = cloud.aws.elb.describe_target_groups().names(name).send().await.expect("a target group");
    answer.target_groups()[0].target_group_arn().expect("an ARN").to_owned()
}

/// Terminates the instance, so that the group replaces it.
async fn replace(cloud: &TestAws) {
    let ended = cloud.aws.autoscaling.terminate_instance_in_auto_scaling_group().instance_id(instance(cloud).await);
    ended.should_decrement_desired_capacity(false).send().await.expect("an instance can be ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_manual_change_is_explained_and_reverted_by_up() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    let aws = &cloud.aws;
    let up = async || drop(cloud.done(&project, &["up", "--yes"]).await);
    up().await;
    let well = cloud.run(&project, &["why"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "web: no problem found\n"), "{}", well.all());

    // The security group of the instances no longer admits the load balancer.
    let groups = aws.ec2.describe_security_groups().send().await.expect("groups");
    let id = |name: &str| {
        let found = groups.security_groups().iter().find(|group| group.group_name() == Some(name));
        found.and_then(|group| group.group_id()).unwrap_or_else(|| panic!("no group {name}")).to_owned()
    };
    let pair = UserIdGroupPair::builder().group_id(id("s-web-lb")).build();
    let rule = IpPermission::builder().ip_protocol("tcp").from_port(8080).to_port(8080).user_id_group_pairs(pair);
    let revoke = aws.ec2.revoke_security_group_ingress().group_id(id(GROUP)).ip_permissions(rule.build());
    revoke.send().await.expect("a rule can be removed");
    explained(
        &cloud,
        &project,
        "a security group changed by hand",
        "web",
        &["does not admit the load balancer on port 8080"],
        "run `up`",
    )
    .await;
    up().await;

    // The target group is detached.
    let (arn, groups) = (target_group(&cloud, GROUP).await, &aws.autoscaling);
    let detach = groups.detach_load_balancer_target_groups().auto_scaling_group_name(GROUP);
    detach.target_group_arns(&arn).send().await.expect("it can be detached");
    explained(
        &cloud,
        &project,
        "a target group detached by hand",
        "web",
        &["not attached to its Auto Scaling group"],
        "run `up`",
    )
    .await;
    up().await;

    // The listener forwards elsewhere.
    let other = aws.elb.create_target_group().name("other").port(8080).protocol("HTTP".into());
    let vpc = aws.ec2.describe_vpcs().send().await.expect("a network").vpcs()[0].vpc_id().expect("an id").to_owned();
    let other = other.vpc_id(vpc).send().await.expect("a target group can be made");
    let other = other.target_groups()[0].target_group_arn().expect("an ARN").to_owned();
    let balancers = aws.elb.describe_load_balancers().send().await.expect("load balancers");
    let balancer = balancers.load_balancers()[0].load_balancer_arn().expect("an ARN");
    let listeners = aws.elb.describe_listeners().load_balancer_arn(balancer).send().await.expect("listeners");
    let listener = listeners.listeners()[0].listener_arn().expect("an ARN").to_owned();
    let elsewhere = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&other).build();
    aws.elb
        .modify_listener()
        .listener_arn(&listener)
        .default_actions(elsewhere)
        .send()
        .await
        .expect("it can be changed");
    explained(&cloud, &project, "a listener changed by hand", "web", &["forwards to another target group"], "run `up`")
        .await;
    up().await;
    aws.elb.delete_target_group().target_group_arn(&other).send().await.expect("it can be deleted");

    // The listener is deleted.
    aws.elb.delete_listener().listener_arn(&listener).send().await.expect("it can be deleted");
    explained(&cloud, &project, "a listener deleted by hand", "web", &["no listener on its port"], "run `up`").await;
    up().await;

    // The program is missing from the bucket when a new instance starts.
    let listed = aws.s3.list_objects_v2().bucket(BUCKET).prefix("services/").send().await.expect("objects");
    for object in listed.contents() {
        let key = object.key().expect("a key");
        aws.s3.delete_object().bucket(BUCKET).key(key).send().await.expect("it can be deleted");
    }
    replace(&cloud).await;
    explained(
        &cloud,
        &project,
        "a program missing in the bucket",
        "web",
        &["the program is not in the artifact bucket"],
        "uploads the program again",
    )
    .await;
    up().await;

    // The role has no permission to download it.
    let role = "s-us-east-1-web-svc";
    let policies = aws.iam.list_role_policies().role_name(role).send().await.expect("policies");
    for policy in policies.policy_names() {
        aws.iam.delete_role_policy().role_name(role).policy_name(policy).send().await.expect("it can be deleted");
    }
    replace(&cloud).await;
    explained(
        &cloud,
        &project,
        "a role without permission to download the program",
        "web",
        &["its instances are not allowed to download the program"],
        "the role's policy",
    )
    .await;
    up().await;

    // The group no longer launches instances.
    let suspend = groups.suspend_processes().auto_scaling_group_name(GROUP).scaling_processes("Launch");
    suspend.send().await.expect("it can be suspended");
    replace(&cloud).await;
    explained(&cloud, &project, "a group suspended by hand", "web", &["suspended processes: Launch"], "resume").await;
    groups.resume_processes().auto_scaling_group_name(GROUP).send().await.expect("it can be resumed");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_launch_is_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    project.edit("min: 1, max: 1", "min: 17, max: 17");
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    explained(
        &cloud,
        &project,
        "the vCPU quota, by too many instances",
        "web",
        &["AWS refuses to launch an instance", "vCPU"],
        "Service Quotas",
    )
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_another_architecture_is_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;
    // The unit starts a text file with a valid checksum: only the kernel rejects it.
    let text = user_data(&cloud).await;
    let start = "ExecStart=/opt/s-web/service";
    let changed =
        text.replace(start, "ExecStart=/etc/s-web.sha256").replace("0755 /opt/s-web/service", "0755 /etc/s-web.sha256");
    assert_ne!(changed, text);
    follow_the_newest(&cloud).await;
    add_version(&cloud, RequestLaunchTemplateData::builder().user_data(BASE64_STANDARD.encode(changed))).await;
    replace(&cloud).await;
    explained(
        &cloud,
        &project,
        "a program for another architecture",
        "web",
        &["built for another architecture than that of t3.micro"],
        "`instance_type`",
    )
    .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_launch_that_aws_refuses_is_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;
    let (aws, refuses) = (&cloud.aws, "AWS refuses to launch an instance");
    let version = RequestLaunchTemplateData::builder;
    let explained = async |cause: &str, says: &str, remedy: &str| {
        relaunch(&cloud).await;
        explained(&cloud, &project, cause, "web", &[refuses, says], remedy).await;
    };
    follow_the_newest(&cloud).await;

    // The machine image does not exist.
    add_version(&cloud, version().image_id("ami-0123456789abcdef0")).await;
    let says = "The image id '[ami-0123456789abcdef0]' does not exist";
    explained("a machine image that does not exist", says, "name another as `image`").await;

    // The machine image is for another architecture.
    let images = aws.ec2.describe_images().owners("amazon").send().await.expect("images");
    let arm = images.images().iter().find(|image| image.architecture().is_some_and(|it| it.as_str() == "arm64"));
    add_version(&cloud, version().image_id(arm.and_then(|image| image.image_id()).expect("an image"))).await;
    let says = "does not match the architecture 'arm64'";
    explained("a machine image for another architecture", says, "`image` of the instance type's architecture").await;

    // The only zone of the group does not offer the instance type.
    let subnets = aws.ec2.describe_subnets().send().await.expect("subnets");
    let is_in_zone = |it: &&aws_sdk_ec2::types::Subnet| it.availability_zone() == Some("us-east-1c");
    let subnet = subnets.subnets().iter().find(is_in_zone).and_then(|it| it.subnet_id()).expect("a subnet").to_owned();
    let update = aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(GROUP);
    update.vpc_zone_identifier(subnet).send().await.expect("it can be changed");
    add_version(&cloud, version().instance_type(InstanceType::from("c7i-flex.large"))).await;
    let says = "(c7i-flex.large) is not supported in your requested Availability Zone (us-east-1c)";
    explained("an instance type that the zone does not offer", says, "`instance_type`").await;

    // That zone has no room.
    cloud.control().set_chaos(&["capacity"]).await;
    add_version(&cloud, version().instance_type(InstanceType::T3Micro)).await;
    let says = "We currently do not have sufficient t3.micro capacity";
    explained("a zone without capacity", says, "run `up` again later").await;

    // The account is on the free plan.
    add_version(&cloud, version().instance_type(InstanceType::from("m5.large"))).await;
    cloud.control().set_chaos(&["free-plan"]).await;
    explained("the free plan", "not eligible for Free Tier", "set `instance_type: t3.micro`").await;

    // The account may run less than one instance.
    cloud.control().set_chaos(&["vcpu-limit"]).await;
    add_version(&cloud, version().instance_type(InstanceType::T3Micro)).await;
    explained("the vCPU quota of a new account", "your current vCPU limit of 1", "Service Quotas").await;

    cloud.control().set_chaos(&[]).await;
    cloud.done(&project, &["up", "--yes"]).await;
    let well = cloud.run(&project, &["why"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "web: no problem found\n"), "{}", well.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The program with the newest version of the C library that it needs replaced by one that does not exist, and the hash
/// by which the loader looks it up.
fn needing_newer_libraries(program: &[u8]) -> Vec<u8> {
    let hash = |name: &str| {
        name.bytes().fold(0_u32, |hash, byte| {
            let hash = (hash << 4).wrapping_add(byte.into());
            let high = hash & 0xF000_0000;
            (hash ^ (high >> 24)) & !high
        })
    };
    let has = |name: &String| {
        let text = format!("{name}\0");
        program.windows(text.len()).any(|it| it == text.as_bytes())
    };
    let newest = (10..100).rev().map(|minor| format!("GLIBC_2.{minor}")).find(has).expect("it needs some version");
    let missing = "GLIBC_2.99";
    let mut changed = program.to_vec();
    for (from, to) in
        [(newest.as_bytes(), missing.as_bytes()), (&hash(&newest).to_le_bytes()[..], &hash(missing).to_le_bytes()[..])]
    {
        let places = program.windows(from.len()).enumerate().filter(|(_, it)| *it == from).map(|(at, _)| at);
        let places: Vec<usize> = places.collect();
        assert!(!places.is_empty(), "{newest} is not where the loader looks for it");
        places.iter().for_each(|at| changed[*at..at + to.len()].copy_from_slice(to));
    }
    changed
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn instances_that_cannot_be_set_up_are_explained() {
    let (cloud, project) = (cloud().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;

    // The program needs a newer C library. `plan` would refuse it, so it is put there by hand.
    let old = std::fs::read(tiny_service()).expect("the program is there");
    let new = needing_newer_libraries(&old);
    let [old, key] = [&old, &new].map(|program| format!("{:x}", Sha256::digest(program)));
    let put = cloud.aws.s3.put_object().bucket(BUCKET).key(format!("services/web/{key}"));
    put.body(new.into()).send().await.expect("it can be uploaded");
    let text = user_data(&cloud).await;
    assert!(text.contains(&old), "{text}");
    let changed = BASE64_STANDARD.encode(text.replace(&old, &key));
    follow_the_newest(&cloud).await;
    add_version(&cloud, RequestLaunchTemplateData::builder().user_data(changed)).await;
    relaunch(&cloud).await;
    let says = ["needs a newer C library than its instances have", "version `GLIBC_2.99' not found"];
    explained(&cloud, &project, "a program for a newer C library", "web", &says, "build it with `package`").await;

    // cloud-init cannot read the user data.
    let broken = BASE64_STANDARD.encode("#cloud-config\nwrite_files: [\n");
    add_version(&cloud, RequestLaunchTemplateData::builder().user_data(broken)).await;
    relaunch(&cloud).await;
    let says = ["cloud-init failed on the instance"];
    explained(&cloud, &project, "user data that cloud-init refuses", "web", &says, "what cloud-init names").await;

    // The disk of the instance is full.
    cloud.control().set_chaos(&["disk-full"]).await;
    add_version(&cloud, RequestLaunchTemplateData::builder().instance_type(InstanceType::T3Micro)).await;
    relaunch(&cloud).await;
    let says = ["the disk of its instances is full", "No space left on device"];
    explained(&cloud, &project, "a full disk", "web", &says, "`disk_gb`").await;

    cloud.control().set_chaos(&[]).await;
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failing_function_is_explained() {
    let (echo, labeler) = (echo_function().display().to_string(), program("labeler").display().to_string());
    let of_bucket = |bucket: &str, uses: &str| {
        format!(
            "    binary: {labeler}\n    environment: {{ BUCKET: \"${{buckets.{bucket}.name}}\", DYNAMO_TABLE: \"${{tables.posts.name}}\" }}\n    uses: {{ {uses}tables: {{ posts: read_write }} }}\n"
        )
    };
    let text = format!(
        "name: s\nregion: us-east-1\nbuckets: {{ one: {{}}, two: {{}} }}\ntables:\n  posts: {{ partition_key: user, sort_key: id }}\nfunctions:\n  hungry: {{ binary: {echo}, memory_mb: 128 }}\n  late: {{ binary: {echo}, timeout_s: 1 }}\n  blind:\n{}  locked:\n{}",
        of_bucket("one", "buckets: { one: read_write }, "),
        of_bucket("two", ""),
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let event = |name: &str, text: &str| {
        let file = project.path().join(name);
        std::fs::write(&file, format!("\"{text}\"")).expect("the folder can be written to");
        file.display().to_string()
    };
    let (too_much, too_long) = (event("hold", "hold 600"), event("sleep", "sleep"));
    let post = "018f0000-0000-7000-8000-000000000001";
    let key = format!("ada/{post}/018f0000-0000-7000-8000-000000000002a.jpg");
    let row = cloud.aws.dynamodb.put_item().table_name("s-posts");
    let row = row.item("user", AttributeValue::S("USER#ada".into()));
    row.item("id", AttributeValue::S(format!("POST#{post}"))).send().await.expect("a row can be put");
    for bucket in ["one", "two"] {
        let put = cloud.aws.s3.put_object().bucket(format!("s-{bucket}-000000000000-us-east-1")).key(&key);
        put.body(jpeg().into()).send().await.expect("an object can be put");
    }
    for arguments in [
        ["invoke", "hungry", "--event", &too_much],
        ["invoke", "late", "--event", &too_long],
        ["invoke", "blind", "--sample", &format!("one/{key}")],
        ["invoke", "locked", "--sample", &format!("two/{key}")],
    ] {
        let said = cloud.run(&project, &arguments).await;
        assert_eq!(said.code, 1, "{arguments:?}: {}", said.all());
    }
    let row = |name, cause, says, remedy| Broken { name, cause, says, remedy };
    let broken = [
        row("hungry", "a function out of memory", &["it needs more memory than it has"], "raise `memory_mb`"),
        row("late", "a function that exceeds its time limit", &["it exceeds its time limit"], "raise `timeout_s`"),
        row("blind", "Rekognition refuses a call", &["Rekognition refused a call"], "`uses: { rekognition: true }`"),
        row("locked", "a function without permission on a bucket", &["it lacks a permission"], "add what it uses"),
    ];
    all_explained(&cloud, &project, &broken).await;

    // Cured functions are well as soon as they succeed.
    project.edit("memory_mb: 128", "memory_mb: 256");
    project.edit("timeout_s: 1", "timeout_s: 2");
    project.edit("uses: { buckets: { one: read_write },", "uses: { rekognition: true, buckets: { one: read_write },");
    project.edit("uses: { tables:", "uses: { rekognition: true, buckets: { two: read_write }, tables:");
    cloud.done(&project, &["up", "--yes"]).await;
    let harmless = event("harmless", "env NAME");
    for arguments in [
        ["invoke", "hungry", "--event", &harmless],
        ["invoke", "late", "--event", &harmless],
        ["invoke", "blind", "--sample", &format!("one/{key}")],
        ["invoke", "locked", "--sample", &format!("two/{key}")],
    ] {
        // A role is not in force everywhere at once.
        until("a success", async || cloud.run(&project, &arguments).await.code == 0).await;
    }
    let well = cloud.run(&project, &["why"]).await;
    let lines: String =
        ["blind", "hungry", "late", "locked"].map(|name| format!("{name}: no problem found\n")).concat();
    let mut said: Vec<&str> = well.stdout.lines().collect();
    said.sort_unstable();
    assert_eq!((well.code, said.join("\n") + "\n"), (0, lines), "{}", well.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_without_concurrency_for_its_invocations_is_explained() {
    let echo = echo_function().display().to_string();
    let text = format!(
        "name: s\nregion: us-east-1\nfunctions:\n  stopped:\n    binary: {echo}\n    concurrency: 0\n  narrow:\n    binary: {echo}\n    timeout_s: 60\n    concurrency: 1\n  changed:\n    binary: {echo}\n"
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let lambda = &cloud.aws.lambda;
    let stop = lambda.put_function_concurrency().function_name("s-changed").reserved_concurrent_executions(0);
    stop.send().await.expect("it can be stopped");
    // Nothing has invoked them yet.
    let well = cloud.run(&project, &["why"]).await;
    assert_eq!(well.code, 0, "{}", well.all());
    for (name, event) in
        [("s-stopped", "env NAME"), ("s-narrow", "sleep"), ("s-narrow", "sleep"), ("s-changed", "env NAME")]
    {
        let event = aws_sdk_lambda::primitives::Blob::new(format!("\"{event}\""));
        let send = lambda.invoke().function_name(name).payload(event);
        send.invocation_type(aws_sdk_lambda::types::InvocationType::Event).send().await.expect("it is accepted");
    }
    let row = |name, cause, says, remedy| Broken { name, cause, says, remedy };
    let broken = [
        row(
            "stopped",
            "a function that is stopped",
            &["its reserved concurrency of 0 stops it: "],
            "raise `concurrency`",
        ),
        row(
            "narrow",
            "a function whose reserved concurrency is used up",
            &["its reserved concurrency of 1 is used up: "],
            "raise `concurrency`",
        ),
        row(
            "changed",
            "a function that was stopped by hand",
            &["its reserved concurrency of 0 stops it: "],
            "reverts the manual change",
        ),
    ];
    all_explained(&cloud, &project, &broken).await;
    let said = cloud.run(&project, &["why", "stopped", "narrow"]).await;
    for (line, evidence) in
        [("(stack.yaml:6)", "; reserved concurrency: 0"), ("(stack.yaml:10)", "; reserved concurrency: 1")]
    {
        assert!(said.stdout.contains(line) && said.stdout.contains(evidence), "{line} {evidence}: {}", said.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// A picture.
fn jpeg() -> Vec<u8> {
    let picture = image::RgbImage::from_pixel(64, 48, image::Rgb([20, 40, 200]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a picture can be encoded");
    bytes.into_inner()
}

/// Asserts that the command fails with the sentence and the remedy.
fn assert_explained(said: &Said) {
    assert_eq!(said.code, 1, "{}", said.all());
    let sentence = "web: the service exits with 78: JWT_AUDIENCE is not set";
    assert!(
        said.stderr.lines().any(|line| line.starts_with(sentence) && line.contains("(stack.yaml:")),
        "{}",
        said.all()
    );
    assert!(said.stderr.contains("hint: correct the service or its `environment`"), "{}", said.all());
}

const BAD: &str = "environment: { SAY: JWT_AUDIENCE is not set, EXIT: 78 }";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_is_explained_and_rolled_back_early() {
    let (cloud, project) = (cloud().await, stack(&[("web", "environment: { GOOD: 1 }")]));
    cloud.done(&project, &["up", "--yes"]).await;
    let before = instance(&cloud).await;
    project.edit("environment: { GOOD: 1 }", BAD);
    let said = cloud.run(&project, &["up", "--yes"]).await;
    assert_explained(&said);
    assert!(said.stderr.contains("the new version exits with 78: JWT_AUDIENCE is not set"), "{}", said.all());
    until_rolled_back(&cloud).await;
    assert_eq!(instance(&cloud).await, before, "the old instance still serves");
    project.edit(BAD, "environment: { GOOD: 2 }");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// The newest refresh: its status, and why it was rolled back.
async fn newest_refresh(cloud: &TestAws) -> (String, String) {
    let call = cloud.aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(GROUP);
    let newest = call.send().await.expect("refreshes").instance_refreshes.unwrap_or_default().remove(0);
    let reason = newest.rollback_details().and_then(|it| it.rollback_reason()).unwrap_or_default().to_owned();
    (newest.status().expect("a status").as_str().to_owned(), reason)
}

/// Releases that do not exit, and are not healthy: their lines, the sentence, and a part of the remedy.
const DO_NOT_EXIT: &[(&str, &str, &str)] = &[
    ("environment: { FAIL: 500 }", "the service answers its health check, /, with 500", "with 200"),
    ("environment: { LISTEN: 0 }", "the service runs, but did not listen on port 8080", "the variable PORT"),
    (
        "grace_period_s: 100\n    environment: { SLOW: 86400 }",
        "it does not become healthy within 100 s",
        "`grace_period_s`",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_release_that_does_not_exit_is_explained_and_rolled_back_early() {
    let mut present = "environment: { GOOD: 1 }";
    let (cloud, project) = (cloud().await, stack(&[("web", present)]));
    cloud.done(&project, &["up", "--yes"]).await;
    let before = instance(&cloud).await;
    for (lines, sentence, remedy) in DO_NOT_EXIT {
        project.edit(present, lines);
        present = lines;
        // Meanwhile the old instance serves, and `why` says what is wrong with the new one.
        let seen = async || {
            let why = cloud.run(&project, &["why"]).await;
            (why.code == 1 && why.stdout.starts_with(&format!("web: {sentence}"))).then_some(())
        };
        let (said, ()) =
            tokio::join!(cloud.run(&project, &["up", "--yes"]), eventually("`why` during the roll-out", seen));
        assert_eq!(said.code, 1, "{}", said.all());
        let is_named = |line: &str| line.starts_with(&format!("web: {sentence}")) && line.contains("(stack.yaml:");
        assert!(said.stderr.lines().any(is_named), "{}", said.all());
        let hint = said.stderr.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
        assert!(hint.contains(remedy), "{}", said.all());
        assert!(said.stderr.contains(&format!("the new version is not healthy: {sentence}")), "{}", said.all());
        // The deployer has taken it back, and not AWS, which waits for an hour.
        let refresh = until_rolled_back(&cloud).await;
        assert_eq!(refresh, "Rolled back by user.", "{}", said.all());
        assert_eq!(instance(&cloud).await, before, "the old instance still serves");
        let after = cloud.run(&project, &["why"]).await;
        assert_eq!(after.code, 0, "{}", after.all());
        assert!(after.stdout.contains(" was rolled back: "), "{}", after.all());
    }
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

/// Waits until the newest refresh has been rolled back. Returns the reason.
async fn until_rolled_back(cloud: &TestAws) -> String {
    eventually("the roll-back", async || {
        let (status, reason) = newest_refresh(cloud).await;
        (status == "RollbackSuccessful").then_some(reason)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_the_shipped_service_may_not_read_is_explained() {
    let uses = "uses: { buckets: { images: read_write } }";
    let text = format!(
        "name: s
region: us-east-1
buckets: {{ images: {{}} }}
tables: {{ posts: {{ partition_key: user, sort_key: id }} }}
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 1 }}
    health_check: /health
    environment: {{ BUCKET: \"${{buckets.images.name}}\", DYNAMO_TABLE: \"${{tables.posts.name}}\" }}
    {uses}
outputs:
  URL: ${{services.web.url}}
",
        program("service").display()
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    let url = cloud.done(&project, &["up", "--yes"]).await.output("URL");
    let posts = async || reqwest::get(format!("{url}/posts")).await.map(|answer| answer.status().as_u16());
    // Its lines are sent every few seconds.
    let said = eventually("the denied call in the log", async || {
        assert_eq!(posts().await.ok(), Some(500));
        let said = cloud.run(&project, &["why", "web"]).await;
        (said.code == 1).then_some(said)
    })
    .await;
    let first = said.stdout.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("web: the service lacks a permission: ") && first.contains("AccessDenied"),
        "{}",
        said.all()
    );
    assert!(first.contains("(stack.yaml:13)"), "{}", said.all());
    assert!(said.stdout.contains("hint: add what the service uses to `uses`"), "{}", said.all());
    project.edit(uses, "uses: { buckets: { images: read_write }, tables: { posts: read_write } }");
    cloud.done(&project, &["up", "--yes"]).await;
    until("the posts", async || posts().await.ok() == Some(200)).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_cannot_start_fails_early() {
    let (cloud, project) = (cloud().await, stack(&[("web", BAD)]));
    let said = cloud.run(&project, &["up", "--yes"]).await;
    assert_explained(&said);
    assert!(said.stderr.contains("NotHealthy: web exits with 78: JWT_AUDIENCE is not set"), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_function_is_explained() {
    let text = format!(
        "name: s\nregion: us-east-1\nbuckets:\n  images: {{ on_upload: {{ function: f }} }}\nfunctions:\n  f:\n    binary: {}\n    uses: {{ buckets: {{ images: read }} }}\n",
        echo_function().display()
    );
    let (cloud, project) = (cloud().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let well = cloud.run(&project, &["why", "functions.f"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "f: no problem found\n"), "{}", well.all());
    let bucket = "s-images-000000000000-us-east-1";
    let none = aws_sdk_s3::types::NotificationConfiguration::builder().build();
    let put = cloud.aws.s3.put_bucket_notification_configuration().bucket(bucket).notification_configuration(none);
    put.send().await.expect("it can be removed");
    explained(&cloud, &project, "a notification removed by hand", "f", &["does not notify it of uploads"], "run `up`")
        .await;
    cloud.done(&project, &["up", "--yes"]).await;
    let remove = cloud.aws.lambda.remove_permission().function_name("s-f").statement_id("deployer-images");
    remove.send().await.expect("it can be removed");
    explained(
        &cloud,
        &project,
        "a bucket without permission to invoke",
        "f",
        &["is not allowed to invoke it"],
        "run `up`",
    )
    .await;
    let unknown = cloud.run(&project, &["why", "nothing"]).await;
    assert_eq!(unknown.code, 64, "{}", unknown.all());
    assert!(unknown.stderr.contains("functions.f"), "{}", unknown.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
