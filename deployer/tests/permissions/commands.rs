//! The policy that `deployer policy COMMAND` prints is enough for the command, and the least: each command runs in a role
//! that has exactly its own, and uses all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use aws_sdk_acm::types::{Tag, ValidationMethod};
use aws_sdk_secretsmanager::{error::ProvideErrorMetadata as _, types::Tag as SecretTag};
use aws_sdk_sts::types::Credentials;
use deployer::rights::COMMANDS;
use serde_json::{Value, json};
use testkit::eventually;
use tokio::io::AsyncWriteExt as _;

use super::{list, statements};
use crate::support::{Project, Said, cloud::TestAws, hands::Hands, network, shared};

/// Rights of a command that its runs here do not use, with the reason.
const UNUSED: &[(&str, &str, &str)] = &[
    ("up", "autoscaling:CancelInstanceRefresh", "for a roll-out that has no previous version to go back to"),
    ("up", "iam:CreateServiceLinkedRole", "only the first load balancer and group of an account need it"),
    ("up", "elasticloadbalancing:DeleteListener", "only a service that is no longer served over HTTPS needs it"),
    ("up", "elasticloadbalancing:RemoveTags", "the same"),
    ("up", "elasticloadbalancing:DeleteRule", "only a service that no longer shares a load balancer needs it"),
    ("down", "elasticloadbalancing:DeleteRule", "the same"),
    ("why", "secretsmanager:DescribeSecret", "only for a service that cannot read a secret"),
    ("why", "ssm:DescribeParameters", "the same for a parameter"),
    ("rollback", "autoscaling:CancelInstanceRefresh", "for a roll-out that has no previous version to go back to"),
    ("plan", "s3:ListBucket", "only for a missing program: without it, S3 does not say that it is missing"),
    ("adopt", "s3:ListBucket", "the same"),
    ("plan", "acm:DescribeCertificate", "only a domain that has been taken out needs it"),
    ("status", "acm:DescribeCertificate", "the same"),
    ("up", "acm:DeleteCertificate", "the same"),
    ("up", "acm:DescribeCertificate", "the same"),
    ("up", "route53:ChangeResourceRecordSets", "the same"),
    ("up", "route53:ListHostedZones", "the same"),
    ("up", "route53:ListResourceRecordSets", "the same"),
    ("down", "acm:DeleteCertificate", "the same"),
    ("down", "acm:DescribeCertificate", "the same"),
    ("down", "route53:ChangeResourceRecordSets", "the same"),
    ("down", "route53:ListHostedZones", "the same"),
    ("down", "route53:ListResourceRecordSets", "the same"),
    ("pause", "route53:ChangeResourceRecordSets", "the same"),
    ("pause", "route53:ListHostedZones", "the same"),
    ("pause", "route53:ListResourceRecordSets", "the same"),
    ("export", "s3:ListBucket", "only a program that is missing needs it"),
    ("up", "ec2:UpdateSecurityGroupRuleDescriptionsEgress", "only rules made by an earlier version need it"),
    ("up", "ec2:UpdateSecurityGroupRuleDescriptionsIngress", "the same"),
];

/// Commands that need what another one needs, since they do the same to what they find.
const ALIKE: &[(&str, &str)] = &[("resume", "up")];

const ACCOUNT: &str = "000000000000";

/// A role for each command, with the command's policy alone.
struct Roles<'a> {
    cloud: &'a TestAws,
    project: &'a Project,
    credentials: BTreeMap<&'static str, Credentials>,
    granted: BTreeMap<&'static str, BTreeSet<String>>,
}

impl<'a> Roles<'a> {
    async fn new(cloud: &'a TestAws, project: &'a Project) -> Roles<'a> {
        Roles::of(cloud, project, COMMANDS.iter().map(|needs| needs.command)).await
    }

    async fn of(
        cloud: &'a TestAws,
        project: &'a Project,
        commands: impl IntoIterator<Item = &'static str>,
    ) -> Roles<'a> {
        let mut roles = Roles { cloud, project, credentials: BTreeMap::new(), granted: BTreeMap::new() };
        for command in commands {
            roles.add(command).await;
        }
        roles
    }

    /// Makes the role of a command, with the managed policies that `policy --split` writes.
    async fn add(&mut self, command: &'static str) {
        let iam = &self.cloud.aws.iam;
        let trust = json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": format!("arn:aws:iam::{ACCOUNT}:root") },
        }});
        let name = format!("runs-{command}");
        let made = iam.create_role().role_name(&name).assume_role_policy_document(trust.to_string()).send().await;
        let arn = made.expect("a role can be made").role.expect("a role").arn;
        let granted = self.granted.entry(command).or_default();
        for (at, document) in documents(self.project, command).into_iter().enumerate() {
            granted.extend(actions(&document));
            let policy = iam.create_policy().policy_name(format!("{name}-{at}")).policy_document(document.to_string());
            let policy = policy.send().await.expect("it fits into a managed policy").policy.expect("a policy");
            let attach = iam.attach_role_policy().role_name(&name).policy_arn(policy.arn().expect("an ARN"));
            attach.send().await.expect("it can be attached");
        }
        let taken = self.cloud.aws.sts.assume_role().role_arn(arn).role_session_name("test").send().await;
        self.credentials.insert(command, taken.expect("it can be assumed").credentials.expect("credentials"));
    }

    /// Sets a value in the role of `secret`.
    async fn set(&self, arguments: &[&str]) {
        let arguments = [&["secret", "set"], arguments].concat();
        let mut command = self.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the deployer can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(b"a value").await.expect("it is read");
        drop(stdin);
        let said = Said::from(child.wait_with_output().await.expect("it ends"));
        let denied = self.denied("secret").await;
        assert!(denied.is_empty() && said.code == 0, "{arguments:?}: {denied:#?}\n{}", said.all());
    }

    /// Asserts that the role of `secret` can neither tag nor change what another stack owns.
    async fn takes_over_nothing(&self) {
        let keys = &self.credentials["secret"];
        let (id, secret, token) = (keys.access_key_id(), keys.secret_access_key(), keys.session_token());
        let (secrets, ssm) = (&self.cloud.aws.secrets, &self.cloud.aws.ssm);
        let of_secret = |stack: &str| SecretTag::builder().key("deployer:stack").value(stack).build();
        let of_parameter = |stack: &str| {
            let tag = aws_sdk_ssm::types::Tag::builder().key("deployer:stack").value(stack);
            tag.build().expect("a tag")
        };
        let theirs = secrets.create_secret().name("theirs").secret_string("v").tags(of_secret("other"));
        theirs.send().await.expect("a secret can be made");
        let secure = aws_sdk_ssm::types::ParameterType::SecureString;
        let theirs = ssm.put_parameter().name("/theirs").value("v").r#type(secure).tags(of_parameter("other"));
        theirs.send().await.expect("a parameter can be made");
        let keys = aws_sdk_secretsmanager::config::Credentials::new(id, secret, Some(token.to_owned()), None, "test");
        let secrets = secrets.config().to_builder().credentials_provider(keys.clone()).build();
        let secrets = aws_sdk_secretsmanager::Client::from_conf(secrets);
        let ssm = ssm.config().to_builder().credentials_provider(keys).build();
        let ssm = aws_sdk_ssm::Client::from_conf(ssm);
        let tag = secrets.tag_resource().secret_id("theirs").tags(of_secret("postagram")).send().await;
        assert_eq!(tag.expect_err("it is another's").code(), Some("AccessDeniedException"));
        let kind = aws_sdk_ssm::types::ResourceTypeForTagging::Parameter;
        let tag = ssm.add_tags_to_resource().resource_type(kind).resource_id("/theirs");
        let tag = tag.tags(of_parameter("postagram")).send().await;
        assert_eq!(tag.expect_err("it is another's").code(), Some("AccessDeniedException"));
        let put = ssm.put_parameter().name("/theirs").value("w").overwrite(true).send().await;
        assert_eq!(put.expect_err("it is another's").code(), Some("AccessDeniedException"));
        assert_eq!(self.denied("secret").await.len(), 3);
    }

    /// Runs a command in its role.
    async fn run(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().await.expect("the deployer can be started").into()
    }

    fn command(&self, arguments: &[&str]) -> tokio::process::Command {
        let keys = &self.credentials[arguments[0]];
        let endpoint = self.cloud.endpoint();
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", keys.access_key_id()),
            ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key()),
            ("AWS_SESSION_TOKEN", keys.session_token()),
        ];
        let mut command = tokio::process::Command::from(self.project.command(arguments, &environment));
        command.kill_on_drop(true);
        command
    }

    /// Runs it and asserts its exit code, and that nothing was denied.
    async fn ends_with(&self, code: i32, arguments: &[&str]) -> Said {
        let said = self.run(arguments).await;
        let denied = self.denied(arguments[0]).await;
        assert!(denied.is_empty(), "{arguments:?}: {denied:#?}\n{}", said.all());
        assert_eq!(said.code, code, "{arguments:?}: {}", said.all());
        said
    }

    async fn done(&self, arguments: &[&str]) -> Said {
        self.ends_with(0, arguments).await
    }

    /// The denials of a command's role. Both groups of a service are removed at once: if one is gone before its rule is
    /// revoked, it has no tag for the condition, and that denial means as much as its absence.
    async fn denied(&self, command: &str) -> Vec<String> {
        let journal = self.cloud.control().journal().await;
        let denials = journal.iter().filter_map(|call| call["denied"].as_str());
        let denials = denials.filter(|text| text.contains(&format!("assumed-role/runs-{command}/")));
        denials.filter(|text| !text.contains("ec2:RevokeSecurityGroupEgress")).map(str::to_owned).collect()
    }

    /// The actions that a command has used.
    async fn used(&self, command: &str) -> BTreeSet<String> {
        let all = self.cloud.control().get("permissions").await;
        let used = all[format!("runs-{command}")].as_array().cloned().unwrap_or_default();
        used.iter().filter_map(|pair| pair[0].as_str().map(str::to_owned)).collect()
    }

    /// Asserts that every command has used all actions of its policy, but for reasoned exceptions.
    async fn assert_least(&self) {
        let mut wrong = Vec::new();
        for (command, other) in ALIKE {
            assert_eq!(self.granted[command], self.granted[other], "{command}");
        }
        for (command, granted) in &self.granted {
            if ALIKE.iter().any(|(alike, _)| alike == command) {
                continue;
            }
            let used = self.used(command).await;
            let spared: BTreeSet<&str> =
                UNUSED.iter().filter(|(of, ..)| of == command).map(|(_, action, _)| *action).collect();
            let unused = granted.difference(&used).map(String::as_str).collect::<BTreeSet<_>>();
            let (more, fewer) = (unused.difference(&spared), spared.difference(&unused));
            wrong.extend(more.map(|action| format!("{command}: {action} is granted and never used")));
            wrong.extend(fewer.map(|action| format!("{command}: {action} is exempt, but used or not granted")));
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The documents that `policy --split` writes for a command.
fn documents(project: &Project, command: &str) -> Vec<Value> {
    let folder = project.path().join("policies").join(command);
    let split = folder.display().to_string();
    project.done(&["policy", command, "--account", ACCOUNT, "--split", &split]);
    let Ok(files) = std::fs::read_dir(&folder) else { return Vec::new() };
    let texts = files.flatten().map(|file| std::fs::read_to_string(file.path()).expect("text"));
    texts.map(|text| serde_json::from_str(&text).expect("JSON")).collect()
}

fn actions(document: &Value) -> BTreeSet<String> {
    let actions = statements(document).into_iter().flat_map(|statement| list(&statement["Action"]));
    actions.map(|action| action.as_str().expect("a string").to_owned()).collect()
}

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

/// Actions that a domain adds, to those of the services of a load balancer.
fn is_of_domains(action: &str) -> bool {
    action.starts_with("acm:") || action.starts_with("route53:")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_of_secret_leaves_what_another_stack_owns() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    Roles::new(&cloud, &project).await.takes_over_nothing().await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_stack_with_a_domain_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::start().await, Project::of_service("    domain: app.example.org\n"));
    let zone = cloud.aws.route53.create_hosted_zone().name("example.org").caller_reference("1").send().await;
    zone.expect("a zone can be made");
    let roles = Roles::new(&cloud, &project).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "--yes"]).await;
    for command in [&["plan"][..], &["adopt"], &["status"], &["why"], &["outputs"], &["history"], &["ls"]] {
        roles.done(command).await;
    }
    roles.ends_with(1, &["doctor"]).await;
    roles.done(&["export", "terraform", "tf"]).await;
    // The tags of the certificate.
    let listed = cloud.aws.acm.list_certificates().send().await.expect("certificates");
    let arn = listed.certificate_summary_list()[0].certificate_arn().expect("an ARN");
    let resource = Tag::builder().key("deployer:resource").build().expect("complete");
    let untag = cloud.aws.acm.remove_tags_from_certificate().certificate_arn(arn).tags(resource);
    untag.send().await.expect("it can be untagged");
    roles.done(&["up", "--yes"]).await;
    roles.done(&["pause", "--yes"]).await;
    roles.done(&["resume", "--yes"]).await;
    let described = project.description();
    project.edit("domain: app.example.org", "domain: www.example.org");
    roles.done(&["up", "--yes"]).await;
    project.describe(&described);
    roles.done(&["up", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    let commands =
        ["plan", "adopt", "up", "status", "why", "outputs", "history", "doctor", "ls", "pause", "down", "export"];
    for command in commands {
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_domains(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
    }
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_each_right_of_up_that_its_role_lacks() {
    let (cloud, project) = (TestAws::start().await, Project::light());
    let roles = Roles::of(&cloud, &project, ["doctor"]).await;
    let about_rights = |said: &Said| -> String {
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

/// Actions that a network of the stack's own adds.
fn is_of_networks(action: &str) -> bool {
    let is_network = |thing: &&str| action.contains(thing);
    action.starts_with("ec2:") && ["Vpc", "InternetGateway", "RouteTable", "Subnet", "Route"].iter().any(is_network)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_stack_with_a_network_of_its_own_run_with_their_printed_policies() {
    let (cloud, project) = (TestAws::of_kind(local::AccountKind::NoDefaultVpc).await, network::project());
    let described = project.description();
    let roles = Roles::new(&cloud, &project).await;
    roles.ends_with(1, &["doctor"]).await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.done(&["up", "network", "--yes"]).await;
    let hands = network::Hands(&cloud.aws);
    for (address, line) in network::CHANGED.iter().chain([&network::UNASSOCIATED]) {
        let (field, _) = line.split_once(": ").expect("a field and its value");
        hands.change(address, field).await;
    }
    roles.done(&["up", "network", "--yes"]).await;
    hands.remove_gateway().await;
    roles.done(&["up", "--yes"]).await;
    hands.clean().await;
    roles.done(&["plan", "--detailed-exitcode"]).await;
    hands.disown_gateway().await;
    roles.done(&["adopt", "--yes"]).await;
    for command in ["status", "why", "outputs", "history", "ls"] {
        roles.done(&[command]).await;
    }
    roles.ends_with(1, &["doctor"]).await;
    // Without services, the network is removed, too.
    let (head, _) = described.split_once("services:").expect("there are services");
    project.describe(head);
    roles.done(&["up", "--yes"]).await;
    project.describe(&described);
    roles.done(&["up", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    for command in ["plan", "adopt", "up", "status", "why", "outputs", "history", "doctor", "ls", "down"] {
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_networks(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_was_taken_out_is_removed_with_the_policies_of_a_stack_without_one() {
    let domain = "    domain: app.example.org\n";
    let (cloud, project) = (TestAws::start().await, Project::of_service(domain));
    let zone = cloud.aws.route53.create_hosted_zone().name("example.org").caller_reference("1").send().await;
    zone.expect("a zone can be made");
    let described = project.description();
    project.edit(domain, "");
    let roles = Roles::of(&cloud, &project, ["plan", "status", "up", "pause", "down"]).await;
    let with_domain = async || {
        project.describe(&described);
        cloud.done(&project, &["up", "--yes"]).await;
        project.edit(domain, "");
    };
    with_domain().await;
    roles.ends_with(2, &["plan", "--detailed-exitcode"]).await;
    roles.run(&["status"]).await;
    roles.done(&["up", "--yes"]).await;
    roles.done(&["plan", "--detailed-exitcode"]).await;
    with_domain().await;
    roles.done(&["pause", "--yes"]).await;
    roles.done(&["down", "--yes"]).await;
    for command in ["plan", "status", "up", "pause", "down"] {
        assert_eq!(roles.denied(command).await, Vec::<String>::new(), "{command}");
        let used = roles.used(command).await;
        let granted = roles.granted[command].iter().filter(|action| is_of_domains(action));
        let unused: Vec<&String> = granted.filter(|action| !used.contains(*action)).collect();
        assert!(unused.is_empty(), "{command}: {unused:?} are granted and never used");
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

#[test]
fn the_tables_of_the_documentation_are_those_of_the_policies() {
    let project = Project::light();
    let file = testkit::programs::root().join("docs/commands.md");
    let text = std::fs::read_to_string(file).expect("the documentation is there");
    for (heading, command) in
        [("## What `why` checks", "why"), ("## What `status` reads", "status"), ("## What `ls` reads", "ls")]
    {
        let section = text.split_once(heading).unwrap_or_else(|| panic!("there is no {heading:?}")).1;
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows: String = section.lines().filter(|line| line.starts_with('|')).collect();
        let words = rows.split('`').skip(1).step_by(2);
        let named: BTreeSet<String> = words.filter(|word| is_action(word)).map(str::to_owned).collect();
        let printed: BTreeSet<String> = documents(&project, command).iter().flat_map(actions).collect();
        let network = ["ec2:DescribeInstanceTypeOfferings", "ec2:DescribeSubnets", "ec2:DescribeVpcs"];
        let printed: BTreeSet<String> = match command {
            // Named once, where all commands with services are described.
            "why" => printed.into_iter().filter(|action| !network.contains(&action.as_str())).collect(),
            _ => printed,
        };
        assert_eq!(named, printed, "{heading}");
    }
}

/// Whether a word is an IAM action, such as `s3:GetObject`.
fn is_action(word: &str) -> bool {
    word.split_once(':').is_some_and(|(service, action)| {
        service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && action.starts_with(|first: char| first.is_ascii_uppercase())
            && action.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

#[test]
fn a_policy_needs_no_account_and_is_refused_for_what_is_no_command() {
    let project = Project::light();
    let said = project.done(&["policy", "status"]);
    assert!(said.stdout.contains(":ACCOUNT_ID:function:postagram-*\""), "{}", said.all());
    assert!(said.stderr.contains("replace ACCOUNT_ID"), "{}", said.all());
    let document: Value = serde_json::from_str(&said.stdout).expect("a policy document");
    assert_eq!(document["Version"], "2012-10-17");
    let both = project.done(&["policy", "up", "down", "--account", "123456789012"]);
    assert!(both.stdout.contains("arn:aws:s3:::postagram-*-123456789012-us-east-1*"), "{}", both.all());
    let offline = project.done(&["policy", "validate", "graph"]);
    assert!(offline.stdout.is_empty() && offline.stderr.contains("no permission is needed"), "{}", offline.all());
    let wrong = project.run(&["policy", "stauts"]);
    assert_eq!(wrong.code, 64, "{}", wrong.all());
    assert!(wrong.stderr.contains("did you mean status?"), "{}", wrong.all());
    assert_eq!(project.run(&["policy", "--account", "12"]).code, 64);
    let file = project.path().join("stack.yaml").join("x").display().to_string();
    let unwritable = project.run(&["policy", "--split", &file]);
    assert_eq!(unwritable.code, 1, "{}", unwritable.all());
}

#[test]
fn without_functions_and_services_less_is_granted() {
    let project = Project::with("name: s\nregion: us-east-1\ntables:\n  posts: { partition_key: id }\n");
    let granted: BTreeSet<String> = documents(&project, "up").iter().flat_map(actions).collect();
    for absent in [
        "lambda:CreateFunction",
        "iam:PassRole",
        "ec2:DescribeInstanceTypeOfferings",
        "autoscaling:UpdateAutoScalingGroup",
    ] {
        assert!(!granted.contains(absent), "{absent}");
    }
    assert!(granted.contains("dynamodb:CreateTable") && granted.contains("lambda:ListFunctions"), "{granted:?}");
}
