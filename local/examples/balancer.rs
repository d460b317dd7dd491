//! How quick the load balancer is beside nginx as a plain proxy in front of the same process:
//! `cargo run --release --example balancer`. nginx comes from the system's packages (`apt install nginx-light`).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use local::compute::{Compute, Context, Credentials, Objects, Roles};
use local::{Chaos, Speed};
use tokio::sync::watch;

/// Connections at the same time, how long each measurement goes on, and how many there are of each.
const CLIENTS: usize = 16;
const WHILE: Duration = Duration::from_secs(4);
const ROUNDS: usize = 3;

#[tokio::main]
async fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["service"] => serve_page().await,
        ["balancer", dir] => balance(Path::new(dir)).await,
        _ => compare(),
    }
}

/// What stands behind both: it answers everything with one word.
async fn serve_page() -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let listener = tokio::net::TcpListener::bind(format!("{}:{}", variable("HOST")?, variable("PORT")?)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|_| async {
            Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(Bytes::from_static(b"hello"))))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// The one object there is: this program.
struct ThisProgram;

#[async_trait]
impl Objects for ThisProgram {
    async fn get(&self, _bucket: &str, _key: &str) -> Result<Bytes, String> {
        let read = std::env::current_exe().and_then(std::fs::read);
        read.map(Bytes::from).map_err(|error| error.to_string())
    }
}

struct NoRoles;

#[async_trait]
impl Roles for NoRoles {
    async fn role_of_profile(&self, _profile: &str) -> Option<String> {
        None
    }

    async fn may_read(&self, _role: &str, _session: &str, _bucket: &str, _key: &str) -> Result<(), String> {
        Ok(())
    }

    async fn credentials(&self, _role: &str, _session: &str) -> Credentials {
        let now = time::OffsetDateTime::now_utc();
        let nothing = String::new;
        Credentials { access_key_id: nothing(), secret_access_key: nothing(), session_token: nothing(), expires: now }
    }
}

/// A load balancer and one instance behind it, in a process of their own that ends when its input does. It says where
/// both are.
async fn balance(dir: &Path) -> Result<()> {
    let compute = Compute::start(Context {
        dir: dir.to_owned(),
        region: "us-east-1".to_owned(),
        account: "000000000000".to_owned(),
        endpoint: "http://127.0.0.1:1".to_owned(),
        objects: Arc::new(ThisProgram),
        roles: Arc::new(NoRoles),
        chaos: watch::channel(Chaos::default()).1,
        speed: Speed::FAST,
    })
    .await?;
    let address = bring_up(&compute).await?;
    let instance = loop {
        let status = compute.status();
        if status["targets"][0]["state"] == "healthy" {
            break status["instances"][0]["port"].as_u64().context("a healthy instance has a port")?;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    println!("{address} 127.0.0.1:{instance}");
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    compute.stop().await;
    Ok(())
}

async fn bring_up(compute: &Compute) -> Result<String> {
    let call = async |service: &str, action: &str, form: &[(&str, &str)]| -> Result<String> {
        let mut form: BTreeMap<String, String> = form.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        form.insert("Action".to_owned(), action.to_owned());
        let answer = compute.handle(service, &form).await.with_context(|| format!("{action} is not there"))?;
        let text = String::from_utf8_lossy(answer.body()).into_owned();
        ensure!(answer.status() == 200, "{action}: {text}");
        Ok(text)
    };
    let field = |text: &str, name: &str| -> String {
        let after = text.split_once(&format!("<{name}>")).map(|(_, after)| after);
        after.and_then(|after| after.split_once('<')).map(|(text, _)| text.to_owned()).unwrap_or_default()
    };
    let vpc = field(&call("ec2", "DescribeVpcs", &[]).await?, "vpcId");
    let subnets = call("ec2", "DescribeSubnets", &[]).await?;
    let subnets: Vec<&str> = subnets.split("<subnetId>").skip(1).filter_map(|part| part.split('<').next()).collect();
    let group = [("GroupName", "web"), ("GroupDescription", "web"), ("VpcId", vpc.as_str())];
    let group = field(&call("ec2", "CreateSecurityGroup", &group).await?, "groupId");
    let rule = [
        ("GroupId", group.as_str()),
        ("IpPermissions.1.IpProtocol", "-1"),
        ("IpPermissions.1.IpRanges.1.CidrIp", "0.0.0.0/0"),
    ];
    call("ec2", "AuthorizeSecurityGroupIngress", &rule).await?;
    let images = [("Filter.1.Name", "architecture"), ("Filter.1.Value.1", "x86_64")];
    let image = field(&call("ec2", "DescribeImages", &images).await?, "imageId");
    let user_data = STANDARD.encode(
        "#cloud-config\nwrite_files:\n- path: /etc/systemd/system/web.service\n  content: |\n    [Service]\n    \
         ExecStartPre=/usr/bin/aws s3 cp s3://any/service /opt/service\n    ExecStartPre=/usr/bin/chmod 0755 /opt/service\n    \
         ExecStart=/opt/service service\nruncmd:\n- [systemctl, start, web.service]\n",
    );
    let template = [
        ("LaunchTemplateName", "web"),
        ("LaunchTemplateData.ImageId", image.as_str()),
        ("LaunchTemplateData.InstanceType", "t3.micro"),
        ("LaunchTemplateData.SecurityGroupId.1", &group),
        ("LaunchTemplateData.UserData", &user_data),
    ];
    call("ec2", "CreateLaunchTemplate", &template).await?;
    let targets = [("Name", "web"), ("Protocol", "HTTP"), ("Port", "8080"), ("VpcId", vpc.as_str())];
    let targets = field(&call("elasticloadbalancing", "CreateTargetGroup", &targets).await?, "TargetGroupArn");
    let balancer = [
        ("Name", "web"),
        ("Subnets.member.1", subnets[0]),
        ("Subnets.member.2", subnets[1]),
        ("SecurityGroups.member.1", &group),
    ];
    let made = call("elasticloadbalancing", "CreateLoadBalancer", &balancer).await?;
    let listener = [
        ("LoadBalancerArn", &*field(&made, "LoadBalancerArn")),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", &targets),
    ];
    call("elasticloadbalancing", "CreateListener", &listener).await?;
    let size = [
        ("AutoScalingGroupName", "web"),
        ("LaunchTemplate.LaunchTemplateName", "web"),
        ("MinSize", "1"),
        ("MaxSize", "1"),
        ("VPCZoneIdentifier", subnets[0]),
        ("TargetGroupARNs.member.1", &targets),
    ];
    call("autoscaling", "CreateAutoScalingGroup", &size).await?;
    Ok(field(&made, "DNSName"))
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // One that listens to its input ends by itself; nginx has to be told.
        if matches!(self.0.try_wait(), Ok(None)) && self.0.stdout.is_none() {
            drop(Command::new("kill").arg(self.0.id().to_string()).status());
        }
        drop(self.0.wait());
    }
}

fn compare() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("balancer")
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let said = child.stdout.as_mut().context("it is piped")?;
    BufReader::new(said).read_line(&mut line)?;
    let _balancer = Running(child);
    let (ours, behind) = line.trim().split_once(' ').context("the load balancer has not come up")?;
    let (_nginx, nginx) = start_nginx(dir.path(), behind)?;
    for round in 1..=ROUNDS {
        let (direct, theirs, mine) = (measure(behind)?, measure(&nginx)?, measure(ours)?);
        println!(
            "round {round}: {direct:.0} requests/s without a proxy, {theirs:.0} through nginx, {mine:.0} through the load balancer: {:.2} times as long as nginx",
            theirs / mine
        );
    }
    Ok(())
}

fn start_nginx(dir: &Path, behind: &str) -> Result<(Running, String)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let dir = dir.display();
    let settings = format!(
        "daemon off; pid {dir}/nginx.pid; error_log {dir}/nginx.log; worker_processes auto;
         events {{ worker_connections 1024; }}
         http {{
           access_log off;
           client_body_temp_path {dir}; proxy_temp_path {dir}; fastcgi_temp_path {dir}; uwsgi_temp_path {dir}; scgi_temp_path {dir};
           keepalive_requests 1000000000;
           upstream behind {{ server {behind}; keepalive 64; keepalive_requests 1000000000; }}
           server {{
             listen 127.0.0.1:{port};
             location / {{
               proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
             }}
           }}
         }}"
    );
    let file = format!("{dir}/nginx.conf");
    std::fs::write(&file, settings)?;
    let nginx = Command::new("nginx").args(["-c", &file]).stderr(Stdio::null()).spawn();
    let nginx = Running(nginx.context("nginx is not there: apt install nginx-light")?);
    let address = format!("127.0.0.1:{port}");
    for _ in 0..100 {
        if TcpStream::connect(&address).is_ok() {
            return Ok((nginx, address));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("nginx does not listen; its log is {dir}/nginx.log")
}

/// Requests a second over connections that stay.
fn measure(address: &str) -> Result<f64> {
    let address: SocketAddr = address.parse()?;
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS).map(|_| std::thread::spawn(move || ask(address, begun))).collect();
    let mut count = 0_u64;
    for client in clients {
        count += client.join().map_err(|_| anyhow::anyhow!("a client has panicked"))??;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

fn ask(address: SocketAddr, begun: Instant) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut count = 0;
    let mut buffer = [0; 4096];
    while begun.elapsed() < WHILE {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")?;
        let mut have = 0;
        while !buffer[..have].ends_with(b"\r\n\r\nhello") {
            let read = stream.read(&mut buffer[have..])?;
            ensure!(read > 0, "the connection ends after {count} answers");
            have += read;
        }
        count += 1;
    }
    Ok(count)
}
