//! The same commands with an independent AWS, moto. Where it differs from AWS (docs/aws.md §17), moto is wrong. What is not
//! tested here, and why, is in docs/proofs.md.

use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use serde_json::{Value, json};

use crate::support::{Project, RunOutput, cloud::connect, inventory::inventory, moto::Moto, network};

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_on_moto_is_planned_created_changed_and_removed() {
    let moto = Moto::start();
    let project = Project::postagram();

    let plan = moto.run(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{}", plan.all());
    assert!(plan.stderr.contains("+ auto_scaling_group.web"), "{}", plan.all());
    assert_eq!(moto.fleet().await, [0, 0, 0], "a plan creates nothing");

    let up = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(up.stdout.contains("BUCKET=postagram-images-123456789012-us-east-1\n"), "{}", up.all());
    assert!(up.stdout.contains("URL=http://postagram-web-"), "{}", up.all());
    assert!(tally(&up).0 < 82, "less than two thirds of what Terraform needs, 123: {}", up.all());
    assert_eq!(moto.fleet().await, [1, 1, 1]);

    let again = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(again.stderr.contains("nothing to do"), "{}", again.all());
    assert_eq!(tally(&again).1, 0, "no mutating call: {}", again.all());

    project.edit("max: 4", "max: 6");
    project.edit("memory_mb: 256", "memory_mb: 512");
    project.edit("  posts: {", "  likes: { partition_key: post }\n  posts: {");
    let changed = moto.done(&project, &["up", "--yes"]);
    for line in ["max: 4 → 6", "memory_mb: 256 → 512", "+ table.likes", "1 to create, 2 to change"] {
        assert!(changed.stderr.contains(line), "{line:?} is not in the plan: {}", changed.all());
    }
    assert_eq!(moto.run(&project, &["plan", "--detailed-exitcode"]).code, 0);

    project.edit("  likes: { partition_key: post }\n", "");
    let removed = moto.done(&project, &["up", "--yes", "--delete", "table.postagram-likes"]);
    assert!(removed.stderr.contains("- table.postagram-likes"), "{}", removed.all());

    let down = moto.done(&project, &["down", "--yes"]);
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert_eq!(moto.fleet().await, [0, 0, 0]);
    assert!(moto.done(&project, &["down", "--yes"]).stderr.contains("nothing to do"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_in_a_zone_is_served_over_https() {
    let moto = Moto::start();
    let project = Project::of_service("    bake: 0\n    domain: app.example.org\n");
    let pending = moto.done(&project, &["up", "--yes", "--no-wait"]);
    assert!(pending.stderr.contains("acm-validations.aws"), "{}", pending.all());
    let aws = connect(&moto.endpoint, ("testing", "testing")).await;
    let zone = aws.route53.create_hosted_zone().name("example.org").caller_reference("1").send().await;
    let zone = zone.expect("a zone can be made").hosted_zone.expect("a zone").id;
    let names = async || {
        let listed = aws.route53.list_resource_record_sets().hosted_zone_id(&zone).send().await.expect("records");
        let names = listed.resource_record_sets.into_iter().map(|set| format!("{} {}", set.name, set.r#type));
        names.collect::<Vec<String>>()
    };
    let before = names().await;
    let up = moto.done(&project, &["up", "--yes"]);
    assert_eq!(up.output("URL"), "https://app.example.org", "{}", up.all());
    assert_eq!(moto.run(&project, &["plan", "--detailed-exitcode"]).code, 0);
    let during = names().await;
    assert!(during.contains(&"app.example.org. A".into()) && during.len() == before.len() + 3, "{during:?}");
    moto.done(&project, &["down", "--yes"]);
    assert_eq!(names().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_of_its_own_is_made_and_removed() {
    let moto = Moto::start();
    let project = network::project();
    project.edit("    health_check: /health\n", "    health_check: /health\n    bake: 0\n");
    let before = inventory(&moto.endpoint, ("testing", "testing")).await;
    let up = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(up.stderr.contains("CreateVpc"), "{}", up.all());
    assert_eq!(moto.run(&project, &["plan", "--detailed-exitcode"]).code, 0);
    let during = inventory(&moto.endpoint, ("testing", "testing")).await;
    for thing in ["vpc 10.0.0.0/16", "subnet us-east-1a 10.0.0.0/18", "subnet us-east-1b 10.0.64.0/18"] {
        assert_eq!(during.get(thing), Some(&1), "{during:?}");
    }
    assert_eq!(during.get("route table with 2 routes and 2 subnets"), Some(&1), "{during:?}");
    let down = moto.done(&project, &["down", "--yes"]);
    assert!(down.stderr.contains("nothing is left"), "{}", down.all());
    assert_eq!(inventory(&moto.endpoint, ("testing", "testing")).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_existing_roles_nothing_is_written_to_iam() {
    let moto = Moto::start();
    let project = Project::with(
        "name: lab\nregion: us-east-1\nroles: { existing: LabRole, instance_profile: LabInstanceProfile }\n\
         tables:\n  posts: { partition_key: user }\n",
    );
    let up = moto.done(&project, &["up", "--yes", "-v"]);
    assert!(!up.stderr.contains("CreateRole") && !up.stderr.contains("CreateInstanceProfile"), "{}", up.all());
    moto.done(&project, &["down", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_on_moto_is_described_explained_paused_and_resumed() {
    let (moto, project) = (Moto::start(), Project::postagram());
    let json_of = |said: &RunOutput| -> Value { serde_json::from_str(&said.stdout).expect("JSON") };
    let read = |arguments: &[&str]| json_of(&moto.done(&project, arguments));
    let nothing = moto.run(&project, &["status"]);
    assert_eq!(nothing.code, 1, "{}", nothing.all());
    assert!(nothing.stdout.contains("nothing is deployed"), "{}", nothing.all());
    assert_eq!(read(&["ls", "--json"]), json!({ "account": "123456789012", "stacks": [], "unread": [] }));
    moto.done(&project, &["up", "--yes"]);

    let status = read(&["status", "--json"]);
    let service = &status["services"][0];
    assert_eq!(
        (&service["name"], &service["instances_healthy"], &service["release"]),
        (&json!("web"), &json!(1), &json!("1"))
    );
    assert_eq!(status["drift"], json!({ "changes": 0, "uncompared": [], "unread": null }));
    assert_eq!((&status["functions"][0]["state"], &status["tables"][0]["state"]), (&json!("Active"), &json!("ACTIVE")));

    let list = read(&["ls", "--json"]);
    let stack = &list["stacks"][0];
    assert_eq!((&stack["name"], &list["unread"]), (&json!("postagram"), &json!([])));
    assert_eq!(
        (&stack["size"]["instances"], &stack["size"]["objects"], &stack["size"]["rows"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(stack["cost"], status["cost"], "the same with and without the description");
    let described = read(&["cost", "--json"]);
    let (real, least) = (status["cost"]["monthly"].as_f64(), described["least"].as_f64());
    assert!(real >= least && least > Some(30.0), "{real:?}, {least:?}");

    let why = moto.done(&project, &["why"]);
    assert!(
        why.stdout.contains("web: no problem found") && why.stdout.contains("labeler: no problem found"),
        "{}",
        why.all()
    );
    let releases = read(&["history", "labeler", "--json"]);
    assert_eq!(releases["functions"]["labeler"].as_array().map(Vec::len), Some(1), "{releases}");
    let doctor = moto.done(&project, &["doctor"]);
    assert!(doctor.stdout.contains("✓ permission ec2:CreateSecurityGroup: allowed"), "{}", doctor.all());

    moto.done(&project, &["pause", "--yes"]);
    assert_eq!(moto.fleet().await, [0, 1, 1], "the load balancer is gone");
    let paused = read(&["status", "--json"]);
    assert!(paused["services"][0]["paused"].is_string() && paused["healthy"] == true, "{paused}");
    let list = read(&["ls", "--json"]);
    assert_eq!((&list["stacks"][0]["size"]["instances"], &list["stacks"][0]["cost"]), (&json!(0), &paused["cost"]));
    let refused = moto.run(&project, &["up", "--yes"]);
    assert_eq!(refused.code, 1, "{}", refused.all());
    assert!(refused.stderr.contains("the stack is paused since "), "{}", refused.all());
    moto.done(&project, &["resume", "--yes"]);
    assert_eq!(moto.fleet().await, [1, 1, 1]);
    assert_eq!(read(&["status", "--json"])["services"][0]["paused"], Value::Null);
    moto.done(&project, &["down", "--yes"]);
    assert_eq!(read(&["ls", "--json"])["stacks"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_on_moto_is_read_opened_and_rolled_back_up_to_the_question() {
    let (moto, project) = (Moto::start(), Project::postagram());
    let none = moto.run(&project, &["open", "web"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, ""), "{}", none.all());
    assert!(none.stderr.contains("web has no address"), "{}", none.all());
    let up = moto.done(&project, &["up", "--yes"]);

    let outputs = moto.done(&project, &["outputs"]);
    for name in ["BUCKET", "URL"] {
        assert_eq!(outputs.output(name), up.output(name), "{}", outputs.all());
    }
    let url = up.output("URL");
    assert_eq!(moto.done(&project, &["outputs", "URL"]).stdout, format!("{url}\n"));

    let open = moto.run(&project, &["open"]);
    assert_eq!((open.code, open.stdout), (1, format!("{url}\n")), "{}", open.stderr);
    assert!(open.stderr.contains("cannot open a browser"), "{}", open.stderr);

    let aws = connect(&moto.endpoint, ("testing", "testing")).await;
    let logs = &aws.logs;
    let (group, stream) = ("/aws/lambda/postagram-labeler", "by hand");
    logs.create_log_stream().log_group_name(group).log_stream_name(stream).send().await.expect("a stream can be made");
    let now = std::time::UNIX_EPOCH.elapsed().expect("it is after 1970").as_millis();
    let line = InputLogEvent::builder().timestamp(i64::try_from(now).expect("not so late")).message("a line by hand");
    let put = logs.put_log_events().log_group_name(group).log_stream_name(stream);
    put.log_events(line.build().expect("it is complete")).send().await.expect("a line can be written");
    let said = moto.done(&project, &["logs", "labeler"]);
    assert!(said.stdout.contains("labeler | a line by hand"), "{}", said.all());
    assert_eq!(moto.done(&project, &["logs", "labeler", "--grep", "another"]).stdout, "");

    let first = moto.run(&project, &["rollback", "labeler", "--yes"]);
    assert_eq!(first.code, 1, "{}", first.all());
    assert!(first.stderr.contains("labeler has no release before release 1"), "{}", first.all());
    project.edit("memory_mb: 256", "memory_mb: 512");
    moto.done(&project, &["up", "--yes"]);
    // moto has no download of a version's code: the question is the end.
    let asked = moto.run(&project, &["rollback", "labeler"]);
    assert_eq!(asked.code, 64, "{}", asked.all());
    for text in ["labeler: release 1, made ", "memory_mb: 512 → 256"] {
        assert!(asked.stderr.contains(text), "{text:?} is not in the question: {}", asked.all());
    }
    assert_eq!(moto.run(&project, &["plan", "--detailed-exitcode"]).code, 0, "nothing was changed");
    moto.done(&project, &["down", "--yes"]);
}

/// The numbers of all calls and of mutating ones, as `-v` prints them.
fn tally(said: &RunOutput) -> (usize, usize) {
    let line = said.stderr.lines().find(|line| line.contains(" calls, ")).expect("-v prints the number of calls");
    let numbers: Vec<usize> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    (numbers[0], numbers[1])
}
