//! How light and how quick the local AWS is, beside moto on the same machine:
//! `cargo run --release --example benchmark`.

use std::future::Future;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_autoscaling::types::LaunchTemplateSpecification;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_ec2::types::{InstanceType, RequestLaunchTemplateData};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, ProtocolEnum, TargetHealthStateEnum};
use aws_sdk_s3::primitives::ByteStream;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};

/// Clients at the same time, and how long each measurement goes on.
const CLIENTS: usize = 16;
const WHILE: Duration = Duration::from_secs(4);
/// The server has nothing to do for this long before its memory and its processor time are looked at.
const IDLE: Duration = Duration::from_secs(5);
const MOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/moto_server");

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["server", dir] => serve_aws(Path::new(dir)).await,
        ["service"] => serve_page().await,
        _ => compare().await,
    }
}

/// The local AWS in a process of its own, whose memory is its own as well. It ends when its input does.
async fn serve_aws(dir: &Path) -> Result<()> {
    let options = Options { dir: dir.to_owned(), port: 0, region: "us-east-1".to_owned() };
    let cloud = Cloud::start(options).await?;
    println!("Running on {}", cloud.endpoint());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    cloud.stop().await;
    Ok(())
}

/// What an instance runs: it answers everything with one word.
async fn serve_page() -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let listener = tokio::net::TcpListener::bind(format!("{}:{}", variable("HOST")?, variable("PORT")?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|_| async {
            Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(bytes::Bytes::from_static(b"hello"))))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn compare() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let own = std::env::current_exe()?;
    let local = Server::start(Command::new(&own).arg("server").arg(dir.path()), Stream::Out)?;
    println!("local AWS: answers after {:.0} ms", local.took.as_secs_f64() * 1000.0);
    let before = local.processor_seconds();
    tokio::time::sleep(IDLE).await;
    if let (Some(before), Some(after), Some(memory)) = (before, local.processor_seconds(), local.memory_mb()) {
        println!("  idle: {memory} MB, {:.2} % of a processor", (after - before) / IDLE.as_secs_f64() * 100.0);
    }
    let ours = calls(&local.endpoint, ACCESS_KEY, SECRET_KEY).await?;
    let moto = Server::start(Command::new(MOTO).args(["-H", "127.0.0.1", "-p", "0"]), Stream::Err)
        .context("moto is not there: run .ci/setup")?;
    println!("moto: answers after {:.0} ms", moto.took.as_secs_f64() * 1000.0);
    let theirs = calls(&moto.endpoint, "testing", "testing").await?;
    drop(moto);
    println!("{:<18}{:>12}{:>12}   requests a second, {CLIENTS} clients", "", "local AWS", "moto");
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        println!("{name:<18}{ours:>12.0}{theirs:>12.0}");
    }
    let (direct, balanced) = round_trips(&local.endpoint, &own).await?;
    println!("{:<18}{balanced:>12.0}{:>12}   and {direct:.0} without the load balancer", "ALB round trip", "-");
    Ok(())
}

/// Calls of each kind a second.
async fn calls(endpoint: &str, key: &str, secret: &str) -> Result<Vec<(&'static str, f64)>> {
    let config = config(endpoint, key, secret).await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&config);
    let schema = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build()?;
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S).build()?;
    let create = dynamodb.create_table().table_name("posts").billing_mode(BillingMode::PayPerRequest);
    create.key_schema(schema).attribute_definitions(id).send().await?;
    let builder = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
    let s3 = aws_sdk_s3::Client::from_conf(builder.build());
    s3.create_bucket().bucket("images").send().await?;
    let picture = ByteStream::from(vec![7; 10_240]);
    s3.put_object().bucket("images").key("picture").body(picture).send().await?;

    let put = rate(|number| {
        let put = dynamodb.put_item().table_name("posts").item("id", AttributeValue::S((number % 1000).to_string()));
        let put = put.item("text", AttributeValue::S("A day at the sea.".repeat(10)));
        async move { put.send().await.map(drop).map_err(anyhow::Error::from) }
    });
    let put = put.await?;
    let get = rate(|number| {
        let get = dynamodb.get_item().table_name("posts").key("id", AttributeValue::S((number % 1000).to_string()));
        async move { get.send().await.map(drop).map_err(anyhow::Error::from) }
    });
    let get = get.await?;
    let object = rate(|_| {
        let get = s3.get_object().bucket("images").key("picture");
        async move {
            let bytes = get.send().await?.body.collect().await?.into_bytes();
            if bytes.len() == 10_240 { Ok(()) } else { bail!("{} bytes came", bytes.len()) }
        }
    });
    Ok(vec![("GetItem", get), ("PutItem", put), ("GetObject 10 KB", object.await?)])
}

/// How often a second many clients at once get an answer.
async fn rate<F>(call: impl Fn(u64) -> F) -> Result<f64>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let client = || async {
        while begun.elapsed() < WHILE {
            let number = count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(call(number)).await??;
        }
        Ok::<_, anyhow::Error>(())
    };
    futures::future::try_join_all((0..CLIENTS).map(|_| client())).await?;
    Ok(count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Requests a second to a service on an instance, and to the load balancer before it.
async fn round_trips(endpoint: &str, program: &Path) -> Result<(f64, f64)> {
    let config = config(endpoint, ACCESS_KEY, SECRET_KEY).await;
    let builder = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
    let s3 = aws_sdk_s3::Client::from_conf(builder.build());
    let bytes = ByteStream::from_path(program).await?;
    s3.put_object().bucket("images").key("service").body(bytes).send().await?;
    let address = balance(&config).await?;
    let status: serde_json::Value = reqwest::get(format!("{endpoint}/_local/status")).await?.json().await?;
    let port = status["instances"][0]["port"].as_u64().context("the instance has no port")?;
    let client = reqwest::Client::new();
    let get = |url: String| {
        let client = client.clone();
        move |_| {
            let get = client.get(&url);
            async move {
                get.send().await?.error_for_status()?.bytes().await?;
                Ok(())
            }
        }
    };
    let direct = rate(get(format!("http://127.0.0.1:{port}/"))).await?;
    Ok((direct, rate(get(format!("http://{address}/"))).await?))
}

const USER_DATA: &str = "#cloud-config
write_files:
- path: /etc/systemd/system/web.service
  content: |
    [Service]
    ExecStartPre=+/usr/bin/aws s3 cp s3://images/service /opt/web/service
    ExecStartPre=+/usr/bin/chmod 0755 /opt/web/service
    ExecStart=/opt/web/service service
runcmd:
- [mkdir, -p, /opt/web]
- [systemctl, daemon-reload]
- [systemctl, enable, --now, web.service]
";

/// One instance behind a load balancer, whose address this is once it answers.
async fn balance(config: &SdkConfig) -> Result<String> {
    use base64::Engine;
    let (ec2, elb) = (aws_sdk_ec2::Client::new(config), aws_sdk_elasticloadbalancingv2::Client::new(config));
    let subnets = ec2.describe_subnets().send().await?;
    let vpc = subnets.subnets().first().and_then(|subnet| subnet.vpc_id()).context("there is no network")?;
    let subnets: Vec<String> = subnets.subnets().iter().filter_map(|one| one.subnet_id().map(str::to_owned)).collect();
    let firewall = ec2.describe_security_groups().send().await?;
    let firewall = firewall.security_groups().first().and_then(|one| one.group_id()).context("no group")?.to_owned();
    let everybody = ec2.authorize_security_group_ingress().group_id(&firewall).ip_protocol("-1");
    everybody.cidr_ip("0.0.0.0/0").send().await?;
    let images = ec2.describe_images().owners("amazon").send().await?;
    let image = images.images().first().and_then(|image| image.image_id()).context("there is no image")?;
    let data = RequestLaunchTemplateData::builder()
        .image_id(image)
        .instance_type(InstanceType::T3Micro)
        .security_group_ids(&firewall)
        .user_data(base64::prelude::BASE64_STANDARD.encode(USER_DATA));
    ec2.create_launch_template().launch_template_name("web").launch_template_data(data.build()).send().await?;
    let group =
        elb.create_target_group().name("web").protocol(ProtocolEnum::Http).port(8080).vpc_id(vpc).send().await?;
    let group = group.target_groups().first().and_then(|one| one.target_group_arn()).context("no group")?.to_owned();
    let template = LaunchTemplateSpecification::builder().launch_template_name("web").version("1").build();
    let instances = aws_sdk_autoscaling::Client::new(config).create_auto_scaling_group();
    let instances = instances.auto_scaling_group_name("web").launch_template(template).min_size(1).max_size(1);
    instances.vpc_zone_identifier(subnets.join(",")).target_group_arns(&group).send().await?;
    let create = elb.create_load_balancer().name("web").set_subnets(Some(subnets)).security_groups(firewall);
    let balancer = create.send().await?;
    let balancer = balancer.load_balancers().first().context("no load balancer")?;
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(&group).build();
    let listen = elb.create_listener().load_balancer_arn(balancer.load_balancer_arn().unwrap_or_default());
    listen.protocol(ProtocolEnum::Http).port(80).default_actions(forward).send().await?;
    for _ in 0..600 {
        let health = elb.describe_target_health().target_group_arn(&group).send().await?;
        let state = health.target_health_descriptions().first().and_then(|one| one.target_health()?.state().cloned());
        if state == Some(TargetHealthStateEnum::Healthy) {
            return Ok(balancer.dns_name().unwrap_or_default().to_owned());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("the instance does not become healthy")
}

async fn config(endpoint: &str, key: &str, secret: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(aws_sdk_s3::config::Credentials::new(key, secret, None, None, "benchmark"))
        .load()
        .await
}

/// A server under measurement. Dropping it ends it.
struct Server {
    process: Child,
    endpoint: String,
    took: Duration,
}

/// Where a server says that it is there.
enum Stream {
    Out,
    Err,
}

impl Server {
    fn start(command: &mut Command, says: Stream) -> Result<Server> {
        let begun = Instant::now();
        let (out, err) = match says {
            Stream::Out => (Stdio::piped(), Stdio::inherit()),
            Stream::Err => (Stdio::null(), Stdio::piped()),
        };
        let mut process = command.stdin(Stdio::piped()).stdout(out).stderr(err).spawn()?;
        let said: Box<dyn Read + Send> = match (process.stdout.take(), process.stderr.take()) {
            (Some(out), _) => Box::new(out),
            (None, Some(err)) => Box::new(err),
            (None, None) => bail!("nothing is piped"),
        };
        let mut lines = BufReader::new(said).lines().map_while(std::io::Result::ok);
        let endpoint = lines.find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()));
        let took = begun.elapsed();
        // What it says must be read, or it stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { process, endpoint: endpoint.context("the server does not say where it is")?, took })
    }

    fn memory_mb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    }

    fn processor_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // Ours ends by itself then; moto has to be told.
        std::thread::sleep(Duration::from_millis(500));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
