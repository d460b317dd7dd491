//! A test's own compute, without a server: a whole stack, and a service that reports what it receives.

mod requests;
mod services;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use local::compute::{Compute, Context};
use local::{Chaos, ChaosKind, Speed};
use tempfile::TempDir;
use testkit::eventually::until_or_show;
use testkit::process::is_running;
use tokio::sync::watch;

use services::{Artifacts, NoCertificates, NoDeliveries, NoLogs, NoValues, OneRole, Written};

/// Compute with the one bucket and the one role below.
pub struct TestCompute {
    pub compute: Arc<Compute>,
    pub dir: TempDir,
    /// The objects that instances have uploaded.
    pub written: Written,
    chaos: watch::Sender<Chaos>,
    speed: Speed,
}

/// The resources that a test has created.
pub struct Stack {
    pub group_id: String,
    pub balancer_group_id: String,
    pub target_group: String,
    pub load_balancer: String,
    pub address: String,
    pub subnets: Vec<String>,
}

/// An answer of the API.
pub struct Document {
    pub status: u16,
    pub text: String,
}

impl Document {
    /// The text of the first element with this name; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        let after = self.text.split_once(&format!("<{name}>")).map(|(_, after)| after);
        let text = after.and_then(|after| after.split_once('<')).map(|(text, _)| text).unwrap_or_default();
        text.replace("&apos;", "'").replace("&quot;", "\"")
    }
}

impl TestCompute {
    pub async fn start() -> TestCompute {
        TestCompute::start_at(Speed::FAST).await
    }

    pub async fn start_at(speed: Speed) -> TestCompute {
        TestCompute::start_in(tempfile::tempdir().unwrap(), Chaos::default(), speed).await
    }

    pub async fn start_in(dir: TempDir, chaos: Chaos, speed: Speed) -> TestCompute {
        let (chaos, watched) = watch::channel(chaos);
        let written = Written::default();
        let context = Context {
            kind: Default::default(),
            certificates: Arc::new(NoCertificates),
            metrics: Default::default(),
            dir: dir.path().to_owned(),
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            endpoint: "http://127.0.0.1:1".to_owned(),
            objects: Arc::new(Artifacts(written.clone())),
            deliveries: Arc::new(NoDeliveries),
            logs: Arc::new(NoLogs),
            values: Arc::new(NoValues),
            roles: Arc::new(OneRole),
            chaos: watched,
            speed,
        };
        TestCompute { compute: Compute::start(context).await.unwrap(), dir, written, chaos, speed }
    }

    /// Turns on these kinds of chaos.
    pub fn turn_bad(&self, kinds: &[ChaosKind], seed: u64) {
        self.chaos.send_replace(Chaos { kinds: kinds.iter().copied().collect(), seed });
    }

    pub async fn restart(self) -> TestCompute {
        self.compute.stop().await;
        TestCompute::start_in(self.dir, self.chaos.borrow().clone(), self.speed).await
    }

    pub async fn stop(self) {
        self.compute.stop().await;
    }

    pub async fn call(&self, service: &str, action: &str, form: &[(&str, &str)]) -> Document {
        let form = form.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self.call_with(service, action, form).await
    }

    pub async fn call_with(&self, service: &str, action: &str, form: Vec<(String, String)>) -> Document {
        let mut form: BTreeMap<String, String> = form.into_iter().collect();
        form.insert("Action".to_owned(), action.to_owned());
        let response = self.compute.handle(service, &form).await.unwrap_or_else(|| panic!("{action} is unknown"));
        let status = response.status().as_u16();
        Document { status, text: String::from_utf8(response.into_body().to_vec()).unwrap() }
    }

    pub async fn ok(&self, service: &str, action: &str, form: &[(&str, &str)]) -> Document {
        let answer = self.call(service, action, form).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.text);
        answer
    }

    pub async fn ok_with(&self, service: &str, action: &str, form: Vec<(String, String)>) -> Document {
        let answer = self.call_with(service, action, form).await;
        assert_eq!(answer.status, 200, "{action}: {}", answer.text);
        answer
    }

    /// Polls until the condition is true. The message of a failure includes the status.
    pub async fn until(&self, what: &str, poll: impl AsyncFnMut() -> bool) {
        until_or_show(what, poll, async || format!("{:#}", self.compute.status())).await;
    }

    /// Creates a whole stack and waits for its first healthy target.
    pub async fn up(&self, health_path: &str, group: &[(&str, &str)]) -> Stack {
        let stack = self.create(health_path, group).await;
        self.until("the target is healthy", async || self.healthy(&stack).await == 1).await;
        stack
    }

    pub async fn create(&self, health_path: &str, group: &[(&str, &str)]) -> Stack {
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

    pub async fn security_group(&self, name: &str, vpc: &str) -> String {
        self.ok("ec2", "CreateSecurityGroup", &[("GroupName", name), ("GroupDescription", name), ("VpcId", vpc)])
            .await
            .field("groupId")
    }

    pub async fn admit(&self, group: &str, port: &str, peer: (&str, &str)) {
        self.ok("ec2", "AuthorizeSecurityGroupIngress", &ingress(group, port, peer)).await;
    }

    /// Removes the rule that admits the load balancer to the instances.
    pub async fn shut_out_balancer(&self, stack: &Stack) {
        let peer = ("IpPermissions.1.Groups.1.GroupId", stack.balancer_group_id.as_str());
        self.ok("ec2", "RevokeSecurityGroupIngress", &ingress(&stack.group_id, "8080", peer)).await;
    }

    pub async fn template_data(&self, group: &str, environment: &str) -> Vec<(String, String)> {
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
    StandardOutput=journal+console
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

    /// Returns the data of a launch template with `from` replaced by `to` in its user data.
    pub async fn changed_data(&self, group: &str, from: &str, to: &str) -> Vec<(String, String)> {
        let mut data = self.template_data(group, "GREETING=\"hello\"\nPORT=\"8080\"").await;
        for (name, value) in &mut data {
            if name.ends_with("UserData") {
                let text = String::from_utf8(STANDARD.decode(&value).unwrap()).unwrap();
                assert!(text.contains(from), "{from:?} is not in {text}");
                *value = STANDARD.encode(text.replace(from, to));
            }
        }
        data
    }

    /// Adds a version to the launch template and makes it the default.
    pub async fn new_version(&self, data: Vec<(String, String)>) -> String {
        let mut form = vec![("LaunchTemplateName".to_owned(), "web".to_owned())];
        form.extend(data);
        let version = self.ok_with("ec2", "CreateLaunchTemplateVersion", form).await.field("versionNumber");
        let default = [("LaunchTemplateName", "web"), ("SetDefaultVersion", &version)];
        self.ok("ec2", "ModifyLaunchTemplate", &default).await;
        version
    }

    /// Sets the group's desired capacity.
    pub async fn set_desired(&self, count: u32) {
        let form = [("AutoScalingGroupName", "web"), ("DesiredCapacity", &count.to_string())];
        self.ok("autoscaling", "SetDesiredCapacity", &form).await;
    }

    /// The group's scaling activities, newest first.
    pub async fn activities(&self) -> Document {
        self.ok("autoscaling", "DescribeScalingActivities", &[("AutoScalingGroupName", "web")]).await
    }

    /// A field of the group.
    pub async fn group_field(&self, field: &str) -> String {
        let form = [("AutoScalingGroupNames.member.1", "web")];
        self.ok("autoscaling", "DescribeAutoScalingGroups", &form).await.field(field)
    }

    /// The console output of an instance.
    pub async fn console(&self, id: &str) -> String {
        let console = self.ok("ec2", "GetConsoleOutput", &[("InstanceId", id), ("Latest", "true")]).await;
        String::from_utf8(STANDARD.decode(console.field("output")).unwrap()).unwrap()
    }

    /// The journal of the service's unit on an instance.
    pub async fn journal(&self, id: &str) -> String {
        let file = self.dir.path().join("instances").join(id).join("journal/web.service.log");
        std::fs::read_to_string(file).unwrap_or_default()
    }

    /// How many targets are healthy.
    pub async fn healthy(&self, stack: &Stack) -> usize {
        let health =
            self.ok("elasticloadbalancing", "DescribeTargetHealth", &[("TargetGroupArn", &stack.target_group)]).await;
        health.text.matches("<State>healthy</State>").count()
    }

    /// The instances of the group that are not terminating.
    pub async fn instance_ids(&self) -> Vec<String> {
        let group =
            self.ok("autoscaling", "DescribeAutoScalingGroups", &[("AutoScalingGroupNames.member.1", "web")]).await;
        let leaving = |member: &&str| member.split("</member>").next().is_some_and(|one| one.contains(">Terminating<"));
        let members = group.text.split("<InstanceId>").skip(1).filter(|member| !leaving(member));
        members.map(|member| member.split('<').next().unwrap().to_owned()).collect()
    }

    /// Deletes the stack in the order that AWS requires, and checks that nothing is left.
    pub async fn down(&self, stack: &Stack) {
        let processes = self.processes();
        let gone = async |service: &str, action: &str, form: &[(&str, &str)]| {
            self.until(&format!("{action} is possible"), async || {
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
        self.until("the group is gone", async || {
            let groups = self.ok("autoscaling", "DescribeAutoScalingGroups", &[]).await;
            groups.field("AutoScalingGroupName").is_empty()
        })
        .await;
        gone("ec2", "DeleteLaunchTemplate", &[("LaunchTemplateName", "web")]).await;
        gone("ec2", "DeleteSecurityGroup", &[("GroupId", &stack.group_id)]).await;
        gone("ec2", "DeleteSecurityGroup", &[("GroupId", &stack.balancer_group_id)]).await;
        assert!(self.processes().is_empty());
        for pid in processes {
            assert!(!is_running(&pid), "process {pid} still runs");
        }
        assert_eq!(self.compute.status()["load_balancers"], serde_json::json!([]));
        let instances = self.compute.status()["instances"].clone();
        assert!(instances.as_array().unwrap().iter().all(|one| one["state"] == "terminated"), "{instances}");
    }

    pub fn processes(&self) -> Vec<String> {
        let status = self.compute.status();
        let instances = status["instances"].as_array().unwrap().clone();
        instances
            .iter()
            .flat_map(|one| one["processes"].as_array().unwrap().clone())
            .map(|pid| pid.to_string())
            .collect()
    }
}

/// The parameters of a rule that admits a peer to a port of a security group.
pub fn ingress<'a>(group: &'a str, port: &'a str, peer: (&'a str, &'a str)) -> [(&'a str, &'a str); 5] {
    [
        ("GroupId", group),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", port),
        ("IpPermissions.1.ToPort", port),
        peer,
    ]
}
