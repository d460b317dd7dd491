//! Compute as its clients see it: groups, instances and load balancers that are really there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use local::compute::{Compute, Context, Credentials, Objects, Roles};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_group_brings_a_service_up_behind_a_load_balancer_and_takes_it_down() {
    let world = World::start().await;
    let stack = world.up("/", &[]).await;

    let environment = world.get(&stack.address, "/environment").await;
    assert_eq!(environment.status, 200);
    let line = |name: &str| {
        environment.body.lines().find_map(|line| line.strip_prefix(&format!("{name}=")).map(str::to_owned))
    };
    assert_eq!(line("GREETING").as_deref(), Some("hello \"you\""));
    assert_eq!(line("AWS_ENDPOINT_URL").as_deref(), Some("http://127.0.0.1:1"));
    assert_eq!(line("HOME"), None, "nothing of the host is inherited");

    let headers = world.get(&stack.address, "/headers").await.body;
    for name in ["x-forwarded-for=127.0.0.1", "x-forwarded-proto=http", "x-forwarded-port=", "x-amzn-trace-id=Root=1-"]
    {
        assert!(headers.contains(name), "{name} is missing in {headers}");
    }
    world.another_protocol_is_carried_both_ways(&stack.address).await;
    let long = "x".repeat(300_000);
    let echoed = world.send(&stack.address, "POST", "/echo", &long).await;
    assert_eq!((echoed.status, echoed.body.len()), (200, long.len()));

    world.metadata_needs_a_token_and_gives_credentials(&line("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap()).await;

    let id = world.instance_ids().await.remove(0);
    let console = world.ok("ec2", "GetConsoleOutput", &[("InstanceId", &id)]).await;
    let console = String::from_utf8(STANDARD.decode(console.field("output")).unwrap()).unwrap();
    assert!(
        console.contains("cloud-init: wrote /etc/web.env") && console.contains("tiny_service listens on"),
        "{console}"
    );
    assert!(!console.contains("ERROR"), "{console}");

    let described = world
        .ok(
            "ec2",
            "DescribeInstances",
            &[("Filter.1.Name", "tag:aws:autoscaling:groupName"), ("Filter.1.Value.1", "web")],
        )
        .await;
    assert!(described.text.contains("<key>colour</key><value>blue</value>"), "tags of the group reach its instances");

    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_process_that_dies_is_restarted_and_an_instance_that_dies_is_replaced() {
    let world = World::start().await;
    let stack = world.up("/", &[]).await;
    let (id, pid) = (world.instance_ids().await.remove(0), world.get(&stack.address, "/pid").await.body);

    kill(&pid);
    world
        .eventually("another process answers", async || {
            let answer = world.get_or_refused(&stack.address, "/pid").await;
            answer.is_some_and(|answer| answer.status == 200 && answer.body != pid)
        })
        .await;
    assert_eq!(
        world.instance_ids().await,
        std::slice::from_ref(&id),
        "systemd has restarted it, the group has nothing to do"
    );

    world.ok("ec2", "TerminateInstances", &[("InstanceId.1", &id)]).await;
    world
        .eventually("another instance serves", async || {
            let ids = world.instance_ids().await;
            ids.len() == 1 && ids[0] != id && world.healthy(&stack).await == 1
        })
        .await;
    let activities = world.ok("autoscaling", "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).await;
    assert!(
        activities
            .text
            .contains("a user request created an AutoScalingGroup changing the desired capacity from 0 to 1")
    );
    assert!(activities.text.contains("EC2 health check indicating it has been terminated or stopped"));
    assert!(activities.text.contains("an unhealthy instance needing to be replaced"));
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_refresh_replaces_instances_without_losing_a_request() {
    let world = World::start().await;
    let stack = world.up("/", &[]).await;
    let before = world.instance_ids().await.remove(0);

    let data = world.template_data(&stack.group_id, "GREETING=\"new\"\nPORT=\"8080\"").await;
    let mut form = vec![("LaunchTemplateName".to_owned(), "web".to_owned())];
    form.extend(data);
    let version = world.ok_with("ec2", "CreateLaunchTemplateVersion", form).await.field("versionNumber");
    assert_eq!(version, "2");
    let template =
        world.ok("ec2", "DescribeLaunchTemplates", &[("LaunchTemplateName.1", "web")]).await.field("launchTemplateId");
    let started = world
        .ok(
            "autoscaling",
            "StartInstanceRefresh",
            &[
                ("AutoScalingGroupName", "web"),
                ("DesiredConfiguration.LaunchTemplate.LaunchTemplateId", &template),
                ("DesiredConfiguration.LaunchTemplate.Version", "2"),
                ("Preferences.MinHealthyPercentage", "100"),
                ("Preferences.MaxHealthyPercentage", "200"),
                ("Preferences.InstanceWarmup", "0"),
            ],
        )
        .await;
    assert!(!started.field("InstanceRefreshId").is_empty());
    let again = world.call("autoscaling", "StartInstanceRefresh", &[("AutoScalingGroupName", "web")]).await;
    assert_eq!(again.field("Code"), "InstanceRefreshInProgress");

    world
        .eventually("the refresh is successful", async || {
            let answer = world.get(&stack.address, "/environment").await;
            assert_eq!(answer.status, 200, "a request was lost");
            let refreshes =
                world.ok("autoscaling", "DescribeInstanceRefreshes", &[("AutoScalingGroupName", "web")]).await;
            assert_ne!(refreshes.field("Status"), "Failed", "{}", refreshes.text);
            refreshes.field("Status") == "Successful"
        })
        .await;
    assert!(world.get(&stack.address, "/environment").await.body.contains("GREETING=new\n"));
    assert_ne!(world.instance_ids().await, [before]);
    let group =
        world.ok("autoscaling", "DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", "web")]).await;
    assert_eq!(group.field("Version"), "2", "the group keeps the version of a successful refresh");
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_group_moves_within_its_bounds_and_its_load_is_shared() {
    let world = World::start().await;
    let stack = world.up("/", &[]).await;
    let bounds = [("AutoScalingGroupName", "web"), ("MinSize", "2"), ("MaxSize", "3")];
    world.ok("autoscaling", "UpdateAutoScalingGroup", &bounds).await;
    world.eventually("two targets are healthy", async || world.healthy(&stack).await == 2).await;

    let mut answered = std::collections::BTreeSet::new();
    for _ in 0..4 {
        answered.insert(world.get(&stack.address, "/pid").await.body);
    }
    assert_eq!(answered.len(), 2, "requests go to both in turn");

    let refused = world
        .call("autoscaling", "SetDesiredCapacity", &[("AutoScalingGroupName", "web"), ("DesiredCapacity", "4")])
        .await;
    assert_eq!(refused.field("Code"), "ValidationError");
    let bounds = [("AutoScalingGroupName", "web"), ("MinSize", "0"), ("DesiredCapacity", "0")];
    world.ok("autoscaling", "UpdateAutoScalingGroup", &bounds).await;
    world.eventually("no instance is left", async || world.instance_ids().await.is_empty()).await;
    assert_eq!(world.get(&stack.address, "/").await.status, 503);
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn what_a_target_answers_decides_its_health_and_the_reason_is_told() {
    let world = World::start().await;
    let stack = world.create("/broken", &[("HealthCheckGracePeriod", "3600")]).await;
    world
        .eventually("the reason is the status", async || {
            let health = world
                .ok("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &stack.target_group)])
                .await;
            health.field("Reason") == "Target.ResponseCodeMismatch"
                && health.field("Description") == "Health checks failed with these codes: [500]"
        })
        .await;
    // When all are unhealthy the checks may be what is wrong: requests still get through.
    assert_eq!(world.get(&stack.address, "/").await.status, 200);

    let rule = [
        ("GroupId", stack.group_id.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "8080"),
        ("IpPermissions.1.ToPort", "8080"),
        ("IpPermissions.1.Groups.1.GroupId", &stack.balancer_group_id),
    ];
    world.ok("ec2", "RevokeSecurityGroupIngress", &rule).await;
    world
        .eventually("the reason is the security group", async || {
            let health = world
                .ok("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &stack.target_group)])
                .await;
            health.field("Reason") == "Target.Timeout"
        })
        .await;
    assert_eq!(world.get(&stack.address, "/").await.status, 504);
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn after_a_restart_everything_runs_again_where_it_was() {
    let world = World::start().await;
    let stack = world.up("/", &[]).await;
    let (ids, pid) = (world.instance_ids().await, world.get(&stack.address, "/pid").await.body);
    let world = world.restart().await;
    assert!(!is_running(&pid), "stopping ends every process");
    world.eventually("the target is healthy again", async || world.healthy(&stack).await == 1).await;
    assert_eq!(world.instance_ids().await, ids);
    assert_ne!(world.get(&stack.address, "/pid").await.body, pid);
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn a_launch_that_fails_is_told_in_an_activity_and_tried_again() {
    let world = World::start().await;
    let stack = world.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    world
        .ok_with(
            "ec2",
            "CreateLaunchTemplateVersion",
            vec![
                ("LaunchTemplateName".to_owned(), "web".to_owned()),
                ("SourceVersion".to_owned(), "1".to_owned()),
                ("LaunchTemplateData.ImageId".to_owned(), "ami-0123456789abcdef0".to_owned()),
            ],
        )
        .await;
    world.ok("ec2", "ModifyLaunchTemplate", &[("LaunchTemplateName", "web"), ("SetDefaultVersion", "2")]).await;
    let refused = world
        .call(
            "autoscaling",
            "UpdateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", "web"),
                ("LaunchTemplate.LaunchTemplateName", "web"),
                ("LaunchTemplate.Version", "2"),
            ],
        )
        .await;
    assert_eq!(
        refused.field("Message"),
        "You must use a valid fully-formed launch template. The image id '[ami-0123456789abcdef0]' does not exist"
    );

    world.ok("autoscaling", "SetDesiredCapacity", &[("AutoScalingGroupName", "web"), ("DesiredCapacity", "1")]).await;
    world
        .eventually("the failure is told", async || {
            let activities =
                world.ok("autoscaling", "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).await;
            activities.field("StatusCode") == "Failed"
                && activities.field("StatusMessage")
                    == "The image id '[ami-0123456789abcdef0]' does not exist Launching EC2 instance failed."
        })
        .await;
    world.ok("ec2", "ModifyLaunchTemplate", &[("LaunchTemplateName", "web"), ("SetDefaultVersion", "1")]).await;
    world.eventually("the next try succeeds", async || world.healthy(&stack).await == 1).await;
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn refusals_have_the_codes_and_texts_of_aws() {
    let world = World::start().await;
    let stack = world.create("/", &[("MinSize", "0"), ("DesiredCapacity", "0")]).await;
    let group = stack.group_id.as_str();
    let arn = "arn:aws:elasticloadbalancing:us-east-1:000000000000";
    let (missing_balancer, missing_group) = (format!("{arn}:loadbalancer/app/x/1"), format!("{arn}:targetgroup/x/1"));
    let same_rule = [
        ("GroupId", stack.balancer_group_id.as_str()),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", "80"),
        ("IpPermissions.1.ToPort", "80"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    for (service, action, form, expected) in [
        (
            "ec2",
            "CreateSecurityGroup",
            &[("GroupName", "web"), ("GroupDescription", "x")][..],
            "InvalidGroup.Duplicate",
        ),
        ("ec2", "AuthorizeSecurityGroupIngress", &same_rule, "InvalidPermission.Duplicate"),
        ("ec2", "DeleteSecurityGroup", &[("GroupId", "sg-1")], "InvalidGroup.NotFound"),
        ("ec2", "DeleteSecurityGroup", &[("GroupId", stack.balancer_group_id.as_str())], "DependencyViolation"),
        ("ec2", "DescribeSecurityGroups", &[("GroupId.1", "nonsense")], "InvalidGroupId.Malformed"),
        (
            "ec2",
            "CreateLaunchTemplate",
            &[("LaunchTemplateName", "web"), ("LaunchTemplateData.KeyName", "x")],
            "InvalidLaunchTemplateName.AlreadyExistsException",
        ),
        (
            "ec2",
            "DescribeLaunchTemplates",
            &[("LaunchTemplateName.1", "none")],
            "InvalidLaunchTemplateName.NotFoundException",
        ),
        ("ec2", "DescribeLaunchTemplateVersions", &[("LaunchTemplateId", "lt-1")], "InvalidLaunchTemplateId.NotFound"),
        (
            "ec2",
            "DescribeLaunchTemplateVersions",
            &[("LaunchTemplateName", "web"), ("LaunchTemplateVersion.1", "9")],
            "InvalidLaunchTemplateId.VersionNotFound",
        ),
        ("ec2", "DescribeImages", &[("ImageId.1", "ami-1")], "InvalidAMIID.NotFound"),
        ("ec2", "DescribeInstances", &[("InstanceId.1", "i-1")], "InvalidInstanceID.NotFound"),
        ("ec2", "DescribeInstanceTypes", &[("InstanceType.1", "t9.micro")], "InvalidInstanceType"),
        ("autoscaling", "CreateAutoScalingGroup", &[("AutoScalingGroupName", "web")], "AlreadyExists"),
        (
            "autoscaling",
            "SetDesiredCapacity",
            &[("AutoScalingGroupName", "none"), ("DesiredCapacity", "1")],
            "ValidationError",
        ),
        ("autoscaling", "DeletePolicy", &[("AutoScalingGroupName", "web"), ("PolicyName", "none")], "ValidationError"),
        ("autoscaling", "CancelInstanceRefresh", &[("AutoScalingGroupName", "web")], "ActiveInstanceRefreshNotFound"),
        ("elasticloadbalancing", "DescribeLoadBalancers", &[("Names.member.1", "none")], "LoadBalancerNotFound"),
        ("elasticloadbalancing", "DescribeTargetGroups", &[("Names.member.1", "none")], "TargetGroupNotFound"),
        (
            "elasticloadbalancing",
            "DescribeTags",
            &[("ResourceArns.member.1", missing_balancer.as_str())],
            "LoadBalancerNotFound",
        ),
        (
            "elasticloadbalancing",
            "DescribeTargetHealth",
            &[("TargetGroupArn", missing_group.as_str())],
            "TargetGroupNotFound",
        ),
        (
            "elasticloadbalancing",
            "DeleteTargetGroup",
            &[("TargetGroupArn", stack.target_group.as_str())],
            "ResourceInUse",
        ),
        (
            "elasticloadbalancing",
            "CreateLoadBalancer",
            &[("Name", "other"), ("Subnets.member.1", stack.subnets[0].as_str())],
            "ValidationError",
        ),
        (
            "elasticloadbalancing",
            "CreateLoadBalancer",
            &[
                ("Name", "web"),
                ("Subnets.member.1", stack.subnets[0].as_str()),
                ("Subnets.member.2", stack.subnets[1].as_str()),
                ("Scheme", "internal"),
            ],
            "DuplicateLoadBalancerName",
        ),
        (
            "elasticloadbalancing",
            "CreateLoadBalancer",
            &[("Name", "other"), ("Subnets.member.1", "subnet-1"), ("Subnets.member.2", "subnet-2")],
            "SubnetNotFound",
        ),
    ] {
        let answer = world.call(service, action, form).await;
        assert_eq!((answer.status, answer.field("Code").as_str()), (400, expected), "{action}: {}", answer.text);
    }
    let duplicate = world.call("ec2", "AuthorizeSecurityGroupIngress", &same_rule).await;
    assert!(duplicate.text.contains(
        "the specified rule &quot;peer: 0.0.0.0/0, TCP, from port: 80, to port: 80, ALLOW&quot; already exists"
    ));
    let in_use = world.call("ec2", "DeleteSecurityGroup", &[("GroupId", stack.balancer_group_id.as_str())]).await;
    assert_eq!(in_use.field("Message"), format!("resource {} has a dependent object", stack.balancer_group_id));
    assert!(
        world
            .ok("ec2", "DescribeSecurityGroups", &[("Filter.1.Name", "group-name"), ("Filter.1.Value.1", "none")])
            .await
            .field("groupId")
            .is_empty()
    );
    assert_eq!(world.ok("ec2", "DescribeSecurityGroups", &[("GroupId.1", group)]).await.field("groupName"), "web");
    let unknown = BTreeMap::from([("Action".to_owned(), "RunInstances".to_owned())]);
    assert!(world.compute.handle("ec2", &unknown).await.is_none());
    world.down(&stack).await;
    world.stop().await;
}

#[tokio::test]
async fn the_newest_image_of_each_architecture_and_three_zones_are_there() {
    let world = World::start().await;
    for architecture in ["x86_64", "arm64"] {
        let images = world
            .ok(
                "ec2",
                "DescribeImages",
                &[
                    ("Owner.1", "amazon"),
                    ("Filter.1.Name", "name"),
                    ("Filter.1.Value.1", "al2023-ami-2023.*"),
                    ("Filter.2.Name", "architecture"),
                    ("Filter.2.Value.1", architecture),
                ],
            )
            .await;
        assert_eq!(images.text.matches("<imageId>").count(), 3);
        assert_eq!(images.field("rootDeviceName"), "/dev/xvda");
    }
    let offered = world
        .ok(
            "ec2",
            "DescribeInstanceTypeOfferings",
            &[
                ("LocationType", "availability-zone"),
                ("Filter.1.Name", "instance-type"),
                ("Filter.1.Value.1", "t3.micro"),
            ],
        )
        .await;
    for zone in ["us-east-1a", "us-east-1b", "us-east-1c"] {
        assert!(offered.text.contains(&format!("<location>{zone}</location>")));
    }
    let vpcs = world.ok("ec2", "DescribeVpcs", &[("Filter.1.Name", "is-default"), ("Filter.1.Value.1", "true")]).await;
    assert_eq!(vpcs.field("cidrBlock"), "172.31.0.0/16");
    world.stop().await;
}

/// Compute with buckets and roles that a test makes up.
struct World {
    compute: Arc<Compute>,
    dir: TempDir,
}

/// What a test has put up.
struct Stack {
    group_id: String,
    balancer_group_id: String,
    target_group: String,
    load_balancer: String,
    address: String,
    subnets: Vec<String>,
}

/// The one bucket there is: it holds the service.
struct Artifacts;

#[async_trait]
impl Objects for Artifacts {
    async fn get(&self, bucket: &str, key: &str) -> Result<Bytes, String> {
        match (bucket, key) {
            ("artifacts", "service") => Ok(Bytes::from(std::fs::read(service()).map_err(|error| error.to_string())?)),
            _ => Err("NoSuchKey".to_owned()),
        }
    }
}

/// The one role there is.
struct OneRole;

#[async_trait]
impl Roles for OneRole {
    async fn role_of_profile(&self, profile: &str) -> Option<String> {
        (profile == "web-profile").then(|| "web-role".to_owned())
    }

    async fn may_read(&self, role: &str, _session: &str, bucket: &str, _key: &str) -> Result<(), String> {
        let may = role == "web-role" && bucket == "artifacts";
        if may { Ok(()) } else { Err("AccessDenied".to_owned()) }
    }

    async fn credentials(&self, role: &str, session: &str) -> Credentials {
        Credentials {
            access_key_id: "ASIALOCAL".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: format!("{role}/{session}"),
            expires: time::OffsetDateTime::now_utc() + time::Duration::hours(1),
        }
    }
}

/// The tiny service, compiled once: it is one file without dependencies.
fn service() -> &'static PathBuf {
    static SERVICE: OnceLock<PathBuf> = OnceLock::new();
    SERVICE.get_or_init(|| {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (program, fresh) =
            (directory.join("tiny_service"), directory.join(format!("tiny_service.{}", std::process::id())));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/tiny_service.rs");
        let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
        let built = Command::new(rustc).args(["--edition", "2024", "-o"]).arg(&fresh).arg(source).status().unwrap();
        assert!(built.success(), "the tiny service cannot be compiled");
        std::fs::rename(&fresh, &program).unwrap();
        program
    })
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

fn is_running(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(std::process::Stdio::null()).status().unwrap().success()
}

/// An answer of the API.
struct Document {
    status: u16,
    text: String,
}

impl Document {
    /// The text of the first element of a name, or nothing.
    fn field(&self, name: &str) -> String {
        let after = self.text.split_once(&format!("<{name}>")).map(|(_, after)| after);
        let text = after.and_then(|after| after.split_once('<')).map(|(text, _)| text).unwrap_or_default();
        text.replace("&apos;", "'").replace("&quot;", "\"")
    }
}

/// An answer of a service.
struct Reply {
    status: u16,
    body: String,
}

impl World {
    async fn start() -> World {
        World::start_in(tempfile::tempdir().unwrap()).await
    }

    async fn start_in(dir: TempDir) -> World {
        let context = Context {
            dir: dir.path().to_owned(),
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            endpoint: "http://127.0.0.1:1".to_owned(),
            objects: Arc::new(Artifacts),
            roles: Arc::new(OneRole),
        };
        World { compute: Compute::start(context).await.unwrap(), dir }
    }

    async fn restart(self) -> World {
        self.compute.stop().await;
        World::start_in(self.dir).await
    }

    async fn stop(self) {
        self.compute.stop().await;
    }

    async fn call(&self, service: &str, action: &str, form: &[(&str, &str)]) -> Document {
        let form = form.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self.call_with(service, action, form).await
    }

    async fn call_with(&self, service: &str, action: &str, form: Vec<(String, String)>) -> Document {
        let mut form: BTreeMap<String, String> = form.into_iter().collect();
        form.insert("Action".to_owned(), action.to_owned());
        let response = self.compute.handle(service, &form).await.unwrap_or_else(|| panic!("{action} is not there"));
        let status = response.status().as_u16();
        Document { status, text: String::from_utf8(response.into_body().to_vec()).unwrap() }
    }

    async fn ok(&self, service: &str, action: &str, form: &[(&str, &str)]) -> Document {
        let answer = self.call(service, action, form).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.text);
        answer
    }

    async fn ok_with(&self, service: &str, action: &str, form: Vec<(String, String)>) -> Document {
        let answer = self.call_with(service, action, form).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.text);
        answer
    }

    async fn eventually(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let waiting = async {
            while !holds().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, waiting).await.is_err() {
            panic!("it never came true that {what}: {:#}", self.compute.status());
        }
    }

    /// Puts a whole stack up and waits for its first healthy target.
    async fn up(&self, health_path: &str, group: &[(&str, &str)]) -> Stack {
        let stack = self.create(health_path, group).await;
        self.eventually("the target is healthy", async || self.healthy(&stack).await == 1).await;
        stack
    }

    async fn create(&self, health_path: &str, group: &[(&str, &str)]) -> Stack {
        let vpc = self.ok("ec2", "DescribeVpcs", &[]).await.field("vpcId");
        let subnets = self
            .ok("ec2", "DescribeSubnets", &[("Filter.1.Name", "default-for-az"), ("Filter.1.Value.1", "true")])
            .await;
        let subnets: Vec<String> =
            subnets.text.split("<subnetId>").skip(1).map(|part| part.split('<').next().unwrap().to_owned()).collect();
        assert_eq!(subnets.len(), 3);
        let balancer_group_id = self.security_group("alb", &vpc).await;
        let group_id = self.security_group("web", &vpc).await;
        self.admit(&balancer_group_id, "80", ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0")).await;
        self.admit(&group_id, "8080", ("IpPermissions.1.Groups.1.GroupId", &balancer_group_id)).await;

        let mut template = vec![("LaunchTemplateName".to_owned(), "web".to_owned())];
        template.extend(self.template_data(&group_id, "GREETING=\"hello \\\"you\\\"\"\nPORT=\"8080\"").await);
        self.ok_with("ec2", "CreateLaunchTemplate", template).await;

        let target_group = self
            .ok(
                "elasticloadbalancing",
                "CreateTargetGroup",
                &[
                    ("Name", "web"),
                    ("Protocol", "HTTP"),
                    ("Port", "8080"),
                    ("VpcId", &vpc),
                    ("HealthCheckPath", health_path),
                    ("HealthCheckIntervalSeconds", "10"),
                    ("HealthyThresholdCount", "2"),
                ],
            )
            .await
            .field("TargetGroupArn");
        let created = self
            .ok(
                "elasticloadbalancing",
                "CreateLoadBalancer",
                &[
                    ("Name", "web"),
                    ("Subnets.member.1", &subnets[0]),
                    ("Subnets.member.2", &subnets[1]),
                    ("SecurityGroups.member.1", &balancer_group_id),
                ],
            )
            .await;
        let (load_balancer, address) = (created.field("LoadBalancerArn"), created.field("DNSName"));
        self.ok(
            "elasticloadbalancing",
            "CreateListener",
            &[
                ("LoadBalancerArn", &load_balancer),
                ("Protocol", "HTTP"),
                ("Port", "80"),
                ("DefaultActions.member.1.Type", "forward"),
                ("DefaultActions.member.1.TargetGroupArn", &target_group),
            ],
        )
        .await;
        let zones = format!("{},{}", subnets[0], subnets[1]);
        let mut form: BTreeMap<&str, &str> = BTreeMap::from([
            ("AutoScalingGroupName", "web"),
            ("LaunchTemplate.LaunchTemplateName", "web"),
            ("MinSize", "1"),
            ("MaxSize", "3"),
            ("VPCZoneIdentifier", &zones),
            ("HealthCheckType", "ELB"),
            ("HealthCheckGracePeriod", "300"),
            ("TargetGroupARNs.member.1", &target_group),
            ("Tags.member.1.Key", "colour"),
            ("Tags.member.1.Value", "blue"),
            ("Tags.member.1.PropagateAtLaunch", "true"),
        ]);
        form.extend(group.iter().copied());
        let form: Vec<(&str, &str)> = form.into_iter().collect();
        self.ok("autoscaling", "CreateAutoScalingGroup", &form).await;
        Stack { group_id, balancer_group_id, target_group, load_balancer, address, subnets }
    }

    async fn security_group(&self, name: &str, vpc: &str) -> String {
        self.ok("ec2", "CreateSecurityGroup", &[("GroupName", name), ("GroupDescription", name), ("VpcId", vpc)])
            .await
            .field("groupId")
    }

    async fn admit(&self, group: &str, port: &str, peer: (&str, &str)) {
        let rule = [
            ("GroupId", group),
            ("IpPermissions.1.IpProtocol", "tcp"),
            ("IpPermissions.1.FromPort", port),
            ("IpPermissions.1.ToPort", port),
            peer,
        ];
        self.ok("ec2", "AuthorizeSecurityGroupIngress", &rule).await;
    }

    async fn template_data(&self, group: &str, environment: &str) -> Vec<(String, String)> {
        let images = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", "x86_64")];
        let image = self.ok("ec2", "DescribeImages", &images).await.field("imageId");
        let environment = environment.replace('\n', "\n    ");
        let user_data = format!(
            "#cloud-config
write_files:
- path: /etc/web.env
  permissions: '0600'
  content: |
    {environment}
- path: /etc/systemd/system/web.service
  permissions: '0644'
  content: |
    [Unit]
    Description=web
    StartLimitIntervalSec=0
    [Service]
    DynamicUser=yes
    EnvironmentFile=/etc/web.env
    ExecStartPre=+/usr/bin/aws s3 cp --only-show-errors --region us-east-1 s3://artifacts/service /opt/web/service
    ExecStartPre=+/usr/bin/chmod 0755 /opt/web/service
    ExecStart=/opt/web/service
    Restart=always
    RestartSec=100ms
    [Install]
    WantedBy=multi-user.target
runcmd:
- [mkdir, -p, /opt/web]
- [systemctl, daemon-reload]
- [systemctl, enable, --now, web.service]
"
        );
        let data = [
            ("ImageId", image),
            ("InstanceType", "t3.micro".to_owned()),
            ("IamInstanceProfile.Name", "web-profile".to_owned()),
            ("SecurityGroupId.1", group.to_owned()),
            ("UserData", STANDARD.encode(user_data)),
        ];
        data.into_iter().map(|(name, value)| (format!("LaunchTemplateData.{name}"), value)).collect()
    }

    /// How many targets are healthy.
    async fn healthy(&self, stack: &Stack) -> usize {
        let health =
            self.ok("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &stack.target_group)]).await;
        health.text.matches("<State>healthy</State>").count()
    }

    /// The instances of the group that are not on their way out.
    async fn instance_ids(&self) -> Vec<String> {
        let group =
            self.ok("autoscaling", "DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", "web")]).await;
        let leaving = |member: &&str| member.split("</member>").next().is_some_and(|one| one.contains(">Terminating<"));
        let members = group.text.split("<InstanceId>").skip(1).filter(|member| !leaving(member));
        members.map(|member| member.split('<').next().unwrap().to_owned()).collect()
    }

    async fn another_protocol_is_carried_both_ways(&self, address: &str) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let ask = "GET /upgrade HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.unwrap());
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: echo"), "{answer}");
        for word in ["one", "another"] {
            stream.write_all(word.as_bytes()).await.unwrap();
            let mut back = vec![0; word.len()];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(back, word.as_bytes());
        }
    }

    async fn metadata_needs_a_token_and_gives_credentials(&self, endpoint: &str) {
        let address = endpoint.strip_prefix("http://").unwrap();
        assert_eq!(self.get(address, "/latest/meta-data/instance-id").await.status, 401);
        let new_token = async |life: &str| self.raw(address, "PUT", "/latest/api/token", life, "").await.unwrap();
        for wrong in
            ["", "X-aws-ec2-metadata-token-ttl-seconds: 0\r\n", "X-aws-ec2-metadata-token-ttl-seconds: 21601\r\n"]
        {
            assert_eq!(new_token(wrong).await.status, 400, "{wrong}");
        }
        let brief = new_token("X-aws-ec2-metadata-token-ttl-seconds: 1\r\n").await.body;
        let brief = format!("X-aws-ec2-metadata-token: {brief}\r\n");
        while self.raw(address, "GET", "/latest/meta-data/instance-id", &brief, "").await.unwrap().status != 401 {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let token = self
            .raw(address, "PUT", "/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds: 60\r\n", "")
            .await
            .unwrap();
        let header = format!("X-aws-ec2-metadata-token: {}\r\n", token.body);
        let ask = async |path: &str| self.raw(address, "GET", path, &header, "").await.unwrap().body;
        assert_eq!(ask("/latest/meta-data/placement/region").await, "us-east-1");
        assert_eq!(ask("/latest/meta-data/iam/security-credentials/").await, "web-role");
        let id = ask("/latest/meta-data/instance-id").await;
        let credentials: Value =
            serde_json::from_str(&ask("/latest/meta-data/iam/security-credentials/web-role").await).unwrap();
        assert_eq!(credentials["Token"], format!("web-role/{id}"));
        assert_eq!(credentials["Code"], "Success");
        assert_eq!(self.raw(address, "GET", "/latest/meta-data/nothing", &header, "").await.unwrap().status, 404);
    }

    async fn get(&self, address: &str, path: &str) -> Reply {
        self.send(address, "GET", path, "").await
    }

    async fn send(&self, address: &str, method: &str, path: &str, body: &str) -> Reply {
        self.raw(address, method, path, "", body).await.unwrap_or_else(|| panic!("{address} does not answer"))
    }

    async fn get_or_refused(&self, address: &str, path: &str) -> Option<Reply> {
        self.raw(address, "GET", path, "", "").await
    }

    async fn raw(&self, address: &str, method: &str, path: &str, headers: &str, body: &str) -> Option<Reply> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let answer = String::from_utf8(answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Reply { status, body: body.to_owned() })
    }

    /// Takes the stack down in AWS's order, and sees that nothing is left.
    async fn down(&self, stack: &Stack) {
        let processes = self.processes();
        let gone = async |service: &str, action: &str, form: &[(&str, &str)]| {
            self.eventually(&format!("{action} is possible"), async || {
                let answer = self.call(service, action, form).await;
                let code = answer.field("Code");
                assert!(
                    answer.status == 200 || ["DependencyViolation", "ResourceInUse"].contains(&code.as_str()),
                    "{}",
                    answer.text
                );
                answer.status == 200
            })
            .await;
        };
        gone("autoscaling", "DeleteAutoScalingGroup", &[("AutoScalingGroupName", "web"), ("ForceDelete", "true")])
            .await;
        gone("elasticloadbalancing", "DeleteLoadBalancer", &[("LoadBalancerArn", &stack.load_balancer)]).await;
        gone("elasticloadbalancing", "DeleteTargetGroup", &[("TargetGroupArn", &stack.target_group)]).await;
        self.eventually("the group is gone", async || {
            let groups = self.ok("autoscaling", "DescribeAutoScalingGroups", &[]).await;
            groups.field("AutoScalingGroupName").is_empty()
        })
        .await;
        gone("ec2", "DeleteLaunchTemplate", &[("LaunchTemplateName", "web")]).await;
        gone("ec2", "DeleteSecurityGroup", &[("GroupId", &stack.group_id)]).await;
        gone("ec2", "DeleteSecurityGroup", &[("GroupId", &stack.balancer_group_id)]).await;
        assert!(self.processes().is_empty());
        for pid in processes {
            assert!(!is_running(&pid), "process {pid} is left");
        }
        assert_eq!(self.compute.status()["load_balancers"], serde_json::json!([]));
        let instances = self.compute.status()["instances"].clone();
        assert!(instances.as_array().unwrap().iter().all(|one| one["state"] == "terminated"), "{instances}");
    }

    fn processes(&self) -> Vec<String> {
        let status = self.compute.status();
        let instances = status["instances"].as_array().unwrap().clone();
        instances
            .iter()
            .flat_map(|one| one["processes"].as_array().unwrap().clone())
            .map(|pid| pid.to_string())
            .collect()
    }
}
