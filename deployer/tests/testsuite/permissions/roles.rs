//! A role for each command, with its printed policy.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use aws_sdk_secretsmanager::{error::ProvideErrorMetadata as _, types::Tag as SecretTag};
use aws_sdk_sts::types::Credentials;
use deployer::rights::COMMANDS;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{list, statements};
use crate::support::{Project, RunOutput, cloud::TestAws};

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
pub(super) struct Roles<'a> {
    cloud: &'a TestAws,
    project: &'a Project,
    credentials: BTreeMap<&'static str, Credentials>,
    pub(super) granted: BTreeMap<&'static str, BTreeSet<String>>,
}

impl<'a> Roles<'a> {
    pub(super) async fn new(cloud: &'a TestAws, project: &'a Project) -> Roles<'a> {
        Roles::of(cloud, project, COMMANDS.iter().map(|needs| needs.command)).await
    }

    pub(super) async fn of(
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
    pub(super) async fn set(&self, arguments: &[&str]) {
        let arguments = [&["secret", "set"], arguments].concat();
        let mut command = self.command(&arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the deployer can be started");
        let mut stdin = child.stdin.take().expect("it is piped");
        stdin.write_all(b"a value").await.expect("it is read");
        drop(stdin);
        let said = RunOutput::from(child.wait_with_output().await.expect("it ends"));
        let denied = self.denied("secret").await;
        assert!(denied.is_empty() && said.code == 0, "{arguments:?}: {denied:#?}\n{}", said.all());
    }

    /// Asserts that the role of `secret` can neither tag nor change what another stack owns.
    pub(super) async fn takes_over_nothing(&self) {
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
    pub(super) async fn run(&self, arguments: &[&str]) -> RunOutput {
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
    pub(super) async fn ends_with(&self, code: i32, arguments: &[&str]) -> RunOutput {
        let said = self.run(arguments).await;
        let denied = self.denied(arguments[0]).await;
        assert!(denied.is_empty(), "{arguments:?}: {denied:#?}\n{}", said.all());
        assert_eq!(said.code, code, "{arguments:?}: {}", said.all());
        said
    }

    pub(super) async fn done(&self, arguments: &[&str]) -> RunOutput {
        self.ends_with(0, arguments).await
    }

    /// The denials of a command's role. Both groups of a service are removed at once: if one is gone before its rule is
    /// revoked, it has no tag for the condition, and that denial means as much as its absence.
    pub(super) async fn denied(&self, command: &str) -> Vec<String> {
        let journal = self.cloud.control().journal().await;
        let denials = journal.iter().filter_map(|call| call["denied"].as_str());
        let denials = denials.filter(|text| text.contains(&format!("assumed-role/runs-{command}/")));
        denials.filter(|text| !text.contains("ec2:RevokeSecurityGroupEgress")).map(str::to_owned).collect()
    }

    /// The actions that a command has used.
    pub(super) async fn used(&self, command: &str) -> BTreeSet<String> {
        let all = self.cloud.control().get("permissions").await;
        let used = all[format!("runs-{command}")].as_array().cloned().unwrap_or_default();
        used.iter().filter_map(|pair| pair[0].as_str().map(str::to_owned)).collect()
    }

    /// Asserts that every command has used all actions of its policy, but for reasoned exceptions.
    pub(super) async fn assert_least(&self) {
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
pub(super) fn documents(project: &Project, command: &str) -> Vec<Value> {
    let folder = project.path().join("policies").join(command);
    let split = folder.display().to_string();
    project.done(&["policy", command, "--account", ACCOUNT, "--split", &split]);
    let Ok(files) = std::fs::read_dir(&folder) else { return Vec::new() };
    let texts = files.flatten().map(|file| std::fs::read_to_string(file.path()).expect("text"));
    texts.map(|text| serde_json::from_str(&text).expect("JSON")).collect()
}

pub(super) fn actions(document: &Value) -> BTreeSet<String> {
    let actions = statements(document).into_iter().flat_map(|statement| list(&statement["Action"]));
    actions.map(|action| action.as_str().expect("a string").to_owned()).collect()
}
