//! An independent judge of what `up` creates: the checks of Prowler, a scanner of AWS accounts. Every finding of medium
//! severity or above has a row in docs/security.md, with the reason why it remains.

use std::{collections::BTreeSet, process::Command};

use serde::Deserialize;
use serde_json::{Value, json};
use testkit::programs::{root, tool};

use crate::support::{
    Project,
    cloud::{KEYS, TestAws},
};

/// The services of Prowler that check what a stack consists of.
const SERVICES: &str = "autoscaling,awslambda,cloudwatch,dynamodb,ec2,elbv2,iam,s3,secretsmanager,vpc";

/// Checks that would fail if a default were missing. A check that did not see the resource would not pass.
const CURED: &[&str] = &[
    "awslambda_function_not_publicly_accessible",
    "ec2_ebs_volume_encryption",
    "ec2_instance_imdsv2_enabled",
    "ec2_launch_template_imdsv2_required",
    "elbv2_alb_drop_invalid_header_fields_enabled",
    "iam_inline_policy_no_administrative_privileges",
    "s3_bucket_default_encryption",
    "s3_bucket_level_public_access_block",
    "s3_bucket_lifecycle_enabled",
    "s3_bucket_secure_transport_policy",
];

/// Checks that cannot run here, and why.
const BROKEN: &[(&str, &str)] = &[("ec2_elastic_ip_shodan", "it asks a service on the internet")];

/// Prowler's findings.
#[derive(Deserialize)]
struct Judgement {
    passed: Vec<Finding>,
    failed: Vec<Finding>,
    broken: Vec<Broken>,
}

#[derive(Deserialize)]
struct Finding {
    check: String,
    severity: String,
    resource: String,
}

#[derive(Deserialize)]
struct Broken {
    check: String,
    error: String,
}

#[test]
fn every_finding_of_a_scanner_is_cured_or_has_its_reason() {
    let project = Project::light();
    project.done(&["up", "--local", "--yes"]);
    let (judgement, unserved) = judge(&project);
    project.done(&["down", "--local", "--yes"]);

    let broken = judgement.broken.iter().filter(|it| !BROKEN.iter().any(|(check, _)| it.check == *check));
    let broken: Vec<String> = broken.map(|it| format!("{}: {}", it.check, it.error)).collect();
    assert!(broken.is_empty(), "these checks did not run: {broken:?}");
    let passed: BTreeSet<&str> = judgement.passed.iter().map(|it| &*it.check).collect();
    let failed: BTreeSet<&str> = judgement.failed.iter().map(|it| &*it.check).collect();
    for check in CURED {
        assert!(passed.contains(check) && !failed.contains(check), "{check} does not pass");
    }

    let trust = "iam_role_cross_service_confused_deputy_prevention";
    let trusting: Vec<&str> = judgement.failed.iter().filter(|it| it.check == trust).map(|it| &*it.resource).collect();
    assert!(trusting.iter().all(|role| role.ends_with("-web-svc")), "only the role of the service: {trusting:?}");

    let document = std::fs::read_to_string(root().join("docs/security.md")).expect("the document is there");
    let reasons = first_columns(&document, "| finding |");
    let serious = judgement.failed.iter().filter(|it| matches!(&*it.severity, "critical" | "high" | "medium"));
    let serious: BTreeSet<String> = serious.map(|it| format!("{} ({})", it.check, it.severity)).collect();
    let unknown: Vec<String> = judgement
        .failed
        .iter()
        .map(|it| (format!("{} ({})", it.check, it.severity), &it.resource))
        .filter(|(finding, _)| serious.contains(finding) && !reasons.contains(finding))
        .map(|(finding, resource)| format!("{finding} of {resource}"))
        .collect();
    assert!(unknown.is_empty(), "cure these findings, or give the reasons in docs/security.md: {unknown:#?}");
    let stale: Vec<&String> = reasons.difference(&serious).collect();
    assert!(stale.is_empty(), "docs/security.md has reasons for findings that are cured: {stale:?}");

    let listed = first_columns(&document, "| calls |");
    let listed: BTreeSet<String> = listed.iter().flat_map(|row| row.split_whitespace()).map(str::to_owned).collect();
    let unlisted: Vec<&String> = unserved.difference(&listed).collect();
    assert!(unlisted.is_empty(), "Prowler needs calls that the local AWS does not serve: {unlisted:?}");
}

/// Every finding of Checkov has a row in docs/security.md, with the reason why it remains.
#[test]
fn every_finding_in_an_exported_configuration_has_its_reason() {
    let project = Project::full();
    project.done(&["local", "start"]);
    project.set_values();
    project.done(&["up", "--local", "--yes"]);
    project.done(&["export", "terraform", "tf", "--local"]);
    let scan = Command::new(tool("checkov/bin/checkov"))
        .args(["--directory", "tf", "--framework", "terraform", "--skip-download", "--output", "json", "--quiet"])
        .current_dir(project.path())
        .env("HOME", project.path())
        .output()
        .expect("Checkov can be started");
    let said = String::from_utf8_lossy(&scan.stderr);
    let result: Value = serde_json::from_slice(&scan.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(result["summary"]["parsing_errors"], 0, "{said}");
    let imports = std::fs::read_to_string(project.path().join("tf/imports.tf")).expect("there are imports");
    assert_eq!(result["summary"]["resource_count"], imports.matches("import {").count(), "it has seen every resource");

    let failed = result["results"]["failed_checks"].as_array().expect("a list");
    let check = |it: &Value| it["check_id"].as_str().expect("an id").to_owned();
    let found: BTreeSet<String> = failed.iter().map(check).collect();
    let document = std::fs::read_to_string(root().join("docs/security.md")).expect("the document is there");
    let reasons = first_columns(&document, "| finding of Checkov |");
    let unknown: Vec<String> = failed
        .iter()
        .filter(|it| !reasons.contains(&check(it)))
        .map(|it| format!("{} of {}: {}", check(it), it["resource"], it["check_name"]))
        .collect();
    assert!(unknown.is_empty(), "cure these findings, or give the reasons in docs/security.md: {unknown:#?}");
    let stale: Vec<&String> = reasons.difference(&found).collect();
    assert!(stale.is_empty(), "docs/security.md has reasons for findings that are cured: {stale:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_of_others_in_the_policy_of_a_bucket_are_kept() {
    let (cloud, project) = (TestAws::start().await, Project::with("name: small\nregion: us-east-1\nbuckets: { a: }\n"));
    cloud.done(&project, &["up", "--yes"]).await;
    let (s3, bucket) = (&cloud.aws.s3, "small-a-000000000000-us-east-1");
    let policy = async || -> Value {
        let answer = s3.get_bucket_policy().bucket(bucket).send().await.expect("there is a policy");
        serde_json::from_str(answer.policy().unwrap_or_default()).expect("it is JSON")
    };
    let ours = policy().await["Statement"][0].clone();
    assert_eq!(ours["Sid"], "DeployerDenyPlainHttp");
    let theirs = json!({
        "Sid": "theirs", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::000000000000:root" },
        "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{bucket}/*"),
    });
    let put = async |statements: Value| {
        let document = json!({ "Version": "2012-10-17", "Statement": statements }).to_string();
        s3.put_bucket_policy().bucket(bucket).policy(document).send().await.expect("a policy can be put");
    };
    put(json!([theirs, ours])).await;
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert_eq!(plan.code, 0, "a statement of others is not a difference: {}", plan.all());
    put(theirs.clone()).await;
    let plan = cloud.run(&project, &["plan", "--detailed-exitcode"]).await;
    assert!(plan.code == 2 && plan.stderr.contains("plain_http_denied: false → true"), "{}", plan.all());
    cloud.done(&project, &["up", "--yes"]).await;
    assert_eq!(policy().await["Statement"], json!([theirs, ours]));
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[test]
fn a_protected_load_balancer_is_removed_by_no_command() {
    let project = Project::light();
    let open = project.description();
    project.edit("load_balancer: {", "load_balancer: { protect: true,");
    let protected = project.description();
    project.done(&["up", "--local", "--yes"]);
    let refusal = "load_balancer.*: protected against deletion, so nothing was changed";
    let is_refused = |text: &str| refusal.split('*').all(|part| text.contains(part));
    let down = project.run(&["down", "--local", "--yes"]);
    assert!(down.code == 1 && is_refused(&down.stderr), "{}", down.all());
    project.describe("name: postagram\nregion: us-east-1\n");
    let up = project.run(&["up", "--local", "--yes"]);
    assert!(up.code == 1 && is_refused(&up.stderr), "{}", up.all());
    project.describe(&protected);
    let plan = project.run(&["plan", "--local", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "nothing was changed: {}", plan.all());
    project.describe(&open);
    project.done(&["up", "--local", "--yes"]);
    project.done(&["down", "--local", "--yes"]);
}

/// Runs Prowler. Returns its judgement and the calls that the local AWS does not serve.
fn judge(project: &Project) -> (Judgement, BTreeSet<String>) {
    let output = Command::new(tool("prowler/bin/python"))
        .arg(root().join("deployer/tests/testsuite/support/scan.py"))
        .arg(SERVICES)
        .current_dir(project.path())
        .env_clear()
        .env("HOME", project.path())
        .env("AWS_ENDPOINT_URL", project.endpoint())
        .env("AWS_ACCESS_KEY_ID", KEYS.0)
        .env("AWS_SECRET_ACCESS_KEY", KEYS.1)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .expect("Prowler can be started");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
    let judgement = serde_json::from_slice(&output.stdout).expect("the result is JSON");
    let call = |line: &str| {
        let call = line.split_once("the local AWS has no ")?.1;
        let end = call.find(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '-').unwrap_or(call.len());
        Some(call[..end].trim_end_matches(':').to_owned())
    };
    (judgement, log.lines().filter_map(call).collect())
}

/// The first column of the table with this heading, without code marks.
fn first_columns(document: &str, heading: &str) -> BTreeSet<String> {
    let rows = document.lines().skip_while(|line| !line.starts_with(heading)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| Some(row.split('|').nth(1)?.trim().replace('`', ""))).collect()
}
