//! `doctor`: what the first `up` needs.

use std::net::TcpListener;

use serde_json::json;
use testkit::{LocalAws, proxy::InjectedFault, small_programs::echo_function};

use super::offline::SMALL;
use crate::support::cloud::TestAws;
use crate::support::scene::{Phase, Scene};
use crate::support::{Project, RunOutput};

/// The line of this subject in the output of `doctor`.
fn finding(said: &RunOutput, subject: &str) -> String {
    let is_it = |line: &&str| line.split_once(' ').is_some_and(|(_, rest)| rest.starts_with(subject));
    let line = said.stdout.lines().find(is_it).unwrap_or_else(|| panic!("nothing about {subject}: {}", said.all()));
    line.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_everything_there_and_changes_nothing() {
    let scene = Scene::local().await;
    let before = scene.inventory().await;
    let said = scene.run(&["doctor"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    for good in [
        "stack.yaml: 24 resources",
        "program ",
        "credentials: arn:aws:iam::000000000000:",
        "region: us-east-1 is enabled",
        "network: vpc-",
        "resources: 0 of 23 exist (programs not counted), and all can be read",
        "permission ec2:CreateSecurityGroup: allowed",
        "permission ec2:CreateLaunchTemplate: allowed",
        "permissions of `up`: ",
        "quota of load balancers: 0 of 50 exist, 1 to create",
        "quota of target groups: 0 of 3000 exist, 1 to create",
        "quota of Auto Scaling groups: 0 of 500 exist, 1 to create",
        "quota of vCPUs: 32 for On-Demand instances; the groups need up to 8",
        "quota of security groups: 1 of 2500 exist, 2 to create",
        "quota of tables: 0 of 2500 exist, 1 to create",
        "quota of concurrent executions: 0 of 1000 are reserved, 0 to reserve; 100 have to stay unreserved",
    ] {
        assert!(finding(&said, good).starts_with('✓'), "{good}: {}", said.all());
    }
    assert_eq!(scene.inventory().await, before);

    scene.done(Phase::Up).await;
    let said = scene.run(&["doctor"]).await;
    assert_eq!(said.code, 0, "{}", said.all());
    assert!(finding(&said, "resources: 23 of 23 exist").starts_with('✓'), "{}", said.all());
    for kept in
        ["load balancers: 1 of 50", "target groups: 1 of 3000", "Auto Scaling groups: 1 of 500", "tables: 1 of 2500"]
    {
        let line = finding(&said, &format!("quota of {kept} exist, 0 to create"));
        assert!(line.starts_with('✓'), "{}", said.all());
    }
    scene.done(Phase::Down).await;
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_what_aws_would_refuse() {
    let scene = Scene::local().await;
    let denied =
        || InjectedFault::refused(403, "UnauthorizedOperation", "You are not authorized to perform this operation.");
    let off = InjectedFault::Reworded(vec![("opt-in-not-required".into(), "not-opted-in".into())]);
    let full = InjectedFault::Reworded(vec![("<Max>50<".into(), "<Max>0<".into())]);
    let no_zone = InjectedFault::Reworded(vec![("<instanceType>t3.micro".into(), "<instanceType>t3.nano".into())]);
    let empty = InjectedFault::Answered("<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>".into());
    for (call, fault, subject, remedy) in [
        ("CreateLaunchTemplate", denied(), "permission ec2:CreateLaunchTemplate", "CreateLaunchTemplate"),
        ("CreateSecurityGroup", denied(), "permission ec2:CreateSecurityGroup", "CreateSecurityGroup"),
        ("DescribeVpcs", empty, "network", "create-default-vpc"),
        ("DescribeInstanceTypeOfferings", no_zone, "network", "instance_type"),
        ("DescribeRegions", off, "region", "enable-region"),
        ("DescribeAccountLimits", full, "quota of load balancers", "Service Quotas"),
    ] {
        scene.proxy.reset();
        scene.proxy.inject([call], fault, usize::MAX);
        let said = scene.run(&["doctor"]).await;
        assert_eq!(said.code, 1, "{call}: {}", said.all());
        let line = finding(&said, subject);
        assert!(line.starts_with('✗'), "{call}: {}", said.all());
        let (_, below) = said.stdout.split_once(&line).expect("the line");
        let hint = below.lines().nth(1).expect("a remedy");
        assert!(hint.starts_with("  hint: ") && hint.contains(remedy), "{call}: {}", said.all());
    }
    scene.proxy.reset();
    scene.put_chaos("vcpu-limit").await;
    let said = scene.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{}", said.all());
    let line = finding(&said, "quota of vCPUs: the groups need 2 vCPUs, more than the quota of 1");
    assert!(
        line.starts_with('✗') && said.stdout.contains("lower `instances`, or request an increase"),
        "{}",
        said.all()
    );
    scene.put_chaos("").await;

    // A check that `up` does not need is only reported as unchecked.
    for call in ["DescribeRegions", "DescribeAccountLimits", "DescribeInstanceTypes"] {
        scene.proxy.reset();
        scene.proxy.inject([call], denied(), usize::MAX);
        let said = scene.run(&["doctor"]).await;
        assert_eq!(said.code, 0, "{call}: {}", said.all());
        assert!(said.stdout.contains(": not checked: UnauthorizedOperation: "), "{call}: {}", said.all());
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_compares_reserved_concurrency_with_what_the_account_has() {
    let binary = echo_function().display().to_string();
    let text = format!("name: s\nregion: us-east-1\nfunctions:\n  f:\n    binary: {binary}\n    concurrency: 901\n");
    let (cloud, project) = (TestAws::start().await, Project::with(&text));
    let said = cloud.run(&project, &["doctor"]).await;
    let line = "✗ quota of concurrent executions: 0 of 1000 are reserved, 901 to reserve; 100 have to stay unreserved";
    let hint = "  hint: lower `concurrency`, or request an increase (Service Quotas, L-B99A9384)";
    assert!(said.code == 1 && said.stdout.contains(&format!("{line}\n{hint}\n")), "{}", said.all());
    // As `up` finds out.
    let up = cloud.run(&project, &["up", "--yes"]).await;
    assert!(up.code == 1 && up.stderr.contains("below its minimum value of [100]"), "{}", up.all());
    project.edit("concurrency: 901", "concurrency: 900");
    cloud.done(&project, &["doctor"]).await;
    cloud.done(&project, &["up", "--yes"]).await;
    let said = cloud.done(&project, &["doctor"]).await;
    let line = "✓ quota of concurrent executions: 900 of 1000 are reserved, 0 to reserve";
    assert!(said.stdout.contains(line), "{}", said.all());
    cloud.done(&project, &["down", "--yes"]).await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_the_credentials_and_how_long_they_last() {
    let project = Project::light();
    let none = project.run_with(&["doctor"], &[("AWS_EC2_METADATA_DISABLED", "true")]);
    assert_eq!(none.code, 1, "{}", none.all());
    assert!(
        finding(&none, "credentials: ").starts_with('✗') && none.stdout.contains("  hint: sign in"),
        "{}",
        none.all()
    );
    assert!(finding(&none, "region, network, permissions, quotas: not checked").starts_with('!'), "{}", none.all());

    let aws = LocalAws::start().await;
    let lasting = |seconds: u64| {
        let end = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
        let end =
            time::OffsetDateTime::from(end).format(&time::format_description::well_known::Rfc3339).expect("a time");
        let keys = json!({
            "Version": 1, "AccessKeyId": local::ACCESS_KEY, "SecretAccessKey": local::SECRET_KEY, "Expiration": end,
        });
        let config = format!("[default]\ncredential_process = echo '{keys}'\n");
        std::fs::write(project.path().join("config"), config).expect("a file");
        let file = project.path().join("config").display().to_string();
        project.run_with(&["doctor"], &[("AWS_ENDPOINT_URL", &aws.endpoint()), ("AWS_CONFIG_FILE", &file)])
    };
    let long = lasting(3 * 3600 + 120);
    assert!(finding(&long, "credentials: ").contains(", for 3 h 1 min"), "{}", long.all());
    let short = lasting(400);
    let line = finding(&short, "credentials: ");
    assert!(line.starts_with('!') && line.contains(", only for 6 min"), "{}", short.all());
    aws.stop().await;
}

#[test]
fn doctor_checks_what_this_machine_needs() {
    let project = Project::light();
    let said = project.done(&["doctor", "--local"]);
    for good in ["stack.yaml: 24 resources", "program ", "local state: kept in ", "local AWS: uses a free port"] {
        assert!(finding(&said, good).starts_with('✓'), "{}", said.all());
    }
    assert!(!project.path().join(".deployer").exists(), "nothing was written");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let said = project.run_with(&["doctor", "--local"], &[("DEPLOYER_LOCAL_PORT", &port)]);
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(finding(&said, &format!("local AWS: port {port} is taken")).starts_with('✗'), "{}", said.all());

    project.done(&["local", "start"]);
    let said = project.done(&["doctor", "--local"]);
    assert!(finding(&said, "local AWS: runs at http://127.0.0.1:").starts_with('✓'), "{}", said.all());
}

#[test]
fn doctor_names_problems_of_the_description_and_the_programs() {
    let project = Project::with(SMALL);
    let doctor = || project.run(&["doctor", "--local"]);
    project.edit("partition_key", "partition_kye");
    let said = doctor();
    assert!(said.code == 1 && finding(&said, "stack.yaml: line 4").starts_with('✗'), "{}", said.all());
    project
        .describe("name: app\nregion: us-east-1\nfunctions: { f: { package: nothing }, g: { binary: ./nothing } }\n");
    let said = doctor();
    assert_eq!(said.code, 1, "{}", said.all());
    assert!(finding(&said, "build of nothing: no Cargo.toml").starts_with('✗'), "{}", said.all());
    assert!(finding(&said, "program ./nothing: failed to read").starts_with('✗'), "{}", said.all());
    std::fs::remove_file(project.path().join("stack.yaml")).expect("it is there");
    let said = doctor();
    assert!(said.code == 0 && finding(&said, "stack.yaml: there is no").starts_with('!'), "{}", said.all());
    assert!(said.stdout.contains("  hint: `deployer init`"), "{}", said.all());
}
