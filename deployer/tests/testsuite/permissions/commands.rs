//! The policy that `deployer policy COMMAND` prints is enough for the command, and the least: each command runs in a role
//! that has exactly its own, and uses all of it.

use std::collections::BTreeSet;

use aws_sdk_acm::types::ValidationMethod;
use serde_json::{Value, json};
use testkit::eventually;

use super::roles::{Roles, actions, documents};
use crate::support::{Project, RunOutput, cloud::TestAws, hands::Hands, shared};

/// Manual changes that `up` reverts, each by calls of its own.
const BY_HAND: &[(&str, &str)] = &[
    ("bucket.images", "public_access_blocked"),
    ("bucket.images", "encryption"),
    ("bucket.images", "ownership"),
    ("bucket.images", "cors"),
    ("bucket.images", "unfinished_uploads_end_days"),
    ("bucket.images", "versioned"),
    ("bucket.images", "tags.course"),
    ("table.posts", "billing"),
    ("table.posts", "tags.course"),
    ("log_group.labeler", "retention_days"),
    ("log_group.labeler", "key"),
    ("log_group.labeler", "tags.course"),
    // While the role may still write there.
    ("function.labeler", "on_failure"),
    ("role.labeler-fn", "trusted_service"),
    ("role.labeler-fn", "policy.Statement"),
    ("role.labeler-fn", "tags.course"),
    ("instance_profile.web", "tags.course"),
    ("function.labeler", "concurrency"),
    ("function.labeler", "code_sha256"),
    ("function.labeler", "memory_mb"),
    ("function.labeler", "tags.course"),
    ("permissions.labeler", "statements.deployer-images.action"),
    ("notification.images", "uploads.deployer-upload.prefix"),
    ("security_group.web-lb", "egress"),
    ("security_group.web-lb", "ingress"),
    ("security_group.web-lb", "tags.course"),
    ("target_group.web", "health_check.path"),
    ("target_group.web", "deregistration_delay_s"),
    ("target_group.web", "tags.course"),
    ("load_balancer.web", "subnets"),
    ("load_balancer.web", "security_groups"),
    ("load_balancer.web", "tags.course"),
    ("listener.web", "target_group"),
    ("listener.web", "tags.course"),
    ("scaling_policy.web", "target_percent"),
    ("auto_scaling_group.web", "max"),
    ("auto_scaling_group.web", "target_groups"),
    ("auto_scaling_group.web", "tags.course"),
    ("instance_profile.web", "role"),
    ("launch_template.web", "tags.course"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_command_runs_with_its_printed_policy_and_uses_all_of_it() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let text = project.description();
    let (described, _) = text.split_once("\nverify:").expect("there is `verify`");
    project.describe(&format!("{described}\nverify:\n  steps:\n    page: {{ request: GET / }}\n"));
    // Behind an endpoint of its own, no roll-out is watched by default.
    let check = "    health_check: /health\n";
    let (watched, unwatched) = (format!("{check}    bake: 3m\n"), format!("{check}    bake: 0\n"));
    project.edit(check, &watched);
    project.edit(
        "    environment:\n",
        "    environment:\n      TOKEN: { secret: app/token }\n      PASSWORD: { parameter: /app/password }\n",
    );
    let roles = Roles::new(&cloud, &project).await;
    // The tags of every certificate are read.
    let request = cloud.aws.acm.request_certificate().domain_name("other.example.org");
    request.validation_method(ValidationMethod::Dns).send().await.expect("a certificate can be requested");
    let bucket = "postagram-images-000000000000-us-east-1";

    // Values, among them some that are deleted, restored and taken over.
    let free = cloud.aws.secrets.create_secret().name("free").secret_string("v");
    free.send().await.expect("a secret can be made");
    for arguments in [
        &["app/token"][..],
        &["app/token"],
        &["--parameter", "/app/password"],
        &["--parameter", "/app/password"],
        &["other"],
        &["--parameter", "/other"],
        &["free", "--adopt"],
    ] {
        roles.set(arguments).await;
    }
    roles.done(&["secret", "ls"]).await;
    roles.done(&["secret", "rm", "other", "--yes"]).await;
    roles.set(&["other"]).await;
    roles.done(&["secret", "rm", "--parameter", "/other", "--yes"]).await;

    // From nothing. Its role lacks the permissions of `up`.
    roles.ends_with(1, &["doctor"]).await;
    roles.ends_with(1, &["export", "terraform", "tf"]).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["adopt"]).await; // nothing
    roles.done(&["up", "--yes", "--for", "4h"]).await;
    Hands::of(&cloud.aws).disown_all().await;
    roles.done(&["adopt", "--yes"]).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await; // without the end
    roles.ends_with(1, &["export", "terraform", "tf"]).await; // the same
    roles.set(&["late"]).await;
    roles.done(&["secret", "rm", "late", "--yes"]).await; // looks for what reads it
    for healthy in
        [&["verify"][..], &["status"], &["why"], &["history"], &["logs"], &["outputs"], &["ls", "--all-regions"]]
    {
        roles.done(healthy).await;
    }
    roles.ends_with(1, &["open"]).await; // without a terminal
    roles.ends_with(1, &["doctor"]).await;
    roles.done(&["pause", "--yes"]).await;
    roles.done(&["pause", "--yes"]).await; // looks for the lease of a dead run
    roles.done(&["resume", "--yes"]).await;
    roles.done(&["export", "terraform", "tf"]).await;
    let put = cloud.aws.s3.put_object().bucket(bucket).key("a/b").body(b"a picture".to_vec().into());
    put.send().await.expect("an object can be put");
    roles.done(&["invoke", "labeler", "--sample", "images/a/b"]).await;
    roles.done(&["status"]).await;
    roles.done(&["why"]).await;

    // Changes by hand, and of the description. Roll-outs are quicker when they are not watched.
    project.edit(&watched, &unwatched);
    roles.done(&["up", "--yes"]).await;
    let hands = Hands::of(&cloud.aws);
    for (address, field) in BY_HAND {
        hands.change(address, field).await;
    }
    let spare = cloud.aws.elb.create_target_group().name("spare").protocol("HTTP".into()).port(8080);
    let spare = spare.vpc_id(hands.vpc().await).send().await.expect("a target group can be made");
    let spare = spare.target_groups()[0].target_group_arn().expect("an ARN");
    let attach = cloud.aws.autoscaling.attach_load_balancer_target_groups().target_group_arns(spare);
    attach.auto_scaling_group_name("postagram-web-8080").send().await.expect("it can be attached");
    roles.done(&["up", "--yes"]).await;
    project.edit("    log_retention_days: 14\n", "");
    project.edit("sort_key: id }", "sort_key: id, point_in_time_recovery: true, time_to_live: ends }");
    project.edit("port: 8080", "port: 8081");
    let key = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012";
    let options = format!("    concurrency: 20\n    on_failure: ${{buckets.images.arn}}\n    log_key: {key}\n");
    project.edit("on_upload: { function: labeler }", "on_upload: { function: labeler, suffix: .png }");
    project.edit("    memory_mb: 256\n", &format!("    memory_mb: 256\n{options}"));
    roles.done(&["up", "--yes"]).await;
    // In place of what `up` has configured for events.
    let events = cloud.aws.lambda.put_function_event_invoke_config().function_name("postagram-labeler");
    events.maximum_retry_attempts(1).send().await.expect("it can be configured");
    roles.done(&["up", "--yes"]).await;
    roles.done(&["plan", "--detailed-exitcode"]).await;

    // Earlier releases: one that is in service, and one that does not start.
    project.edit(check, &format!("{check}    disk_gb: 12\n"));
    roles.done(&["up", "--yes", "--for", "4h"]).await;
    roles.done(&["rollback", "web", "--yes"]).await;
    let uses = "      DYNAMO_TABLE: ${tables.posts.name}\n    uses:\n      buckets: { images: read_write }\n      tables: { posts: read_write }\n\n";
    let bad = uses.replacen("\n", "\n      SAY: it cannot be\n      EXIT: \"78\"\n", 1);
    project.edit(uses, &bad);
    roles.ends_with(1, &["up", "--yes"]).await;
    project.edit(&bad, uses);
    roles.done(&["up", "--yes"]).await;
    let releases: Value = serde_json::from_str(&roles.done(&["history", "web", "--json"]).await.stdout).expect("JSON");
    let bad = releases["services"]["web"][1]["release"].to_string();
    roles.ends_with(1, &["rollback", "web", &bad, "--yes"]).await;

    project.edit("memory_mb: 256", "memory_mb: 512");
    project.change_function();
    roles.done(&["up", "--yes"]).await;
    roles.done(&["rollback", "labeler", "--yes"]).await;
    project.edit("memory_mb: 512", "memory_mb: 256");

    // A service that never becomes healthy.
    project.edit("health_check: /health\n", "health_check: /missing\n");
    roles.done(&["up", "--yes", "--no-wait"]).await;
    eventually("the console of an instance that is not healthy", async || {
        roles.run(&["why"]).await;
        roles.used("why").await.contains("ec2:GetConsoleOutput").then_some(())
    })
    .await;
    project.edit("health_check: /missing\n", "health_check: /health\n");
    roles.done(&["up", "--yes"]).await;

    // Most is removed from the description, and in the end everything.
    let whole = project.description().replace("    bake: 0\n", "    bake: 3m\n");
    let less = "tables:\n  others: { partition_key: id }\n";
    let (head, _) = whole.split_once("buckets:").expect("there are buckets");
    let (role, policy) = ("postagram-us-east-1-web-svc", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess");
    let burden = async || {
        let attach = cloud.aws.iam.attach_role_policy().role_name(role).policy_arn(policy);
        attach.send().await.expect("a policy can be attached");
        hands.fill_bucket(&["a", "b"]).await;
    };
    burden().await;
    project.describe(&format!("{head}{less}"));
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    let status = roles.run(&["status"]).await;
    assert!(status.stdout.contains("change"), "{}", status.all());
    let data = ["--delete", "table.postagram-posts", "--delete", "bucket.postagram-images-000000000000-us-east-1"];
    roles.done(&[&["up", "--yes"][..], &data].concat()).await;
    project.describe(&whole);
    roles.done(&["up", "--yes", "--for", "4h", "--delete", "table.postagram-others"]).await;
    burden().await;
    roles.done(&["down", "--yes"]).await;
    assert_eq!(cloud.buckets().await, Vec::<String>::new());

    roles.assert_least().await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_secret_leaves_what_another_stack_owns() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    Roles::new(&cloud, &project).await.takes_over_nothing().await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_each_right_of_up_that_its_role_lacks() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let roles = Roles::of(&cloud, &project, ["doctor"]).await;
    let about_rights = |said: &RunOutput| -> String {
        let lines = said.stdout.lines().skip_while(|line| !line.contains("permissions of `up`: "));
        lines.take(2).map(|line| format!("{line}\n")).collect()
    };
    let said = roles.ends_with(1, &["doctor"]).await;
    for right in
        ["✗ permissions of `up`: ", "dynamodb:CreateTable", "iam:PassRole", "lambda:CreateFunction", "s3:CreateBucket"]
    {
        assert!(about_rights(&said).contains(right), "{right}: {}", said.all());
    }

    // With all permissions of `up` but one.
    let iam = &cloud.aws.iam;
    for (at, mut document) in documents(&project, "up").into_iter().enumerate() {
        for statement in document["Statement"].as_array_mut().expect("statements") {
            if let Some(actions) = statement["Action"].as_array_mut() {
                actions.retain(|action| action != "dynamodb:CreateTable");
            }
        }
        let policy = iam.create_policy().policy_name(format!("most-{at}")).policy_document(document.to_string());
        let policy = policy.send().await.expect("a policy can be made").policy.expect("a policy");
        let attach = iam.attach_role_policy().role_name("runs-doctor").policy_arn(policy.arn().expect("an ARN"));
        attach.send().await.expect("it can be attached");
    }
    let said = roles.ends_with(1, &["doctor"]).await;
    let expected = "✗ permissions of `up`: 1 action missing: dynamodb:CreateTable\n  hint: attach what `deployer policy up` prints\n";
    assert_eq!(about_rights(&said), expected, "{}", said.all());

    // With all of them, and without the right to ask.
    let put = async |effect: &str, action: &str| {
        let statement = json!({ "Effect": effect, "Action": action, "Resource": "*" });
        let document = json!({ "Version": "2012-10-17", "Statement": statement }).to_string();
        let put = iam.put_role_policy().role_name("runs-doctor").policy_name(effect).policy_document(document);
        put.send().await.expect("a policy can be put");
    };
    put("Allow", "dynamodb:CreateTable").await;
    let said = roles.done(&["doctor"]).await;
    assert!(about_rights(&said).starts_with("✓ permissions of `up`: "), "{}", said.all());
    put("Deny", "iam:SimulatePrincipalPolicy").await;
    let said = roles.run(&["doctor"]).await;
    let expected = "! permissions of `up`: not checked: AccessDenied: ";
    assert!(said.code == 0 && about_rights(&said).starts_with(expected), "{}", said.all());
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_stack_with_keys_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let key = "arn:aws:kms:us-east-1:000000000000:key/12345678-1234-1234-1234-123456789012";
    project.edit("sort_key: id", &format!("sort_key: id, key: {key:?}"));
    project.edit("    timeout_s: 30\n", &format!("    timeout_s: 30\n    key: {key}\n"));
    let roles = Roles::of(&cloud, &project, ["plan", "up", "status", "history", "down"]).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "--yes"]).await;
    for command in [&["plan", "--detailed-exitcode"][..], &["status"], &["history"]] {
        roles.done(command).await;
    }
    roles.done(&["down", "--yes"]).await;
    let used = roles.used("up").await;
    for action in ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"] {
        assert!(used.contains(action) && roles.granted["up"].contains(action), "{action}: {used:?}");
    }
    for command in ["plan", "status", "history", "down"] {
        assert!(roles.used(command).await.contains("kms:Decrypt"), "{command}");
    }
    cloud.end().await;
}

/// Whether an action is only for elastic IP addresses. An address is taken from an instance only if something outside of the
/// stack has it.
fn is_of_addresses(action: &str) -> bool {
    action.starts_with("ec2:") && action.contains("Address") && action != "ec2:DisassociateAddress"
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_stack_without_a_load_balancer_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::start().await, Project::direct());
    let roles = Roles::new(&cloud, &project).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "--yes"]).await;
    // One that was allocated twice.
    let found = cloud.aws.ec2.describe_addresses().send().await.expect("addresses");
    let again = aws_sdk_ec2::types::TagSpecification::builder()
        .resource_type(aws_sdk_ec2::types::ResourceType::ElasticIp)
        .set_tags(found.addresses()[0].tags.clone());
    let allocate = cloud.aws.ec2.allocate_address().tag_specifications(again.build());
    allocate.send().await.expect("a second address");
    roles.done(&["up", "--yes"]).await;
    for command in ["adopt", "status", "why", "outputs", "history", "ls"] {
        roles.done(&[command]).await;
    }
    roles.done(&["down", "--yes"]).await;
    for command in ["plan", "adopt", "up", "status", "why", "outputs", "ls", "down"] {
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_addresses(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }
    cloud.end().await;
}

/// Whether an action is only for web ACLs.
fn is_of_web_acls(action: &str) -> bool {
    action.starts_with("wafv2:") || action.to_lowercase().contains("webacl")
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_service_with_a_web_acl_run_with_their_printed_policies() {
    let web_acl = "arn:aws:wafv2:us-east-1:000000000000:regional/webacl/app/12345678-1234-1234-1234-123456789012";
    let field = format!("    load_balancer: {{ port: 80, waf: {web_acl:?} }}\n");
    let (cloud, project) = (TestAws::start().await, Project::of_service(&field));
    let roles = Roles::new(&cloud, &project).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "--yes"]).await;
    for command in [&["plan", "--detailed-exitcode"][..], &["adopt"], &["status"], &["outputs"]] {
        roles.done(command).await;
    }
    roles.ends_with(1, &["doctor"]).await;
    roles.ends_with(1, &["open"]).await; // without a terminal
    roles.done(&["export", "terraform", "tf"]).await;
    project.edit(&field, "    load_balancer: { port: 80, waf: none }\n");
    roles.done(&["up", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    for command in ["plan", "up", "adopt", "status", "outputs", "doctor", "open", "export", "down"] {
        let used = roles.used(command).await;
        let granted: Vec<&String> = roles.granted[command].iter().filter(|action| is_of_web_acls(action)).collect();
        let unused: Vec<_> = granted.iter().filter(|action| !used.contains(**action)).collect();
        assert!(!granted.is_empty() && unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }
    for command in ["why", "history", "logs", "pause", "ls"] {
        assert!(!roles.granted[command].iter().any(|action| is_of_web_acls(action)), "{command}");
    }
    cloud.end().await;
}

/// Actions on rules, those of tags of rules included.
fn is_of_rules(action: &str) -> bool {
    action.starts_with("elasticloadbalancing:") && (action.contains("Rule") || action.ends_with(":AddTags"))
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_services_that_share_a_load_balancer_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::start().await, shared::project());
    let commands = ["plan", "up", "status", "why", "pause", "resume", "down"];
    let roles = Roles::of(&cloud, &project, commands).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "--yes"]).await;
    for command in [&["plan"][..], &["status"], &["why"]] {
        roles.done(command).await;
    }
    roles.done(&["pause", "--yes"]).await;
    roles.done(&["resume", "--yes"]).await;
    roles.done(&["up", "--yes"]).await;
    // The tags of the rule, its conditions and its priority.
    let rule = shared::rules(&cloud.aws).await.remove(0);
    let untag =
        cloud.aws.elb.remove_tags().resource_arns(rule.rule_arn().expect("an ARN")).tag_keys("deployer:resource");
    untag.send().await.expect("it can be untagged");
    roles.done(&["up", "--yes"]).await;
    project.edit("path: /environment", "path: /env*");
    roles.done(&["up", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    for command in commands.into_iter().filter(|command| *command != "resume") {
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_rules(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        // What up removes, it does without such a service, below.
        let unused: Vec<&String> =
            unused.into_iter().filter(|it| (command, it.as_str()) != ("up", DELETE_RULE)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }

    // The rule of a service that has been taken out is removed with the policy of a stack without such a service.
    cloud.done(&project, &["up", "--yes"]).await;
    shared::without_api(&project);
    let alone = documents(&project, "up").iter().flat_map(actions).collect::<BTreeSet<String>>();
    assert!(alone.contains(DELETE_RULE) && !alone.contains("elasticloadbalancing:CreateRule"), "{alone:?}");
    roles.done(&["up", "--yes"]).await;
    assert!(roles.used("up").await.contains(DELETE_RULE));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

const DELETE_RULE: &str = "elasticloadbalancing:DeleteRule";
