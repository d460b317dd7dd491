//! Learner Labs of AWS Academy: a whole stack in one, their limits, and the end of their credentials.

use local::AccountKind;
use serde_json::json;
use testkit::Control;

use crate::support::{Project, RunOutput, cloud::TestAws};

const STARTED: &[&str] = &["local", "start", "--account", "academy"];

/// The calls to IAM that would change something, by their names.
async fn changes_of_iam(control: &Control) -> Vec<String> {
    let calls = control.journal().await;
    let of_iam = calls.iter().filter(|call| call["service"] == "iam" && call["mutating"] == true);
    of_iam.map(|call| call["operation"].to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_comes_up_and_goes_down_in_a_lab_without_a_line_in_stack_yaml() {
    let project = Project::light();
    project.done(STARTED);
    let up = project.done(&["up", "--local", "--yes"]);
    let says = "AWS Academy Learner Lab: uses LabRole and LabInstanceProfile, and changes nothing in IAM";
    assert!(up.stderr.contains(says), "{}", up.all());
    let status = project.done(&["status", "--local"]);
    assert!(status.stdout.contains("1 of 1 healthy"), "{}", status.all());
    let plan = project.done(&["plan", "--local", "--detailed-exitcode"]);
    assert!(!plan.all().contains("role."), "{}", plan.all());
    let control = Control::of(&project.endpoint());
    project.done(&["down", "--local", "--yes"]);
    assert_eq!(changes_of_iam(&control).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_of_stack_yaml_take_precedence() {
    let aws = TestAws::of_kind(AccountKind::Academy).await;
    let project = Project::of_service("");
    project.edit("region: us-east-1\n", "region: us-east-1\nroles: { existing: Own, instance_profile: Other }\n");
    let plan = aws.done(&project, &["plan"]).await;
    assert!(plan.stderr.contains("uses Own and Other, and changes nothing in IAM"), "{}", plan.all());
}

/// Descriptions that a lab does not allow: the original text, the changed text, the error, and the remedy.
const LIMITS: &[(&str, &str, &str, &str)] = &[
    ("region: us-east-1", "region: eu-west-1", "AWS Academy does not allow eu-west-1", "us-east-1 or us-west-2"),
    ("t3.micro", "m5.xlarge", "AWS Academy terminates instances like m5.xlarge at once", "nano to large"),
    ("max: 1", "max: 10", "up to 10 instances, in AWS Academy", "at most 9"),
    ("    port: 8080", "    port: 8080\n    disk_gb: 200", "a larger disk than AWS Academy allows", "at most 100"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_of_a_lab_are_checked_before_anything_is_created() {
    let aws = TestAws::of_kind(AccountKind::Academy).await;
    for (from, to, error, remedy) in LIMITS {
        let project = Project::of_service("");
        project.edit(from, to);
        for command in [&["up", "--yes"][..], &["plan"], &["doctor"]] {
            let said = aws.run(&project, command).await;
            assert_ne!(said.code, 0, "{command:?}: {}", said.all());
            assert!(said.all().contains(error) && said.all().contains(remedy), "{command:?}: {}", said.all());
        }
    }
    let changed: Vec<_> = aws.control().journal().await.into_iter().filter(|call| call["mutating"] == true).collect();
    assert_eq!(changed, [json!(null); 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_other_stacks_count_against_the_limit() {
    let aws = TestAws::of_kind(AccountKind::Academy).await;
    let first = Project::of_service("");
    first.edit("{ min: 1, max: 1 }", "{ min: 2, max: 2 }");
    aws.done(&first, &["up", "--yes"]).await;
    let second = Project::of_service("");
    second.edit("name: s\n", "name: t\n");
    second.edit("max: 1", "max: 8");
    let said = aws.run(&second, &["up", "--yes"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    for words in [
        "up to 8 instances in addition to 2 others; a lab terminates any beyond 9",
        "terminate what is no longer needed",
    ] {
        assert!(said.stderr.contains(words), "{}", said.all());
    }
    assert!(found(
        &aws.run(&second, &["doctor"]).await,
        "✗ instances of the lab: up to 8 instances in addition to 2 others"
    ));

    // A target without instances is not affected.
    second.edit("services:\n", "tables:\n  posts: { partition_key: id }\nservices:\n");
    let table = aws.done(&second, &["up", "tables.posts", "--yes"]).await;
    assert!(!table.stderr.contains("a lab terminates"), "{}", table.all());
    assert_eq!(aws.run(&second, &["up", "services.web", "--yes"]).await.code, 1);

    second.edit("max: 8", "max: 4");
    let doctor = aws.run(&second, &["doctor"]).await;
    assert!(found(&doctor, "! instances of the lab: up to 4 instances in addition to 2 others"), "{}", doctor.all());
    second.edit("max: 4", "max: 1");
    let doctor = aws.run(&second, &["doctor"]).await;
    assert!(found(&doctor, "✓ AWS Academy Learner Lab: uses LabRole and LabInstanceProfile"), "{}", doctor.all());
    assert!(found(&doctor, "✓ instances of the lab: up to 1 instance in addition to 2 others"), "{}", doctor.all());
    aws.done(&first, &["down", "--yes"]).await;
}

fn found(said: &RunOutput, beginning: &str) -> bool {
    said.stdout.lines().any(|line| line.starts_with(beginning))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_credentials_is_named_beside_the_time_that_the_work_takes() {
    let aws = TestAws::of_kind(AccountKind::Academy).await;
    let project = Project::of_service("");
    let plan = |minutes: u64| {
        let end = std::time::SystemTime::now() + std::time::Duration::from_secs(minutes * 60 + 30);
        let end = time::OffsetDateTime::from(end).format(&time::format_description::well_known::Rfc3339);
        let keys = json!({
            "Version": 1, "AccessKeyId": local::ACCESS_KEY, "SecretAccessKey": local::SECRET_KEY,
            "Expiration": end.expect("a time"),
        });
        let file = project.path().join("config");
        std::fs::write(&file, format!("[default]\ncredential_process = echo '{keys}'\n")).expect("a file");
        let environment = [("AWS_ENDPOINT_URL", &*aws.endpoint()), ("AWS_CONFIG_FILE", &file.display().to_string())]
            .map(|(name, value)| (name, value.to_owned()));
        let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // Without a terminal and without --yes, nothing is changed.
        project.run_with(&["up"], &environment)
    };
    let enough = plan(38);
    assert!(enough.stderr.contains("credentials expire in 38 min; this takes about "), "{}", enough.all());
    assert!(!enough.stderr.contains("warning: credentials end"), "{}", enough.all());
    let short = plan(1);
    assert!(short.stderr.contains("warning: credentials expire in 1 min; this takes about "), "{}", short.all());
    assert!(!plan(600).stderr.contains("credentials end"));
}

#[test]
fn an_account_of_the_local_aws_keeps_its_kind() {
    let project = Project::with("name: s\nregion: us-east-1\n");
    let unknown = project.run(&["local", "start", "--account", "lab"]);
    assert_eq!(unknown.code, 64, "{}", unknown.all());
    assert!(unknown.stderr.contains("standard, academy, no-default-vpc"), "{}", unknown.all());

    project.done(STARTED);
    for _ in 0..2 {
        // Running, and then stopped.
        let other = project.run(&["local", "start", "--account", "standard"]);
        assert_eq!(other.code, 1, "{}", other.all());
        for words in ["of the kind academy, not standard", "deployer local reset"] {
            assert!(other.stderr.contains(words), "{}", other.all());
        }
        project.done(&["local", "stop"]);
    }
    project.done(&["local", "start"]);
    let plan = project.done(&["plan", "--local"]);
    assert!(plan.stderr.contains("AWS Academy Learner Lab"), "{}", plan.all());
}
