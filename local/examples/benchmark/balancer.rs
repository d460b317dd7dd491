//! Measures requests through a load balancer to one instance, created through the SDK, and through nginx in front of
//! the same instance.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use aws_config::SdkConfig;
use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_ec2::types::{Filter, InstanceType, LaunchTemplateIamInstanceProfileSpecificationRequest};
use aws_sdk_ec2::types::{IpPermission, IpRange, RequestLaunchTemplateData};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, ProtocolEnum, TargetHealthStateEnum};
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::nginx::Nginx;
use crate::requests::{BODY, rate};
use crate::server::{Server, s3};
use crate::waiting::until;
use crate::{CLIENTS, server};

/// The argument with which this program runs as the service on the instance.
pub const WORD: &str = "service";
/// How often to measure each way, because the machine's speed varies.
const ROUNDS: usize = 3;
/// How long the instance may take to become healthy.
const HEALTHY: Duration = Duration::from_secs(120);
/// The name of all resources.
const NAME: &str = "web";

const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
]}"#;

const MAY_READ_PROGRAMS: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::programs/*"}
]}"#;

const USER_DATA: &str = "#cloud-config
write_files:
- path: /etc/systemd/system/web.service
  content: |
    [Service]
    ExecStartPre=+/usr/bin/aws s3 cp s3://programs/service /opt/web/service
    ExecStartPre=+/usr/bin/chmod 0755 /opt/web/service
    ExecStart=/opt/web/service service
runcmd:
- [mkdir, -p, /opt/web]
- [systemctl, daemon-reload]
- [systemctl, enable, --now, web.service]
";

/// The service on the instance: it answers every request with one word.
pub async fn serve() -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let listener = TcpListener::bind(format!("{}:{}", variable("HOST")?, variable("PORT")?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|_| async {
            Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from_static(BODY.as_bytes()))))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

pub async fn compare() -> Result<()> {
    let server = Server::local()?;
    let (balancer, instance) = bring_up(&server).await?;
    let nginx = Nginx::start(&instance).await?;
    println!("requests a second to a service on an instance, {CLIENTS} clients");
    for round in 1..=ROUNDS {
        let (direct, theirs, ours) = (rate(&instance).await?, rate(&nginx.address).await?, rate(&balancer).await?);
        println!(
            "round {round}: {direct:.0} without a proxy, {theirs:.0} through nginx, {ours:.0} through the load \
             balancer: {:.2} times as long as nginx",
            theirs / ours
        );
    }
    Ok(())
}

/// Returns the addresses of a load balancer and of the healthy instance behind it.
async fn bring_up(server: &Server) -> Result<(String, String)> {
    let config = server.config().await;
    upload_program(&config).await?;
    make_profile(&config).await?;
    let ec2 = aws_sdk_ec2::Client::new(&config);
    let elb = aws_sdk_elasticloadbalancingv2::Client::new(&config);
    let (vpc, subnets) = find_network(&ec2).await?;
    let firewall = make_firewall(&ec2, &vpc).await?;
    make_template(&ec2, &firewall).await?;
    let group = elb.create_target_group().name(NAME).protocol(ProtocolEnum::Http).port(8080).vpc_id(vpc).send().await?;
    let group = group.target_groups().first().and_then(|one| one.target_group_arn()).context("no target group")?;
    let balancer = make_balancer(&elb, &subnets, &firewall, group).await?;
    start_instance(&config, &subnets, group).await?;
    if let Err(error) = is_healthy(&elb, group).await {
        bail!("{error:#}\n{}", console_output(&ec2).await?);
    }
    Ok((balancer, instance_address(server).await?))
}

/// Uploads this program, which the instance runs.
async fn upload_program(config: &SdkConfig) -> Result<()> {
    let s3 = s3(config);
    s3.create_bucket().bucket("programs").send().await?;
    let program = ByteStream::from_path(std::env::current_exe()?).await?;
    s3.put_object().bucket("programs").key("service").body(program).send().await?;
    Ok(())
}

/// Creates an instance profile that permits the instance to read its program.
async fn make_profile(config: &SdkConfig) -> Result<()> {
    let iam = aws_sdk_iam::Client::new(config);
    iam.create_role().role_name(NAME).assume_role_policy_document(TRUST).send().await?;
    let policy = iam.put_role_policy().role_name(NAME).policy_name("programs");
    policy.policy_document(MAY_READ_PROGRAMS).send().await?;
    iam.create_instance_profile().instance_profile_name(NAME).send().await?;
    iam.add_role_to_instance_profile().instance_profile_name(NAME).role_name(NAME).send().await?;
    Ok(())
}

/// Returns the default VPC and its subnets.
async fn find_network(ec2: &aws_sdk_ec2::Client) -> Result<(String, Vec<String>)> {
    let subnets = ec2.describe_subnets().send().await?;
    let vpc = subnets.subnets().first().and_then(|subnet| subnet.vpc_id()).context("there is no network")?.to_owned();
    Ok((vpc, subnets.subnets().iter().filter_map(|one| one.subnet_id().map(str::to_owned)).collect()))
}

/// Creates a security group that permits all traffic.
async fn make_firewall(ec2: &aws_sdk_ec2::Client, vpc: &str) -> Result<String> {
    let create = ec2.create_security_group().group_name(NAME).description("Everybody").vpc_id(vpc);
    let firewall = create.send().await?.group_id.context("the security group has no id")?;
    let everybody = IpRange::builder().cidr_ip("0.0.0.0/0").build();
    let rule = IpPermission::builder().ip_protocol("-1").ip_ranges(everybody).build();
    ec2.authorize_security_group_ingress().group_id(&firewall).ip_permissions(rule).send().await?;
    Ok(firewall)
}

async fn make_template(ec2: &aws_sdk_ec2::Client, firewall: &str) -> Result<()> {
    let architecture = Filter::builder().name("architecture").values("x86_64").build();
    let images = ec2.describe_images().owners("amazon").filters(architecture).send().await?;
    let image = images.images().first().and_then(|image| image.image_id()).context("there is no image")?;
    let data = RequestLaunchTemplateData::builder()
        .image_id(image)
        .instance_type(InstanceType::T3Micro)
        .security_group_ids(firewall)
        .iam_instance_profile(LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(NAME).build())
        .user_data(BASE64_STANDARD.encode(USER_DATA));
    ec2.create_launch_template().launch_template_name(NAME).launch_template_data(data.build()).send().await?;
    Ok(())
}

/// Creates a load balancer that forwards everything, and returns its address.
async fn make_balancer(
    elb: &aws_sdk_elasticloadbalancingv2::Client,
    subnets: &[String],
    firewall: &str,
    group: &str,
) -> Result<String> {
    let create = elb.create_load_balancer().name(NAME).set_subnets(Some(subnets.to_vec())).security_groups(firewall);
    let made = create.send().await?;
    let balancer = made.load_balancers().first().context("no load balancer")?;
    let arn = balancer.load_balancer_arn().context("the load balancer has no ARN")?;
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build();
    let listen = elb.create_listener().load_balancer_arn(arn).protocol(ProtocolEnum::Http).port(80);
    listen.default_actions(forward).send().await?;
    Ok(balancer.dns_name().context("the load balancer has no address")?.to_owned())
}

/// Starts one instance, in an Auto Scaling group of size one.
async fn start_instance(config: &SdkConfig, subnets: &[String], group: &str) -> Result<()> {
    let template = LaunchTemplateSpecification::builder().launch_template_name(NAME).version("1").build();
    let create = aws_sdk_autoscaling::Client::new(config).create_auto_scaling_group();
    let create = create.auto_scaling_group_name(NAME).launch_template(template).min_size(1).max_size(1);
    create.vpc_zone_identifier(subnets.join(",")).target_group_arns(group).send().await?;
    Ok(())
}

async fn is_healthy(elb: &aws_sdk_elasticloadbalancingv2::Client, group: &str) -> Result<()> {
    let look = elb.describe_target_health().target_group_arn(group);
    until("a healthy instance", HEALTHY, async || {
        let found = look.clone().send().await?;
        let health = found.target_health_descriptions().first().and_then(|one| one.target_health());
        let Some(health) = health else {
            return Ok(Err("there is no instance".to_owned()));
        };
        let healthy = health.state() == Some(&TargetHealthStateEnum::Healthy);
        Ok(if healthy { Ok(()) } else { Err(format!("{:?}, {:?}", health.state(), health.description())) })
    })
    .await
}

/// Returns the console output of the instance, which shows why it is not healthy.
async fn console_output(ec2: &aws_sdk_ec2::Client) -> Result<String> {
    let found = ec2.describe_instances().send().await?;
    let instance = found.reservations().iter().flat_map(|one| one.instances()).find_map(|one| one.instance_id());
    let Some(instance) = instance else {
        return Ok(String::new());
    };
    let output = ec2.get_console_output().instance_id(instance).send().await?.output.unwrap_or_default();
    Ok(String::from_utf8_lossy(&BASE64_STANDARD.decode(output)?).into_owned())
}

/// Returns the address of the instance itself on this machine.
async fn instance_address(server: &Server) -> Result<String> {
    let ask = reqwest::Client::new().get(format!("{}/_local/status", server.endpoint)).timeout(server::ANSWER);
    let status: serde_json::Value = ask.send().await?.error_for_status()?.json().await?;
    let port = status["instances"][0]["port"].as_u64().context("the instance has no port")?;
    Ok(format!("127.0.0.1:{port}"))
}
