//! Every way to break a deployment is explained in one sentence, with its remedy.

mod support;

use std::time::{Duration, Instant};

use aws_sdk_ec2::types::{IpPermission, UserIdGroupPair};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum};
use support::{Project, Said, cloud::TestAws};
use testkit::{
    eventually,
    small_programs::{echo_function, tiny_service},
};

const BUCKET: &str = "s-artifacts-000000000000-us-east-1";
const GROUP: &str = "s-web-8080";

/// A broken service: its name, its lines of `stack.yaml`, and parts of the sentence and of the remedy.
struct Row {
    name: &'static str,
    lines: &'static str,
    says: &'static [&'static str],
    remedy: &'static str,
}

const fn row(name: &'static str, lines: &'static str, says: &'static [&'static str], remedy: &'static str) -> Row {
    Row { name, lines, says, remedy }
}

const BROKEN: &[Row] = &[
    row(
        "variable",
        "environment: { SAY: JWT_AUDIENCE is not set, EXIT: 78 }",
        &["the service exits with 78: JWT_AUDIENCE is not set", "(stack.yaml:"],
        "`environment`",
    ),
    row("crash", "environment: { SAY: it cannot be, EXIT: 1 }", &["the service exits with 1: it cannot be"], "correct"),
    row(
        "later",
        "environment: { LIFE: 1 }",
        &["the service exits with 3: it has lived long enough"],
        "correct the service",
    ),
    row(
        "port",
        // Any port that the load balancer does not ask.
        "environment: { LISTEN: 0 }",
        &["the service runs, but did not listen on port 8080"],
        "the variable PORT",
    ),
    row(
        "path",
        "health_check: /missing",
        &["the service answers its health check, /missing, with 404"],
        "`health_check.path`",
    ),
    row("error", "health_check: /broken", &["the service answers its health check, /broken, with 500"], "with 200"),
    row(
        "slow",
        "grace_period_s: 30\n    environment: { SLOW: 600 }",
        &["does not become healthy within 30 s"],
        "`grace_period_s`",
    ),
    row(
        "denied",
        "environment: { SAY: 'x is not authorized to perform: dynamodb:PutItem on resource: y', EXIT: 1 }",
        &["the service lacks a permission: x is not authorized to perform: dynamodb:PutItem"],
        "`uses`",
    ),
    #[cfg(target_os = "linux")]
    row(
        "memory",
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

/// Runs `why` until its first line contains these texts, checks the remedy, and prints the time it took.
async fn explained(cloud: &TestAws, project: &Project, name: &str, says: &[&str], remedy: &str) {
    let begun = Instant::now();
    let mut last = String::new();
    let sentence = tokio::time::timeout(Duration::from_secs(150), async {
        loop {
            let said = cloud.run(project, &["why", name]).await;
            let first = said.stdout.lines().next().unwrap_or_default().to_owned();
            if first.starts_with(&format!("{name}: ")) && says.iter().all(|it| first.contains(it)) {
                assert_eq!(said.code, 1, "{}", said.all());
                let hint = said.stdout.lines().find(|line| line.starts_with("hint: ")).unwrap_or_default();
                assert!(hint.contains(remedy), "{remedy:?} is not in {}", said.all());
                return first;
            }
            last = said.all();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    let sentence = sentence.unwrap_or_else(|_| panic!("{name}: {says:?} did not appear: {last}"));
    println!("| {name} | {sentence} | {:.0} s |", begun.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_service_is_explained() {
    let services: Vec<(&str, &str)> = BROKEN.iter().map(|row| (row.name, row.lines)).collect();
    let (cloud, project) = (TestAws::start().await, stack(&services));
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    for Row { name, says, remedy, .. } in BROKEN {
        explained(&cloud, &project, name, says, remedy).await;
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
    let (cloud, project) = (TestAws::start().await, stack(&[("web", "")]));
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
    explained(&cloud, &project, "web", &["does not admit the load balancer on port 8080"], "run `up`").await;
    up().await;

    // The target group is detached.
    let (arn, groups) = (target_group(&cloud, GROUP).await, &aws.autoscaling);
    let detach = groups.detach_load_balancer_target_groups().auto_scaling_group_name(GROUP);
    detach.target_group_arns(&arn).send().await.expect("it can be detached");
    explained(&cloud, &project, "web", &["not attached to its Auto Scaling group"], "run `up`").await;
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
    explained(&cloud, &project, "web", &["forwards to another target group"], "run `up`").await;
    up().await;
    aws.elb.delete_target_group().target_group_arn(&other).send().await.expect("it can be deleted");

    // The listener is deleted.
    aws.elb.delete_listener().listener_arn(&listener).send().await.expect("it can be deleted");
    explained(&cloud, &project, "web", &["no listener on its port"], "run `up`").await;
    up().await;

    // The program is missing from the bucket when a new instance starts.
    let listed = aws.s3.list_objects_v2().bucket(BUCKET).prefix("services/").send().await.expect("objects");
    for object in listed.contents() {
        let key = object.key().expect("a key");
        aws.s3.delete_object().bucket(BUCKET).key(key).send().await.expect("it can be deleted");
    }
    replace(&cloud).await;
    explained(&cloud, &project, "web", &["the program is not in the artifact bucket"], "uploads the program again")
        .await;
    up().await;

    // The role has no permission to download it.
    let role = "s-us-east-1-web-svc";
    let policies = aws.iam.list_role_policies().role_name(role).send().await.expect("policies");
    for policy in policies.policy_names() {
        aws.iam.delete_role_policy().role_name(role).policy_name(policy).send().await.expect("it can be deleted");
    }
    replace(&cloud).await;
    explained(&cloud, &project, "web", &["its instances are not allowed to download the program"], "the role's policy")
        .await;
    up().await;

    // The group no longer launches instances.
    let suspend = groups.suspend_processes().auto_scaling_group_name(GROUP).scaling_processes("Launch");
    suspend.send().await.expect("it can be suspended");
    replace(&cloud).await;
    explained(&cloud, &project, "web", &["suspended processes: Launch"], "resume").await;
    groups.resume_processes().auto_scaling_group_name(GROUP).send().await.expect("it can be resumed");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_launch_is_explained() {
    let (cloud, project) = (TestAws::start().await, stack(&[("web", "")]));
    project.edit("min: 1, max: 1", "min: 17, max: 17");
    cloud.done(&project, &["up", "--yes", "--no-wait"]).await;
    explained(&cloud, &project, "web", &["AWS refuses to launch an instance", "vCPU"], "Service Quotas").await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_for_another_architecture_is_explained() {
    let (cloud, project) = (TestAws::start().await, stack(&[("web", "")]));
    cloud.done(&project, &["up", "--yes"]).await;
    // The unit starts a text file with a valid checksum: only the kernel rejects it.
    let template = cloud.aws.ec2.describe_launch_template_versions().launch_template_name("s-web").versions("$Latest");
    let there = template.send().await.expect("a version");
    let data = there.launch_template_versions()[0].launch_template_data().expect("its data").clone();
    let encoded = data.user_data().expect("user data");
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).expect("base64")).expect("text");
    let start = "ExecStart=/opt/s-web/service";
    let changed =
        text.replace(start, "ExecStart=/etc/s-web.sha256").replace("0755 /opt/s-web/service", "0755 /etc/s-web.sha256");
    assert_ne!(changed, text);
    let data =
        aws_sdk_ec2::types::RequestLaunchTemplateData::builder().user_data(BASE64_STANDARD.encode(changed)).build();
    let version = cloud.aws.ec2.create_launch_template_version().launch_template_name("s-web");
    let version = version.source_version("1").launch_template_data(data).send().await.expect("a version can be made");
    let number = version.launch_template_version().and_then(|it| it.version_number()).expect("a number");
    let chosen = aws_sdk_autoscaling::types::LaunchTemplateSpecification::builder().launch_template_name("s-web");
    let update = cloud.aws.autoscaling.update_auto_scaling_group().auto_scaling_group_name(GROUP);
    update.launch_template(chosen.version(number.to_string()).build()).send().await.expect("it can be chosen");
    replace(&cloud).await;
    explained(&cloud, &project, "web", &["built for another architecture than that of t3.micro"], "`instance_type`")
        .await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
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
    let (cloud, project) = (TestAws::start().await, stack(&[("web", "environment: { GOOD: 1 }")]));
    cloud.done(&project, &["up", "--yes"]).await;
    let before = instance(&cloud).await;
    project.edit("environment: { GOOD: 1 }", BAD);
    let said = cloud.run(&project, &["up", "--yes"]).await;
    assert_explained(&said);
    assert!(said.stderr.contains("the new version exits with 78: JWT_AUDIENCE is not set"), "{}", said.all());
    let refreshes = async || {
        let call = cloud.aws.autoscaling.describe_instance_refreshes().auto_scaling_group_name(GROUP);
        call.send().await.expect("refreshes").instance_refreshes()[0].status().cloned().expect("a status")
    };
    eventually("the roll-back", async || (refreshes().await.as_str() == "RollbackSuccessful").then_some(())).await;
    assert_eq!(instance(&cloud).await, before, "the old instance still serves");
    project.edit(BAD, "environment: { GOOD: 2 }");
    cloud.done(&project, &["up", "--yes"]).await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_release_that_cannot_start_fails_early() {
    let (cloud, project) = (TestAws::start().await, stack(&[("web", BAD)]));
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
    let (cloud, project) = (TestAws::start().await, Project::with(&text));
    cloud.done(&project, &["up", "--yes"]).await;
    let well = cloud.run(&project, &["why", "functions.f"]).await;
    assert_eq!((well.code, well.stdout.as_str()), (0, "f: no problem found\n"), "{}", well.all());
    let bucket = "s-images-000000000000-us-east-1";
    let none = aws_sdk_s3::types::NotificationConfiguration::builder().build();
    let put = cloud.aws.s3.put_bucket_notification_configuration().bucket(bucket).notification_configuration(none);
    put.send().await.expect("it can be removed");
    explained(&cloud, &project, "f", &["does not notify it of uploads"], "run `up`").await;
    cloud.done(&project, &["up", "--yes"]).await;
    let remove = cloud.aws.lambda.remove_permission().function_name("s-f").statement_id("deployer-images");
    remove.send().await.expect("it can be removed");
    explained(&cloud, &project, "f", &["is not allowed to invoke it"], "run `up`").await;
    let unknown = cloud.run(&project, &["why", "nothing"]).await;
    assert_eq!(unknown.code, 64, "{}", unknown.all());
    assert!(unknown.stderr.contains("functions.f"), "{}", unknown.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}
