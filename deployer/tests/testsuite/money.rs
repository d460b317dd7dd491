//! The cost of a stack, and switching it off: `cost`, `pause`, `resume`, `up --for` and the receipt of `down`.

use aws_sdk_autoscaling::types::AutoScalingGroup;
use deployer::{cloud::aws::Aws, engine::STACK_TAG};
use serde_json::{Value, json};
use testkit::{
    Control, eventually,
    small_programs::{echo_function, tiny_service},
};

use crate::support::{Project, RunOutput, cloud::TestAws, moto::Moto};

/// A stack with a service, a function that knows its address, and data.
fn stack() -> Project {
    Project::with(&format!(
        "name: s
region: us-east-1
buckets:
  images:
tables:
  posts: {{ partition_key: user }}
functions:
  f:
    binary: {}
    environment: {{ URL: \"${{services.web.url}}\" }}
services:
  web:
    binary: {}
    port: 8080
    instance_type: t3.micro
    instances: {{ min: 1, max: 2 }}
    health_check: /health
    load_balancer: {{ port: 80, allow: [\"0.0.0.0/0\"] }}
outputs:
  URL: ${{services.web.url}}
",
        echo_function().display(),
        tiny_service().display()
    ))
}

fn json_of(said: &RunOutput) -> Value {
    serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.all()))
}

fn says(said: &RunOutput, text: &str) {
    assert!(said.stderr.contains(text) || said.stdout.contains(text), "{text:?} is not in {}", said.all());
}

async fn group(aws: &Aws) -> AutoScalingGroup {
    let groups = aws.autoscaling.describe_auto_scaling_groups().send().await.expect("groups");
    groups.auto_scaling_groups()[0].clone()
}

fn sizes(group: &AutoScalingGroup) -> [Option<i32>; 3] {
    [group.min_size(), group.max_size(), group.desired_capacity()]
}

async fn balancers(aws: &Aws) -> usize {
    aws.elb.describe_load_balancers().send().await.expect("load balancers").load_balancers().len()
}

/// The start of the scheduled action, if there is one.
async fn scheduled(aws: &Aws) -> Option<i64> {
    let answer = aws.autoscaling.describe_scheduled_actions().send().await.expect("actions");
    let action = answer.scheduled_update_group_actions().first()?;
    assert_eq!([action.min_size, action.max_size, action.desired_capacity], [Some(0); 3]);
    action.start_time().map(|at| at.secs())
}

#[test]
fn the_cost_is_known_without_credentials_or_network() {
    let project = stack();
    let nothing = [("AWS_PROFILE", "nothing"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
    let said = project.run_with(&["cost"], &nothing);
    assert_eq!(said.code, 0, "{}", said.all());
    for line in ["services.web", "1–2 × t3.micro", "by use", "sum", "prices of 2026"] {
        says(&said, line);
    }
    assert!(said.stdout.lines().all(|line| line.chars().count() <= 80), "{}", said.all());
    let cost = json_of(&project.run_with(&["cost", "--json"], &nothing));
    // One t3.micro with 8 GB and an address; a load balancer with three.
    let least = 0.0104 * 730.0 + 8.0 * 0.08 + 3.65 + (0.0225 + 0.1 * 0.008) * 730.0 + 3.0 * 3.65;
    assert!((cost["least"].as_f64().expect("a number") - least).abs() < 0.01, "{least}: {cost}");
    assert_eq!((&cost["prices_region"], &cost["complete"]), (&json!("us-east-1"), &json!(true)));

    let elsewhere = project.run_with(&["cost", "--region", "eu-west-3"], &nothing);
    says(&elsewhere, "the prices are those of us-east-1; eu-west-3 differs");
    project.edit("t3.micro", "t3.mega");
    assert_eq!(project.run(&["cost"]).code, 78, "as for every command");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_what_its_changes_cost_and_down_ends_with_a_receipt() {
    let (cloud, project) = (TestAws::start().await, stack());
    let up = cloud.done(&project, &["up", "--yes"]).await;
    says(&up, "cost: + $");
    let month = 0.0104 * 730.0 + 8.0 * 0.08 + 3.65 + (0.0225 + 0.1 * 0.008) * 730.0 + 3.0 * 3.65 + 0.2;
    let status = json_of(&cloud.run(&project, &["status", "--json"]).await);
    assert!((status["cost"]["monthly"].as_f64().expect("a number") - month).abs() < 0.01, "{month}: {status}");
    says(&cloud.done(&project, &["status"]).await, &format!("about ${month:.2} a month"));

    for (from, to, difference) in [
        ("t3.micro", "t3.small", "cost: + $7.59 a month"),
        ("t3.small", "t3.nano", "cost: - $3.80 a month"),
        ("t3.nano", "t3.micro", ""),
        ("min: 1", "min: 2", "cost: + $11.88 a month"),
        ("min: 2", "min: 1", ""),
        ("port: 8080", "port: 8081", "cost: as before, without charges by use"),
        ("port: 8081", "port: 8080", ""),
    ] {
        project.edit(from, to);
        let plan = cloud.done(&project, &["plan"]).await;
        match difference.is_empty() {
            true => assert!(!plan.stderr.contains("cost:"), "{}", plan.all()),
            false => says(&plan, difference),
        }
    }
    project.edit("min: 1", "min: 2");
    let plan = json_of(&cloud.done(&project, &["plan", "--json"]).await);
    assert_eq!((&plan["cost"]["monthly_difference"], &plan["cost"]["complete"]), (&json!(11.88), &json!(true)));

    let kept = cloud.done(&project, &["down", "--yes", "--keep", "bucket.images"]).await;
    for line in ["deleted: ", "may still cost: ", "bucket.images", "existed for ", "at a cost of about $0.0"] {
        says(&kept, line);
    }
    let down = cloud.done(&project, &["down", "--yes"]).await;
    for line in ["nothing is left", "may still cost: nothing of this stack"] {
        says(&down, line);
    }
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_stack_costs_only_use_and_comes_back_with_its_data() {
    let (cloud, project) = (TestAws::start().await, stack());
    let aws = &cloud.aws;
    says(&cloud.done(&project, &["pause", "--yes"]).await, "nothing to pause: no service is deployed");
    let first = cloud.done(&project, &["up", "--yes"]).await.output("URL");
    let put = aws.s3.put_object().bucket("s-images-000000000000-us-east-1").key("a");
    put.send().await.expect("an object can be put");

    let paused = cloud.done(&project, &["pause", "--yes"]).await;
    for line in ["~ auto_scaling_group.web", "- load_balancer.s-web", "cost: - $", "this saves about $", "address"] {
        says(&paused, line);
    }
    let there = group(aws).await;
    assert_eq!((sizes(&there), there.instances().len(), balancers(aws).await), ([Some(0); 3], 0, 0));
    assert!(reqwest::get(&first).await.is_err(), "nothing listens any more");

    // It is not a difference and nothing is unhealthy.
    let plan = cloud.done(&project, &["plan", "--detailed-exitcode"]).await;
    for line in ["= load_balancer.web", "= auto_scaling_group.web", "= function.f", "paused since "] {
        says(&plan, line);
    }
    let status = cloud.done(&project, &["status"]).await;
    for line in ["paused since ", "in sync", "about $0.20 a month"] {
        says(&status, line);
    }
    let status = json_of(&cloud.done(&project, &["status", "--json"]).await);
    let service = &status["services"][0];
    assert_eq!((&status["healthy"], &service["healthy"]), (&json!(true), &Value::Null));
    assert!(service["paused"].is_string() && service["ends"].is_null(), "{service}");
    says(&cloud.done(&project, &["why", "web"]).await, "web: paused since ");
    says(&cloud.done(&project, &["ls"]).await, "paused since ");

    // Other changes are shown, and `up` refuses.
    project.edit("posts: {", "likes: { partition_key: post }\n  posts: {");
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 2, "{}", plan.all());
    says(&plan, "+ table.likes");
    for arguments in [&["up", "--yes"][..], &["up", "--yes", "--for", "1h"], &["rollback", "web", "--yes"]] {
        let refused = cloud.run(&project, arguments).await;
        assert_eq!(refused.code, 1, "{}", refused.all());
        says(&refused, "the stack is paused since ");
        says(&refused, "`deployer resume`");
    }
    assert_eq!(cloud.tables().await, ["s-posts"], "nothing was changed");
    cloud.done(&project, &["up", "tables", "--yes"]).await;
    let again = cloud.done(&project, &["pause", "--yes"]).await;
    says(&again, "nothing to do: paused since ");

    let resumed = cloud.done(&project, &["resume", "--yes"]).await;
    says(&resumed, "this brings it back");
    let second = resumed.output("URL");
    assert!(reqwest::get(format!("{second}/health")).await.expect("an answer").status().is_success());
    let function = aws.lambda.get_function_configuration().function_name("s-f").send().await.expect("the function");
    let variables = function.environment().and_then(|it| it.variables().cloned()).expect("variables");
    assert_eq!(variables["URL"], second);
    assert_eq!(sizes(&group(aws).await)[..2], [Some(1), Some(2)]);
    let objects = aws.s3.list_objects_v2().bucket("s-images-000000000000-us-east-1").send().await.expect("objects");
    assert_eq!(objects.contents().len(), 1);
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);
    assert!(!cloud.done(&project, &["ls"]).await.stdout.contains("paused"));
    says(&cloud.done(&project, &["resume", "--yes"]).await, "nothing to do");

    cloud.done(&project, &["pause", "--yes"]).await;
    says(&cloud.done(&project, &["down", "--yes"]).await, "nothing is left");
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_touches_nothing_of_others() {
    let (cloud, project) = (TestAws::start().await, stack());
    let aws = &cloud.aws;
    cloud.done(&project, &["up", "--yes"]).await;
    let balancer = aws.elb.describe_load_balancers().send().await.expect("load balancers").load_balancers()[0].clone();
    let arn = balancer.load_balancer_arn().expect("an ARN").to_owned();
    let give = async |owner: &str| {
        let tag = aws_sdk_elasticloadbalancingv2::types::Tag::builder().key(STACK_TAG).value(owner).build();
        aws.elb.add_tags().resource_arns(&arn).tags(tag).send().await.expect("it can be tagged");
        let tag = aws_sdk_autoscaling::types::Tag::builder().key(STACK_TAG).value(owner).resource_id("s-web-8080");
        let tag = tag.resource_type("auto-scaling-group").propagate_at_launch(false).build();
        aws.autoscaling.create_or_update_tags().tags(tag).send().await.expect("it can be tagged");
    };
    give("another").await;
    let begun = Control::of(&cloud.endpoint()).calls("UpdateAutoScalingGroup").await;
    says(&cloud.done(&project, &["pause", "--yes"]).await, "nothing to pause");
    assert_eq!(Control::of(&cloud.endpoint()).calls("UpdateAutoScalingGroup").await, begun);
    assert_eq!((sizes(&group(aws).await)[0], balancers(aws).await), (Some(1), 1));
    give("s").await;
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aws_ends_a_stack_that_is_up_for_a_time() {
    let (cloud, project) = (TestAws::start().await, stack());
    let aws = &cloud.aws;
    for wrong in ["1m", "4", "400d"] {
        assert_eq!(cloud.run(&project, &["up", "--yes", "--for", wrong]).await.code, 64, "{wrong}");
    }
    let data = Project::with("name: s\nregion: us-east-1\nbuckets: { a: }\n");
    let refused = cloud.run(&data, &["up", "--yes", "--for", "4h"]).await;
    assert_eq!(refused.code, 64, "{}", refused.all());
    says(&refused, "only services end");
    let up = cloud.done(&project, &["up", "--yes", "--for", "4h"]).await;
    says(&up, "AWS ends the instances at ");
    let first = scheduled(aws).await.expect("an action");
    let status = cloud.done(&project, &["status"]).await;
    for line in ["✓ service web", "ends at ", "in 3 h ", "in sync"] {
        says(&status, line);
    }
    assert!(json_of(&cloud.done(&project, &["status", "--json"]).await)["services"][0]["ends"].is_string());
    says(&cloud.done(&project, &["ls"]).await, "ends at ");

    // Another time moves it, and none removes it.
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 2, "{}", plan.all());
    says(&plan, "→ nothing");
    cloud.done(&project, &["up", "--yes", "--for", "8h"]).await;
    assert!(scheduled(aws).await.expect("an action") > first);
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(scheduled(aws).await, None);
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);

    // A run that died between the tag and the action has left a difference.
    cloud.done(&project, &["up", "--yes", "--for", "8h"]).await;
    let delete = aws.autoscaling.delete_scheduled_action().auto_scaling_group_name("s-web-8080");
    delete.scheduled_action_name("deployer-ends").send().await.expect("it can be deleted");
    says(&cloud.run(&project, &["plan"]).await, "ends: not scheduled → nothing");
    assert_eq!(json_of(&cloud.run(&project, &["status", "--json"]).await)["drift"]["changes"], 1);

    // The end itself.
    cloud.done(&project, &["up", "--yes", "--for", "5m"]).await;
    eventually("the end", async || (sizes(&group(aws).await) == [Some(0); 3]).then_some(())).await;
    assert_eq!(scheduled(aws).await, None, "AWS deletes an action that has run");
    let status = cloud.done(&project, &["status"]).await;
    for line in ["ended at ", "`deployer up` brings it back", "in sync"] {
        says(&status, line);
    }
    let status = json_of(&cloud.done(&project, &["status", "--json"]).await);
    assert_eq!((&status["healthy"], &status["services"][0]["ended"]), (&json!(true), &json!(true)));
    says(&cloud.done(&project, &["why"]).await, "web: ended at ");
    says(&cloud.done(&project, &["plan"]).await, "web ended at ");
    let refused = cloud.run(&project, &["rollback", "web", "--yes"]).await;
    assert_eq!(refused.code, 1, "{}", refused.all());
    says(&refused, "web has ended");

    says(&cloud.done(&project, &["up", "--yes"]).await, "this brings it back");
    assert_eq!(cloud.run(&project, &["status"]).await.code, 0);
    assert_eq!(cloud.run(&project, &["plan", "--detailed-exitcode"]).await.code, 0);

    // A pause replaces the end.
    cloud.done(&project, &["up", "--yes", "--for", "4h"]).await;
    cloud.done(&project, &["pause", "--yes"]).await;
    assert_eq!(scheduled(aws).await, None);
    says(&cloud.done(&project, &["pause", "--yes"]).await, "nothing to do: paused since ");
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_moto_a_stack_is_paused_resumed_and_given_an_end() {
    let (moto, project) = (Moto::start(), stack());
    moto.done(&project, &["up", "--yes", "--for", "4h"]);
    let actions = "Action=DescribeScheduledActions&Version=2011-01-01";
    assert!(moto.ask("autoscaling", actions).await.contains("deployer-ends"));
    moto.done(&project, &["pause", "--yes"]);
    assert_eq!(moto.fleet().await, [0, 1, 1]);
    assert!(!moto.ask("autoscaling", actions).await.contains("deployer-ends"));
    let plan = moto.run(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{}", plan.all());
    assert!(moto.done(&project, &["pause", "--yes"]).stderr.contains("nothing to do: paused since "));
    moto.done(&project, &["resume", "--yes"]);
    assert_eq!(moto.fleet().await, [1, 1, 1]);
    let plan = moto.run(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{}", plan.all());
    moto.done(&project, &["down", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protected_load_balancer_refuses_a_pause_before_anything_changes() {
    let (cloud, project) = (TestAws::start().await, stack());
    project.edit("allow: [\"0.0.0.0/0\"] }", "allow: [\"0.0.0.0/0\"], protect: true }");
    cloud.done(&project, &["up", "--yes"]).await;
    let before = sizes(&group(&cloud.aws).await);
    let pause = cloud.run(&project, &["pause", "--yes"]).await;
    assert_eq!(pause.code, 1, "{}", pause.all());
    says(&pause, "load_balancer.s-web: protected against deletion, so nothing was changed");
    assert_eq!((sizes(&group(&cloud.aws).await), balancers(&cloud.aws).await), (before, 1));
    cloud.end().await;
}
