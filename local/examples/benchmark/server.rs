//! The measured servers, each in its own process, so that its memory can be measured.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use local::{ACCESS_KEY, Cloud, Options, SECRET_KEY};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process::{Process, input_ends, kept, this_program};

/// The argument with which this program runs as the local AWS.
pub const WORD: &str = "server";
const REGION: &str = "us-east-1";
/// How the address of a server begins.
const ADDRESS: &str = "http://";
const MOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/bin/moto_server");
/// How long a server may take to print its address, and to answer a call.
const START: Duration = Duration::from_secs(60);
pub const ANSWER: Duration = Duration::from_secs(60);

/// Runs the local AWS until the input is closed.
pub async fn serve(dir: &Path) -> Result<()> {
    let options = Options { dir: dir.to_owned(), port: 0, region: REGION.to_owned() };
    let cloud = Cloud::start(options).await?;
    println!("Running on {}", cloud.endpoint());
    tokio::task::spawn_blocking(input_ends).await?;
    cloud.stop().await;
    Ok(())
}

/// Checks that moto is installed. The error says how to install it.
pub fn find_moto() -> Result<()> {
    ensure!(Path::new(MOTO).exists(), "moto is not installed: .ci/setup");
    Ok(())
}

/// A server, and what its clients need. It is stopped on drop.
pub struct Server {
    /// `None` for a server that someone else has started.
    process: Option<Process>,
    pub endpoint: String,
    credentials: (&'static str, &'static str),
    begun: Instant,
    /// The time from its start until it printed its address.
    pub took: Duration,
    /// Removed after the process has ended.
    _dir: TempDir,
}

impl Server {
    /// Starts the local AWS.
    pub fn local() -> Result<Server> {
        let dir = tempfile::tempdir()?;
        let mut command = this_program()?;
        command.arg(WORD).arg(dir.path()).stdout(Stdio::piped());
        Server::start(command, (ACCESS_KEY, SECRET_KEY), dir)
    }

    /// Starts moto, which prints its address on stderr.
    pub fn moto() -> Result<Server> {
        let mut command = kept(MOTO)?;
        command.args(["-H", "127.0.0.1", "-p", "0"]).stdout(Stdio::null()).stderr(Stdio::piped());
        Server::start(command, ("testing", "testing"), tempfile::tempdir()?)
    }

    /// Returns a server by its address, or starts one by its program: `PROGRAM DIRECTORY`. The credentials are those of
    /// the local AWS.
    pub fn other(other: &str) -> Result<Server> {
        let (dir, credentials) = (tempfile::tempdir()?, (ACCESS_KEY, SECRET_KEY));
        if other.starts_with(ADDRESS) {
            let (endpoint, begun) = (other.to_owned(), Instant::now());
            return Ok(Server { process: None, endpoint, credentials, begun, took: Duration::ZERO, _dir: dir });
        }
        let mut command = Command::new(other);
        command.arg(dir.path()).stdout(Stdio::piped());
        Server::start(command, credentials, dir)
    }

    fn start(mut command: Command, credentials: (&'static str, &'static str), dir: TempDir) -> Result<Server> {
        let begun = Instant::now();
        let mut process = Process::start(&mut command)?;
        let said = BufReader::new(process.said().context("nothing is piped")?);
        let (sender, receiver) = mpsc::channel();
        // Its output must be read to the end, or it blocks when the pipe is full.
        std::thread::spawn(move || {
            for line in said.lines().map_while(std::io::Result::ok) {
                let endpoint = line.split_once("Running on ").map_or(line.as_str(), |(_, endpoint)| endpoint).trim();
                if endpoint.starts_with(ADDRESS) {
                    let _ = sender.send(endpoint.to_owned());
                }
            }
        });
        let endpoint = receiver.recv_timeout(START).context("the server does not say where it is")?;
        Ok(Server { process: Some(process), endpoint, credentials, begun, took: begun.elapsed(), _dir: dir })
    }

    /// Sends a request, and returns the time from the server's start until its answer; `None` if someone else has started
    /// it. The request is as small as possible, so as not to measure the client.
    pub async fn first_answer(&self) -> Result<Option<Duration>> {
        let address = self.endpoint.trim_start_matches(ADDRESS).trim_end_matches('/');
        let mut stream = TcpStream::connect(address).await.with_context(|| format!("{address} does not answer"))?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut begin = [0; 5];
        tokio::time::timeout(ANSWER, stream.read_exact(&mut begin)).await.context("no answer")??;
        ensure!(&begin == b"HTTP/", "{address} does not speak HTTP");
        Ok(self.process.as_ref().map(|_| self.begun.elapsed()))
    }

    /// Returns the configuration for SDK clients. A call without a response fails after a timeout.
    pub async fn config(&self) -> SdkConfig {
        let (key, secret) = self.credentials;
        aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(aws_sdk_s3::config::Credentials::new(key, secret, None, None, "benchmark"))
            .timeout_config(TimeoutConfig::builder().operation_timeout(ANSWER).build())
            .load()
            .await
    }

    /// Returns its current memory use in megabytes; `None` where it is unknown.
    pub fn memory_mb(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.as_ref()?.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? / 1024)
    }

    /// Returns the CPU time that it has used, in seconds; `None` where it is unknown.
    pub fn processor_seconds(&self) -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.as_ref()?.id())).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
    }
}

/// An S3 client with path-style URLs.
pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    let builder = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    aws_sdk_s3::Client::from_conf(builder.build())
}
